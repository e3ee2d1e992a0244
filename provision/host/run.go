package host

import (
	"context"
	"errors"
	"fmt"
	"io"
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

func (h *Host) commandError(cmd Command, err error) *CommandError {
	return &CommandError{Node: h.o.Name, Command: cmd.brief(), Code: -1, Err: err}
}

// brief returns the first line of the script that does something, for people.
func (c Command) brief() string {
	if c.Secret {
		return "(a command that is kept secret)"
	}
	for line := range strings.Lines(c.Script) {
		line = strings.TrimSpace(Clean(line))
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "set -") {
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

// start opens a session, gets the shell to its marker and sends the script.
func (h *Host) start(ctx context.Context, c *conn, cmd Command) (*process, error) {
	p := &process{h: h, c: c, cmd: cmd,
		exit:   make(chan exit, 1),
		ready:  make(chan error, 1),
		done:   make(chan struct{}),
		broken: make(chan error, 2),
		token:  "nucspark-" + random(),
	}
	p.stdout.max = cmd.MaxOutput
	if p.stdout.max <= 0 {
		p.stdout.max = defaultOutput
	}
	p.stderr.max = p.stdout.max
	shell := "/bin/sh -c " + Quote(bootstrap) + " " + p.token
	line := "exec " + shell
	if cmd.Root && h.o.User != "root" {
		release, err := h.sudo.enter(ctx, h)
		if err != nil {
			return nil, err
		}
		p.sudo = &sudoTalk{password: h.o.SudoPassword.Reveal(), nonce: "nucspark-" + random()}
		defer func() { release(p.sudo.outcome) }()
		line = "exec " + p.sudo.command() + " " + shell
	}
	if err := p.begin(ctx, line); err != nil {
		return nil, err
	}
	if p.sudo != nil {
		p.sudo.outcome = sudoWorks
	}
	return p, nil
}

func (p *process) begin(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStart)
	defer cancel()
	ch, reqs, err := p.c.open(ctx, "session", nil)
	if err != nil {
		return p.h.connectError("session", err)
	}
	p.ch = ch
	go p.watch(reqs)
	go func() {
		if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{line})); err != nil || !ok {
			if err == nil {
				err = errors.New("sshd refused to run a command")
			}
			p.ready <- err
			return
		}
		p.read()
	}()
	select {
	case err = <-p.ready:
	case <-p.c.dead:
		err = p.c.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		ch.Close()
		if p.c.isDead() {
			return p.h.connectError("run", p.c.err)
		}
		return p.startError(err)
	}
	p.moved.Store(time.Now().UnixNano())
	go p.feed()
	return nil
}

var errStart = fmt.Errorf("the shell did not start within %v", startTimeout)

// watch follows the requests of the channel up to its end.
func (p *process) watch(reqs <-chan *ssh.Request) {
	defer close(p.exit)
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			var m struct{ Code uint32 }
			if ssh.Unmarshal(r.Payload, &m) == nil {
				p.exited(exit{code: int(m.Code)})
			}
		case "exit-signal":
			var m struct {
				Signal     string
				Core       bool
				Text, Lang string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				p.exited(exit{code: -1, signal: m.Signal})
			}
		}
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
}

func (p *process) exited(e exit) {
	select {
	case p.exit <- e:
	default: // a second one does not count
	}
}

// read reads both streams to their end.
func (p *process) read() {
	var both sync.WaitGroup
	both.Add(2)
	go func() {
		defer both.Done()
		_, rest, err := skip(p.ch, p.token, nil)
		if err != nil {
			return
		}
		p.pump(p.ch, rest, p.cmd.Stdout, &p.stdout)
	}()
	go func() {
		defer both.Done()
		stderr := p.ch.Stderr()
		line, rest, err := skip(stderr, p.token, p.prompted)
		if err == nil {
			_, err = fmt.Sscan(line, &p.group.leader, &p.group.id, &p.group.start)
			p.group.root = p.cmd.Root
		}
		p.ready <- err
		if err != nil {
			return
		}
		p.pump(stderr, rest, nil, &p.stderr)
	}()
	both.Wait()
	close(p.done)
}

// prompted looks at what stderr shows before the marker and returns how much
// of it is dealt with.
func (p *process) prompted(seen []byte) (int, error) {
	p.mu.Lock()
	p.preamble = string(seen)
	p.mu.Unlock()
	if p.sudo == nil {
		return 0, nil
	}
	return p.sudo.answer(seen, p.ch)
}

// skip reads up to the line that starts with the marker, and returns what
// follows the marker on that line, and what was read behind it. look, if not
// nil, sees everything before the marker and says how much of it to drop.
func skip(r io.Reader, marker string, look func([]byte) (int, error)) (line string, rest []byte, err error) {
	marker = "\n" + marker + " "
	var seen []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		seen = append(seen, buf[:n]...)
		before, after, found := strings.Cut(string(seen), marker)
		if found {
			if line, tail, whole := strings.Cut(after, "\n"); whole {
				return line, []byte(tail), nil
			}
		} else if look != nil {
			drop, err := look([]byte(before))
			if err != nil {
				return "", nil, err
			}
			seen = seen[drop:]
		}
		if err != nil {
			return "", nil, err
		}
		if len(seen) > maxPreamble {
			seen = seen[len(seen)-maxPreamble/2:]
		}
	}
}

// pump carries one stream to where it belongs.
func (p *process) pump(r io.Reader, first []byte, to io.Writer, keep *kept) {
	lines := lineCutter{emit: p.line}
	put := func(b []byte) {
		p.busy.Add(1)
		defer func() {
			p.moved.Store(time.Now().UnixNano())
			p.busy.Add(-1)
		}()
		if to != nil {
			if _, err := to.Write(b); err != nil {
				p.fault(fmt.Errorf("its output could not be passed on: %w", err))
				to = io.Discard
			}
			return
		}
		p.mu.Lock()
		keep.Write(b)
		p.mu.Unlock()
		if !p.cmd.Secret {
			lines.Write(b)
		}
	}
	if len(first) > 0 {
		put(first)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			put(buf[:n])
		}
		if err != nil {
			lines.flush()
			return
		}
	}
}

// line takes one cleaned line of either stream.
func (p *process) line(s string) {
	s = strings.ReplaceAll(s, p.token, "sh") // the $0 of error messages
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tail) == tailLines {
		p.tail = append(p.tail[:0], p.tail[1:]...)
	}
	p.tail = append(p.tail, s)
	if p.cmd.Output != nil {
		p.cmd.Output(s)
	}
}

func (p *process) fault(err error) {
	select {
	case p.broken <- err:
	default:
	}
}

// feed sends the script and then stdin. That the command does not want all of
// its stdin is no error.
func (p *process) feed() {
	if _, err := io.WriteString(p.ch, encodeScript(p.cmd.Script)); err != nil {
		return
	}
	p.moved.Store(time.Now().UnixNano())
	if p.cmd.Stdin != nil {
		buf := make([]byte, 32<<10)
		for {
			n, err := p.cmd.Stdin.Read(buf)
			if n > 0 {
				if _, werr := p.ch.Write(buf[:n]); werr != nil {
					return
				}
				p.moved.Store(time.Now().UnixNano())
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				p.fault(fmt.Errorf("its input could not be read: %w", err))
				return
			}
		}
	}
	p.ch.CloseWrite()
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

func (h *Host) remember(g group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = append(h.lost, g)
}

// stop ends a process group, if its leader is still the process that it was:
// TERM first, KILL after killGrace. It uses a second session, because sshd's
// own signal request cannot reach what runs as root.
func (h *Host) stop(ctx context.Context, c *conn, g group) error {
	if g.leader <= 1 || g.id <= 1 {
		return fmt.Errorf("process group %d is not one of ours", g.id)
	}
	select {
	case h.stops <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.stops }()
	script := fmt.Sprintf(`
{ read -r l </proc/%[1]d/stat; } 2>/dev/null || exit 0
set -- ${l##*) }
[ "$3" = %[2]d ] && [ "${20}" = %[3]d ] || exit 0
read -r l </proc/$$/stat
set -- ${l##*) }
[ "$3" != %[2]d ] || { echo "it shares its process group with sshd" >&2; exit 1; }
kill -TERM -%[2]d
i=0
while kill -0 -%[2]d 2>/dev/null && [ $i -lt %[4]d ]; do sleep 0.1; i=$((i+1)); done
kill -KILL -%[2]d 2>/dev/null || :
`, g.leader, g.id, g.start, killGrace.Milliseconds()/100)
	p, err := h.start(ctx, c, Command{Script: script, Root: g.root, Idle: stopTimeout})
	if err != nil {
		return err
	}
	defer p.ch.Close()
	select {
	case e, ok := <-p.exit:
		if ok && e.code == 0 {
			return nil
		}
		p.drain(ctx, time.Second)
		_, tail := p.result(-1)
		return fmt.Errorf("stopping it failed: %s", strings.Join(tail, "; "))
	case <-c.dead:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// open opens a channel. The ssh package waits for the answer without a bound;
// a channel that comes after ctx has ended is closed.
func (c *conn) open(ctx context.Context, kind string, extra []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	got := make(chan opened, 1)
	go func() {
		ch, reqs, err := c.client.OpenChannel(kind, extra)
		got <- opened{ch, reqs, err}
	}()
	select {
	case o := <-got:
		if o.err != nil && c.wire.broken() {
			c.fail(o.err)
		}
		return o.ch, o.reqs, o.err
	case <-c.dead:
		return nil, nil, c.err
	case <-ctx.Done():
		go func() {
			if o := <-got; o.err == nil {
				go ssh.DiscardRequests(o.reqs)
				o.ch.Close()
			}
		}()
		return nil, nil, context.Cause(ctx)
	}
}
