package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// DialContext connects from the machine to addr (host:port, resolved there)
// and carries the connection through SSH. network is "tcp". The connection
// supports deadlines; its end by a lost SSH connection is a *ConnectError, not
// an end of file. Making it takes ConnectTimeout at most.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, h.connectError("forward", net.UnknownNetworkError(network))
	}
	name, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, h.connectError("forward", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, h.connectError("forward", fmt.Errorf("port of %s: %w", addr, err))
	}
	c, err := h.connection(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.o.ConnectTimeout)
	defer cancel()
	ch, reqs, err := c.open(ctx, "direct-tcpip", ssh.Marshal(struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}{name, uint32(port), "127.0.0.1", 0})) // RFC 4254, section 7.2
	if err != nil {
		e := h.connectError("forward to "+addr, err)
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed {
			e.Transient, e.Hint = true, "the machine could not connect there: is the service up?"
		} else if errors.As(err, &refused) {
			e.Hint = "sshd does not forward: allow it with AllowTcpForwarding in its configuration"
		}
		return nil, e
	}
	go ssh.DiscardRequests(reqs)

	// A channel has no deadlines, net.Pipe does.
	near, far := net.Pipe()
	f := &forwarded{Conn: near, addr: forwardAddr(addr)}
	go func() { // out
		io.Copy(ch, far)
		ch.CloseWrite()
		ch.Close()
	}()
	go func() { // in
		io.Copy(far, ch)
		if c.wire.broken() || c.isDead() {
			c.fail(nil)
			f.lost.Store(h.connectError("forward to "+addr, c.err))
		}
		far.Close()
	}()
	return f, nil
}

// forwarded is the near end of the pipe.
type forwarded struct {
	net.Conn
	addr forwardAddr
	lost atomic.Pointer[ConnectError]
}

func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	return n, f.cause(err)
}

func (f *forwarded) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	return n, f.cause(err)
}

// cause puts the loss of the SSH connection in the place of the pipe's end.
func (f *forwarded) cause(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		if e := f.lost.Load(); e != nil {
			return e
		}
	}
	return err
}

func (f *forwarded) RemoteAddr() net.Addr { return f.addr }

// forwardAddr is the address that was dialled, as the machine resolves it.
type forwardAddr string

func (forwardAddr) Network() string  { return "tcp" }
func (a forwardAddr) String() string { return string(a) }
