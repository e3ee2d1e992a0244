package provision

import (
	"sort"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// Status is where a step is.
type Status string

// The states of a step.
const (
	StatusWaiting Status = "waiting"
	StatusRunning Status = "running"
	StatusDone    Status = "done"
	StatusFailed  Status = "failed"
	StatusBlocked Status = "blocked"
)

// StepState is what the events so far say of one step.
type StepState struct {
	StepSummary
	Status  Status
	Started time.Time
	Elapsed time.Duration
	Changes []Change // made
	Error   *Failure // never nil when Status is StatusFailed
	Blocked string   // the step whose failure keeps this one
	Attempt int      // that failed and was tried again
	Line    string   // the latest line of output, or why it is tried again
	Done    int64
	Total   int64
	Unit    string
}

// Work tells steps that change something from those that held from the start
// and from milestones, which only stand for others.
func (st *StepState) Work() bool {
	return st.StepSummary.Changes > 0 || !st.Started.IsZero() || st.Status == StatusFailed
}

// State is what the events so far say of a run. Every display is made from it,
// and whatever an event holds, no text in it can steer a terminal. The zero
// value is ready.
type State struct {
	Run     string
	Steps   []*StepState // in the order of the plan
	Started time.Time
	Ended   time.Time // zero while it runs
	Error   *Failure

	byID map[string]*StepState
}

// Apply takes one event in. Events of steps that the run did not announce are
// ignored.
func (s *State) Apply(e Event) {
	switch e.Kind {
	case RunStarted:
		*s = State{Run: host.Clean(e.Run), Started: e.Time, byID: map[string]*StepState{}}
		for _, sum := range e.Steps {
			st := &StepState{StepSummary: sum, Status: StatusWaiting}
			s.byID[sum.ID] = st
			st.ID, st.Node = host.Clean(sum.ID), host.Clean(sum.Node)
			s.Steps = append(s.Steps, st)
		}
		return
	case RunDone:
		s.Ended, s.Error = e.Time, e.Error
		return
	}
	st := s.byID[e.Step]
	if st == nil {
		return
	}
	switch e.Kind {
	case StepStarted:
		st.Status, st.Started = StatusRunning, e.Time
	case StepLog:
		st.Line = host.Clean(e.Line)
	case StepProgress:
		st.Done, st.Total, st.Unit, st.Line = e.Done, e.Total, host.Clean(e.Unit), host.Clean(e.Line)
	case StepRetried:
		st.Attempt, st.Line = e.Attempt, host.Clean(failure(e).Message)
	case StepDone:
		st.Status, st.Changes, st.Elapsed = StatusDone, cleanChanges(e.Changes), e.Elapsed
	case StepFailed:
		st.Status, st.Error, st.Elapsed = StatusFailed, failure(e), e.Elapsed
	case StepBlocked:
		st.Status, st.Blocked = StatusBlocked, host.Clean(e.Line)
	case StepReopened:
		*st = StepState{StepSummary: st.StepSummary, Status: StatusWaiting}
	}
}

// failure is the error of an event that should have one.
func failure(e Event) *Failure {
	if e.Error == nil {
		return &Failure{Message: "no reason was given"}
	}
	return e.Error.clean()
}

// Planned counts the steps that had changes when the run started.
func (s *State) Planned() int {
	n := 0
	for _, st := range s.Steps {
		if st.StepSummary.Changes > 0 {
			n++
		}
	}
	return n
}

// Step returns the step of that ID, nil if the run has none.
func (s *State) Step(id string) *StepState { return s.byID[id] }

// Failed returns the steps that failed, in the order of the plan.
func (s *State) Failed() []*StepState { return s.with(StatusFailed) }

// Running returns the steps that run now.
func (s *State) Running() []*StepState { return s.with(StatusRunning) }

func (s *State) with(status Status) []*StepState {
	var found []*StepState
	for _, st := range s.Steps {
		if st.Status == status {
			found = append(found, st)
		}
	}
	return found
}

// WaitsFor returns the step at the end of what a waiting step waits for: one
// that failed, if any did, else one that runs. It is nil when nothing is in the
// way.
func (s *State) WaitsFor(st *StepState) *StepState {
	var end *StepState
	for range s.Steps { // no chain is longer, and a circle must end
		var need *StepState
		for _, id := range st.Needs {
			if n := s.byID[id]; n != nil && n.Status != StatusDone && (need == nil || n.hold() > need.hold()) {
				need = n
			}
		}
		for _, id := range st.Awaits {
			if n := s.byID[id]; n != nil && (n.Status == StatusWaiting || n.Status == StatusRunning) && (need == nil || n.hold() > need.hold()) {
				need = n
			}
		}
		if need == nil {
			break
		}
		if st, end = need, need; need.Status != StatusWaiting {
			break
		}
	}
	if end != nil && end.Status == StatusBlocked && s.byID[end.Blocked] != nil {
		end = s.byID[end.Blocked]
	}
	return end
}

// hold orders steps that are not done by how much they say about why those
// after them wait.
func (st *StepState) hold() int {
	switch {
	case st.Status == StatusFailed || st.Status == StatusBlocked:
		return 2
	case st.Work():
		return 1
	}
	return 0
}

// Nodes returns the places of the run by name, the cluster ("") last.
func (s *State) Nodes() []string {
	seen := map[string]bool{}
	var nodes []string
	for _, st := range s.Steps {
		if !seen[st.Node] && st.Node != "" {
			nodes = append(nodes, st.Node)
		}
		seen[st.Node] = true
	}
	sort.Strings(nodes)
	if seen[""] {
		nodes = append(nodes, "")
	}
	return nodes
}

// Stuck says that steps failed, and nothing runs or can run unless one of them
// is tried again.
func (s *State) Stuck() bool {
	failed := false
	for _, st := range s.Steps {
		switch st.Status {
		case StatusRunning, StatusWaiting:
			return false
		case StatusFailed:
			failed = true
		}
	}
	return failed && s.Ended.IsZero()
}
