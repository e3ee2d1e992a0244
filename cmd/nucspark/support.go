package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
	"nucspark.io/nucspark/spark"
	"nucspark.io/nucspark/support"
)

func newSupportCommand(app *App) *cobra.Command {
	o := &supportCommand{app: app}
	cmd := &cobra.Command{
		Use:   "support",
		Short: "Pack what somebody who helps needs to know, without secrets",
		Long: `support looks at this computer, the machines and the cluster, changes nothing, and
packs text files into one archive for whoever helps you: versions, what the
machines are, what doctor, status and plan say, the events of the last runs, the
last lines of the logs of kubelet, containerd and nucspark's own pods, events of
Kubernetes, and what was changed on the machines (names only).

Passwords, keys and tokens are not collected, and what nucspark knows to be
secret, or what looks like it, is taken out of every file. Names and addresses
of your machines are in it: look through it before you give it away. What could
not be had, such as a machine that is off, is in its README.txt.

What is in it and where it lies is listed before it is written. It is readable
by you only. A file that is there is not overwritten without --force.`,
		Example: `  nucspark support
  nucspark support -o bundle.tar.gz --runs 1
  tar -xzOf bundle.tar.gz --wildcards '*/README.txt'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.runs < 0 {
				return &usageError{fmt.Errorf("--runs %d: say how many of the last runs, 0 for none", o.runs)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return o.run(ctx)
		},
	}
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "write this file (default nucspark-support-CLUSTER-TIME.tar.gz)")
	cmd.Flags().IntVar(&o.runs, "runs", 3, "how many of the last runs to take the events of")
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite a file that is there")
	_ = cmd.MarkFlagFilename("output", "tar.gz")
	return cmd
}

type supportCommand struct {
	app   *App
	out   string
	runs  int
	force bool
}

// A bundle is asked for when things are slow: each machine and each answer of
// the API has its bound.
const (
	nodeBound = 5 * time.Minute
	apiBound  = time.Minute
)

func (o *supportCommand) run(ctx context.Context) error {
	// Without the inventory nobody knows which values are secret.
	c, err := o.app.Load()
	if err != nil {
		return err
	}
	now := time.Now()
	if o.out == "" {
		o.out = fmt.Sprintf("nucspark-support-%s-%s.tar.gz", c.Name, now.UTC().Format("20060102T150405Z"))
	}
	path, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if exists(path) && !o.force {
		return &ExitError{Code: exitBad, Err: fmt.Errorf("%s is there already: name another file with -o, or add --force to overwrite it", path)}
	}
	e, err := examine(ctx, o.app)
	if err != nil {
		return err
	}
	defer e.close()
	if e.cluster == nil {
		return &ExitError{Code: exitBad, Err: fmt.Errorf("%s was changed meanwhile and does not hold any more", c.File)}
	}
	b, err := o.collect(ctx, e, now)
	if err != nil {
		return err
	}
	files := b.Files()
	fmt.Fprintln(o.app.Err, "The bundle holds:")
	for _, f := range files {
		fmt.Fprintf(o.app.Err, "  %-40s %10s  %s\n", f.Name, inventory.Size(len(f.Content)).Human(), f.About)
	}
	if missing := b.Missing(); len(missing) > 0 {
		fmt.Fprintln(o.app.Err, "What could not be had:")
		for _, m := range missing {
			fmt.Fprintln(o.app.Err, "  "+m)
		}
	}
	fmt.Fprintf(o.app.Err, "It is written to %s, readable by you only. Look through it before you give it away.\n", path)
	var archive bytes.Buffer
	if err := b.Write(&archive, strings.TrimSuffix(filepath.Base(path), ".tar.gz"), now); err != nil {
		return err
	}
	write := writeNew
	if o.force {
		write = replacePrivate
	}
	if err := write(path, archive.Bytes()); err != nil {
		return err
	}
	fmt.Fprintln(o.app.Out, path)
	return nil
}

// replacePrivate writes a file that only its owner can read, in place of one
// that may be there.
func replacePrivate(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// collect asks everybody. Its error is that of a collection which was ended.
func (o *supportCommand) collect(ctx context.Context, e *examined, now time.Time) (*support.Bundle, error) {
	api, noAPI := apiOf(ctx, e)
	secrets, unknown := secretsOf(ctx, e.cluster, api)
	home, _ := os.UserHomeDir()
	b := support.New(support.NewRedactor(home, secrets...))
	if unknown != nil { // nor does the API answer anything else
		noAPI = unknown
		b.Miss("the secrets of the cluster, to look for them by their values and not by their looks alone", unknown)
	}
	addComputer(b)
	o.addRuns(b)
	b.Add("inventory.json", "the inventory as the cluster keeps it: without secrets, and without the way in", []byte(kubeadm.PublicInventory(e.cluster)))
	addJSON(b, "doctor.json", "what would stop up", e.findings)
	addJSON(b, "survey.json", "what each machine is", e.found.Machines)
	if e.plan == nil {
		b.Miss("plan.json", errors.New("no plan could be made: see doctor.json"))
	} else {
		var text bytes.Buffer
		if err := writePlanJSON(&text, e.plan, e.notes); err != nil {
			b.Miss("plan.json", err)
		} else {
			b.Add("plan.json", "what up would change", text.Bytes())
		}
	}
	var wg sync.WaitGroup
	for _, n := range e.cluster.Nodes {
		if err := e.found.Failed[n.Name]; err != nil {
			b.Miss("nodes/"+n.Name+"/", err)
			continue
		}
		wg.Go(func() { addNode(ctx, b, e.fleet, n.Name) })
	}
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, apiBound)
		defer cancel()
		addJSON(b, "status.json", "what runs, and whether it is healthy", health(ctx, e.cluster, e.fleet, e.found.Machines, e.found.Failed))
	})
	if noAPI != nil {
		b.Miss("cluster/", noAPI)
	} else {
		wg.Go(func() { addCluster(ctx, b, api, now) })
	}
	wg.Wait()
	return b, ctx.Err()
}

// apiOf is the cluster's API, or why there is none.
func apiOf(ctx context.Context, e *examined) (*kube.Client, error) {
	if err := e.found.Failed[e.cluster.ControlPlane().Name]; err != nil {
		return nil, err
	}
	return e.fleet.Kube(ctx)
}

// secretsOf are the values that must not be in a bundle, held in memory to be
// looked for. The error says why those of the cluster are not among them; there
// is none where there is no cluster.
func secretsOf(ctx context.Context, c *inventory.Cluster, api *kube.Client) ([]string, error) {
	var all []string
	for _, s := range c.Secrets() {
		all = append(all, s.Reveal())
	}
	if api == nil {
		return all, nil
	}
	rest := api.Rest()
	all = append(all, string(rest.KeyData), rest.BearerToken, rest.Password)
	ctx, cancel := context.WithTimeout(ctx, apiBound)
	defer cancel()
	own, err := api.Clientset().CoreV1().Secrets(provision.Namespace).List(ctx, metav1.ListOptions{LabelSelector: kube.ManagedBy + "=" + kube.Manager})
	if err != nil {
		return all, err
	}
	tokens, err := api.Clientset().CoreV1().Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeBootstrapToken)})
	if err != nil {
		return all, err
	}
	for _, s := range own.Items {
		for _, value := range s.Data {
			all = append(all, string(value))
		}
	}
	for _, s := range tokens.Items {
		all = append(all, string(s.Data["token-secret"]))
	}
	return all, nil
}

func addJSON(b *support.Bundle, name, about string, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		b.Miss(name, err)
		return
	}
	b.Add(name, about, append(text, '\n'))
}

// addComputer says what runs here.
func addComputer(b *support.Bundle) {
	var w strings.Builder
	fmt.Fprintf(&w, "nucspark %s\n%s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, file := range []string{"/etc/os-release", "/proc/sys/kernel/osrelease"} {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Miss(file+" of this computer", err)
			continue
		}
		w.Write(text)
	}
	b.Add("computer.txt", "versions of nucspark, of Go, and of this computer's system", []byte(w.String()))
}

// addRuns takes the logs of the last runs. Their names are times.
func (o *supportCommand) addRuns(b *support.Bundle) {
	dir, err := stateDir()
	if err != nil {
		b.Miss("runs/", err)
		return
	}
	logs, err := filepath.Glob(filepath.Join(dir, "runs", "*.jsonl"))
	if err != nil {
		b.Miss("runs/", err)
		return
	}
	if len(logs) == 0 {
		b.Miss("runs/", errors.New("there was no run on this computer"))
	}
	slices.Sort(logs)
	for _, file := range logs[max(0, len(logs)-o.runs):] {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Miss("runs/"+filepath.Base(file), err)
			continue
		}
		b.Add("runs/"+filepath.Base(file), "events of a run on this computer", text)
	}
}

// addNode asks one machine.
func addNode(ctx context.Context, b *support.Bundle, fleet *provision.Fleet, node string) {
	ctx, cancel := context.WithTimeout(ctx, nodeBound)
	defer cancel()
	remote, err := fleet.Remote(ctx, node)
	if err != nil {
		b.Miss("nodes/"+node+"/", err)
		return
	}
	mark := "nucspark-" + rand.Text()
	answer, err := remote.Run(ctx, host.Command{Script: support.NodeScript(mark), Root: true, MaxOutput: 16 << 20})
	if err == nil {
		err = b.AddNode(node, mark, answer.Stdout)
	}
	if err != nil {
		b.Miss("nodes/"+node+"/", err)
	}
	if ledger, err := fleet.Ledger(ctx, node); err != nil {
		b.Miss("nodes/"+node+"/ledger.txt", err)
	} else {
		b.AddLedger(node, ledger)
	}
}

// addCluster asks the API: of pods and events of the namespaces that nucspark
// fills, and for the logs of its own pods. Output of applications is not taken.
func addCluster(ctx context.Context, b *support.Bundle, api *kube.Client, now time.Time) {
	bound := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, apiBound) }
	core := api.Clientset().CoreV1()
	ask, cancel := bound()
	defer cancel()
	if text, err := api.Clientset().Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ask); err != nil {
		b.Miss("cluster/version.json", err)
	} else {
		b.Add("cluster/version.json", "version of Kubernetes", text)
	}
	if list, err := core.Nodes().List(ask, metav1.ListOptions{}); err != nil {
		b.Miss("cluster/nodes.txt", err)
	} else {
		b.Add("cluster/nodes.txt", "nodes and their conditions", support.Nodes(list.Items))
	}
	var pods []corev1.Pod
	var events []corev1.Event
	for _, ns := range append([]string{provision.Namespace}, kubeadm.Namespaces...) {
		ask, cancel := bound()
		if list, err := core.Pods(ns).List(ask, metav1.ListOptions{}); err != nil {
			b.Miss("pods of "+ns, err)
		} else {
			pods = append(pods, list.Items...)
		}
		if list, err := core.Events(ns).List(ask, metav1.ListOptions{}); err != nil {
			b.Miss("events of "+ns, err)
		} else {
			events = append(events, list.Items...)
		}
		cancel()
	}
	b.Add("cluster/pods.txt", "pods: where they run, and why one does not", support.Pods(pods, now))
	b.Add("cluster/events.txt", "what Kubernetes did of late", support.Events(events))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, p := range pods {
		if !ownPod(&p) {
			continue
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			for _, former := range []bool{false, true} {
				if former && c.RestartCount == 0 {
					continue
				}
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					ask, cancel := bound()
					defer cancel()
					addLog(ask, b, api, p.Name, c.Name, former)
				})
			}
		}
	}
	wg.Wait()
}

// ownPod says that a pod is nucspark's, and no application.
func ownPod(p *corev1.Pod) bool {
	part := p.Labels["app.kubernetes.io/part-of"]
	return p.Namespace == provision.Namespace && (part == "hdfs" || part == "spark") && !spark.IsApplication(p.Labels)
}

// addLog takes the end of the log of a container, or of the one before it.
func addLog(ctx context.Context, b *support.Bundle, api *kube.Client, pod, container string, former bool) {
	name, about := "cluster/logs/"+pod+"."+container+".log", "last lines of a pod"
	if former {
		name, about = "cluster/logs/"+pod+"."+container+".before.log", "last lines of a pod before it was restarted"
	}
	lines := int64(support.Lines)
	text, err := api.Clientset().CoreV1().Pods(provision.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Previous: former, TailLines: &lines}).DoRaw(ctx)
	if err != nil {
		b.Miss(name, err)
		return
	}
	b.Add(name, about, text)
}
