package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
)

// random returns 128 bits in hexadecimal.
func random() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return fmt.Sprintf("%x", b)
}

// sudoTalk is what is said to sudo before the shell of one command starts.
type sudoTalk struct {
	password string
	nonce    string // the prompt
	answered bool
	outcome  sudoOutcome
}

type sudoOutcome int

const (
	sudoUnknown sudoOutcome = iota // it did not come so far
	sudoWorks
	sudoWrongPassword
)

// command returns the words before the shell. No word needs quotes in any
// login shell. sudo's messages are asked for in English because they are all
// it tells about why it refused.
func (s *sudoTalk) command() string {
	if s.password == "" {
		return "/usr/bin/env LC_ALL=C LANGUAGE= sudo -n -H --"
	}
	return "/usr/bin/env LC_ALL=C LANGUAGE= sudo -S -H -p " + s.nonce + " --"
}

// answer writes the password to stdin when the prompt stands at the end of
// what stderr showed: once. sudo writes the prompt as it is, sudo-rs (Ubuntu
// 26.04) as "[sudo: PROMPT] Password: ". A second prompt means that the
// password was wrong. Where sudo asks for none there is no prompt, and nothing
// is written.
func (s *sudoTalk) answer(seen []byte, stdin io.Writer) (drop int, err error) {
	at := bytes.Index(seen, []byte(s.nonce))
	if at < 0 || s.password == "" {
		return 0, nil
	}
	if s.answered {
		return 0, ErrSudoPassword
	}
	s.answered = true
	_, err = io.WriteString(stdin, s.password+"\n")
	return at + len(s.nonce), err
}

// startError says why there was no marker.
func (p *process) startError(err error) error {
	p.mu.Lock()
	text := p.preamble
	p.mu.Unlock()
	if p.sudo == nil {
		e := p.h.connectError("session", err)
		if errors.Is(err, io.EOF) {
			e.Transient = false
			e.Err = errors.New("the login shell ended before the command began")
			e.Hint = "check that the user has an ordinary shell: " + lastLine(text)
		}
		return e
	}
	e := &ConnectError{Node: p.h.o.Name, Address: p.h.o.Address, Op: "sudo", Err: err}
	user := p.h.o.User
	refused := p.sudo.answered && errors.Is(err, io.EOF) && !strings.Contains(text, "sudoers")
	switch {
	case errors.Is(err, ErrSudoPassword),
		refused && (strings.Contains(text, "incorrect password") || strings.Contains(text, "incorrect authentication") || strings.Contains(text, "try again")):
		p.sudo.outcome = sudoWrongPassword
		e.Err = ErrSudoPassword
		e.Hint = fmt.Sprintf("correct sudo_password; it was tried once, as user %s", user)
	case !errors.Is(err, io.EOF):
		e.Transient = true
		e.Hint = "sudo did not let the command begin"
		if l := lastLine(text); l != "" {
			e.Hint += ", it last said: " + l
		}
	case strings.Contains(text, "a password is required"), strings.Contains(text, "interactive authentication is required"):
		e.Err = ErrSudoNoPassword
		e.Hint = fmt.Sprintf("set sudo_password, or allow %s to use sudo without one", user)
	case strings.Contains(text, "not in the sudoers"), strings.Contains(text, "not allowed"), strings.Contains(text, "may not run sudo"), strings.Contains(text, "I'm afraid I can't do that"):
		e.Err = ErrSudoDenied
		e.Hint = fmt.Sprintf("as root on the machine: usermod -aG sudo %s, then log in again", user)
	case strings.Contains(text, "must have a tty"):
		e.Err = errors.New("sudo wants a terminal")
		e.Hint = fmt.Sprintf("nucspark never opens one: take requiretty out of /etc/sudoers, or add the line \"Defaults:%s !requiretty\"", user)
	case strings.Contains(text, "No such file"), strings.Contains(text, "not found"):
		e.Err = errors.New("there is no sudo on the machine")
		e.Hint = "install the package sudo, or log in as root"
	default:
		e.Err = errors.New("sudo ended before the command began")
		e.Hint = "it said: " + lastLine(text)
	}
	return e
}

func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if l := strings.TrimSpace(Clean(lines[i])); l != "" {
			return l
		}
	}
	return "(nothing)"
}

// sudoGate lets the first root command ask sudo alone. A wrong password is
// found out by one attempt, not by one for each command that waits: attempts
// may lock the account (pam_faillock).
type sudoGate struct {
	turn  chan struct{} // holds one element while somebody finds out
	state sudoOutcome   // guarded by turn
}

// enter waits for the outcome of the first attempt, or makes the caller the
// one who finds out. The returned function takes the outcome.
func (g *sudoGate) enter(ctx context.Context, h *Host) (func(sudoOutcome), error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, h.connectError("sudo", context.Cause(ctx))
	}
	leave := func() { <-g.turn }
	switch g.state {
	case sudoWrongPassword:
		leave()
		return nil, &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: "sudo", Err: ErrSudoPassword,
			Hint: fmt.Sprintf("correct sudo_password; it was tried once, as user %s", h.o.User)}
	case sudoWorks:
		leave()
		return func(o sudoOutcome) {
			if o == sudoWrongPassword {
				g.turn <- struct{}{}
				g.state = o
				leave()
			}
		}, nil
	}
	return func(o sudoOutcome) {
		if o != sudoUnknown {
			g.state = o
		}
		leave()
	}, nil
}
