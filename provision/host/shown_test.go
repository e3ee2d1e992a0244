package host

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestAskKey(t *testing.T) {
	s := newServer(t, withPassword("unused"))
	key := s.keys[0].PublicKey()
	file := filepath.Join(t.TempDir(), "known_hosts")
	got, err := AskKey(context.Background(), s.addr, file, time.Minute)
	want := ShownKey{Authorized: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), Fingerprint: ssh.FingerprintSHA256(key)}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if n := s.logins.Load(); n != 0 {
		t.Errorf("%d attempts to log in", n)
	}

	write(t, file, knownhosts.Line([]string{s.addr}, key)+"\n", 0o600)
	if got, err := AskKey(context.Background(), s.addr, file, time.Minute); err != nil || !got.Known {
		t.Errorf("a key that is pinned: %+v, %v", got, err)
	}
	write(t, file, knownhosts.Line([]string{s.addr}, newKey(t).PublicKey())+"\n", 0o600)
	var changed *HostKeyError
	if _, err := AskKey(context.Background(), s.addr, file, time.Minute); !errors.As(err, &changed) || changed.Line != 1 {
		t.Errorf("another key than the pinned one: %v", err)
	}
}

// TestAskKeyOfNoSSH asks what accepts and says nothing, and what says
// something else.
func TestAskKeyOfNoSSH(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := AskKey(context.Background(), l.Addr().String(), "", 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	if got, err := AskKey(context.Background(), l.Addr().String(), "", time.Minute); err == nil {
		t.Errorf("a web server has the host key %+v", got)
	}
}

// TestPin: a key is asked for once, and only where none is pinned.
func TestPin(t *testing.T) {
	s := newServer(t, withPassword("unused"))
	o := s.options()
	if err := Pin(t.Context(), o); err != nil || connections(s) != 0 {
		t.Errorf("host_key in the inventory: %v, %d connections", err, connections(s))
	}
	o.HostKey, o.KnownHosts = "", filepath.Join(t.TempDir(), "known_hosts")
	var refused *HostKeyError
	if err := Pin(t.Context(), o); !errors.As(err, &refused) || refused.Node != "nuc01" || refused.Want != "" {
		t.Errorf("nobody to accept it: %v", err)
	}
	asked := 0
	o.AcceptNewHostKey = func(_ context.Context, node, fingerprint string) (bool, error) {
		asked++
		return node == "nuc01" && fingerprint == ssh.FingerprintSHA256(s.keys[0].PublicKey()), nil
	}
	for range 2 {
		if err := Pin(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	got, err := AskKey(t.Context(), o.Address, o.KnownHosts, time.Minute)
	if err != nil || asked != 1 || !got.Known {
		t.Errorf("asked %d times, then %+v, %v", asked, got, err)
	}
	if n := s.logins.Load(); n != 0 {
		t.Errorf("%d attempts to log in", n)
	}

	s.listener.Close()
	var off *ConnectError
	o.KnownHosts = filepath.Join(t.TempDir(), "none")
	if err := Pin(t.Context(), o); !errors.As(err, &off) || off.Node != "nuc01" || off.Hint == "" {
		t.Errorf("a machine that is off: %v", err)
	}
}
