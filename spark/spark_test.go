package spark

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// site is the example inventory with these nodes answering.
func site(t *testing.T, change func(*inventory.Cluster), nodes ...string) *provision.Site {
	t.Helper()
	c, err := inventory.Load("testdata/cluster.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	s := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{},
		Resolved: provision.Resolved{UID: "11111111-2222-3333-4444-555555555555", Replication: 2}}
	for _, n := range nodes {
		s.Machines[n] = provision.Machine{}
	}
	return s
}

func all(t *testing.T, change func(*inventory.Cluster)) *provision.Site {
	return site(t, change, "nuc01", "nuc02", "nuc03")
}

// objects are those of the steps, by step.
func objects(s *provision.Site) map[string]provision.Object {
	found := map[string]provision.Object{}
	for _, step := range Steps(s) {
		if o, ok := step.(provision.KubeObject); ok {
			found[o.Name] = o.Object
		}
	}
	return found
}

func TestObjects(t *testing.T) {
	found := objects(all(t, nil))
	key := found["cluster/spark/secret"]["data"].(map[string]any)["secret"].(string)
	if len(key) < 64 {
		t.Errorf("the secret %q is too short", key)
	}
	if again := objects(all(t, nil))["cluster/spark/secret"]["data"].(map[string]any)["secret"]; again == key {
		t.Error("two secrets are equal")
	}
	found["cluster/spark/secret"]["data"] = "random"
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(found)) {
		text, err := yaml.Marshal(found[name])
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("# " + name + "\n---\n" + string(text))
	}
	golden.Check(t, "objects.yaml", []byte(b.String()))
}

// A cluster without HDFS has neither event log nor history server.
func TestWithoutHDFS(t *testing.T) {
	s := all(t, func(c *inventory.Cluster) {
		c.HDFS.Enabled = false
		for i := range c.Nodes {
			c.Nodes[i].HDFS = nil
		}
	})
	for name, o := range objects(s) {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"hdfs://", "eventLog", "HistoryServer"} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s speaks of %s", name, word)
			}
		}
	}
	for _, step := range Steps(s) {
		if slices.Contains(step.Needs(), provision.HDFSReady) || slices.Contains(step.Needs(), provision.HDFSNames) {
			t.Errorf("%s waits for HDFS", step.ID())
		}
	}
}

// Every need is a step of this package or a milestone of another.
func TestNeeds(t *testing.T) {
	for _, s := range []*provision.Site{all(t, nil), site(t, nil, "nuc01", "nuc03")} {
		known := map[string]bool{provision.NamespaceReady: true, provision.HDFSNames: true, provision.ClusterNetwork: true}
		for n := range s.Machines {
			known[provision.NodeBase(n)], known[provision.NodeImages(n)], known[provision.NodeReady(n)] = true, true, true
		}
		steps := Steps(s)
		for _, step := range steps {
			if known[step.ID()] {
				t.Errorf("%s is there twice", step.ID())
			}
			known[step.ID()] = true
		}
		for _, step := range steps {
			for _, need := range step.Needs() {
				if !known[need] {
					t.Errorf("%s needs %s, which nobody provides", step.ID(), need)
				}
			}
		}
		if !known[provision.SparkReady] {
			t.Error("the milestone is missing")
		}
	}
}

// A pod is restarted when something changed that it reads, and else never.
func TestRestarts(t *testing.T) {
	templates := func(s *provision.Site) map[string]string {
		found := map[string]string{}
		for name, o := range objects(s) {
			if template := object(o, "spec", "template"); template != nil {
				b, err := json.Marshal(template)
				if err != nil {
					t.Fatal(err)
				}
				found[strings.TrimPrefix(name, "cluster/spark/")] = string(b)
			}
		}
		return found
	}
	property := func(k, v string) func(*inventory.Cluster) {
		return func(c *inventory.Cluster) { c.Spark.Properties[k] = v }
	}
	for _, test := range []struct {
		name    string
		change  func(*inventory.Cluster)
		restart []string
	}{
		{"nothing", nil, nil},
		{"a node more", func(c *inventory.Cluster) {
			n := c.Nodes[2]
			n.Name = "nuc04"
			c.Nodes = append(c.Nodes, n)
		}, nil},
		{"another memory of executors", func(c *inventory.Cluster) { c.Spark.Executor.Memory = 3 * inventory.GiB }, nil},
		{"another driver", func(c *inventory.Cluster) { c.Spark.Driver.Memory = 3 * inventory.GiB }, nil},
		{"a property of drivers", property("spark.sql.ansi.enabled", "false"), nil},
		{"a property of the history server", property("spark.history.retainedApplications", "9"), []string{"history"}},
		{"a property of the network", property("spark.network.crypto.enabled", "true"), []string{"master", "workers"}},
		{"a property of the shuffle service", property("spark.shuffle.service.index.cache.size", "9m"), []string{"workers"}},
		{"larger workers", func(c *inventory.Cluster) { c.Spark.Worker.Limits.Memory = 12 * inventory.GiB }, []string{"workers"}},
		{"a larger master", func(c *inventory.Cluster) { c.Spark.Master.Limits.Memory = 2 * inventory.GiB }, []string{"master"}},
		{"another image", func(c *inventory.Cluster) { c.Images.Spark = "example.org/spark:4" }, []string{"history", "master", "workers"}},
	} {
		before, after := templates(all(t, nil)), templates(all(t, test.change))
		var restart []string
		for _, name := range slices.Sorted(maps.Keys(before)) {
			if before[name] != after[name] {
				restart = append(restart, name)
			}
		}
		if diff := cmp.Diff(test.restart, restart); diff != "" {
			t.Errorf("%s restarts other pods than it should (-want +got):\n%s", test.name, diff)
		}
	}
	s := all(t, nil)
	s.Resolved.Replication = 1
	if diff := cmp.Diff(templates(all(t, nil)), templates(s)); diff != "" {
		t.Errorf("another replication restarts pods:\n%s", diff)
	}
}

// What is offered to executors, what lies beside their heaps, and the worker
// itself fit into the pod.
func TestOffered(t *testing.T) {
	const MiB, GiB = inventory.MiB, inventory.GiB
	for _, test := range []struct {
		limit    inventory.Size
		executor inventory.Executor
		offered  inventory.Size
		slots    int // on two workers with three cores
	}{
		{10 * GiB, inventory.Executor{Cores: 3, Memory: 8 * GiB}, 8610 * MiB, 2},
		{10 * GiB, inventory.Executor{Cores: 1, Memory: 2 * GiB}, 8610 * MiB, 6},
		{10 * GiB, inventory.Executor{Cores: 1, Memory: 4 * GiB}, 8610 * MiB, 4},
		{2 * GiB, inventory.Executor{Cores: 2, Memory: 512 * MiB}, 896 * MiB, 2},
	} {
		l := newLayout(all(t, func(c *inventory.Cluster) {
			c.Spark.Worker.Limits.Memory, c.Spark.Executor = test.limit, test.executor
		}))
		if l.offered() != test.offered || l.slots() != test.slots {
			t.Errorf("workers of %s with executors %+v offer %s and %d slots, want %s and %d",
				test.limit, test.executor, l.offered(), l.slots(), test.offered, test.slots)
		}
	}
}

func TestDefaultsFile(t *testing.T) {
	got := defaultsFile(map[string]string{
		"spark.a":   "plain",
		"spark.b":   ` leading blank, \ backslash, # = : !`,
		"spark.c":   "two\nlines\tand ünï",
		"spark.d:e": "",
	})
	want := `spark.a=plain
spark.b=\ leading blank, \\ backslash, # = : !
spark.c=two\nlines\tand ünï
spark.d\:e=
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// page is the master's, recorded from Spark 4.0.5, with these workers: "HOST STATE".
func page(t *testing.T, hosts ...string) provision.PageFact {
	t.Helper()
	raw, err := os.ReadFile("testdata/master.json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	one := m["workers"].([]any)[0].(map[string]any)
	var workers []any
	for _, h := range hosts {
		host, state, _ := strings.Cut(h, " ")
		w := maps.Clone(one)
		w["host"], w["state"] = host, state
		workers = append(workers, w)
	}
	m["workers"] = workers
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return provision.PageFact{Status: 200, Body: body}
}

func running(node string) provision.Object {
	return provision.Object{"spec": map[string]any{"nodeName": node}, "status": map[string]any{"phase": "Running"}}
}

func waiting(node, reason string) provision.Object {
	return provision.Object{"spec": map[string]any{"nodeName": node}, "status": map[string]any{"phase": "Pending",
		"containerStatuses": []any{map[string]any{"state": map[string]any{"waiting": map[string]any{"reason": reason}}}}}}
}

func TestHealth(t *testing.T) {
	both := []provision.Object{running("nuc02"), running("nuc03")}
	good := provision.PageFact{Status: 200, Body: []byte(`{"spark":"4.0.5"}`)}
	for _, test := range []struct {
		name    string
		master  provision.PageFact
		pod     provision.Object
		workers []provision.Object
		history provision.PageFact
		want    map[string]string // what is not healthy, and why
	}{
		{"all well", page(t, "192.168.1.12 DEAD", "192.168.1.12 ALIVE", "192.168.1.13 ALIVE"), running("nuc01"), both, good, map[string]string{}},
		{"one not registered", page(t, "192.168.1.12 ALIVE"), running("nuc01"), both, good,
			map[string]string{"worker nuc03": "it has not registered with the master yet"}},
		{"one dead", page(t, "192.168.1.12 ALIVE", "192.168.1.13 DEAD"), running("nuc01"), both, good,
			map[string]string{"worker nuc03": "it is DEAD"}},
		{"one without pod", page(t, "192.168.1.12 ALIVE"), running("nuc01"), both[:1], good,
			map[string]string{"worker nuc03": "there is no pod for it; is the node ready and labelled nucspark.io/spark=true?"}},
		{"one without image", page(t, "192.168.1.12 ALIVE"), running("nuc01"), []provision.Object{both[0], waiting("nuc03", "ImagePullBackOff")}, good,
			map[string]string{"worker nuc03": "its container is waiting (ImagePullBackOff)"}},
		{"no master", provision.PageFact{}, waiting("nuc01", "ContainerCreating"), both, good,
			map[string]string{"master": "the master does not answer: its container is waiting (ContainerCreating)",
				"worker nuc02": "unknown while the master does not answer", "worker nuc03": "unknown while the master does not answer"}},
		{"no history", page(t, "192.168.1.12 ALIVE", "192.168.1.13 ALIVE"), running("nuc01"), both, provision.PageFact{Status: 500},
			map[string]string{"history server": "its page answers with status 500"}},
	} {
		s := all(t, nil)
		f := provision.NewFacts(map[provision.Query]any{
			masterPage: test.master, pod(master): test.pod, workerPods: test.workers, historyPage: test.history, pod(history): running("nuc01"),
		})
		got := map[string]string{}
		for _, h := range Health(s, f) {
			if !h.OK {
				got[h.Name] = h.Reason
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		l := newLayout(s)
		_, noMaster := test.want["master"]
		wantMissing := noMaster || test.want["worker nuc03"] != ""
		if missing := l.missing(f, l.reachable()); (missing != "") != wantMissing {
			t.Errorf("%s: the wait misses %q", test.name, missing)
		}
	}
}

// Workers that are still to be replaced are registered, and are waited for all
// the same; a machine that is off keeps Kubernetes from replacing any.
func TestRollingChange(t *testing.T) {
	master := provision.Object{"kind": "StatefulSet", "spec": map[string]any{"replicas": int64(1)}, "status": map[string]any{"updatedReplicas": int64(1)}}
	for _, test := range []struct {
		updated, ready int64
		off            string
		want           string
	}{{2, 2, "", ""}, {1, 2, "", "1 of 2 pods have"}, {2, 1, "", "1 of 2 pods are ready"}, {1, 1, "nuc03", ""}} {
		s := all(t, nil)
		delete(s.Machines, test.off)
		f := provision.NewFacts(map[provision.Query]any{masterSet: master, workerSet: provision.Object{"kind": "DaemonSet",
			"status": map[string]any{"desiredNumberScheduled": int64(2), "updatedNumberScheduled": test.updated, "numberAvailable": test.ready}}})
		if got := newLayout(s).rolling(f); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%+v: missing is %q", test, got)
		}
	}
}
