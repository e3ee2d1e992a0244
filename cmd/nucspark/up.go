package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/tui"
)

func newUpCommand(app *App) *cobra.Command {
	var yes, timings bool
	var progress progressFlag
	var removal provision.Removal
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the machines agree with the inventory",
		Long: `up compares the machines with the inventory, shows what it would change, asks,
and changes it. Run it as often as you like: where nothing differs it changes
nothing and restarts nothing. A run that was interrupted is finished by the
next one.

A node whose block left the file stays a member of the cluster until it is
named: by --remove NODE, or by typing its name when up asks. Then its blocks of
HDFS are copied to the nodes that stay, its pods move, and the machine is put
back as it was; its data directories are not touched. Where the data cannot be
kept, the removal is refused before any change.

The first Ctrl-C lets the running steps finish and starts nothing new; the
second one cancels them.`,
		Example: `  nucspark up
  nucspark up -f lab.hcl --yes
  nucspark up --remove nuc03
  nucspark up --yes --progress=json > events.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode, err := progress.mode(app)
			if err != nil {
				return err
			}
			return up(cmd.Context(), app, removal, yes, timings, mode)
		},
	}
	app.removalFlags(cmd, &removal)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before ordinary changes")
	cmd.Flags().BoolVar(&timings, "timings", false, "say where the time of looking at the machines went")
	progress.add(cmd)
	return cmd
}

// removalFlags are those that say what may leave the cluster.
func (a *App) removalFlags(cmd *cobra.Command, r *provision.Removal) {
	cmd.Flags().StringArrayVar(&r.Nodes, "remove", nil, "take this `NODE`, whose block left the file, out of the cluster; may be given several times")
	cmd.Flags().StringArrayVar(&r.LoseVolumes, "lose-volume", nil, "let this NFS `VOLUME` go with its node")
	cmd.Flags().StringArrayVar(&r.AcceptLoss, "accept-loss", nil, "take out this `NODE`, which is off, although blocks are lost with it")
	_ = cmd.RegisterFlagCompletionFunc("remove", a.complete(0, goneNodes))
	_ = cmd.RegisterFlagCompletionFunc("lose-volume", a.complete(0, goneVolumes))
	_ = cmd.RegisterFlagCompletionFunc("accept-loss", a.complete(0, goneNodes))
}

// progressFlag is the flag --progress of a command that changes machines.
type progressFlag string

func (p *progressFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(p), "progress", "auto", "how progress is shown: auto, tui, plain, json or quiet; json goes to standard output")
	_ = cmd.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions([]string{"auto", "tui", "plain", "json", "quiet"}, cobra.ShellCompDirectiveNoFileComp))
}

// mode is what was asked for, once flags are parsed.
func (p *progressFlag) mode(app *App) (tui.Mode, error) {
	mode, err := tui.ParseMode(string(*p))
	if err != nil {
		return mode, &usageError{err}
	}
	if mode == tui.Screen && !app.interactive() {
		return mode, &usageError{errors.New("--progress=tui needs a terminal; --progress=plain does not")}
	}
	return mode, nil
}

func up(ctx context.Context, app *App, removal provision.Removal, yes, timings bool, mode tui.Mode) error {
	started := time.Now()
	s, err := app.survey(ctx)
	if err != nil {
		return err
	}
	defer s.fleet.Close()
	if err := s.site.Locked(); err != nil {
		return err
	}
	if !yes && app.interactive() {
		names, err := app.askRemoval(s, removal)
		if err != nil {
			return err
		}
		removal.Nodes = append(removal.Nodes, names...)
	}
	if err := s.remove(ctx, removal); err != nil {
		return err
	}
	p, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if timings {
		fmt.Fprintf(app.Err, "%s (%.2f s so far)\n", s.fleet.Timings(), time.Since(started).Seconds())
	}
	if p.Changes() == 0 {
		if mode != tui.JSON {
			writePlan(app.Out, p, s.notes())
		}
		if err := errors.Join(append(p.Errors(), s.unreachable())...); err != nil {
			return &ExitError{Code: exitFailed, Err: err}
		}
		if mode != tui.JSON && mode != tui.Quiet {
			fmt.Fprintf(app.Err, "%s: %d nodes agree with %s (%.1f s)\n", s.cluster.Name, len(s.site.Machines), s.cluster.File, time.Since(started).Seconds())
		}
		return nil
	}
	notes := append(s.notes(), failing(p)...)
	if !yes {
		writePlan(app.Err, p, notes)
		if err := app.consent("Make these changes?"); err != nil {
			return err
		}
	} else {
		for _, n := range notes {
			fmt.Fprintln(app.Err, "! "+n)
		}
	}
	return carryOut(ctx, app, s, p, yes, mode)
}

// consent asks a person whether to do what was shown. Anything but yes is an
// error, and so is that there is nobody to ask.
func (a *App) consent(question string) error {
	if !a.interactive() {
		return errNobodyAsked
	}
	ok, err := a.ask(question)
	if err == nil && !ok {
		return errNothingChanged
	}
	return err
}

var (
	errNobodyAsked    = &ExitError{Code: exitBad, Err: errors.New("there is no terminal to ask for consent; add --yes to go on without asking")}
	errNothingChanged = &ExitError{Code: exitBad, Err: errors.New("nothing was changed")}
)

// carryOut runs a plan with progress and a summary.
func carryOut(ctx context.Context, app *App, s *surveyed, agreed *provision.Plan, yes bool, mode tui.Mode) error {
	nodes := reachable(s.site)
	for _, l := range s.site.Leaving {
		if l.Machine != nil {
			nodes = append(nodes, l.Name)
		}
	}
	err := underLock(ctx, app, s.fleet, nodes, agreed, yes, func(ctx context.Context) (p performance, err error) {
		if s, err = s.again(ctx); err != nil {
			return p, err
		}
		plan, err := s.plan(ctx)
		return performance{site: s.site, plan: plan, mode: mode, retry: retryCommand(app, "up"), next: nextCommands(app)}, err
	})
	if err != nil {
		return err
	}
	return s.unreachable()
}

// reachable are the names of the nodes that answered.
func reachable(site *provision.Site) []string {
	var names []string
	for _, n := range site.Reachable() {
		names = append(names, n.Name)
	}
	return names
}

// underLock carries a plan out under the locks of nodes. again looks and plans
// once more then: another run may have ended while somebody read the plan, and
// then they agreed to something else.
func underLock(ctx context.Context, app *App, fleet *provision.Fleet, nodes []string, agreed *provision.Plan, yes bool,
	again func(context.Context) (performance, error)) error {
	// Until here nothing was changed, and Ctrl-C just ends the process.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ints := newInterrupts(cancel, func(text string) { fmt.Fprintln(app.Err, text) })
	defer ints.release()

	id := time.Now().UTC().Format("20060102T150405Z")
	lock, err := fleet.Acquire(ctx, id, nodes)
	if err != nil {
		return err
	}
	defer lock.Release()
	p, err := again(ctx)
	if err != nil {
		return err
	}
	if !yes && !p.plan.Same(agreed) {
		return &ExitError{Code: exitBad, Err: errors.New("the machines changed since the plan was shown, and nothing was done; run it again")}
	}
	p.id, p.fleet, p.lock, p.ints = id, fleet, lock, ints
	return perform(ctx, app, p)
}

// performance is all that carrying out a plan needs.
type performance struct {
	id    string // of the run
	site  *provision.Site
	fleet *provision.Fleet
	plan  *provision.Plan
	lock  *provision.Lock
	ints  *interrupts
	mode  tui.Mode
	retry string
	next  []string
	done  string // what the cluster is at the end; "" for up
}

// perform runs a plan under a lock with progress, a log and a summary. Its
// error carries the exit code; the summary said why.
func perform(ctx context.Context, app *App, p performance) error {
	log, path, err := openRunLog(p.id)
	if err != nil {
		return err
	}
	defer log.Close()
	c := p.site.Cluster
	display, err := tui.New(p.mode, tui.Options{In: app.In, Out: app.Out, Err: app.Err, Cluster: c.Name, Log: log, LogPath: path, Retry: p.retry,
		Next: p.next, Done: p.done, Interrupt: p.ints.press, Durations: readDurations(c.Name), SSH: func(node string) string { return sshCommand(c, node) }})
	if err != nil {
		return err
	}
	p.ints.shownBy(display)
	_, err = provision.Run(ctx, p.fleet, p.site, p.plan, provision.Options{ID: p.id, Events: display.Event, Lock: p.lock, Stop: p.ints.stop, Retry: display.Retries()})
	display.Close()
	if err := writeDurations(c.Name, display.Durations()); err != nil {
		fmt.Fprintf(app.Err, "How long the steps took is not remembered: %v\n", err)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &ExitError{Code: exitInterrupted, Err: fmt.Errorf("interrupted; what was begun is finished by running it again: %s", p.retry)}
	case err != nil:
		return &ExitError{Code: exitFailed} // the summary said why
	}
	return nil
}

// askRemoval asks for each member that is not in the file and that nobody has
// named yet whether it leaves the cluster. Only its whole name says so.
func (a *App) askRemoval(s *surveyed, r provision.Removal) ([]string, error) {
	var names []string
	for _, name := range s.site.Foreign() {
		if slices.Contains(r.Nodes, name) || s.site.Members[name].Leaving {
			continue
		}
		line, err := a.line(fmt.Sprintf("%s is a member of the cluster and not in %s.\nType its name to take it out of the cluster, or nothing to leave it as it is: ", name, s.cluster.File))
		if err != nil {
			return nil, err
		}
		if line == name {
			names = append(names, name)
		}
	}
	return names, nil
}

// nextCommands are what a person does once the cluster is up.
func nextCommands(app *App) []string {
	file := ""
	if app.File != "cluster.hcl" {
		file = " -f " + app.File
	}
	return []string{
		"nucspark status" + file,
		"nucspark hdfs put" + file + " FILE /",
		"nucspark submit" + file + " examples/wordcount.py hdfs:///FILE",
	}
}

func retryCommand(app *App, command string) string {
	if app.File == "cluster.hcl" {
		return "nucspark " + command
	}
	return "nucspark " + command + " -f " + app.File
}

// openRunLog makes the file that keeps every event of a run.
func openRunLog(id string) (io.WriteCloser, string, error) {
	dir, err := stateDir()
	if err != nil {
		return nil, "", err
	}
	dir = filepath.Join(dir, "runs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, id+".jsonl")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return f, path, err
}

// interrupts turns the first Ctrl-C into a request to stop after the running
// steps, the second into a cancellation, and the third into the end of the
// process.
type interrupts struct {
	stop    chan struct{} // closed by the first
	signals chan os.Signal
	done    chan struct{}
	say     atomic.Pointer[func(string)]
	leave   atomic.Pointer[func()] // gives the terminal back
	exit    func(int)
}

// shownBy leads what is said to a display.
func (i *interrupts) shownBy(d *tui.Display) {
	say, leave := d.Say, d.Restore
	i.say.Store(&say)
	i.leave.Store(&leave)
}

func newInterrupts(cancel context.CancelFunc, say func(string)) *interrupts {
	i := &interrupts{stop: make(chan struct{}), signals: make(chan os.Signal, 3), done: make(chan struct{}), exit: os.Exit}
	nothing := func() {}
	i.say.Store(&say)
	i.leave.Store(&nothing)
	signal.Notify(i.signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-i.done:
				return
			case <-i.signals:
			}
			switch n {
			case 0:
				(*i.say.Load())("Stopping: the running steps are finished, nothing new is started. Ctrl-C again cancels them.")
				close(i.stop)
			case 1:
				(*i.say.Load())("Cancelling: the running steps are broken off, and what they leave is finished by the next run. Ctrl-C again ends nucspark at once.")
				cancel()
			default:
				(*i.leave.Load())()
				i.exit(exitInterrupted)
				return
			}
		}
	}()
	return i
}

// press is a Ctrl-C that came as a key.
func (i *interrupts) press() {
	select {
	case i.signals <- os.Interrupt:
	default: // three are under way already
	}
}

func (i *interrupts) release() {
	signal.Stop(i.signals)
	close(i.done)
}
