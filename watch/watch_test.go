package watch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// fakeFleet is three machines, each of which can be made to fail or to hang.
type fakeFleet struct {
	mu      sync.Mutex
	fail    map[string]error // by node; "" is the API
	hang    map[string]bool
	vitals  map[string]int // how often
	surveys map[string]int
	reads   map[string]int
	load    float64
}

func newFakeFleet() *fakeFleet {
	return &fakeFleet{fail: map[string]error{}, hang: map[string]bool{}, vitals: map[string]int{}, surveys: map[string]int{}, reads: map[string]int{}}
}

func (f *fakeFleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeFleet) answer(ctx context.Context, on string, counts map[string]int) error {
	f.mu.Lock()
	counts[on]++
	err, hangs := f.fail[on], f.hang[on]
	f.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return fmt.Errorf("%s: %w", on, ctx.Err())
	}
	return err
}

func (f *fakeFleet) SurveyNode(ctx context.Context, node string) (provision.Machine, error) {
	return provision.Machine{OS: "ubuntu", Identity: &provision.Identity{Node: node}}, f.answer(ctx, node, f.surveys)
}

func (f *fakeFleet) Vitals(ctx context.Context, node string, paths []string) (provision.Vitals, error) {
	err := f.answer(ctx, node, f.vitals)
	f.mu.Lock()
	defer f.mu.Unlock()
	return provision.Vitals{CPUs: 4, Load: f.load, Memory: 8 << 30, Disks: []provision.DiskUse{{Path: paths[0], Size: 100, Used: 10, Free: 90}}}, err
}

func (f *fakeFleet) Read(ctx context.Context, queries []provision.Query) (provision.Facts, error) {
	on := queries[0].On()
	err := f.answer(ctx, on, f.reads)
	answers := map[provision.Query]any{}
	for _, q := range queries {
		if q.On() != on {
			return provision.Facts{}, fmt.Errorf("%s is asked %s", on, q.Key())
		}
		switch q.(type) {
		case provision.PageQuery:
			answers[q] = provision.PageFact{Status: 200}
		case provision.ModuleQuery:
			answers[q] = provision.ModuleFact{Present: true}
		}
	}
	return provision.NewFacts(answers), err
}

// A component that asks the API once and each machine once.
var page = provision.PageQuery{Namespace: "nucspark", Pod: "p", Port: 1, Path: "/"}

func module(node string) provision.ModuleQuery { return provision.ModuleQuery{Node: node, Name: "m"} }

var component = Component{
	Name: "hdfs",
	Queries: func(site *provision.Site) []provision.Query {
		all := []provision.Query{page}
		for _, n := range site.Reachable() {
			all = append(all, module(n.Name))
		}
		return all
	},
	Health: func(site *provision.Site, f provision.Facts) []provision.Health {
		all := []provision.Health{{Component: "hdfs", Name: "namenode", Node: "nuc01", OK: page.In(f).Status == 200}}
		for _, n := range site.Cluster.Nodes {
			h := provision.Health{Component: "hdfs", Name: "datanode " + n.Name, Node: n.Name, Reason: "the machine does not answer"}
			if _, ok := site.Machines[n.Name]; ok {
				h.OK, h.Reason = module(n.Name).In(f).Present, ""
			}
			all = append(all, h)
		}
		return all
	},
}

func testCluster() *inventory.Cluster {
	c := &inventory.Cluster{Name: "lab", File: "cluster.hcl", Volumes: []inventory.Volume{{Name: "shared", Node: "nuc02", Size: 50}}}
	for i, name := range []string{"nuc01", "nuc02", "nuc03"} {
		c.Nodes = append(c.Nodes, inventory.Node{Name: name, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Role: inventory.Worker})
	}
	c.Nodes[0].Role = inventory.ControlPlane
	c.Nodes[1].NFS = &inventory.NodeNFS{Export: "/srv/nfs"}
	return c
}

// watching starts a watcher that looks as often as it can.
func watching(t *testing.T, f *fakeFleet) *Watcher {
	t.Helper()
	w := New(Options{Cluster: testCluster(), Fleet: f, Components: []Component{component}, Interval: time.Millisecond,
		Usage:   func(*provision.Site) []provision.Query { return []provision.Query{page} },
		Storage: func(*provision.Site, provision.Facts) *provision.Storage { return &provision.Storage{Live: 3} },
		Compute: func(*provision.Site, provision.Facts) *provision.Compute { return nil }})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.now = func() time.Time { return now } // half a minute is never over
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// until waits for a state of which something is true.
func until(t *testing.T, w *Watcher, what string, is func(State) bool) State {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s := w.State()
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not seen: %s\n%+v", what, s)
		}
		time.Sleep(time.Millisecond)
	}
}

func well(s State) bool { return len(s.Problems(s.Time)) == 0 && s.HDFS != nil }

func TestWatch(t *testing.T) {
	f := newFakeFleet()
	w := watching(t, f)
	<-w.Ready()
	s := until(t, w, "all well", well)
	if len(s.Machines) != 3 || s.Machines[1].Vitals == nil || s.HDFS.Live != 3 || len(s.Health) != 3+4 || s.Control != "nuc01" {
		t.Errorf("%+v", s)
	}
	if d, ok := s.Disk(s.Volumes[0]); !ok || d.Path != "/srv/nfs" {
		t.Errorf("the volume's disk is %+v, %v", d, ok)
	}
	if s.Health[1].Info["load"] != "0.00" || s.Health[1].Info["system"] != "ubuntu" {
		t.Errorf("the machine's health is %+v", s.Health[1])
	}
	// It goes on by itself.
	f.set(func() { f.load = 7 })
	until(t, w, "a load of 7 on each", func(s State) bool {
		return s.Machines[0].Vitals.Load == 7 && s.Machines[1].Vitals.Load == 7 && s.Machines[2].Vitals.Load == 7
	})
	// What takes rights is asked once in half a minute, the survey once.
	f.set(func() {
		for node, n := range f.vitals {
			if n < 2 || f.reads[node] != 1 || f.surveys[node] != 1 {
				t.Errorf("%s: %d looks, %d checks, %d surveys", node, n, f.reads[node], f.surveys[node])
			}
		}
	})
}

// A machine that fails takes nothing with it but what hangs on it, and comes
// back by itself.
func TestMachineFails(t *testing.T) {
	f := newFakeFleet()
	w := watching(t, f)
	until(t, w, "all well", well)
	f.set(func() { f.fail["nuc03"] = errors.New("nuc03: connection refused"); f.load = 3 })
	s := until(t, w, "nuc03 silent, the others go on", func(s State) bool {
		return s.Machines[2].Err != "" && s.Machines[1].Vitals != nil && s.Machines[1].Vitals.Load == 3
	})
	problems := s.Problems(s.Time)
	if len(problems) != 1 || problems[0].Level != Silent || problems[0].Name != "nuc03" || problems[0].Reason != "connection refused" || problems[0].Since.IsZero() ||
		strings.Join(problems[0].With, ",") != "datanode nuc03" || s.Machines[2].Vitals != nil {
		t.Errorf("%+v", problems)
	}
	checks := 0
	f.set(func() { delete(f.fail, "nuc03"); checks = f.reads["nuc03"] })
	until(t, w, "all well again", well)
	f.set(func() {
		if f.reads["nuc03"] == checks {
			t.Error("what takes rights was not asked again after it came back")
		}
	})
}

// One that hangs is told of before the look at it ends.
func TestMachineHangs(t *testing.T) {
	f := newFakeFleet()
	f.hang["nuc02"] = true
	w := watching(t, f)
	s := until(t, w, "the others", func(s State) bool { return s.Machines[0].Vitals != nil && s.Machines[2].Vitals != nil && s.HDFS != nil })
	if m := s.Machines[1]; m.Asked.IsZero() || m.Err != "" || m.Trouble(s.Time.Add(time.Hour)) != "" {
		t.Errorf("one that never answered is not only asked: %+v", m)
	}
	m := Machine{Source: Source{Asked: s.Time, Seen: s.Time}}
	if m.Trouble(s.Time.Add(silentAfter)) != "" || m.Trouble(s.Time.Add(silentAfter+1)) == "" {
		t.Error("silence does not begin when it should")
	}
}

func TestAPIFails(t *testing.T) {
	f := newFakeFleet()
	w := watching(t, f)
	until(t, w, "all well", well)
	f.set(func() { f.fail[""] = errors.New("no route") })
	s := until(t, w, "the API silent", func(s State) bool { return s.API.Err != "" })
	p := s.Problems(s.Time)
	if len(p) != 1 || p[0].Name != "API" || p[0].Reason != "no route" || s.HDFS != nil || s.Machines[1].Vitals == nil {
		t.Errorf("%+v", p)
	}
	f.set(func() { f.fail["nuc01"] = errors.New("off") })
	s = until(t, w, "both", func(s State) bool { return s.Machines[0].Err != "" })
	if p := s.Problems(s.Time); len(p) != 1 || p[0].Name != "nuc01" || strings.Join(p[0].With, ",") != "the cluster's API" {
		t.Errorf("%+v", p)
	}
	f.set(func() { f.fail = map[string]error{} })
	until(t, w, "all well again", well)
}

// While it is paused nothing is asked, but what somebody wants at once.
func TestPause(t *testing.T) {
	f := newFakeFleet()
	w := watching(t, f)
	until(t, w, "all well", well)
	w.Pause(true)
	count := func() (n int) {
		f.set(func() {
			for _, c := range f.vitals {
				n += c
			}
			n += f.reads[""]
		})
		return n
	}
	// One look each may have been under way, or just due.
	most := count() + 4
	for range 100 {
		time.Sleep(time.Millisecond)
		if n := count(); n > most {
			t.Fatalf("%d looks while it is paused, at most %d", n, most)
		}
	}
	w.Refresh()
	checked := func() (n int) {
		f.set(func() { n = f.reads["nuc02"] })
		return n
	}
	until(t, w, "what takes rights, once more", func(State) bool { return checked() == 2 })
	if n := count(); n > most+4 {
		t.Errorf("%d looks after one was wanted, at most %d", n, most+4)
	}
	w.Pause(false)
	until(t, w, "it goes on", func(s State) bool { return !s.Paused && count() > most+8 })
}

func TestProblems(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	seen := Source{Seen: now}
	s := State{Control: "nuc01", API: seen, Machines: []Machine{
		{Name: "nuc01", Source: seen, Vitals: &provision.Vitals{Celsius: 97}},
		{Name: "nuc02", Source: Source{Err: "nuc02: off"}},
		{Name: "nuc03", Source: Source{Asked: now}},
	}, Health: []provision.Health{
		{Component: "machine", Name: "nuc01", Node: "nuc01", Reason: "not set up yet"},
		{Component: "machine", Name: "nuc02", Node: "nuc02", Reason: "off"},
		{Component: "machine", Name: "nuc03", Node: "nuc03", Reason: "it has not answered yet"},
		{Component: "hdfs", Name: "namenode", Node: "nuc01", Reason: "7 blocks are missing"},
		{Component: "hdfs", Name: "datanode nuc02", Node: "nuc02", Reason: "the machine does not answer"},
	}, HDFS: &provision.Storage{UnderReplicated: 3, Corrupt: 1}}
	var got []string
	for _, p := range s.Problems(now) {
		got = append(got, fmt.Sprintf("%s %s %s: %.20s %v", p.Level, p.Component, p.Name, p.Reason, p.With))
	}
	want := []string{
		"silent machine nuc02: off [datanode nuc02]",
		"failed machine nuc01: not set up yet []",
		"failed hdfs namenode: 7 blocks are missing []",
		"warning machine nuc01: it is 97 °C hot []",
		"warning hdfs blocks: 3 with too few copie []",
		"warning hdfs blocks: 1 with a damaged cop []",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.Machines[2].Seen = now.Add(-time.Minute)
	s.Machines[2].Asked = time.Time{}
	if at := s.Shown(now); !at.Equal(now.Add(-time.Minute)) {
		t.Errorf("what is shown is of %s", at)
	}
}
