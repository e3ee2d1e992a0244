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
