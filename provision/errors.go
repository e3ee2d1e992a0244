package provision

import (
	"errors"
	"strings"

	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// StepError is the failure of one step.
type StepError struct {
	Node, Step string
	Err        error
	Hint       string // what to do
	Transient  bool   // worth another try
}

func (e *StepError) Error() string {
	s := e.Err.Error()
	if e.Step != "" && !strings.Contains(s, e.Step) {
		s = e.Step + ": " + s
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *StepError) Unwrap() error { return e.Err }

// RefusedError says that nothing was changed and why.
type RefusedError struct{ Reasons []string }

func (e *RefusedError) Error() string {
	return "refused before any change:\n  " + strings.Join(e.Reasons, "\n  ")
}

// IsTransient says whether trying again may help: a connection that dropped, a
// package repository that did not answer, an API server that is busy.
func IsTransient(err error) bool {
	var step *StepError
	if errors.As(err, &step) && step.Transient {
		return true
	}
	var lost *LostLockError
	if errors.As(err, &lost) {
		return false
	}
	var conn *host.ConnectError
	if errors.As(err, &conn) {
		return conn.Transient
	}
	var cmd *host.CommandError // ran, and failed or took too long
	return !errors.As(err, &cmd) && kube.IsTransient(err)
}

// Failed describes an error for an event.
func Failed(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Message: err.Error()}
	var cmd *host.CommandError
	if errors.As(err, &cmd) {
		f.Command, f.Code, f.Tail = cmd.Command, cmd.Code, cmd.Tail
	}
	var step *StepError
	if errors.As(err, &step) {
		f.Hint = step.Hint
	}
	return f.clean()
}
