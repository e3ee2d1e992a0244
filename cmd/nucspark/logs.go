package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
	"nucspark.io/nucspark/spark"
)

func newLogsCommand(app *App) *cobra.Command {
	l := &logsCommand{app: app}
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show what a part of the cluster or an application prints",
		Long: `Prints the log of a part of the cluster, of an application, or of a pod of yours
in the namespace nucspark. Without a name it lists what there is.

  namenode, checkpoint     HDFS: the namenode, and the second copy of its metadata
  spark, history           Spark: the master, and the history server
  NODE                     all that runs on one machine
  NODE/datanode, NODE/worker
                           one part of a machine
  APPLICATION              the driver of an application, by its name or its id as
                           long as it runs
  POD                      a pod by its name: the driver of an application that
                           has ended, or a pod of your own

The log of one container is printed as it is. With several, each line begins with
where it comes from. On a terminal escape sequences and control characters are
taken out; in a pipe or a file they stay. --follow goes on until the containers
end, or until Ctrl-C, which gives the exit code 130. A container that is started
anew begins a new log; --previous shows the one before.

-f names the inventory, as for every command: to follow is -F.`,
		Example: `  nucspark logs
  nucspark logs namenode --tail 100
  nucspark logs -F nuc02
  nucspark logs nuc02/datanode --since 10m
  nucspark logs wordcount --follow`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: app.complete(1, logNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.check(cmd, args); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := l.run(ctx, args)
			if ctx.Err() != nil {
				return &ExitError{Code: exitInterrupted}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "F", false, "go on with what is printed from now on")
	f.Int64Var(&l.tail, "tail", -1, "begin with the last `N` lines of each log")
	f.Lookup("tail").DefValue = "all"
	f.DurationVar(&l.since, "since", 0, "begin with what was printed in the last `DURATION`, such as 90s, 10m or 2h")
	f.BoolVar(&l.previous, "previous", false, "show the log of the container that ended before the present one")
	f.BoolVar(&l.json, "json", false, "list the names as JSON, one on a line")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w\n%s\nsee %s --help", err, notFollow, cmd.CommandPath())}
	})
	return cmd
}

// notFollow is for who knows kubectl.
const notFollow = "-f names the inventory; to follow a log is --follow, or -F"

type logsCommand struct {
	app      *App
	follow   bool
	previous bool
	json     bool
	tail     int64 // lines, -1 for all
	since    time.Duration
}

// check finds mistakes on the command line.
func (l *logsCommand) check(cmd *cobra.Command, args []string) error {
	f := cmd.Flags()
	switch {
	case f.Changed("tail") && l.tail < 0:
		return &usageError{fmt.Errorf("--tail %d is no number of lines", l.tail)}
	case f.Changed("since") && l.since <= 0:
		return &usageError{fmt.Errorf("--since %s is not in the past", l.since)}
	case l.follow && l.previous:
		return &usageError{errors.New("--previous shows a log that has ended, and --follow one that goes on")}
	case l.json && len(args) > 0:
		return &usageError{errors.New("--json lists the names; a log is printed as it is")}
	case len(args) > 0:
	case f.Changed("file"):
		if _, err := os.Stat(l.app.File); errors.Is(err, fs.ErrNotExist) {
			return &usageError{fmt.Errorf("there is no inventory %s; %s", l.app.File, notFollow)}
		}
	}
	if len(args) == 0 && (l.follow || l.previous || f.Changed("tail") || f.Changed("since")) {
		return &usageError{errors.New("name what to show; nucspark logs lists what there is")}
	}
	return nil
}

func (l *logsCommand) run(ctx context.Context, args []string) error {
	c, fleet, k, err := l.app.connectKube(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	if len(args) == 0 {
		return l.list(ctx, c, k)
	}
	found, err := findLogs(ctx, c, k, args[0])
	if err != nil {
		return err
	}
	return l.show(ctx, k, logSources(c, found, l.previous), args[0])
}

// podsBound is how long the API may take to list pods.
const podsBound = time.Minute

// namespacePods are the pods of the namespace, in the order of their names.
func namespacePods(ctx context.Context, k *kube.Client) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, podsBound)
	defer cancel()
	list, err := k.Clientset().CoreV1().Pods(provision.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of the cluster: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// podOf says whether a pod is that of a part.
func podOf(part provision.Part, p *corev1.Pod) bool {
	return p.Labels["app.kubernetes.io/name"] == part.App && (part.Node == "" || p.Spec.NodeName == part.Node)
}

// list shows what has a log, and how it is.
func (l *logsCommand) list(ctx context.Context, c *inventory.Cluster, k *kube.Client) error {
	pods, err := namespacePods(ctx, k)
	if err != nil {
		return err
	}
	running, err := spark.Applications(ctx, k)
	if err != nil {
		return err
	}
	return l.app.writeNames("logs", logEntries(c, pods, running), l.json)
}

// logEntries are the parts of the cluster, its machines, and the pods that are
// no such part.
func logEntries(c *inventory.Cluster, pods []corev1.Pod, running []spark.Running) []nameLine {
	var all []nameLine
	listed := map[string]bool{}
	on := map[string]int{}
	for _, part := range partsOf(c) {
		var states []string
		for i := range pods {
			if p := &pods[i]; podOf(part, p) {
				listed[p.Name] = true
				states = append(states, podState(p))
			}
		}
		if states == nil {
			states = []string{"no pod is there"}
		}
		all = append(all, nameLine{part.Name, part.Shows + ": " + strings.Join(states, "; ")})
	}
	for i := range pods {
		on[pods[i].Spec.NodeName]++
	}
	for _, n := range c.Nodes {
		if on[n.Name] > 0 {
			all = append(all, nameLine{n.Name, "all that runs on " + n.Name + ": " + count(on[n.Name], "pod")})
		}
	}
	for i := range pods {
		p := &pods[i]
		if listed[p.Name] {
			continue
		}
		shows := "a pod"
		for _, r := range called(running, p.Name) {
			shows = r.Page.Shows
		}
		all = append(all, nameLine{p.Name, shows + ": " + podState(p)})
	}
	return all
}

// podState says in a few words where and how a pod is.
func podState(p *corev1.Pod) string {
	state := strings.ToLower(string(p.Status.Phase))
	restarts := 0
	for _, s := range p.Status.ContainerStatuses {
		restarts += int(s.RestartCount)
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			state = w.Reason
		}
	}
	if p.DeletionTimestamp != nil {
		state = "ending"
	}
	if p.Spec.NodeName != "" {
		state = "on " + p.Spec.NodeName + ", " + state
	}
	if restarts > 0 {
		state += ", " + count(restarts, "restart")
	}
	return state
}

// findLogs returns the pods that a name stands for, one at least.
func findLogs(ctx context.Context, c *inventory.Cluster, k *kube.Client, name string) ([]corev1.Pod, error) {
	pods, err := namespacePods(ctx, k)
	if err != nil {
		return nil, err
	}
	found, known := podsNamed(c, pods, name)
	if len(found) > 0 {
		return found, nil
	}
	if known {
		return nil, fmt.Errorf("there is no pod of %s now; nucspark logs lists what there is, and nucspark status what is wrong", name)
	}
	running, err := spark.Applications(ctx, k)
	if err != nil {
		return nil, err
	}
	for _, r := range called(running, name) {
		of, _ := podsNamed(c, pods, r.Pod)
		found = append(found, of...)
	}
	if len(found) == 0 {
		return nil, &usageError{fmt.Errorf("there is no part of the cluster %q, nor a machine, a running application or a pod of that name; nucspark logs lists what there is", name)}
	}
	return found, nil
}

// podsNamed are the pods of a part, of a machine, or the one of that name; known
// says that there should be some.
func podsNamed(c *inventory.Cluster, pods []corev1.Pod, name string) (found []corev1.Pod, known bool) {
	is := func(p *corev1.Pod) bool { return name != "" && p.Spec.NodeName == name } // "" until it has a place
	_, known = c.Node(name)
	for _, part := range partsOf(c) {
		if part.Name == name {
			is, known = func(p *corev1.Pod) bool { return podOf(part, p) }, true
		}
	}
	for i := range pods {
		if is(&pods[i]) || !known && pods[i].Name == name {
			found = append(found, pods[i])
		}
	}
	return found, known
}

// logSource is one container, and what its lines begin with.
type logSource struct{ title, pod, container string }

// logSources are the containers of pods; only those that ended once, for the logs
// of before.
func logSources(c *inventory.Cluster, pods []corev1.Pod, before bool) []logSource {
	var all []logSource
	for i := range pods {
		p := &pods[i]
		title := p.Name
		for _, part := range partsOf(c) {
			if podOf(part, p) {
				title = part.Name
			}
		}
		for _, container := range p.Spec.Containers {
			s := logSource{title, p.Name, container.Name}
			if len(p.Spec.Containers) > 1 {
				s.title += "/" + container.Name
			}
			ended := slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
				return s.Name == container.Name && s.LastTerminationState.Terminated != nil
			})
			if ended || !before {
				all = append(all, s)
			}
		}
	}
	return all
}

// show prints logs: one after the other, or side by side while they are
// followed. One that cannot be read does not keep the others.
func (l *logsCommand) show(ctx context.Context, k *kube.Client, from []logSource, name string) error {
	if len(from) == 0 {
		return fmt.Errorf("nothing of %s was started anew, so there is no log of before", name)
	}
	width := 0
	for _, s := range from {
		width = max(width, len(s.title))
	}
	p := &logPrinter{w: l.app.Out, clean: isTerminal(l.app.Out)}
	failed := make([]error, len(from))
	one := func(i int) {
		prefix := ""
		if len(from) > 1 {
			prefix = fmt.Sprintf("%-*s | ", width, from[i].title)
		}
		if failed[i] = l.copy(ctx, k, from[i], p, prefix); failed[i] != nil && ctx.Err() == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			fmt.Fprintf(l.app.Err, "nucspark: %s: %s\n", from[i].title, host.Clean(failed[i].Error()))
		}
	}
	var side sync.WaitGroup
	for i := range from {
		if l.follow {
			side.Go(func() { one(i) })
		} else {
			one(i)
		}
	}
	side.Wait()
	if errors.Join(failed...) != nil {
		return &ExitError{Code: exitFailed} // each was told when it happened
	}
	return nil
}

func (l *logsCommand) copy(ctx context.Context, k *kube.Client, from logSource, p *logPrinter, prefix string) error {
	o := corev1.PodLogOptions{Container: from.container, Follow: l.follow, Previous: l.previous}
	if l.tail >= 0 {
		o.TailLines = &l.tail
	}
	if l.since > 0 {
		seconds := int64(math.Ceil(l.since.Seconds())) // the API knows no less
		o.SinceSeconds = &seconds
	}
	log, err := k.Logs(ctx, provision.Namespace, from.pod, o)
	if err != nil {
		return err
	}
	defer log.Close()
	return p.copy(log, prefix)
}

// logPrinter writes several logs to one place, each line as a whole.
type logPrinter struct {
	mu    sync.Mutex
	w     io.Writer
	clean bool // for a terminal
}

// logLine is how much of a line is held, in bytes; a longer one is written as
// several.
const logLine = 64 << 10

// copy writes a log with a prefix in front of each line. Without one, and not
// to a terminal, every byte stays as it is.
func (p *logPrinter) copy(r io.Reader, prefix string) error {
	if prefix == "" && !p.clean {
		_, err := io.Copy(p.w, r)
		return err
	}
	in := bufio.NewReaderSize(r, logLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.TrimSuffix(string(line), "\n")
			if p.clean {
				// A tab indents the lines of Java's stack traces.
				text = host.Clean(strings.ReplaceAll(text, "\t", "    "))
			}
			p.mu.Lock()
			_, werr := io.WriteString(p.w, prefix+text+"\n")
			p.mu.Unlock()
			if werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
