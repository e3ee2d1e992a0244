package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Command is one script.
type Command struct {
	// Script is run by /bin/sh with PATH (sbin included), LC_ALL=C, umask 022
	// and the working directory /. It is sent on stdin, so no other user of
	// the machine can read it, and must not contain a NUL. Its own stdin is a
	// socket: "cat" reads it, opening /dev/stdin does not work.
	Script string
	Root   bool // run it as root
	// Stdin follows the script; nil is an empty one. If reading it fails, the
	// command is stopped: it never takes half of its input for the whole.
	// Read may still be waiting when Run returns.
	Stdin io.Reader
	// Output gets each line as it comes, cleaned, 4 KiB at most; one call at
	// a time. Lines of stdout are left out when Stdout is set.
	Output func(line string)
	Idle   time.Duration // stop it when nothing moved for so long; 0 for Options.IdleTimeout
	// MaxOutput bounds what is kept of stdout and of stderr, each, in bytes;
	// 0 for 1 MiB. What comes after it is read and dropped.
	MaxOutput int
	Stdout    io.Writer // gets all of stdout as it is; Result.Stdout is empty then
	fence     string    // a script before the script: see Fenced
	Secret    bool      // neither the script nor its output may appear in Output or in an error
}

// Result is what a command left. Its bytes are as the machine sent them: use
// Clean before they are shown.
type Result struct {
	Stdout    string
	Stderr    string
	Code      int  // exit code, -1 if it did not exit by itself
	Truncated bool // there was more than MaxOutput
}

const (
	defaultOutput = 1 << 20
	tailLines     = 20
	// What a login shell may print before the marker; more is dropped.
	maxPreamble = 64 << 10
	// How long sshd may take to start a shell, and sudo to check a password
	// (pam_faildelay adds 2 to 4 s to a wrong one).
	startTimeout = 30 * time.Second
	// How long the streams may be silent after the exit, when a process that
	// the script left behind holds them open.
	drainTimeout = 3 * time.Second
	// A group gets TERM, after killGrace KILL; the session that does it gets
	// stopTimeout.
	killGrace   = 5 * time.Second
	stopTimeout = 20 * time.Second
)

// bootstrap is the argument of sh -c, and $0 its marker. It stands in single
// quotes in a command line that the login shell reads, which may be any shell:
// so it contains no quote, no backslash, no exclamation mark and no newline.
// Fields of /proc/PID/stat after the name: 3 is the process group, 20 the
// start time in clock ticks since boot (proc_pid_stat(5)).
const bootstrap = `umask 022; cd /; ` +
	`LC_ALL=C LANG=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL LANG PATH; ` +
	`read -r l </proc/$$/stat; set -- ${l##*) }; ` +
	`echo; echo $0 $$ $3 ${20}; { echo; echo $0 $$ $3 ${20}; } >&2; set --; ` +
	`IFS= read -r l || exit 125; eval "$(printf %b "$l")"`

// group is the process group of one command, as its bootstrap told it.
type group struct {
	leader, id, start int64
	root              bool
}

// Run runs a script and returns what it printed and its exit code. A code
// other than 0 is a *CommandError, with the Result filled in as well. When ctx
// ends or the command is idle, its process group is stopped on the machine;
// the error says if that could not be done. A lost connection is a transient
// *ConnectError: what the script did until then is unknown.
func (h *Host) Run(ctx context.Context, cmd Command) (Result, error) {
	if strings.IndexByte(cmd.Script, 0) >= 0 {
		return Result{Code: -1}, h.commandError(cmd, fmt.Errorf("the script contains a NUL byte, which no argument or file name can hold"))
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return Result{Code: -1}, h.connectError("run", context.Cause(ctx))
	}
	defer func() { <-h.slots }()
	if fence, ok := ctx.Value(fenceKey{}).(string); ok && cmd.Root {
		cmd.fence = fence
	}
	for again := false; ; again = true {
		c, err := h.connection(ctx)
		if err != nil {
			return Result{Code: -1}, err
		}
		p, err := h.start(ctx, c, cmd)
		if err == nil {
			return p.wait(ctx)
		}
		// Nothing of the script ran yet, so one more attempt is safe.
		if again || ctx.Err() != nil || !c.isDead() {
			return Result{Code: -1}, err
		}
	}
}

type fenceKey struct{}

// Fenced makes each root command that gets the returned context begin with a
// script, which may end it. It runs after everything that may hold a command
// up on its way, such as a client that is stopped, and is in no error.
func Fenced(ctx context.Context, script string) context.Context {
	return context.WithValue(ctx, fenceKey{}, script)
}

func (h *Host) commandError(cmd Command, err error) *CommandError {
	return &CommandError{Node: h.o.Name, Command: cmd.brief(), Code: -1, Err: err}
}

// preliminary are lines of a script that only prepare it.
var preliminary = regexp.MustCompile(`^(set -|export |[A-Za-z_]+=[^ ;&|$]*$)`)

// brief returns the first line of the script that does something, for people.
func (c Command) brief() string {
	if c.Secret {
		return "(a command that is kept secret)"
	}
	for line := range strings.Lines(c.Script) {
		line = strings.TrimSpace(Clean(line))
		if line == "" || line[0] == '#' || preliminary.MatchString(line) {
			continue
		}
		if r := []rune(line); len(r) > 80 {
			line = string(r[:79]) + "…"
		}
		return line
	}
	return "(an empty script)"
}

// process is a command that runs.
type process struct {
	h      *Host
	c      *conn
	cmd    Command
	ch     ssh.Channel
	exit   chan exit // one value when it exited, closed when the channel is
	ready  chan error
	done   chan struct{} // both streams have ended
	broken chan error    // a reader or writer of the caller failed
	group  group         // set when ready gave nil
	token  string
	sudo   *sudoTalk // nil without sudo

	moved atomic.Int64 // Unix time in ns when the last byte came or went
	busy  atomic.Int32 // writers of the caller that hold up the streams

	mu       sync.Mutex // of what follows
	stdout   kept
	stderr   kept
	tail     []string
	preamble string // what stderr showed before the marker
}

type exit struct {
	code   int
	signal string
}

// kept holds the first bytes of a stream.
type kept struct {
	max  int
	b    []byte
	over bool
}

func (k *kept) Write(p []byte) (int, error) {
	n := min(len(p), k.max-len(k.b))
	k.b = append(k.b, p[:n]...)
	k.over = k.over || n < len(p)
	return len(p), nil
}

// wait waits for the end of the command, whatever ends it.
func (p *process) wait(ctx context.Context) (Result, error) {
	defer p.ch.Close()
	idle := p.cmd.Idle
	if idle <= 0 {
		idle = p.h.o.IdleTimeout
	}
	tick := time.NewTimer(idle)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-p.exit:
			if ok {
				p.drain(ctx, idle)
				return p.finish(e)
			}
			return p.vanished()
		case <-p.c.dead:
			select {
			case e, ok := <-p.exit:
				if ok {
					return p.finish(e)
				}
			default:
			}
			return p.vanished()
		case err := <-p.broken:
			return p.stopped(err)
		case <-ctx.Done():
			return p.stopped(context.Cause(ctx))
		case <-tick.C:
			if quiet := p.quiet(); quiet < idle {
				tick.Reset(idle - quiet)
				continue
			}
			return p.stopped(fmt.Errorf("%w (%v)", ErrIdle, idle))
		}
	}
}

// quiet returns for how long nothing came and nothing went, while the caller
// was not the one to be waited for.
func (p *process) quiet() time.Duration {
	if p.busy.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, p.moved.Load()))
}

// drain waits for the rest of the output after the exit.
func (p *process) drain(ctx context.Context, limit time.Duration) {
	p.moved.Store(time.Now().UnixNano())
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(drainTimeout / 10)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			if p.quiet() >= drainTimeout {
				return
			}
		case <-end.C:
			return
		case <-ctx.Done():
			return
		case <-p.c.dead:
			return
		}
	}
}

// result is what has come so far.
func (p *process) result(code int) (Result, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Result{Stdout: string(p.stdout.b), Stderr: string(p.stderr.b), Code: code, Truncated: p.stdout.over || p.stderr.over}
	return r, append([]string(nil), p.tail...)
}

func (p *process) finish(e exit) (Result, error) {
	r, tail := p.result(e.code)
	// The end of the output is the end of the connection when that broke
	// right behind the exit: what is there may not be all.
	if p.c.wire.broken() {
		return p.vanished()
	}
	var err error
	select {
	case err = <-p.broken:
	default:
	}
	if e.code == 0 && err == nil {
		return r, nil
	}
	return r, &CommandError{Node: p.h.o.Name, Command: p.cmd.brief(), Code: e.code, Signal: e.signal, Tail: tail, Err: err}
}

// vanished ends a command whose session ended before it told an exit code.
func (p *process) vanished() (Result, error) {
	r, tail := p.result(-1)
	if p.c.wire.broken() {
		p.c.fail(nil) // waits for nobody; the first reason counts
	}
	if !p.c.isDead() {
		return r, &CommandError{Node: p.h.o.Name, Command: p.cmd.brief(), Code: -1, Tail: tail, Err: errors.New("its session ended without an exit code")}
	}
	p.h.remember(p.group)
	e := p.h.connectError("run", p.c.err)
	if !errors.Is(p.c.err, ErrClosed) {
		e.Transient = true
		e.Hint = fmt.Sprintf("the connection was lost while %q was running: is the machine still on and on the network?", p.cmd.brief())
	}
	return r, e
}

// stopped stops the command on the machine, for the reason why.
func (p *process) stopped(why error) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := p.h.stop(ctx, p.c, p.group)
	if err == nil {
		why = fmt.Errorf("%w; it was stopped on the machine", why)
		select { // what it printed on its way out
		case <-p.done:
		case <-p.c.dead:
		case <-time.After(time.Second):
		}
	} else {
		p.h.remember(p.group)
		why = fmt.Errorf("%w; it may still run on the machine as process group %d (%v)", why, p.group.id, err)
	}
	r, tail := p.result(-1)
	return r, &CommandError{Node: p.h.o.Name, Command: p.cmd.brief(), Code: -1, Tail: tail, Err: why}
}
