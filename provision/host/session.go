package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

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
	ch, reqs, err := p.c.session(ctx)
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
		// The streams end a moment before the connection is known to be dead.
		if p.c.wire.broken() {
			p.c.fail(nil)
		}
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
	if _, err := io.WriteString(p.ch, encodeScript(p.cmd.fence+p.cmd.Script)); err != nil {
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

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// sessionWait bounds how long a session that sshd refuses is asked for again.
const sessionWait = 20 * time.Second

// session opens a session. sshd counts a session that has ended until it has
// cleaned up behind it, which takes a while on a busy machine: then it refuses
// a new one although no more than maxSessions are in use, so it is asked again.
func (c *conn) session(ctx context.Context) (ssh.Channel, <-chan *ssh.Request, error) {
	until := time.Now().Add(sessionWait)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ch, reqs, err := c.open(ctx, "session", nil)
		var refused *ssh.OpenChannelError
		if err == nil || !errors.As(err, &refused) || time.Now().After(until) {
			return ch, reqs, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, err
		}
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
