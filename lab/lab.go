package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"nucspark.io/nucspark/lab/mirror"
)

const (
	labelKey   = "io.nucspark.lab"      // on everything a lab makes; the value is its name
	nodeLabel  = "io.nucspark.lab.node" // on a node's container; the value is the node's name
	mirrorName = "mirror"
	madeLabel  = "io.nucspark.lab.made"  // on the mirror; a hash of what it was made from
	imageLabel = "io.nucspark.lab.image" // on the images all labs share
)

// Options describes a lab.
type Options struct {
	Name         string       // default "lab"
	Nodes        int          // 1 to 99; default 3
	Subnet       netip.Prefix // a /24; default 172.31.77.0/24
	Dir          string       // where lab.hcl is written; default the working directory
	Cache        string       // what is built once; default $XDG_CACHE_HOME/nucspark/lab
	State        string       // keys of all labs of this user; default $XDG_STATE_HOME/nucspark/labs
	SudoPassword string       // when set, sudo on the nodes asks for it and SSH accepts it
	NoMirror     bool         // machines only
	Backend      string       // Containers or VMs; default what the lab is made of, else Containers
	Memory       int          // of each virtual machine, MiB; default 4096
	Progress     func(string) // one line of what is being done; may be nil
}

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "lab"
	}
	if !nameRule.MatchString(o.Name) {
		return o, fmt.Errorf("%q is no name for a lab: use up to 32 lower-case letters, digits and dashes", o.Name)
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Nodes < 1 || o.Nodes > 99 {
		return o, fmt.Errorf("a lab has 1 to 99 nodes, not %d", o.Nodes)
	}
	if !o.Subnet.IsValid() {
		o.Subnet = netip.MustParsePrefix("172.31.77.0/24")
	}
	if !o.Subnet.Addr().Is4() || o.Subnet.Bits() != 24 || !o.Subnet.Addr().IsPrivate() {
		return o, fmt.Errorf("the subnet of a lab is a private IPv4 /24 such as 172.31.77.0/24, not %s", o.Subnet)
	}
	o.Subnet = o.Subnet.Masked()
	if o.Memory == 0 {
		o.Memory = 4096
	}
	if o.Memory < 1024 {
		return o, fmt.Errorf("a machine of %d MiB is too small: give it 1024 or more", o.Memory)
	}
	if o.Dir == "" {
		o.Dir = "."
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, err
	}
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, err
		}
		o.Cache = filepath.Join(dir, "nucspark", "lab")
	}
	if o.State == "" {
		dir := os.Getenv("XDG_STATE_HOME")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return o, err
			}
			dir = filepath.Join(home, ".local", "state")
		}
		o.State = filepath.Join(dir, "nucspark", "labs")
	}
	return o, nil
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// object is the name in the engine of one of the lab's objects; "" is its network.
func (o Options) object(name string) string {
	return strings.TrimSuffix("nucspark-"+o.Name+"-"+name, "-")
}

// address returns the address of the subnet that ends in last.
func (o Options) address(last int) netip.Addr {
	a := o.Subnet.Addr().As4()
	a[3] = byte(last)
	return netip.AddrFrom4(a)
}

func (o Options) mirrorAddress() netip.Addr { return o.address(2) }
func (o Options) stateDir() string          { return filepath.Join(o.State, o.Name) }
func (o Options) keyFile() string           { return filepath.Join(o.stateDir(), "id_ed25519") }
func (o Options) hostKeyFile(node string) string {
	return filepath.Join(o.stateDir(), node+".host_key")
}
func (o Options) engineFile() string    { return filepath.Join(o.Cache, "engine.json") }
func (o Options) inventoryFile() string { return filepath.Join(o.Dir, "lab.hcl") }

// lock holds the state directory for one command at a time.
func (o Options) lock() (release func(), err error) {
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(o.State, o.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another command is working on the lab %q: wait for it", o.Name)
	}
	return func() { f.Close() }, nil
}

// machines returns the nodes with their host keys, made on first use.
func (o Options) machines() ([]machine, error) {
	var out []machine
	for i := 1; i <= o.Nodes; i++ {
		name := fmt.Sprintf("nuc%02d", i)
		key, err := ensureKey(o.hostKeyFile(name), name)
		if err != nil {
			return nil, err
		}
		out = append(out, machine{name, o.address(10 + i), key})
	}
	return out, nil
}

// written is what Up remembers of the inventory it wrote, for Down.
type written struct {
	File string `json:"file"`
	Body []byte `json:"body"`
}

// Up makes the lab that o describes, or what is missing of it, waits until
// every node answers over SSH and writes lab.hcl.
func Up(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := engineRunning(ctx); err != nil {
		return err
	}
	release, err := o.lock()
	if err != nil {
		return err
	}
	defer release()
	nodes, err := o.backend()
	if err != nil {
		return err
	}
	if !o.NoMirror {
		if err := buildMirror(ctx, o); err != nil {
			return fmt.Errorf("filling the mirror: %w", err)
		}
	}
	user, err := ensureKey(o.keyFile(), "nucspark lab "+o.Name)
	if err != nil {
		return err
	}
	machines, err := o.machines()
	if err != nil {
		return err
	}
	host := probeHost()
	if err := ensureNetwork(ctx, o, host.MTU); err != nil {
		return err
	}
	mirrorKey := ""
	if !o.NoMirror {
		mirrorKey = mirror.PublicKey(o.Cache)
		if err := ensureMirror(ctx, o); err != nil {
			return err
		}
	}
	if err := nodes.prepare(ctx); err != nil {
		return err
	}
	have, err := nodes.nodes(ctx)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		g.Go(func() error {
			return ensureNode(gctx, o, nodes, m, user, slices.ContainsFunc(have, func(n NodeState) bool { return n.Name == m.Name }))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if _, ok := nodes.(*vms); ok {
		host = hostFacts{VM: true}
	}
	body, err := renderInventory(o, machines, host, o.keyFile(), mirrorKey)
	if err != nil {
		return err
	}
	return writeInventory(o, body)
}

// ensureNetwork makes the lab's network unless it is there.
func ensureNetwork(ctx context.Context, o Options, mtu int) error {
	name := o.object("")
	out, err := docker(ctx, nil, "network", "inspect", "--format", `{{range .IPAM.Config}}{{.Subnet}}{{end}} {{index .Labels "`+labelKey+`"}}`, name)
	if err == nil {
		if out == o.Subnet.String()+" "+o.Name {
			return nil
		}
		return fmt.Errorf("the engine has a network %s with other settings (%s): take it off with `nucspark lab down --name %s` or `docker network rm %s`", name, out, o.Name, name)
	}
	if !saidBy(err, "no such network", "not found") {
		return err
	}
	_, err = docker(ctx, nil, "network", "create", "--label", labelKey+"="+o.Name, "--subnet", o.Subnet.String(),
		"--gateway", o.address(1).String(),
		"--opt", fmt.Sprintf("com.docker.network.driver.mtu=%d", mtu), name)
	if saidBy(err, "overlaps") {
		return fmt.Errorf("%s is in use on this machine: choose another network with --subnet", o.Subnet)
	}
	return err
}

// ensureNode makes one node answer: taken up as it is, switched on, or, when
// neither helps, replaced.
func ensureNode(ctx context.Context, o Options, b backend, m machine, user keyPair, there bool) error {
	if there {
		err := b.start(ctx, m.Name)
		if err == nil {
			// Long, because what is replaced loses its disks, and a busy
			// machine is slow.
			wait, cancel := context.WithTimeout(ctx, b.patience())
			err = waitForSSH(wait, b, m, user.Signer)
			cancel()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		o.say("replacing %s: %v", m.Name, err)
	}
	if err := b.remove(ctx, m.Name); err != nil {
		return err
	}
	if err := b.create(ctx, m, user.Authorized()); err != nil {
		return fmt.Errorf("making %s: %w", m.Name, err)
	}
	if err := b.start(ctx, m.Name); err != nil {
		return fmt.Errorf("starting %s: %w", m.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	if err := waitForSSH(ctx, b, m, user.Signer); err != nil {
		return fmt.Errorf("%w; read %s", err, b.log(m.Name))
	}
	o.say("%s is on at %s", m.Name, m.Address)
	return nil
}

// writeInventory writes lab.hcl and remembers it. A file that somebody
// changed, or that came from elsewhere, is kept beside as lab.hcl.old.
func writeInventory(o Options, body []byte) error {
	name, record := o.inventoryFile(), filepath.Join(o.stateDir(), "inventory.json")
	var last written
	if b, err := os.ReadFile(record); err == nil {
		if err := json.Unmarshal(b, &last); err != nil {
			return fmt.Errorf("%s: %w", record, err)
		}
	}
	now, err := os.ReadFile(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case bytes.Equal(now, body):
		return writeJSON(record, written{name, body})
	case !bytes.Equal(now, last.Body):
		if err := os.Rename(name, name+".old"); err != nil {
			return err
		}
		o.say("%s had been changed: kept as %s.old", name, filepath.Base(name))
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		return err
	}
	return writeJSON(record, written{name, body})
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}
