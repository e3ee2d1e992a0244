package provision

import (
	"strings"
	"time"

	"nucspark.io/nucspark/provision/host"
)

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
	Awaits  []string `json:"awaits,omitempty"` // come before it, and may fail
	Changes int      `json:"changes"`          // planned; 0 when it holds already
}

// Failure is an error in the form in which events carry it.
type Failure struct {
	Message string   `json:"message"`
	Command string   `json:"command,omitempty"`
	Code    int      `json:"code,omitempty"`
	Tail    []string `json:"tail,omitempty"` // last lines of output
	Hint    string   `json:"hint,omitempty"`
}

// clean returns a copy without control characters but line ends.
func (f *Failure) clean() *Failure {
	c := *f
	c.Message, c.Command, c.Hint = cleanText(f.Message), cleanText(f.Command), cleanText(f.Hint)
	c.Tail = make([]string, len(f.Tail))
	for i, l := range f.Tail {
		c.Tail[i] = host.Clean(l)
	}
	return &c
}

// cleanText is host.Clean for several lines.
func cleanText(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = host.Clean(l)
	}
	return strings.Join(lines, "\n")
}

// cleanChanges returns copies whose texts hold no control characters but line
// ends: what is there now was read from a machine.
func cleanChanges(changes []Change) []Change {
	var all []Change
	for _, c := range changes {
		c.Kind, c.Key, c.Action = host.Clean(c.Kind), host.Clean(c.Key), Action(host.Clean(string(c.Action)))
		c.Old, c.New, c.Detail, c.After = cleanText(c.Old), cleanText(c.New), cleanText(c.Detail), host.Clean(c.After)
		all = append(all, c)
	}
	return all
}
