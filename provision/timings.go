package provision

import (
	"fmt"
	"strings"
	"time"
)

// Timings says where the time of a look at the machines went. Machines are
// asked side by side, and the API at the same time, so that the sum may be
// more than the whole.
type Timings struct {
	Dial   time.Duration // the slowest SSH connection
	Survey time.Duration // the slowest answer to what a machine is
	Nodes  time.Duration // the facts of the machines, in one batch each
	API    time.Duration // the cluster's record and facts
	Diff   time.Duration // comparing them with what should be
}

// String is one line: "dial 0.11 s, survey 0.20 s, …".
func (t Timings) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		d    time.Duration
	}{{"dial", t.Dial}, {"survey", t.Survey}, {"nodes", t.Nodes}, {"API", t.API}, {"diff", t.Diff}} {
		parts = append(parts, fmt.Sprintf("%s %.2f s", p.name, p.d.Seconds()))
	}
	return strings.Join(parts, ", ")
}

// Timings is what the fleet's connections, surveys and plans took so far.
func (f *Fleet) Timings() Timings {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.timings
}

// The parts that are timed.
func dialled(t *Timings) *time.Duration    { return &t.Dial }
func surveyed(t *Timings) *time.Duration   { return &t.Survey }
func askedNodes(t *Timings) *time.Duration { return &t.Nodes }
func askedAPI(t *Timings) *time.Duration   { return &t.API }
func diffed(t *Timings) *time.Duration     { return &t.Diff }

// timed adds the time since start to one of the fleet's timings.
func (f *Fleet) timed(of func(*Timings) *time.Duration, start time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*of(&f.timings) += time.Since(start)
}

// slowest is timed for what runs side by side: the longest counts.
func (f *Fleet) slowest(of func(*Timings) *time.Duration, start time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*of(&f.timings) = max(*of(&f.timings), time.Since(start))
}
