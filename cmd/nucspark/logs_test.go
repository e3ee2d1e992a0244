package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
	"nucspark.io/nucspark/spark"
)

// logPods are those of a cluster of three, with an application and a pod of
// somebody's own that has two containers.
func logPods() []corev1.Pod {
	pod := func(name, app, node string, containers ...string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": app}},
			Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
		for _, c := range containers {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c})
		}
		return p
	}
	pods := []corev1.Pod{
		pod("app-count-1", "spark-driver", "nuc02", "spark-driver"),
		pod("checkpoint-0", "checkpoint", "nuc02", "checkpoint"),
		pod("datanode-a-1", "datanode", "nuc02", "datanode"),
		pod("datanode-a-2", "datanode", "nuc03", "datanode"),
		pod("namenode-0", "namenode", "nuc01", "namenode"),
		pod("own", "", "nuc03", "main", "side"),
		pod("spark-history-0", "spark-history", "", "spark-history"),
		pod("spark-master-0", "spark-master", "nuc01", "spark-master"),
		pod("spark-worker-1", "spark-worker", "nuc02", "spark-worker"),
	}
	pods[2].Status.ContainerStatuses[0].RestartCount = 1
	pods[2].Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
	pods[3].Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	pods[6].Status.Phase = corev1.PodPending
	return pods
}

func logCluster(t *testing.T) *inventory.Cluster {
	c, err := inventory.Load("../../examples/cluster.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPodsNamed(t *testing.T) {
	c := logCluster(t)
	for name, want := range map[string]struct {
		titles string
		known  bool
	}{
		"namenode":       {"namenode", true},
		"checkpoint":     {"checkpoint", true},
		"spark":          {"spark", true},
		"history":        {"history", true},
		"nuc02":          {"app-count-1 checkpoint nuc02/datanode nuc02/worker", true},
		"nuc03":          {"nuc03/datanode own/main own/side", true},
		"nuc03/datanode": {"nuc03/datanode", true},
		"nuc03/worker":   {"", true},
		"datanode-a-1":   {"nuc02/datanode", false},
		"app-count-1":    {"app-count-1", false},
		"own":            {"own/main own/side", false},
		"count":          {"", false},
		"nuc09":          {"", false},
		"":               {"", false},
	} {
		found, known := podsNamed(c, logPods(), name)
		var titles []string
		for _, s := range logSources(c, found, false) {
			titles = append(titles, s.title)
		}
		if got := strings.Join(titles, " "); got != want.titles || known != want.known {
			t.Errorf("%q: %q, %t; want %q", name, got, known, want.titles)
		}
	}
	found, _ := podsNamed(c, logPods(), "nuc02")
	if got := logSources(c, found, true); !slices.Equal(got, []logSource{{"nuc02/datanode", "datanode-a-1", "datanode"}}) {
		t.Errorf("logs of before: %v", got)
	}
	if names := logNames(c); !slices.Contains(names, "nuc01") || !slices.Contains(names, "nuc02/worker") || slices.Contains(names, "nuc01/datanode") {
		t.Errorf("a shell completes %v", names)
	}
}

func TestLogEntries(t *testing.T) {
	running := []spark.Running{{ID: "app-2026", Name: "word count", Pod: "app-count-1", Page: provision.Page{Shows: "the running application word count, app-2026"}}}
	var got strings.Builder
	for _, e := range logEntries(logCluster(t), logPods(), running) {
		fmt.Fprintf(&got, "%s: %s\n", e.Name, e.Shows)
	}
	want := `namenode: the namenode of HDFS: on nuc01, running
checkpoint: the second copy of the namenode's metadata: on nuc02, running
nuc02/datanode: the datanode of nuc02: on nuc02, running, 1 restart
nuc03/datanode: the datanode of nuc03: on nuc03, CrashLoopBackOff
spark: the master of Spark: on nuc01, running
history: the history server of Spark: pending
nuc02/worker: the Spark worker of nuc02: on nuc02, running
nuc03/worker: the Spark worker of nuc03: no pod is there
nuc01: all that runs on nuc01: 2 pods
nuc02: all that runs on nuc02: 4 pods
nuc03: all that runs on nuc03: 2 pods
app-count-1: the running application word count, app-2026: on nuc02, running
own: a pod: on nuc03, running
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

func TestLogPrinter(t *testing.T) {
	const in = "\x1b[31mred\x1b[0m\n\tat A\n\nlast\x07 \xff"
	for _, test := range []struct {
		prefix string
		clean  bool
		want   string
	}{
		{"", false, in},
		{"", true, "red\n    at A\n\nlast \n"},
		{"nuc02 | ", false, "nuc02 | \x1b[31mred\x1b[0m\nnuc02 | \tat A\nnuc02 | \nnuc02 | last\x07 \xff\n"},
		{"nuc02 | ", true, "nuc02 | red\nnuc02 |     at A\nnuc02 | \nnuc02 | last \n"},
	} {
		var out bytes.Buffer
		p := &logPrinter{w: &out, clean: test.clean}
		if err := p.copy(strings.NewReader(in), test.prefix); err != nil || out.String() != test.want {
			t.Errorf("%q, %t: %q, %v", test.prefix, test.clean, out.String(), err)
		}
	}
	var out bytes.Buffer
	p := &logPrinter{w: &out, clean: true}
	if err := p.copy(strings.NewReader(strings.Repeat("x", 3*logLine+1)+"\n"), ""); err != nil || out.Len() != 3*logLine+1+4 || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("a line of %d bytes became %d bytes: %v", 3*logLine+2, out.Len(), err)
	}
}

// logAPI is an API server with pods and logs.
type logAPI struct {
	mu    sync.Mutex
	asked []string          // logs, with their options
	open  chan struct{}     // closed to end logs that are followed
	wrote chan struct{}     // one element for each first line of such a log
	lines map[string]string // by pod; none fails
	pods  []corev1.Pod
}

func (a *logAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api v1 namespaces NS pods [POD log]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case len(parts) == 5 && r.URL.Query().Get("labelSelector") == "":
		_ = json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: a.pods})
	case len(parts) == 5: // drivers: none that says what it runs
		_ = json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}})
	case len(parts) == 7 && parts[6] == "log" && a.lines[parts[5]] != "":
		a.mu.Lock()
		a.asked = append(a.asked, parts[5]+"?"+r.URL.RawQuery)
		a.mu.Unlock()
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, a.lines[parts[5]])
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("follow") == "true" {
			a.wrote <- struct{}{}
			select {
			case <-a.open:
			case <-r.Context().Done():
			}
		}
	default:
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 400,
			Message: "container is waiting to start: \x1b[31mCreating"})
	}
}

func TestLogsShow(t *testing.T) {
	api := &logAPI{pods: logPods(), open: make(chan struct{}), wrote: make(chan struct{}, 9), lines: map[string]string{
		"namenode-0": "one\n", "checkpoint-0": "two\n", "datanode-a-1": "three\nfour", "app-count-1": "\x1b[1mfive\n"}}
	server := newAPIServer(api)
	defer server.Close()
	k, err := kube.Connect(adminConf(server), func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	c := logCluster(t)
	var out, said bytes.Buffer
	l := &logsCommand{app: &App{Out: &out, Err: &said}, tail: -1}
	show := func(ctx context.Context, name string) error {
		api.asked = nil
		out.Reset()
		said.Reset()
		found, err := findLogs(ctx, c, k, name)
		if err != nil {
			return err
		}
		return l.show(ctx, k, logSources(c, found, l.previous), name)
	}

	if err := show(t.Context(), "namenode"); err != nil || out.String() != "one\n" || !slices.Equal(api.asked, []string{"namenode-0?container=namenode"}) {
		t.Errorf("%v, %q, asked %v", err, out.String(), api.asked)
	}
	l.tail, l.since = 0, 1500*time.Millisecond
	if err := show(t.Context(), "app-count-1"); err != nil || out.String() != "\x1b[1mfive\n" || !slices.Equal(api.asked, []string{"app-count-1?container=spark-driver&sinceSeconds=2&tailLines=0"}) {
		t.Errorf("%v, %q, asked %v", err, out.String(), api.asked)
	}
	l.tail, l.since = -1, 0

	// One that does not start does not keep the others.
	err = show(t.Context(), "nuc02")
	if exitCode(err) != exitFailed || err.Error() != "" {
		t.Errorf("with a container that does not start: %v", err)
	}
	if want := "app-count-1    | \x1b[1mfive\ncheckpoint     | two\nnuc02/datanode | three\nnuc02/datanode | four\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
	if got := said.String(); !strings.HasPrefix(got, "nucspark: nuc02/worker: reading the log of pod nucspark/spark-worker-1: ") || strings.Contains(got, "\x1b") {
		t.Errorf("it said %q", got)
	}

	l.previous = true
	if err := show(t.Context(), "nuc02"); err != nil || !slices.Equal(api.asked, []string{"datanode-a-1?container=datanode&previous=true"}) {
		t.Errorf("%v, asked %v", err, api.asked)
	}
	if err := show(t.Context(), "namenode"); err == nil || !strings.Contains(err.Error(), "no log of before") {
		t.Errorf("of what never ended: %v", err)
	}
	l.previous = false

	for name, want := range map[string]string{"nuc03/worker": "there is no pod of nuc03/worker now", "nobody": `no part of the cluster "nobody"`} {
		if err := show(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Followed side by side: the first lines of all are there while none has ended.
	api.lines["spark-worker-1"] = "six\n"
	l.follow = true
	ended := make(chan error, 1)
	go func() { ended <- show(t.Context(), "nuc02") }()
	for range 4 {
		<-api.wrote
	}
	close(api.open)
	if err := <-ended; err != nil || strings.Count(out.String(), " | ") != 5 {
		t.Errorf("%v, %q", err, out.String())
	}
	api.open = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- show(ctx, "namenode") }()
	<-api.wrote
	cancel()
	if <-ended; said.Len() > 0 {
		t.Errorf("after Ctrl-C it says %q", said.String())
	}
}

func TestLogsArguments(t *testing.T) {
	for args, want := range map[string]string{
		"namenode --tail -1":               "--tail -1 is no number of lines",
		"namenode --since 0s":              "--since 0s is not in the past",
		"namenode --since -5m":             "--since -5m0s is not in the past",
		"namenode --follow --previous":     "one that goes on",
		"namenode --json":                  "--json lists the names",
		"--follow":                         "name what to show",
		"--tail 5":                         "name what to show",
		"namenode -f":                      "-f names the inventory",
		"-f namenode":                      "there is no inventory namenode; -f names the inventory; to follow a log is --follow",
		"namenode spark":                   "see nucspark logs --help",
		"namenode -F -f ../../missing.hcl": "there is no inventory ../../missing.hcl",
	} {
		root := newRoot(&App{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)})
		root.SetArgs(append([]string{"logs"}, strings.Fields(args)...))
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
