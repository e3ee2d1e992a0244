package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/term"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// App is what all commands share: the streams, the inventory's path, and the
// way to the machines. Results go to Out; progress, questions and diagnostics
// go to Err.
type App struct {
	File              string // of the inventory
	AcceptNewHostKeys bool
	AcceptNoHostKeys  bool // nor ask: the command only looks

	In  io.Reader
	Out io.Writer
	Err io.Writer

	asking sync.Mutex                                                    // one question at a time
	dial   func(context.Context, host.Options) (provision.Remote, error) // nil: host.Dial
}

// Load reads the inventory and shows its warnings. Its error carries the exit
// code of a bad inventory, for a file that cannot be read too.
func (a *App) Load() (*inventory.Cluster, error) {
	c, err := inventory.Load(a.File)
	if err != nil {
		return nil, &ExitError{Code: exitBad, Err: err}
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(a.Err, w)
	}
	return c, nil
}

// Connect returns the machines of a cluster. They are dialled when they are
// first needed.
func (a *App) Connect(_ context.Context, c *inventory.Cluster) (*provision.Fleet, error) {
	known, err := knownHosts(c)
	if err != nil {
		return nil, err
	}
	dial := a.dialer()
	keys := new(host.Keys)
	return provision.NewFleet(c, func(ctx context.Context, n *inventory.Node) (provision.Remote, error) {
		o := a.reach(c, n, known)
		o.Keys = keys
		return dial(ctx, o)
	}), nil
}

// reach says how a node is reached; known is the file with the pinned host keys.
func (a *App) reach(c *inventory.Cluster, n *inventory.Node, known string) host.Options {
	return host.Options{
		Name: n.Name, Address: net.JoinHostPort(n.Address.String(), strconv.Itoa(n.Port)),
		User: c.SSH.User, KeyFile: c.SSH.PrivateKey, Password: c.SSH.Password, SudoPassword: c.SSH.SudoPassword,
		HostKey: n.HostKey, KnownHosts: known, AcceptNewHostKey: a.acceptHostKey, Passphrase: a.passphrase,
		ConnectTimeout: c.SSH.ConnectTimeout, IdleTimeout: c.SSH.IdleTimeout,
	}
}

// connected returns the inventory and its machines. The caller closes the fleet.
func (a *App) connected(ctx context.Context) (*inventory.Cluster, *provision.Fleet, error) {
	c, err := a.Load()
	if err != nil {
		return nil, nil, err
	}
	fleet, err := a.Connect(ctx, c)
	return c, fleet, err
}

// connectKube is connected, and the API of the cluster.
func (a *App) connectKube(ctx context.Context) (*inventory.Cluster, *provision.Fleet, *kube.Client, error) {
	c, fleet, err := a.connected(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	k, err := fleet.Kube(ctx)
	if err != nil {
		fleet.Close()
		return nil, nil, nil, err
	}
	return c, fleet, k, nil
}

// knownHosts is the file with the pinned host keys.
func knownHosts(c *inventory.Cluster) (string, error) {
	if c.SSH.KnownHosts != "" {
		return c.SSH.KnownHosts, nil
	}
	dir, err := stateDir()
	return filepath.Join(dir, "known_hosts"), err
}

// dialer opens connections.
func (a *App) dialer() func(context.Context, host.Options) (provision.Remote, error) {
	if a.dial != nil {
		return a.dial
	}
	return func(ctx context.Context, o host.Options) (provision.Remote, error) { return host.Dial(ctx, o) }
}

// stateDir is where nucspark keeps what belongs to this user: pinned host
// keys and logs of runs (XDG base directory specification).
func stateDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "nucspark"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "nucspark"), nil
}

func (a *App) acceptHostKey(_ context.Context, node, fingerprint string) (bool, error) {
	if a.AcceptNoHostKeys {
		return false, nil
	}
	a.asking.Lock()
	defer a.asking.Unlock()
	if a.AcceptNewHostKeys {
		fmt.Fprintf(a.Err, "%s: new host key %s accepted\n", node, fingerprint)
		return true, nil
	}
	if !a.interactive() {
		return false, nil
	}
	return a.ask(fmt.Sprintf("%s shows the host key %s for the first time.\nCompare it with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the machine. Trust it?", node, fingerprint))
}

func (a *App) passphrase(_ context.Context, file string) ([]byte, error) {
	a.asking.Lock()
	defer a.asking.Unlock()
	f, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("there is no terminal to ask for it")
	}
	fmt.Fprintf(a.Err, "Passphrase of %s: ", file)
	defer fmt.Fprintln(a.Err)
	return term.ReadPassword(int(f.Fd()))
}

// interactive says whether there is somebody to answer.
func (a *App) interactive() bool { return isTerminal(a.In) && isTerminal(a.Err) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask puts a question that is answered with yes or no; anything but yes is no.
func (a *App) ask(question string) (bool, error) {
	line, err := a.line(question + " [y/N] ")
	if err != nil {
		return false, err
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// line asks for one line of text. What was typed ahead is not lost: a terminal
// gives one line at a time.
func (a *App) line(question string) (string, error) {
	fmt.Fprint(a.Err, question)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
