package host

import (
	"errors"
	"fmt"
	"strings"
)

// Causes that a caller may ask for with errors.Is.
var (
	// ErrIdle is the cause of a command that was stopped because it printed
	// nothing for too long.
	ErrIdle = errors.New("printed nothing for too long")
	// ErrClosed is the cause of a call on a host after Close.
	ErrClosed = errors.New("the host was closed")
	// ErrSudoPassword is the cause when sudo did not accept the password.
	ErrSudoPassword = errors.New("sudo did not accept the password")
	// ErrSudoDenied is the cause when the login user may not become root.
	ErrSudoDenied = errors.New("the user may not use sudo")
	// ErrSudoNoPassword is the cause when sudo wants a password and none is set.
	ErrSudoNoPassword = errors.New("sudo wants a password and none is set")

	errSilent = errors.New("the connection went silent")
)

// CommandError says that a command ran and failed, or was stopped.
type CommandError struct {
	Node    string
	Command string   // a short, printable form
	Code    int      // exit code; -1 if it did not exit by itself
	Signal  string   // "TERM", if a signal ended it
	Tail    []string // the last lines of its output, cleaned, 20 at most
	Err     error    // why it was stopped, nil if it was not
}

func (e *CommandError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %q ", e.Node, e.Command)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, "failed: %v", e.Err)
	case e.Signal != "":
		fmt.Fprintf(&b, "was ended by signal %s", e.Signal)
	default:
		fmt.Fprintf(&b, "exited with code %d", e.Code)
	}
	if n := len(e.Tail); n > 0 {
		fmt.Fprintf(&b, "; its last line: %s", e.Tail[n-1])
	}
	return b.String()
}

func (e *CommandError) Unwrap() error { return e.Err }

// ConnectError says that a machine could not be reached, entered, or held on
// to. What it was asked to do did not start, or its outcome is unknown.
type ConnectError struct {
	Node      string
	Address   string // host:port
	Op        string // "dial", "log in", "session", "sudo", "forward", "run"
	Err       error
	Hint      string // what to do
	Transient bool   // trying again later may work
}

func (e *ConnectError) Error() string {
	s := fmt.Sprintf("%s (%s): %s: %v", e.Node, e.Address, e.Op, e.Err)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

func (e *ConnectError) Unwrap() error { return e.Err }

// HostKeyError says that a machine's key is not the one that was expected, or
// that none was expected and nobody accepted it. Nothing was sent to it.
type HostKeyError struct {
	Node    string
	Address string
	Want    string // fingerprint that is pinned, "" if none is
	Got     string // fingerprint of the machine, "" if it has no key of the pinned type
	File    string // known_hosts file with the pinned key, "" if the inventory pins it
	Line    int    // in File, from 1
	Revoked bool   // File marks the key as revoked
}

func (e *HostKeyError) Error() string {
	who := fmt.Sprintf("%s (%s)", e.Node, e.Address)
	where := "the host_key of the node in the inventory"
	if e.File != "" {
		where = fmt.Sprintf("line %d of %s", e.Line, e.File)
	}
	got := e.Got
	if got == "" {
		got = "none of that type"
	}
	switch {
	case e.Revoked:
		return fmt.Sprintf("%s: the host key %s is revoked by %s: another machine or an attacker answers; if the key is good again, take that line out", who, got, where)
	case e.Want == "":
		return fmt.Sprintf("%s: the host key %s is not known: compare it with the one on the machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and accept it, or set host_key in the inventory", who, got)
	}
	return fmt.Sprintf("%s: the host key has changed: pinned is %s, the machine has %s: if the machine was replaced or installed anew, nucspark trust %s lets it in (%s pins the key); if not, somebody may be in between", who, e.Want, got, e.Node, where)
}
