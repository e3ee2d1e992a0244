package provision

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func started(steps ...StepSummary) Event {
	return Event{Kind: RunStarted, Run: "r", Time: begin, Steps: steps}
}

func apply(events ...Event) *State {
	s := &State{}
	for i, e := range events {
		if e.Time.IsZero() {
			e.Time = begin.Add(time.Duration(i) * time.Second)
		}
		s.Apply(e)
	}
	return s
}

func ids(steps []*StepState) []string {
	var list []string
	for _, st := range steps {
		list = append(list, st.ID)
	}
	return list
}

func TestStateFollowsARun(t *testing.T) {
	s := apply(
		started(StepSummary{ID: "b/file", Node: "b", Changes: 1}, StepSummary{ID: "a/image", Node: "a", Changes: 2},
			StepSummary{ID: "a/held", Node: "a"}, StepSummary{ID: "cluster/api", Needs: []string{"a/image"}}, StepSummary{ID: "a/last", Node: "a", Needs: []string{"a/image"}}),
		Event{Kind: StepDone, Step: "a/held"},
		Event{Kind: StepStarted, Step: "b/file"},
		Event{Kind: StepStarted, Step: "a/image"},
		Event{Kind: StepProgress, Step: "a/image", Done: 10, Total: 40, Unit: "bytes", Line: "pause"},
		Event{Kind: StepLog, Step: "nobody/announced", Line: "x"},
	)
	if got := s.Nodes(); !cmp.Equal(got, []string{"a", "b", ""}) {
		t.Errorf("places: %q", got)
	}
	if got := ids(s.Running()); !cmp.Equal(got, []string{"b/file", "a/image"}) {
		t.Errorf("running: %q", got)
	}
	if s.Planned() != 2 {
		t.Errorf("%d steps with changes, want 2", s.Planned())
	}
	im := s.Step("a/image")
	if im.Done != 10 || im.Total != 40 || im.Unit != "bytes" || im.Line != "pause" {
		t.Errorf("progress: %+v", im)
	}
	for id, want := range map[string]bool{"b/file": true, "a/held": false, "cluster/api": false} {
		if s.Step(id).Work() != want {
			t.Errorf("%s is work: %v, want %v", id, !want, want)
		}
	}

	s.Apply(Event{Kind: StepRetried, Step: "a/image", Attempt: 1, Error: &Failure{Message: "again"}})
	if im.Attempt != 1 || im.Line != "again" || im.Status != StatusRunning {
		t.Errorf("after a retry: %+v", im)
	}
	s.Apply(Event{Kind: StepDone, Step: "b/file", Changes: []Change{{Key: "/x"}}, Elapsed: time.Second})
	if b := s.Step("b/file"); b.Status != StatusDone || len(b.Changes) != 1 || b.Elapsed != time.Second {
		t.Errorf("done: %+v", b)
	}
	s.Apply(Event{Kind: StepFailed, Step: "a/image", Error: &Failure{Message: "no"}})
	s.Apply(Event{Kind: StepBlocked, Step: "cluster/api", Line: "a/image"})
	s.Apply(Event{Kind: RunDone, Time: begin.Add(time.Minute), Error: &Failure{Message: "no"}})
	if got := ids(s.Failed()); !cmp.Equal(got, []string{"a/image"}) {
		t.Errorf("failed: %q", got)
	}
	if s.Step("cluster/api").Blocked != "a/image" || s.Ended.Sub(s.Started) != time.Minute || s.Error == nil {
		t.Errorf("at the end: %+v", s)
	}
}

func TestStateWaitsFor(t *testing.T) {
	steps := started(
		StepSummary{ID: "a/init", Node: "a", Changes: 1},
		StepSummary{ID: "cluster/api", Needs: []string{"a/init"}}, // a milestone
		StepSummary{ID: "b/image", Node: "b"},
		StepSummary{ID: "a/cache", Node: "a", Changes: 1},
		StepSummary{ID: "b/join", Node: "b", Needs: []string{"b/image", "cluster/api"}, Awaits: []string{"a/cache"}, Changes: 1},
	)
	over := Event{Kind: StepFailed, Step: "a/cache"} // keeps nothing from running
	for _, c := range []struct {
		name   string
		events []Event
		want   string
	}{
		{"through a milestone to what runs", []Event{{Kind: StepDone, Step: "b/image"}, {Kind: StepStarted, Step: "a/init"}}, "a/init"},
		{"a failure before what runs", []Event{{Kind: StepStarted, Step: "b/image"}, {Kind: StepFailed, Step: "a/init"},
			{Kind: StepBlocked, Step: "cluster/api", Line: "a/init"}}, "a/init"},
		{"nothing", []Event{{Kind: StepDone, Step: "b/image"}, {Kind: StepDone, Step: "a/init"}, {Kind: StepDone, Step: "cluster/api"}}, ""},
	} {
		s := apply(append([]Event{steps, over}, c.events...)...)
		got := ""
		if on := s.WaitsFor(s.Step("b/join")); on != nil {
			got = on.ID
		}
		if got != c.want {
			t.Errorf("%s: waits for %q, want %q", c.name, got, c.want)
		}
	}
	awaited := apply(steps, Event{Kind: StepDone, Step: "b/image"}, Event{Kind: StepStarted, Step: "a/cache"})
	if on := awaited.WaitsFor(awaited.Step("b/join")); on == nil || on.ID != "a/cache" {
		t.Errorf("waits for %+v, not for what it awaits", on)
	}
	circle := apply(started(StepSummary{ID: "x", Needs: []string{"y"}}, StepSummary{ID: "y", Needs: []string{"x"}}))
	circle.WaitsFor(circle.Step("x")) // returns
}

// FuzzState applies events in any order, each byte being one event. Nothing
// that claims to be an event may end the display of a run.
func FuzzState(f *testing.F) {
	kinds := []Kind{RunStarted, StepStarted, StepLog, StepProgress, StepRetried, StepDone, StepFailed, StepBlocked, StepReopened, RunDone, "of-later"}
	steps := []StepSummary{{ID: "a/1", Node: "a", Changes: 1}, {ID: "b/1", Node: "b", Needs: []string{"a/1"}}, {ID: "cluster/x", Needs: []string{"b/1", "none"}},
		{ID: "c/1", Needs: []string{"c/2"}}, {ID: "c/2", Needs: []string{"c/1"}}}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 { // so that every ordinary test run has many orders
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(random.UintN(256))
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1000 {
			return
		}
		var s State
		for i, b := range data {
			step := int(b) / len(kinds)
			e := Event{Kind: kinds[int(b)%len(kinds)], Time: begin.Add(time.Duration(i) * time.Second), Line: "cluster/x", Done: int64(b) - 50, Total: int64(i) - 3}
			if e.Kind == RunStarted {
				e.Steps = steps
			}
			if step < len(steps) {
				e.Step, e.Node = steps[step].ID, steps[step].Node
			}
			if b%2 == 0 {
				e.Error = &Failure{Message: "no"}
			}
			s.Apply(e)
			for _, st := range s.Failed() {
				if st.Error == nil {
					t.Fatalf("%s failed without an error", st.ID)
				}
			}
			for _, st := range s.Steps {
				s.WaitsFor(st)
			}
			s.Nodes()
			s.Planned()
		}
	})
}
