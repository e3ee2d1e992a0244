package provision

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// local is a Remote that runs scripts on this computer, with the ledger in a
// directory of the test, and records them.
type local struct {
	t       *testing.T
	state   string // stands for StateDir
	mu      sync.Mutex
	scripts []string
}

func newLocal(t *testing.T) *local { return &local{t: t, state: t.TempDir()} }

func (l *local) Run(ctx context.Context, c host.Command) (host.Result, error) {
	script := strings.ReplaceAll(c.Script, StateDir, l.state)
	l.mu.Lock()
	l.scripts = append(l.scripts, script)
	l.mu.Unlock()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = c.Stdin
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	res := host.Result{Stdout: out.String(), Stderr: errOut.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return res, &host.CommandError{Node: "local", Command: c.Script, Code: res.Code, Tail: strings.Split(errOut.String(), "\n")}
	}
	return res, err
}

func (l *local) WriteFile(_ context.Context, path string, content []byte, mode fs.FileMode, _, _ string) error {
	return os.WriteFile(path, content, mode)
}
func (l *local) ReadFile(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }
func (l *local) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no forwarding in this test")
}
func (l *local) Close() error { return nil }

// oneNode is a fleet of one machine, nuc01, that is this computer.
func oneNode(t *testing.T) (*Fleet, *Site, *local) {
	t.Helper()
	c := &inventory.Cluster{File: "test.hcl", Name: "test", Nodes: []inventory.Node{{Name: "nuc01", Role: inventory.ControlPlane}}}
	l := newLocal(t)
	f := NewFleet(c, func(context.Context, *inventory.Node) (Remote, error) { return l, nil })
	if failed := f.Connect(context.Background(), &c.Nodes[0]); len(failed) > 0 {
		t.Fatal(failed)
	}
	return f, &Site{Cluster: c, Machines: map[string]Machine{"nuc01": {}}, Resolved: Resolved{UID: "uid"}}, l
}
