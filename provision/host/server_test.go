package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"nucspark.io/nucspark/inventory"
)

// server is an SSH server with real shells, which behaves as
// OpenSSH does: sessions of their own for commands, ten at a time, the exit
// status when the process exits, the end of the channel when its streams end,
// and no signal to what runs when a connection is lost.
type server struct {
	t        *testing.T
	addr     string
	listener net.Listener
	config   *ssh.ServerConfig
	keys     []ssh.Signer // host keys
	dir      string       // in front of PATH; holds the fake sudo and its settings
	noise    string       // what the login shell does before each command
	drops    atomic.Int32 // how many commands still lose their connection
	frozen   chan struct{}

	keepalives atomic.Int64 // answered

	logins   atomic.Int32 // attempts to authenticate with something
	accepted atomic.Int32 // connections
	refuse   atomic.Int32 // sessions to refuse, as if some were not gone yet
	most     atomic.Int32 // sessions at one time

	mu    sync.Mutex
	conns []net.Conn
}

// fakeSudo does what sudo -n and sudo -S do without a terminal: up to three
// prompts on stderr, the password byte by byte from stdin.
const fakeSudo = `#!/bin/sh
dir=${0%/*}
mode=$(cat $dir/mode)
prompt="Password:" ask=no
while :; do
	case $1 in
	-n) ask=never; shift ;;
	-S) ask=stdin; shift ;;
	-H) shift ;;
	-p) prompt=$2; shift 2 ;;
	--) shift; break ;;
	*) echo "sudo: bad option $1" >&2; exit 1 ;;
	esac
done
[ "$LC_ALL" = C ] || { echo "sudo: ein Passwort ist notwendig" >&2; exit 1; }
case $mode in
free) exec env FAKE_ROOT=yes "$@" ;;
tty) echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1 ;;
rust) prompt="[sudo: $prompt] Password: " ;;
code) prompt="Verification code: " ;;
esac
[ $ask != never ] || { echo "sudo: a password is required" >&2; exit 1; }
[ $ask = stdin ] || { echo "sudo: a terminal is required to read the password" >&2; exit 1; }
for try in 1 2 3; do
	printf '\nWe trust you have received the usual lecture.\n\n%s' "$prompt" >&2
	IFS= read -r word || { echo >&2; echo "sudo: no password was provided" >&2; exit 1; }
	printf '%s\n' "$word" >>$dir/attempts
	if [ "$word" = "$(cat $dir/password)" ]; then
		[ $mode != denied ] || { echo "ubuntu is not in the sudoers file." >&2; exit 1; }
		exec env FAKE_ROOT=yes "$@"
	fi
	echo "Sorry, try again." >&2
done
echo "sudo: 3 incorrect password attempts" >&2
exit 1
`

func newServer(t *testing.T, set ...func(*server)) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), frozen: make(chan struct{})}
	write(t, filepath.Join(s.dir, "sudo"), fakeSudo, 0o755)
	write(t, filepath.Join(s.dir, "mode"), "free", 0o644)
	s.config = &ssh.ServerConfig{
		MaxAuthTries: 6,
		AuthLogCallback: func(_ ssh.ConnMetadata, method string, _ error) {
			if method != "none" {
				s.logins.Add(1)
			}
		},
	}
	s.keys = []ssh.Signer{newKey(t)}
	for _, f := range set {
		f(s)
	}
	for _, k := range s.keys {
		s.config.AddHostKey(k)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.addr = l, l.Addr().String()
	go s.accept()
	t.Cleanup(func() { l.Close(); s.cut() })
	return s
}

func withPassword(want string) func(*server) {
	return func(s *server) {
		s.config.PasswordCallback = func(_ ssh.ConnMetadata, got []byte) (*ssh.Permissions, error) {
			if string(got) != want {
				return nil, errors.New("wrong")
			}
			return nil, nil
		}
	}
}

func withKey(want ssh.PublicKey) func(*server) {
	return func(s *server) {
		s.config.PublicKeyCallback = func(_ ssh.ConnMetadata, got ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(got.Marshal(), want.Marshal()) {
				return nil, errors.New("unknown")
			}
			return nil, nil
		}
	}
}

// options reach the server with its key pinned and a password.
func (s *server) options() Options {
	return Options{
		Name: "nuc01", Address: s.addr, User: "ubuntu",
		KeyFile:  filepath.Join(s.dir, "no-such-key"),
		Password: inventory.NewSecret("pa'ss word"),
		HostKey:  string(ssh.MarshalAuthorizedKey(s.keys[0].PublicKey())),
	}
}

// dial connects to a server that lets the password of options in.
func dial(t *testing.T, s *server, set ...func(*Options)) *Host {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	o := s.options()
	for _, f := range set {
		f(&o)
	}
	h, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go s.serve(&freezing{Conn: c, frozen: s.frozen})
	}
}

// cut ends all connections, as a pulled cable would if it were noticed.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// freezing is a connection that stops to answer once frozen is closed.
type freezing struct {
	net.Conn
	frozen chan struct{}
}

func (f *freezing) Write(p []byte) (int, error) {
	select {
	case <-f.frozen:
		return len(p), nil
	default:
		return f.Conn.Write(p)
	}
}

func (s *server) serve(c net.Conn) {
	conn, chans, reqs, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		c.Close()
		return
	}
	defer conn.Close()
	s.accepted.Add(1)
	var open atomic.Int32
	go func() {
		for r := range reqs {
			if r.Type == "keepalive@openssh.com" {
				s.keepalives.Add(1)
			}
			r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}()
	for n := range chans {
		switch n.ChannelType() {
		case "session":
			now := open.Add(1)
			for m := s.most.Load(); now > m && !s.most.CompareAndSwap(m, now); m = s.most.Load() {
			}
			if now > 10 || s.refuse.Add(-1) >= 0 {
				open.Add(-1)
				n.Reject(ssh.ConnectionFailed, "open failed") // what OpenSSH says above MaxSessions
				continue
			}
			ch, reqs, err := n.Accept()
			if err != nil {
				return
			}
			go func() {
				s.session(ch, reqs)
				open.Add(-1) // before the client may open the next one
				ch.Close()
			}()
		case "direct-tcpip":
			go s.forward(n)
		default:
			n.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	for r := range reqs {
		var m struct{ Text string }
		switch {
		case ssh.Unmarshal(r.Payload, &m) != nil:
			r.Reply(false, nil)
		case r.Type == "exec":
			r.Reply(true, nil)
			go ssh.DiscardRequests(reqs)
			s.exec(ch, m.Text)
			return
		default:
			r.Reply(false, nil)
		}
	}
}

func (s *server) exec(ch ssh.Channel, command string) {
	if s.drops.Add(-1) >= 0 { // before the shell said anything
		s.cut()
		return
	}
	cmd := exec.Command("/bin/sh", "-c", s.noise+command)
	cmd.Env = []string{"PATH=" + s.dir + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "LANG=de_DE.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err1 := cmd.StdinPipe()
	outR, outW, err2 := os.Pipe()
	errR, errW, err3 := os.Pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		s.t.Error(err)
		return
	}
	cmd.Stdout, cmd.Stderr = outW, errW
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	outW.Close()
	errW.Close()
	go func() {
		io.Copy(stdin, ch)
		stdin.Close()
	}()
	var streams sync.WaitGroup
	for r, w := range map[*os.File]io.Writer{outR: ch, errR: ch.Stderr()} {
		streams.Add(1)
		go func() {
			defer streams.Done()
			defer r.Close()
			io.Copy(w, r)
		}()
	}
	cmd.Wait()
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signaled() {
		ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal     string
			Core       bool
			Text, Lang string
		}{strings.TrimPrefix(signalName(st.Signal()), "SIG"), false, "", ""}))
	} else {
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(st.ExitStatus())}))
	}
	streams.Wait()
}

func signalName(s syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGKILL: "SIGKILL", syscall.SIGHUP: "SIGHUP"}[s]
}

func (s *server) forward(n ssh.NewChannel) {
	var m struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &m); err != nil {
		n.Reject(ssh.Prohibited, err.Error())
		return
	}
	c, err := net.Dial("tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))))
	if err != nil {
		n.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	ch, reqs, err := n.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		io.Copy(c, ch)
		c.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(ch, c)
	ch.Close()
}

// sudo sets what the fake sudo does, and the password it wants.
func (s *server) sudo(mode, password string) {
	write(s.t, filepath.Join(s.dir, "mode"), mode, 0o644)
	write(s.t, filepath.Join(s.dir, "password"), password, 0o644)
}

// attempts returns the passwords that the fake sudo got.
func (s *server) attempts() []string {
	b, err := os.ReadFile(filepath.Join(s.dir, "attempts"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) ssh.Signer { s, _ := newKeyFile(t, ""); return s }

// newKeyFile makes a key and a file of it, encrypted if there is a passphrase.
func newKeyFile(t *testing.T, passphrase string) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyFiles(t, key, passphrase)
}

func newECDSA(t *testing.T) ssh.Signer { s, _ := keyFiles(t, newECDSARaw(t), ""); return s }

func newECDSARaw(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyFiles(t *testing.T, key crypto.PrivateKey, passphrase string) (ssh.Signer, string) {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id")
	write(t, file, string(pem.EncodeToMemory(block)), 0o600)
	return signer, file
}

// serveAgent answers as an SSH agent on the socket whose path it returns, until
// the test ends.
func serveAgent(t *testing.T, keys agent.Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keys, c) }()
		}
	}()
	return socket
}

// until polls for what another process does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("timed out: %s", what)
		}
	}
}

// running says whether a process exists and is not a zombie.
func running(pid string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", strings.TrimSpace(pid)))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}
