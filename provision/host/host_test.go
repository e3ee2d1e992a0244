package host

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"nucspark.io/nucspark/inventory"
)

const password = "pa'ss word"

func mustRun(t *testing.T, h *Host, script string) string {
	t.Helper()
	r, err := h.Run(t.Context(), Command{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	return r.Stdout
}

func TestLoginWithKeys(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	plain, plainFile := newKeyFile(t, "")
	locked, lockedFile := newKeyFile(t, "open sesame")

	t.Run("file", func(t *testing.T) {
		s := newServer(t, withKey(plain.PublicKey()))
		h := dial(t, s, func(o *Options) { o.KeyFile = plainFile })
		if got := mustRun(t, h, "echo in"); got != "in\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("passphrase", func(t *testing.T) {
		s := newServer(t, withKey(locked.PublicKey()))
		var asked []string
		h := dial(t, s, func(o *Options) {
			o.KeyFile = lockedFile
			o.Passphrase = func(_ context.Context, file string) ([]byte, error) {
				asked = append(asked, file)
				if len(asked) < 3 {
					return []byte("wrong"), nil
				}
				return []byte("open sesame"), nil
			}
		})
		if len(asked) != 3 || asked[0] != lockedFile {
			t.Errorf("asked for %q", asked)
		}
		s.cut()
		<-h.Done()
		if got := mustRun(t, h, "echo again"); got != "again\n" || len(asked) != 3 {
			t.Errorf("after a reconnect: %q, asked %d times", got, len(asked))
		}
	})
	t.Run("one passphrase for all machines", func(t *testing.T) {
		one, other := newServer(t, withKey(locked.PublicKey())), newServer(t, withKey(locked.PublicKey()))
		asked := 0
		keys := new(Keys)
		for _, s := range []*server{one, other} {
			dial(t, s, func(o *Options) {
				o.KeyFile, o.Keys = lockedFile, keys
				o.Passphrase = func(context.Context, string) ([]byte, error) { asked++; return []byte("open sesame"), nil }
			})
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("a wrong passphrase", func(t *testing.T) {
		s := newServer(t, withKey(locked.PublicKey()))
		asked := 0
		keys := new(Keys)
		for range 2 { // as for two machines
			o := s.options()
			o.KeyFile, o.Keys = lockedFile, keys
			o.Passphrase = func(context.Context, string) ([]byte, error) { asked++; return []byte("wrong"), nil }
			_, err := Dial(t.Context(), o)
			wantConnectError(t, err, false, "nuc01", "passphrase", "wrong", lockedFile, "ssh-add")
			if strings.Contains(err.Error(), "ssh-copy-id") {
				t.Errorf("the machine refused nothing: %v", err)
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("passphrase without need", func(t *testing.T) {
		s := newServer(t, withPassword(password), withKey(plain.PublicKey()))
		dial(t, s, func(o *Options) {
			o.KeyFile = lockedFile
			o.Passphrase = func(context.Context, string) ([]byte, error) {
				t.Error("asked for the passphrase of a key that the machine does not want")
				return nil, errors.New("no")
			}
		})
	})
	t.Run("nobody to ask", func(t *testing.T) {
		s := newServer(t, withKey(locked.PublicKey()))
		o := s.options()
		o.KeyFile = lockedFile
		_, err := Dial(t.Context(), o)
		wantConnectError(t, err, false, "ssh-add", "nuc01")
	})
	t.Run("agent", func(t *testing.T) {
		s := newServer(t, withKey(plain.PublicKey()))
		ring := agent.NewKeyring()
		for range 8 { // more than sshd would let us try before the right one
			other := newECDSARaw(t)
			if err := ring.Add(agent.AddedKey{PrivateKey: other}); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := ssh.ParseRawPrivateKey(read(t, plainFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
			t.Fatal(err)
		}
		socket := serveAgent(t, ring)
		t.Setenv("SSH_AUTH_SOCK", socket)
		o := s.options()
		o.KeyFile = plainFile
		o.Password = inventory.Secret{}
		h, err := Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
		if n := s.logins.Load(); n != 1 && n != 2 { // the question and the proof
			t.Errorf("%d attempts: the key that the file names was not the first", n)
		}
	})
}

func TestLoginWithPassword(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	dial(t, newServer(t, withPassword(password)))

	keyboard := func(s *server) {
		s.config.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			a, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(a) != 1 || a[0] != password {
				return nil, errors.New("wrong")
			}
			return nil, nil
		}
	}
	dial(t, newServer(t, keyboard))

	s := newServer(t, withPassword("another"))
	_, err := Dial(t.Context(), s.options())
	wantConnectError(t, err, false, "nuc01", "ssh-copy-id", "no-such-key")
	if s.logins.Load() > 2 {
		t.Errorf("a wrong password was tried %d times", s.logins.Load())
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	mute := Options{Name: "nuc09", Address: addr, User: "u", ConnectTimeout: 300 * time.Millisecond}
	_, err = Dial(t.Context(), mute) // listens, never speaks: without its bound this would not end
	wantConnectError(t, err, true, "nuc09", addr)
	l.Close()
	_, err = Dial(t.Context(), mute)
	wantConnectError(t, err, true, "nuc09", "openssh-server")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, mute)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestHostKeyFirstUse(t *testing.T) {
	s := newServer(t, withPassword(password))
	t.Setenv("SSH_AUTH_SOCK", "")
	o := s.options()
	o.HostKey = ""
	o.KnownHosts = filepath.Join(t.TempDir(), "state", "known_hosts")

	_, err := Dial(t.Context(), o)
	var he *HostKeyError
	print := ssh.FingerprintSHA256(s.keys[0].PublicKey())
	if !errors.As(err, &he) || he.Got != print || he.Want != "" {
		t.Fatalf("got %v", err)
	}
	answer := false
	asked := 0
	o.AcceptNewHostKey = func(_ context.Context, node, got string) (bool, error) {
		asked++
		if node != "nuc01" || got != print {
			t.Errorf("asked about %s, %s", node, got)
		}
		return answer, nil
	}
	if _, err = Dial(t.Context(), o); !errors.As(err, &he) {
		t.Fatalf("got %v", err)
	}
	if n := s.logins.Load(); n != 0 {
		t.Fatalf("%d attempts to log in at a machine that is not known", n)
	}
	if _, err := os.Stat(o.KnownHosts); err == nil {
		t.Fatal("a key was kept that nobody accepted")
	}

	answer = true
	for range 2 {
		h, err := Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2: no, yes", asked)
	}
	if got := strings.Count(string(read(t, o.KnownHosts)), "\n"); got != 1 {
		t.Errorf("%d lines", got)
	}
	for path, want := range map[string]os.FileMode{o.KnownHosts: 0o600, filepath.Dir(o.KnownHosts): 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}

func TestHostKeyKnown(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	two := func(s *server) { s.keys = append(s.keys, newECDSA(t)) }
	s := newServer(t, withPassword(password), two)
	other := newKey(t).PublicKey()
	file := filepath.Join(t.TempDir(), "known_hosts")
	o := s.options()
	o.HostKey, o.KnownHosts = "", file
	hashed := func(k ssh.PublicKey) string {
		return knownhosts.HashHostname(knownhosts.Normalize(s.addr)) + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	}
	for name, line := range map[string]string{
		"plain":                      knownhosts.Line([]string{s.addr}, s.keys[0].PublicKey()),
		"hashed":                     hashed(s.keys[0].PublicKey()),
		"second type, asked for":     hashed(s.keys[1].PublicKey()),
		"without newline at the end": "# x\n" + hashed(s.keys[1].PublicKey()),
	} {
		write(t, file, line, 0o600)
		h, err := Dial(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h.Close()
	}

	before := s.logins.Load()
	for name, c := range map[string]struct {
		text string
		set  func(*Options)
		want []string
	}{
		"changed": {text: "# one\n" + hashed(other), want: []string{"has changed", ssh.FingerprintSHA256(other), "line 2 of " + file}},
		"revoked": {text: "@revoked * " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.keys[0].PublicKey()))), want: []string{"revoked", "line 1 of " + file}},
		"pinned":  {set: func(o *Options) { o.HostKey = string(ssh.MarshalAuthorizedKey(other)) }, want: []string{"has changed", "host_key"}},
		"other type": {set: func(o *Options) {
			k, err := ssh.NewPublicKey(&newRSA(t).PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			o.HostKey = string(ssh.MarshalAuthorizedKey(k))
		}, want: []string{"has changed", "none of that type"}},
	} {
		write(t, file, c.text, 0o600)
		bad := o
		if c.set != nil {
			c.set(&bad)
		}
		bad.AcceptNewHostKey = func(context.Context, string, string) (bool, error) {
			t.Errorf("%s: asked to accept the key", name)
			return true, nil
		}
		_, err := Dial(t.Context(), bad)
		var he *HostKeyError
		if !errors.As(err, &he) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, w := range append(c.want, "nuc01") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
	if n := s.logins.Load() - before; n != 0 {
		t.Errorf("%d attempts to log in at a machine with a wrong key", n)
	}
}

func TestKnownHostsAppend(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	write(t, file, "no newline at the end", 0o600)
	done := make(chan error)
	for i := range 20 {
		line := knownhosts.Line([]string{"172.31.77.1:22"}, newKey(t).PublicKey())
		if i%2 == 1 {
			line = "the same line"
		}
		go func() { done <- appendKnownHost(file, line) }()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(read(t, file)), "\n"), "\n")
	if len(lines) != 12 { // the first, ten keys, and one for ten equal ones
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

func TestReconnect(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	done := h.Done()

	// One that is running fails; it is stopped before anything else runs.
	pid := make(chan string, 1)
	result := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), Command{Script: "trap '' PIPE HUP; echo $$; while :; do sleep 1; done", Output: func(l string) { pid <- l }})
		result <- err
	}()
	p := <-pid
	s.cut()
	wantConnectError(t, <-result, true, "nuc01", "lost")
	<-done
	if !running(p) {
		t.Fatal("this test needs a command that outlives its connection")
	}
	if got := mustRun(t, h, "echo back"); got != "back\n" {
		t.Errorf("got %q", got)
	}
	until(t, "the command of the lost connection ends", func() bool { return !running(p) })
	if !h.Alive() || s.accepted.Load() != 2 {
		t.Errorf("alive %v, %d connections", h.Alive(), s.accepted.Load())
	}

	// The attempts are bounded.
	s.listener.Close()
	s.cut()
	<-h.Done()
	_, err := h.Run(t.Context(), Command{Script: ":"})
	wantConnectError(t, err, true, "nuc01")

	h.Close()
	if _, err := h.Run(t.Context(), Command{Script: ":"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A connection that drops before the shell said anything is made again, with
// sudo in between too: nothing of the script ran.
func TestDropBeforeStart(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := newServer(t, withPassword(password))
	s.sudo("free", "")
	h := dial(t, s)
	for range 20 {
		for _, root := range []bool{false, true} {
			s.drops.Store(1)
			if r, err := h.Run(t.Context(), Command{Script: "echo in", Root: root}); err != nil || r.Stdout != "in\n" {
				t.Fatalf("root %t: %q, %v", root, r.Stdout, err)
			}
		}
	}
}

func TestKeepalive(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s, func(o *Options) { o.Keepalive = 400 * time.Millisecond })
	started := make(chan string, 1)
	result := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), Command{Script: "echo up; exec sleep 600", Output: func(l string) { started <- l }})
		result <- err
	}()
	<-started
	// A quiet connection that answers stays.
	until(t, "four keepalives are answered", func() bool { return s.keepalives.Load() >= 4 })
	select {
	case err := <-result:
		t.Fatal(err)
	default:
	}
	close(s.frozen)
	wantConnectError(t, <-result, true, "silent")
	if h.Alive() {
		t.Error("still alive")
	}
}

func wantConnectError(t *testing.T, err error, transient bool, words ...string) {
	t.Helper()
	var ce *ConnectError
	if !errors.As(err, &ce) {
		t.Fatalf("got %v, want a ConnectError", err)
	}
	if ce.Transient != transient || ce.Hint == "" || ce.Unwrap() == nil {
		t.Errorf("transient %v, hint %q: %v", ce.Transient, ce.Hint, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
