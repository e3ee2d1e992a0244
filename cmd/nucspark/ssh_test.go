package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"nucspark.io/nucspark/inventory"
)

func TestSSHCommand(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state of mine")
	c := &inventory.Cluster{SSH: inventory.SSH{User: "ubuntu", KnownHosts: "/k"}, Nodes: []inventory.Node{
		{Name: "nuc01", Address: netip.MustParseAddr("192.168.1.11"), Port: 22, Role: inventory.ControlPlane},
		{Name: "nuc02", Address: netip.MustParseAddr("192.168.1.12"), Port: 2222, Role: inventory.Worker, HostKey: "ssh-ed25519 AAAA"},
		{Name: "nuc03", Address: netip.MustParseAddr("192.168.1.13"), Port: 22, Role: inventory.Worker, HostKey: "ssh-ed25519 BBBB"}}}
	const strict = "-o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o GlobalKnownHostsFile=/dev/null "
	for node, want := range map[string]string{
		"nuc01": "ssh " + strict + "-o UserKnownHostsFile=/k ubuntu@192.168.1.11",
		"":      "ssh " + strict + "-o UserKnownHostsFile=/k ubuntu@192.168.1.11",
		"nuc02": "ssh -p 2222 " + strict + "-o UserKnownHostsFile=/dev/null -o 'KnownHostsCommand=/bin/echo [192.168.1.12]:2222 ssh-ed25519 AAAA' ubuntu@192.168.1.12",
		"nuc03": "ssh " + strict + "-o UserKnownHostsFile=/dev/null -o 'KnownHostsCommand=/bin/echo 192.168.1.13 ssh-ed25519 BBBB' ubuntu@192.168.1.13",
		"nuc09": "",
	} {
		if got := sshCommand(c, node); got != want {
			t.Errorf("%q:\n%q, want\n%q", node, got, want)
		}
	}
	c.SSH.KnownHosts, c.SSH.PrivateKey = "", "/my keys/it's"
	if got, want := sshCommand(c, "nuc01"), `ssh -i '/my keys/it'\''s' `+strict+`-o 'UserKnownHostsFile="/state of mine/nucspark/known_hosts"' ubuntu@192.168.1.11`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// sshServer is a machine that lets everybody in and says which command it got.
type sshServer struct {
	address netip.AddrPort
	key     ssh.PublicKey
	logins  atomic.Int32 // attempts
}

func newSSHServer(t *testing.T) *sshServer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &sshServer{address: netip.MustParseAddrPort(l.Addr().String()), key: signer.PublicKey()}
	config := &ssh.ServerConfig{NoClientAuth: true, AuthLogCallback: func(ssh.ConnMetadata, string, error) { s.logins.Add(1) }}
	config.AddHostKey(signer)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveEcho(conn, config)
		}
	}()
	return s
}

func serveEcho(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var command struct{ Text string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
				_ = r.Reply(r.Type == "env", nil)
				continue
			}
			_ = r.Reply(true, nil)
			fmt.Fprint(channel, command.Text)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{3}))
			break
		}
		channel.Close()
	}
}

// TestSSHPins runs the real client: it talks to the machine with the pinned key
// and proves nothing to any other.
func TestSSHPins(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh is installed: what it makes of the command line is not tested")
	}
	right, wrong := newSSHServer(t), newSSHServer(t)
	authorized := func(s *sshServer) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key))) }
	dir := filepath.Join(t.TempDir(), "a directory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	known := func(name string, s *sshServer) string {
		file := filepath.Join(dir, name)
		line := ""
		if s != nil {
			line = knownhosts.Line([]string{right.address.String()}, s.key) + "\n"
		}
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, test := range []struct {
		name, hostKey, known string
		code                 int
	}{
		{"host_key", authorized(right), known("none", nil), 3},
		{"another host_key, though the file has it", authorized(wrong), known("good", right), 255},
		{"known", "", known("good", right), 3},
		{"another one is known", "", known("bad", wrong), 255},
		{"none is known", "", known("none", nil), 255},
	} {
		t.Run(test.name, func(t *testing.T) {
			right.logins.Store(0)
			c := &inventory.Cluster{SSH: inventory.SSH{User: "nuc"}}
			n := &inventory.Node{Name: "nuc02", Address: right.address.Addr(), Port: int(right.address.Port()), HostKey: test.hostKey}
			words := sshWords(c, n, test.known, false, "-oProxyCommand=false", "'a  b'")
			cmd := exec.Command(words[0], append([]string{"-F", "none", "-o", "BatchMode=yes"}, words[1:]...)...) // without settings of this user
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() != test.code {
				t.Fatalf("%v, want code %d: %s", err, test.code, said.String())
			}
			want, logins := "-oProxyCommand=false 'a  b'", true
			if test.code == 255 {
				want, logins = "", false
				if !strings.Contains(said.String(), "Host key verification failed") {
					t.Errorf("ssh said %s", said.String())
				}
			}
			if string(out) != want || (right.logins.Load() > 0) != logins {
				t.Errorf("output %q after %d attempts to log in, want %q", out, right.logins.Load(), want)
			}
		})
	}
}
