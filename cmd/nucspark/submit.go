package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/spark"
)

// cleanBound is how long ending an application and removing its files may
// take: its pod has 30 s to end by itself.
const cleanBound = 90 * time.Second

func newSubmitCommand(app *App) *cobra.Command {
	var a spark.Application
	var detach, keep bool
	cmd := &cobra.Command{
		Use:   "submit [flags] FILE.py|FILE.jar [ARGUMENT...]",
		Short: "Run a Spark application and return its exit code",
		Long: `Uploads the application, runs its driver in a pod of the cluster, shows what it
prints, and returns its exit code. FILE is a path of this machine, or a URL of
the cluster as hdfs:///jobs/count.py. Flags come before FILE; what comes after
it reaches the application as it is.

The application's standard output and standard error come back as one stream on
standard output: Kubernetes keeps no difference between them. Spark's own
messages are part of it, from warnings on, or with --verbose all of them.

Ctrl-C asks whether to end the application or to leave it running; without a
terminal it ends it. With --detach the name of the driver's pod is printed and
the command returns at once. What belongs to an application is removed when it
has been followed to its end, else a day after its end.`,
		Example: `  nucspark submit examples/wordcount.py hdfs:///data/text.txt --top 20
  nucspark submit --class org.example.Main --conf spark.executor.memory=2g app.jar
  nucspark submit --detach --name nightly etl.py 2026-01-31`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New(`submit needs an application, as in "nucspark submit wordcount.py hdfs:///data"`)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.File, a.Args = args[0], args[1:]
			return submit(cmd.Context(), app, a, detach, keep)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&a.Name, "name", "", "name of the application (default that of the file)")
	f.StringVar(&a.Class, "class", "", "class with the main method, for a .jar")
	f.StringArrayVar(&a.Conf, "conf", nil, "a Spark property as KEY=VALUE; may be repeated")
	f.StringSliceVar(&a.PyFiles, "py-files", nil, "modules for Python: .py, .zip, .egg")
	f.StringSliceVar(&a.Files, "files", nil, "files for the working directory of each executor")
	f.StringSliceVar(&a.Jars, "jars", nil, "jars for the class path")
	f.BoolVar(&a.Verbose, "verbose", false, "show all messages of Spark")
	f.BoolVar(&detach, "detach", false, "print the name of the driver's pod and return at once")
	f.BoolVar(&keep, "keep", false, "keep pod and files after the end, to look at them")
	return cmd
}

// hdfsFiles makes an uploader of the client.
type hdfsFiles struct{ *hdfs.Client }

func (h hdfsFiles) Names(ctx context.Context, path string) ([]string, error) {
	list, err := h.List(ctx, path)
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	return names, err
}

func submit(ctx context.Context, app *App, a spark.Application, detach, keep bool) error {
	c, fleet, k, err := app.connectKube(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	note := func(line string) { fmt.Fprintln(app.Err, line) }
	s := &spark.Submitter{Inventory: c, Cluster: spark.NewCluster(k), Note: note}
	if c.HDFS.Enabled {
		client, err := hdfs.Open(k, c)
		if err != nil {
			return err
		}
		defer client.Close()
		s.Files = hdfsFiles{client}
	}
	// What is left of others must not keep this one.
	bounded, stop := context.WithTimeout(ctx, cleanBound)
	err = s.Prune(bounded)
	stop()
	if err != nil {
		note(fmt.Sprintf("removing what ended applications left: %v", err))
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	d, err := start(ctx, cancel, signals, s, a)
	if err != nil {
		return err
	}
	if detach {
		fmt.Fprintln(app.Out, d.Pod)
		note(followHint(app, d))
		return nil
	}
	note("driver pod " + d.Pod)
	clean := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanBound)
		defer cancel()
		return s.Remove(ctx, d)
	}

	type result struct {
		code int
		err  error
	}
	out := &gate{w: app.Out}
	done := make(chan result, 1)
	go func() {
		code, err := s.Follow(ctx, d, out)
		done <- result{code, err}
	}()
	for {
		select {
		case r := <-done:
			var lost *spark.LostError
			if !keep && !errors.As(r.err, &lost) {
				if err := clean(); err != nil {
					note(fmt.Sprintf("removing %s: %v", d.Pod, err))
				}
			}
			if r.err != nil {
				return r.err
			}
			if r.code != 0 {
				return &ExitError{Code: r.code} // the application has said why
			}
			return nil
		case got := <-signals:
			if got == os.Interrupt && app.interactive() && leave(app, out, signals) {
				note(followHint(app, d))
				return nil
			}
			cancel()
			note("ending the application")
			if err := clean(); err != nil {
				return &ExitError{Code: exitInterrupted, Err: fmt.Errorf("ending %s: %w", d.Pod, err)}
			}
			return &ExitError{Code: exitInterrupted}
		}
	}
}

// start submits; a signal meanwhile takes it back.
func start(ctx context.Context, cancel func(), signals <-chan os.Signal, s *spark.Submitter, a spark.Application) (*spark.Driver, error) {
	started, stopped := make(chan struct{}), make(chan struct{})
	var interrupted bool
	go func() {
		defer close(stopped)
		select {
		case <-signals:
			interrupted = true
			cancel()
		case <-started:
		}
	}()
	d, err := s.Start(ctx, a)
	close(started)
	<-stopped
	if !interrupted {
		return d, err
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanBound)
		defer cancel()
		err = s.Remove(ctx, d)
	} else if errors.Is(err, context.Canceled) {
		err = nil
	}
	return nil, &ExitError{Code: exitInterrupted, Err: err}
}

func followHint(app *App, d *spark.Driver) string {
	return fmt.Sprintf("the application runs on as %s; %q follows it", d.Pod, retryCommand(app, "logs --follow "+d.Pod))
}

// leave asks whether to leave the application running. A second Ctrl-C is no.
func leave(app *App, out *gate, signals <-chan os.Signal) bool {
	out.mu.Lock() // the question stays the last line
	defer out.mu.Unlock()
	answers := make(chan string, 1)
	go func() {
		in := bufio.NewReader(app.In)
		for {
			fmt.Fprint(app.Err, "\nEnd the application, or leave it running? [e/l] ")
			line, err := in.ReadString('\n')
			line = strings.ToLower(strings.TrimSpace(line))
			if err != nil || line == "e" || line == "l" {
				answers <- line
				return
			}
		}
	}()
	select {
	case answer := <-answers:
		return answer == "l"
	case <-signals:
		fmt.Fprintln(app.Err)
		return false
	}
}

// gate is a writer that can be held up.
type gate struct {
	mu sync.Mutex
	w  io.Writer
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.w.Write(p)
}
