package provision

import "time"

// EventVersion is the version of the JSON form of [Event].
const EventVersion = 1

// Kind says what an event tells.
type Kind string

// The kinds of events, in the order in which a run emits them.
const (
	RunStarted   Kind = "run-started" // Steps lists the steps of the run
	StepStarted  Kind = "step-started"
	StepLog      Kind = "step-log"      // Line is one cleaned line of remote output
	StepProgress Kind = "step-progress" // Done of Total in Unit, Line says of what
	StepRetried  Kind = "step-retried"  // Error was transient; Attempt counts from 1
	StepDone     Kind = "step-done"     // Changes were made; none when the step held already
	StepFailed   Kind = "step-failed"   // Error says why
	StepBlocked  Kind = "step-blocked"  // Line names the step that failed before
	StepReopened Kind = "step-reopened" // it failed or was blocked, and somebody wants it tried again
	RunDone      Kind = "run-done"      // Error is the first failure, if any
)

// Event is one typed fact about a run. Nothing in it is secret, and no text in
// it carries control characters.
type Event struct {
	V       int           `json:"v"`
	Seq     int64         `json:"seq"` // counts from 1 within a run
	Time    time.Time     `json:"time"`
	Run     string        `json:"run"`
	Kind    Kind          `json:"kind"`
	Node    string        `json:"node,omitempty"` // "" for what belongs to no single node
	Step    string        `json:"step,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	Line    string        `json:"line,omitempty"`
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	Unit    string        `json:"unit,omitempty"` // "bytes", "blocks", "pods" …
	Changes []Change      `json:"changes,omitempty"`
	Error   *Failure      `json:"error,omitempty"`
	Steps   []StepSummary `json:"steps,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns,omitempty"` // of the step or the run
}

// StepSummary is one step of a run that starts.
type StepSummary struct {
	ID      string   `json:"id"`
	Node    string   `json:"node,omitempty"`
	Needs   []string `json:"needs,omitempty"`
	Changes int      `json:"changes"` // planned; 0 when it holds already
}

// Failure is an error in the form in which events carry it.
type Failure struct {
	Message string   `json:"message"`
	Command string   `json:"command,omitempty"`
	Code    int      `json:"code,omitempty"`
	Tail    []string `json:"tail,omitempty"` // last lines of output
	Hint    string   `json:"hint,omitempty"`
}
