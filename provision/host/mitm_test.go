package host

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// countingAgent is an SSH agent that lists its key and counts what it signs.
type countingAgent struct {
	agent.Agent
	mu    sync.Mutex
	signs int
}

func (a *countingAgent) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signs++
	return a.Agent.Sign(key, data)
}

// connections counts those that came, with or without a login.
func connections(s *server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Somebody in between, with another key and an open door for every proof,
// learns nothing: no method is tried with him, not even "none", no key of the
// file or the agent is offered or used, no passphrase is asked for, and no
// password is sent, neither SSH's nor sudo's.
func TestManInTheMiddle(t *testing.T) {
	var mu sync.Mutex
	var tried []string
	between := newServer(t, func(s *server) {
		s.config.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }
		s.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }
		s.config.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			_, err := ask("", "", []string{"Password: "}, []bool{false})
			return nil, err
		}
		s.config.AuthLogCallback = func(_ ssh.ConnMetadata, method string, _ error) {
			mu.Lock()
			defer mu.Unlock()
			tried = append(tried, method)
		}
	})
	between.sudo("password", "s3cret")
	locked, lockedFile := newKeyFile(t, "open sesame")
	_, plainFile := newKeyFile(t, "")
	raw, err := ssh.ParseRawPrivateKey(read(t, plainFile))
	if err != nil {
		t.Fatal(err)
	}
	keys := &countingAgent{Agent: agent.NewKeyring()}
	if err := keys.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
		t.Fatal(err)
	}
	socket := serveAgent(t, keys)
	everyProof := func(address string) Options {
		o := between.options() // a password too
		o.Address, o.KeyFile, o.SudoPassword, o.HostKey = address, lockedFile, o.Password, ""
		o.Passphrase = func(context.Context, string) ([]byte, error) {
			t.Error("the passphrase is asked for")
			return []byte("open sesame"), nil
		}
		return o
	}
	learned := func(name string, err error) {
		t.Helper()
		var he *HostKeyError
		if !errors.As(err, &he) {
			t.Errorf("%s: got %v", name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(tried) > 0 || len(between.attempts()) > 0 || keys.signs > 0 {
			t.Errorf("%s: tried %q, sudo saw %q, the agent signed %d times", name, tried, between.attempts(), keys.signs)
		}
		tried, keys.signs = nil, 0
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
	real := newKey(t).PublicKey()
	known := filepath.Join(t.TempDir(), "known_hosts")
	for name, set := range map[string]func(*Options){
		"pinned": func(o *Options) { o.HostKey = string(ssh.MarshalAuthorizedKey(real)) },
		"pinned, another type": func(o *Options) {
			o.HostKey = string(ssh.MarshalAuthorizedKey(newECDSA(t).PublicKey()))
		},
		"known": func(o *Options) {
			write(t, known, knownhosts.Line([]string{o.Address}, real)+"\n", 0o600)
			o.KnownHosts = known
		},
		"new, nobody to ask": func(o *Options) { o.KnownHosts = known + ".none" },
		"new, not trusted": func(o *Options) {
			o.KnownHosts = known + ".none"
			o.AcceptNewHostKey = func(context.Context, string, string) (bool, error) { return false, nil }
		},
	} {
		before := connections(between)
		o := everyProof(between.addr)
		set(&o)
		_, err := Dial(t.Context(), o)
		learned(name, err)
		if connections(between) == before {
			t.Errorf("%s: nobody came to the man in the middle, so nothing was shown", name)
		}
	}

	// He comes in the middle of a run, in the place of a machine that knows us.
	machine := newServer(t, withKey(locked.PublicKey()), withPassword(password))
	machine.sudo("password", "s3cret")
	o := everyProof(machine.addr)
	o.HostKey, o.Passphrase = machine.options().HostKey, func(context.Context, string) ([]byte, error) { return []byte("open sesame"), nil }
	h, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	keys.mu.Lock()
	keys.signs = 0
	keys.mu.Unlock()
	machine.listener.Close()
	place, err := net.Listen("tcp", machine.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	go func() {
		for {
			c, err := place.Accept()
			if err != nil {
				return
			}
			go between.serve(c)
		}
	}()
	machine.cut()
	<-h.Done()
	_, err = h.Run(t.Context(), Command{Script: "cat", Root: true, Stdin: strings.NewReader("")})
	learned("in the middle of a run", err)

	// What the silence is worth: with his own key pinned, he is told.
	o = everyProof(between.addr)
	o.HostKey, o.KeyFile = between.options().HostKey, plainFile
	h, err = Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(tried, "publickey") {
		t.Errorf("tried %q", tried)
	}
}
