package main

import (
	"context"
	"errors"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Exit codes, as the documentation promises them.
const (
	exitFailed      = 1
	exitBad         = 2 // bad usage, bad inventory, or refused before any change
	exitPending     = 3 // changes are pending
	exitLocked      = 4 // another run holds the lock
	exitInterrupted = 130
)

// ExitError carries the exit code of a command. Err is nil when all was said
// already.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// exitCode is the code for what a command returned.
func exitCode(err error) int {
	var exit *ExitError
	var diags inventory.Diagnostics
	var refused *provision.RefusedError
	var locked *provision.LockedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &diags), errors.As(err, &refused):
		return exitBad
	case errors.As(err, &locked):
		return exitLocked
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}
