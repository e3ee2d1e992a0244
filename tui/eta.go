package tui

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// Durations says how long steps took when they were last done, by their IDs.
type Durations map[string]time.Duration

// Learn returns them with those of the steps that a run did, or was to do and
// found done.
func (d Durations) Learn(s *provision.State) Durations {
	all := Durations{}
	maps.Copy(all, d)
	for _, st := range s.Steps {
		if st.Status == provision.StatusDone && st.Work() {
			all[st.ID] = st.Elapsed
		}
	}
	return all
}

// forecast tells from remembered durations how far a run is.
type forecast struct {
	steps Durations
	names map[string]time.Duration // the longest by the step's name, for nodes that are new
}

func newForecast(d Durations) forecast {
	f := forecast{d, map[string]time.Duration{}}
	for id, took := range d {
		_, name, _ := strings.Cut(id, "/")
		f.names[name] = max(f.names[name], took)
	}
	return f
}

func (f forecast) of(st *provision.StepState) (time.Duration, bool) {
	if took, ok := f.steps[st.ID]; ok {
		return took, true
	}
	_, name, _ := strings.Cut(st.ID, "/")
	took, ok := f.names[name]
	return took, ok
}

// rest is what a step that runs or waits still takes: by what it took before,
// else by how far it says it is. One that runs longer than ever may end any
// moment.
func (f forecast) rest(st *provision.StepState, now time.Time) (time.Duration, bool) {
	took, ok := f.of(st)
	if st.Status != provision.StatusRunning {
		return took, ok
	}
	ran := now.Sub(st.Started)
	if !ok && st.Done > 0 && st.Total > 0 {
		return time.Duration(float64(ran) * float64(max(0, st.Total-st.Done)) / float64(st.Done)), true
	}
	return max(0, took-ran), ok
}

// left is how long the run still takes: the longest way through the steps that
// come after one another. It is unknown while a step is to be done that was never
// done before, as in a first run. What failed or is blocked does not count.
func (f forecast) left(s *provision.State, now time.Time) (time.Duration, bool) {
	ends := make(map[string]time.Duration, len(s.Steps))
	var last time.Duration
	for _, st := range s.Steps { // each after what it needs
		var end time.Duration
		for _, need := range slices.Concat(st.Needs, st.Awaits) {
			end = max(end, ends[need])
		}
		if st.Status == provision.StatusRunning || st.Status == provision.StatusWaiting && st.StepSummary.Changes > 0 {
			rest, ok := f.rest(st, now)
			if !ok {
				return 0, false
			}
			end += rest
		}
		ends[st.ID] = end
		last = max(last, end)
	}
	return last, true
}

// share is how much of the work is done, from 0 to 1: of the time that it is
// known to take where each planned step was done before, else of the number of
// steps.
func (f forecast) share(s *provision.State, now time.Time) float64 {
	timed := true
	for _, st := range s.Steps {
		if _, ok := f.of(st); !ok && st.StepSummary.Changes > 0 {
			timed = false
		}
	}
	var done, all float64
	for _, st := range s.Steps {
		if !st.Work() {
			continue
		}
		weight := 1.0
		if timed {
			took, _ := f.of(st)
			weight = took.Seconds() + 0.05 // a step that takes no time is still one
		}
		all += weight
		switch st.Status {
		case provision.StatusDone:
			done += weight
		case provision.StatusRunning:
			if timed {
				done += min(now.Sub(st.Started).Seconds(), 0.95*weight)
			}
		}
	}
	if all == 0 {
		return 0
	}
	return done / all
}

// about is a duration as a forecast tells it: "~6 min", "~40 s".
func about(d time.Duration) string {
	if d >= 90*time.Second {
		return fmt.Sprintf("~%d min", int(d.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("~%d s", max(10, (int(d.Seconds())+9)/10*10))
}
