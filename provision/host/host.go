package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/inventory"
)

// Options says how a machine is reached and entered.
type Options struct {
	Name    string // of the node; every error starts with it
	Address string // host:port
	User    string

	KeyFile      string           // "" for ~/.ssh/id_ed25519, id_ecdsa, id_rsa; the agent (SSH_AUTH_SOCK) is asked first
	Keys         *Keys            // shared by the machines of a run; nil for keys of this machine's own
	Password     inventory.Secret // tried last
	SudoPassword inventory.Secret // zero when sudo asks for none

	HostKey    string // pinned key in the form of authorized_keys; "" to use KnownHosts
	KnownHosts string // file; accepted keys are appended to it

	// AcceptNewHostKey is asked when a machine's key is seen for the first
	// time, with its SHA256 fingerprint. No connection is open while it runs.
	// Nil refuses.
	AcceptNewHostKey func(ctx context.Context, node, fingerprint string) (bool, error)
	// Passphrase is asked for the passphrase of an encrypted key, once the
	// machine has said that it accepts the key. The slice is overwritten
	// after use. Nil makes an encrypted key an error.
	Passphrase func(ctx context.Context, keyFile string) ([]byte, error)

	ConnectTimeout time.Duration // of TCP, and of the SSH handshake; default 10s
	IdleTimeout    time.Duration // a command that prints nothing for so long is stopped; default 10m
	Keepalive      time.Duration // between two keepalives, three unanswered ones end the connection; default 5s
}

const (
	maxSessions = 8 // at a time; sshd's MaxSessions is 10, two are left to stop commands
	maxStops    = 2
	maxMisses   = 3 // keepalives without an answer

	redials     = 3 // attempts to get a lost connection back
	redialDelay = time.Second
)

// Host is one machine. Its methods may be called from several goroutines.
type Host struct {
	o       Options
	login   *login
	slots   chan struct{} // one element for each session in use
	stops   chan struct{} // the same for the sessions that stop commands
	dialing chan struct{} // holds one element while somebody dials
	sudo    sudoGate
	closing chan struct{}
	once    sync.Once

	mu   sync.Mutex
	cur  *conn   // the connection, alive or not
	lost []group // what was running when a connection was lost
}

// Dial connects to a machine and logs in. It tries once: whether to wait for
// a machine that is not up is for the caller, who sees ConnectError.Transient.
func Dial(ctx context.Context, o Options) (*Host, error) {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 10 * time.Minute
	}
	if o.Keepalive <= 0 {
		o.Keepalive = 5 * time.Second
	}
	h := &Host{
		o:       o,
		slots:   make(chan struct{}, maxSessions),
		stops:   make(chan struct{}, maxStops),
		dialing: make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	h.sudo.turn = make(chan struct{}, 1)
	if h.o.Keys == nil {
		h.o.Keys = new(Keys)
	}
	h.login = h.o.login()
	c, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	h.cur = c
	return h, nil
}

// Name returns the name of the node.
func (h *Host) Name() string { return h.o.Name }

// Address returns host:port.
func (h *Host) Address() string { return h.o.Address }

// Alive says whether the connection stands. If it does not, the next call
// that needs one dials again.
func (h *Host) Alive() bool {
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// Done returns a channel that is closed when the present connection is lost
// or closed. After a reconnect there is a new one.
func (h *Host) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cur.dead
}

// Close ends the connection. Commands that are still running fail with
// ErrClosed; cancel them before, so that they are stopped on the machine too.
func (h *Host) Close() error {
	h.once.Do(func() {
		close(h.closing)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.cur.fail(ErrClosed)
	})
	return nil
}

// connection returns a live connection, and dials when there is none.
func (h *Host) connection(ctx context.Context) (*conn, error) {
	select {
	case h.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, h.connectError("dial", context.Cause(ctx))
	}
	defer func() { <-h.dialing }()
	select {
	case <-h.closing:
		return nil, h.connectError("dial", ErrClosed)
	default:
	}
	if h.Alive() {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.cur, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-h.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	var c *conn
	var err error
	for attempt := range redials {
		if attempt > 0 {
			pause := time.NewTimer(redialDelay << (attempt - 1))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return nil, err
			}
		}
		if c, err = h.dial(ctx); err == nil {
			break
		}
		var ce *ConnectError
		if !errors.As(err, &ce) || !ce.Transient || ctx.Err() != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.cur = c
	lost := h.lost
	h.lost = nil
	h.mu.Unlock()
	for i, g := range lost {
		if err := h.stop(ctx, c, g); err != nil {
			h.mu.Lock()
			h.lost = append(h.lost, lost[i:]...)
			h.mu.Unlock()
			return nil, h.connectError("stop what was running before the connection was lost", err)
		}
	}
	return c, nil
}

// dial makes a connection. A key that nobody knows yet is shown while no
// connection is open, because sshd hangs up on who thinks for too long.
func (h *Host) dial(ctx context.Context) (*conn, error) {
	for asked := false; ; asked = true {
		keys, err := h.o.hostKeys()
		if err != nil {
			return nil, err
		}
		c, err := h.handshake(ctx, keys)
		if err == nil {
			return c, nil
		}
		if keys.unknown == nil || asked {
			return nil, err
		}
		if err := h.o.accept(ctx, keys.unknown); err != nil {
			return nil, err
		}
	}
}

func (h *Host) handshake(ctx context.Context, keys *hostKeys) (*conn, error) {
	d := net.Dialer{Timeout: h.o.ConnectTimeout, KeepAlive: 15 * time.Second}
	tcp, err := d.DialContext(ctx, "tcp", h.o.Address)
	if err != nil {
		return nil, h.connectError("dial", err)
	}
	w := &wire{Conn: tcp}
	w.SetDeadline(time.Now().Add(h.o.ConnectTimeout))
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer stop()
	methods, done := h.login.methods(ctx, w)
	defer done()
	sc, chans, reqs, err := ssh.NewClientConn(w, h.o.Address, &ssh.ClientConfig{
		User: h.o.User,
		Auth: methods,
		HostKeyCallback: func(a string, r net.Addr, k ssh.PublicKey) error {
			err := keys.callback(a, r, k)
			// The time for authentication starts here.
			w.SetDeadline(time.Now().Add(h.o.ConnectTimeout))
			return err
		},
		HostKeyAlgorithms: keys.algorithms,
		ClientVersion:     "SSH-2.0-nucspark",
	})
	if err != nil {
		w.Close()
		return nil, h.handshakeError(ctx, keys, err)
	}
	w.SetDeadline(time.Time{})
	c := &conn{client: ssh.NewClient(sc, chans, reqs), wire: w, dead: make(chan struct{})}
	go func() { c.fail(c.client.Wait()) }()
	go c.keepalive(h.o.Keepalive)
	return c, nil
}

func (h *Host) handshakeError(ctx context.Context, keys *hostKeys, err error) error {
	var mismatch *ssh.AlgorithmNegotiationError
	var timeout net.Error
	var ours *loginError
	switch {
	case ctx.Err() != nil:
		return h.connectError("log in", context.Cause(ctx))
	case keys.changed != nil:
		return keys.changed
	case keys.unknown != nil:
		return &HostKeyError{Node: h.o.Name, Address: h.o.Address, Got: ssh.FingerprintSHA256(keys.unknown)}
	case errors.As(err, &mismatch) && mismatch.What == "host key" && keys.want != nil:
		return keys.want
	case errors.As(err, &timeout) && timeout.Timeout():
		return &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: "log in", Err: err, Transient: true,
			Hint: "something listens there but does not answer as sshd: check the port, or wait until the machine is up"}
	case keys.verified && errors.As(err, &ours): // the machine refused nothing
		return &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: "log in", Err: ours.error, Hint: ours.hint}
	case keys.verified && refusedLogin(err):
		e := &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: "log in", Err: err,
			Hint: fmt.Sprintf("the machine accepted no key and no password of %q: check user, private_key and the agent, or add the key with ssh-copy-id", h.o.User)}
		if len(h.login.notes) > 0 {
			e.Hint += " (" + strings.Join(h.login.notes, "; ") + ")"
		}
		return e
	}
	return &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: "log in", Err: err, Transient: true,
		Hint: "the machine ended the connection before the login was done: is it sshd that listens there, and is it starting or stopping?"}
}

// refusedLogin tells a refusal from a connection that broke. The ssh package
// has no types for these: its own text, and the disconnect message of sshd
// after too many attempts (RFC 4253, section 11.1; OpenSSH sends reason 2).
func refusedLogin(err error) bool {
	s := err.Error()
	return strings.Contains(s, "unable to authenticate") || strings.Contains(s, "ssh: disconnect, reason 2:") || strings.Contains(s, "ssh: disconnect, reason 14:")
}

// connectError wraps err with what to do about it.
func (h *Host) connectError(op string, err error) *ConnectError {
	e := &ConnectError{Node: h.o.Name, Address: h.o.Address, Op: op, Err: err}
	var timeout net.Error
	var opened *ssh.OpenChannelError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
	case errors.Is(err, errStart):
		e.Transient, e.Hint = true, "is the machine overloaded, does its login shell wait for something?"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Transient, e.Hint = true, "the machine is up but nothing listens there: is openssh-server installed and running, is the port right?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		e.Transient, e.Hint = true, "no way to that address: is the machine on, is the cable in, is the address right?"
	case errors.As(err, &opened):
		e.Transient = opened.Reason == ssh.ResourceShortage
		e.Hint = "sshd refused another session: check MaxSessions and AllowTcpForwarding in its configuration"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Transient, e.Hint = true, "no answer: is the machine on, is the address right, is a firewall in between?"
	default:
		e.Transient, e.Hint = true, "the connection was lost: is the machine still on and on the network?"
	}
	return e
}

// conn is one SSH connection.
type conn struct {
	client *ssh.Client
	wire   *wire
	once   sync.Once
	dead   chan struct{}
	err    error // why it is dead; to be read after dead is closed
}

// fail ends the connection. Only the first reason counts.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		if e := c.wire.err.Load(); err == nil && e != nil {
			err = *e
		}
		if err == nil || err == io.EOF {
			err = errors.New("the machine closed the connection")
		}
		c.err = err
		close(c.dead)
		// A mutex of the ssh package may be held by a write that blocks; the
		// end of the wire frees it.
		c.wire.Close()
	})
}

// keepalive asks for an answer at every tick. Any byte from the machine is an
// answer too: on a slow network the reply waits behind other data.
func (c *conn) keepalive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var answer chan error
	misses := 0
	for {
		select {
		case <-c.dead:
			return
		case <-tick.C:
		}
		if answer != nil {
			select {
			case err := <-answer:
				if err != nil {
					c.fail(err)
					return
				}
				answer, misses = nil, 0
			default:
				misses++
				if time.Since(c.wire.lastRead()) < every {
					misses = 0
				}
				if misses >= maxMisses {
					c.fail(errSilent)
					return
				}
			}
		}
		if answer == nil {
			answer = make(chan error, 1)
			go func(a chan error) {
				_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
				a <- err
			}(answer)
		}
	}
}

// wire is the TCP connection. It knows when it last carried something and
// whether it has failed, which the ssh package does not tell its channels.
type wire struct {
	net.Conn
	last atomic.Int64          // Unix time in ns of the last byte that came
	err  atomic.Pointer[error] // of the first Read that failed
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.last.Store(time.Now().UnixNano())
	}
	if err != nil {
		w.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (w *wire) broken() bool { return w.err.Load() != nil }

func (w *wire) lastRead() time.Time { return time.Unix(0, w.last.Load()) }
