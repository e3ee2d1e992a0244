package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Fleet is what is asked. [provision.Fleet] is the real one.
type Fleet interface {
	SurveyNode(ctx context.Context, node string) (provision.Machine, error)
	Vitals(ctx context.Context, node string, paths []string) (provision.Vitals, error)
	Read(ctx context.Context, queries []provision.Query) (provision.Facts, error)
}

// Component is a part of the cluster that can say how it is.
type Component struct {
	Name    string
	Queries func(*provision.Site) []provision.Query
	Health  func(*provision.Site, provision.Facts) []provision.Health
}

// Options of a watcher.
type Options struct {
	Cluster    *inventory.Cluster
	Fleet      Fleet
	Components []Component
	// Usage asks for what Storage and Compute need besides.
	Usage    func(*provision.Site) []provision.Query
	Storage  func(*provision.Site, provision.Facts) *provision.Storage
	Compute  func(*provision.Site, provision.Facts) *provision.Compute
	Interval time.Duration // between two looks
}

const (
	// bound is how long a look may take. The first one at a machine takes
	// longest: a connection, and a survey.
	bound = 20 * time.Second
	// checkEvery is how often a machine is asked what needs the rights of an
	// administrator.
	checkEvery = 30 * time.Second
)

// Watcher looks at a cluster while it runs.
type Watcher struct {
	o     Options
	now   func() time.Time
	ready chan struct{} // closed when everybody was asked once

	mu      sync.Mutex
	nodes   []*node
	api     Source
	facts   provision.Facts // of the cluster, when it answered last
	state   State           // as it was made last
	stale   bool            // something changed since
	paused  bool
	asked   int           // how often somebody wanted a look at once
	wake    chan struct{} // closed when paused or asked change
	waiting int           // how many were not asked once yet
}

// node is a machine and what it said last.
type node struct {
	*inventory.Node
	Source
	machine *provision.Machine // nil: not surveyed yet
	vitals  *provision.Vitals
	facts   provision.Facts
	checked time.Time // when facts were answered; zero: never
	asked   int       // the value of Watcher.asked then
}

// New returns a watcher that has not looked yet.
func New(o Options) *Watcher {
	w := &Watcher{o: o, now: time.Now, ready: make(chan struct{}), wake: make(chan struct{}), stale: true, waiting: 1 + len(o.Cluster.Nodes)}
	for i := range o.Cluster.Nodes {
		w.nodes = append(w.nodes, &node{Node: &o.Cluster.Nodes[i]})
	}
	return w
}

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		wg.Go(func() { w.look(ctx, &n.Source, func(ctx context.Context) error { return w.askNode(ctx, n) }) })
	}
	wg.Go(func() { w.look(ctx, &w.api, w.askAPI) })
	wg.Wait()
}

// Ready is closed when everybody has answered once, or failed to.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// State is what is known now.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stale {
		w.state, w.stale = w.build(), false
	}
	w.state.Time, w.state.Paused = w.now(), w.paused
	return w.state
}

// Refresh looks at once, at all there is, paused or not.
func (w *Watcher) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	w.rouse()
}

// Pause makes it look no more until Pause(false).
func (w *Watcher) Pause(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = on
	w.rouse()
}

func (w *Watcher) rouse() {
	close(w.wake)
	w.wake = make(chan struct{})
}

// change changes what is known.
func (w *Watcher) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.stale = true
}

// look asks somebody again and again.
func (w *Watcher) look(ctx context.Context, s *Source, ask func(context.Context) error) {
	for first := true; ; first = false {
		var asked int
		w.change(func() { s.Asked, asked = w.now(), w.asked })
		bounded, cancel := context.WithTimeout(ctx, bound)
		err := ask(bounded)
		if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", bound)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.change(func() {
			s.Asked, s.Err = time.Time{}, ""
			if err != nil {
				s.Err = err.Error()
			} else {
				s.Seen = w.now()
			}
			if first {
				if w.waiting--; w.waiting == 0 {
					close(w.ready)
				}
			}
		})
		if !w.rest(ctx, asked) {
			return
		}
	}
}

// rest waits until the next look is due, false when there is none.
func (w *Watcher) rest(ctx context.Context, asked int) bool {
	due := time.NewTimer(w.o.Interval)
	defer due.Stop()
	for over := false; ; {
		w.mu.Lock()
		wake, now := w.wake, w.asked != asked || over && !w.paused
		w.mu.Unlock()
		if now {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-wake:
		case <-due.C:
			over = true
		}
	}
}

// askNode asks one machine. What it said before is forgotten when it fails to.
func (w *Watcher) askNode(ctx context.Context, n *node) (err error) {
	defer func() {
		if err != nil {
			w.change(func() { n.vitals = nil })
		}
	}()
	v, err := w.o.Fleet.Vitals(ctx, n.Name, provision.DataPaths(n.Node))
	if err != nil {
		return err
	}
	var asked int
	w.change(func() {
		if n.vitals != nil {
			v = v.Since(*n.vitals)
		}
		n.vitals, asked = &v, w.asked
	})
	if !n.checked.IsZero() && n.Err == "" && asked == n.asked && w.now().Sub(n.checked) < checkEvery {
		return nil
	}
	machine := n.machine
	if machine == nil || machine.Identity == nil { // nobody has set it up yet, or had
		m, err := w.o.Fleet.SurveyNode(ctx, n.Name)
		if err != nil {
			return err
		}
		machine = &m
	}
	facts, err := w.o.Fleet.Read(ctx, w.queries(n.Name, map[string]provision.Machine{n.Name: *machine}))
	if err != nil {
		return err
	}
	w.change(func() { n.machine, n.facts, n.checked, n.asked = machine, facts, w.now(), asked })
	return nil
}

// askAPI asks the cluster as a whole.
func (w *Watcher) askAPI(ctx context.Context) error {
	queries := w.queries("", nil)
	facts, err := w.o.Fleet.Read(ctx, queries)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(queries, facts.Known) {
		return fmt.Errorf("the Kubernetes API on %s does not answer", w.o.Cluster.ControlPlane().Name)
	}
	w.change(func() { w.facts = facts })
	return nil
}

// queries are those of all components that one machine, or for "" the API, is
// asked.
func (w *Watcher) queries(on string, machines map[string]provision.Machine) []provision.Query {
	site := &provision.Site{Cluster: w.o.Cluster, Machines: machines}
	all := w.o.Usage(site)
	for _, c := range w.o.Components {
		all = append(all, c.Queries(site)...)
	}
	return slices.DeleteFunc(all, func(q provision.Query) bool { return q.On() != on })
}

// build makes the state of what everybody said last.
func (w *Watcher) build() State {
	c := w.o.Cluster
	s := State{Cluster: c.Name, Interval: w.o.Interval, Control: c.ControlPlane().Name, API: w.api}
	site := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{}}
	failed := map[string]error{}
	facts := []provision.Facts{w.facts}
	for _, n := range w.nodes {
		s.Machines = append(s.Machines, Machine{Name: n.Name, Source: n.Source, Vitals: n.vitals})
		switch {
		case n.Err != "":
			failed[n.Name] = errors.New(n.Err)
		case n.checked.IsZero():
			failed[n.Name] = errors.New("it has not answered yet")
		default:
			site.Machines[n.Name] = *n.machine
			facts = append(facts, n.facts)
		}
	}
	for i, h := range provision.MachineHealth(c, site.Machines, failed) {
		if v := w.nodes[i].vitals; v != nil && h.Info != nil {
			maps.Copy(h.Info, v.Info())
		}
		s.Health = append(s.Health, h)
	}
	for _, v := range c.Volumes {
		volume := Volume{Name: v.Name, Node: v.Node, Size: int64(v.Size)}
		if n, ok := c.Node(v.Node); ok && n.NFS != nil {
			volume.Export = n.NFS.Export
		}
		s.Volumes = append(s.Volumes, volume)
	}
	switch {
	case w.api.Err != "":
		s.Health = append(s.Health, provision.Health{Component: "kubernetes", Name: "api", Node: s.Control, Reason: w.api.Err})
	case !w.api.Seen.IsZero():
		known := provision.Facts{}.With(facts...)
		for _, component := range w.o.Components {
			s.Health = append(s.Health, component.Health(site, known)...)
		}
		s.HDFS, s.Spark = w.o.Storage(site, known), w.o.Compute(site, known)
	}
	return s
}
