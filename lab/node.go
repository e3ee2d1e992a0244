package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// user is who nucspark logs in as.
const user = "nuc"

// machine is one node of the lab.
type machine struct {
	Name    string // "nuc01"
	Address netip.Addr
	HostKey keyPair
}

// createArgs returns the arguments of `docker create` for one node. The
// container's name is that of the node after "nucspark-LAB-".
func createArgs(o Options, m machine, image string, host hostFacts) []string {
	name := o.object(m.Name)
	args := []string{
		"create", "--name", name, "--hostname", m.Name,
		"--label", labelKey + "=" + o.Name, "--label", nodeLabel + "=" + m.Name,
		"--network", o.object(""), "--ip", m.Address.String(),
		// Not --privileged: that asks for every capability, and some machines
		// cannot give them all.
		"--cap-add", "ALL",
	}
	if !host.SysResource {
		args = append(args, "--cap-drop", "SYS_RESOURCE")
	}
	args = append(args,
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm",
		"--cgroupns", "private", "--stop-signal", "SIGRTMIN+3", // systemd's "halt"
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
	)
	if host.Modules != "" {
		args = append(args, "--volume", host.Modules+":"+host.Modules+":ro")
	}
	for _, dir := range volumeDirs {
		args = append(args, "--volume", volumeName(name, dir)+":/"+dir)
	}
	return append(args, image)
}

// volumeDirs lie on volumes of their own: overlay file systems cannot be
// stacked (/var/lib/containerd) nor exported by NFS.
var volumeDirs = []string{"var", "data", "srv"}

func volumeName(container, dir string) string { return container + "-" + dir }

// containers are nodes that are containers of the engine.
type containers struct {
	o     Options
	host  hostFacts
	image string // set by prepare
}

func (c *containers) prepare(ctx context.Context) (err error) {
	c.image, err = nodeImage(ctx, c.o, c.host)
	return err
}

func (c *containers) nodes(ctx context.Context) ([]NodeState, error) {
	out, err := docker(ctx, nil, "container", "ls", "--all", "--filter", "label="+labelKey+"="+c.o.Name,
		"--filter", "label="+nodeLabel, "--format", `{{.Label "`+nodeLabel+`"}}`)
	if err != nil {
		return nil, err
	}
	names := strings.Fields(out)
	slices.Sort(names)
	var nodes []NodeState
	for _, name := range names {
		power, address, err := inspect(ctx, c.o.object(name))
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, NodeState{Name: name, Address: address, Power: power})
	}
	return nodes, nil
}

// inspect returns the state of a container in the engine's word and the
// address that it was given.
func inspect(ctx context.Context, container string) (power, address string, err error) {
	out, err := docker(ctx, nil, "container", "inspect", "--format",
		`{{.State.Status}} {{range .NetworkSettings.Networks}}{{with .IPAMConfig}}{{.IPv4Address}}{{end}}{{end}}`, container)
	power, address, _ = strings.Cut(out, " ")
	return power, address, err
}

func (c *containers) running(ctx context.Context, node string) bool {
	return containerRuns(ctx, c.o.object(node))
}

func (c *containers) kill(ctx context.Context, node string) error {
	_, err := docker(ctx, nil, "kill", "--signal", "KILL", c.o.object(node))
	if saidBy(err, "is not running") {
		return nil
	}
	return err
}

// patience is long where a node's disks are at stake: what is replaced loses
// them, and a busy machine is slow. For starting, seconds are usual; on a
// machine with ten times the work of its processors it is more than a minute.
func (c *containers) patience() time.Duration { return 4 * time.Minute }

func (c *containers) log(node string) string { return "`docker logs " + c.o.object(node) + "`" }

// create makes the container and its volumes and puts into it what is this
// node's own. It does not start it.
func (c *containers) create(ctx context.Context, m machine, userKey string) error {
	name := c.o.object(m.Name)
	for _, dir := range volumeDirs {
		if _, err := docker(ctx, nil, "volume", "create", "--label", labelKey+"="+c.o.Name, volumeName(name, dir)); err != nil {
			return err
		}
	}
	if _, err := docker(ctx, nil, createArgs(c.o, m, c.image, c.host)...); err != nil {
		return err
	}
	archive, err := nodeArchive(ctx, c.o, m, c.host, userKey, nil)
	if err != nil {
		return err
	}
	_, err = docker(ctx, archive, "cp", "-", name+":/")
	return err
}

func (c *containers) remove(ctx context.Context, node string) error {
	name := c.o.object(node)
	if _, err := docker(ctx, nil, "container", "rm", "--force", name); err != nil && !saidBy(err, "no such container") {
		return err
	}
	for _, dir := range volumeDirs {
		if _, err := docker(ctx, nil, "volume", "rm", "--force", volumeName(name, dir)); err != nil {
			return err
		}
	}
	return nil
}

// nodeArchive is a tar archive of the files that make a node this one. They
// are unpacked below /first-boot, from where the node's first boot moves them
// to their places: the engine holds /etc/hosts and its like until then. more
// are further files, mode 0644.
func nodeArchive(ctx context.Context, o Options, m machine, host hostFacts, userKey string, more []file) (*bytes.Buffer, error) {
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	uuid := hex.EncodeToString(id[16:])
	uuid = strings.Join([]string{uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]}, "-")
	sudo := user + " ALL=(ALL:ALL) NOPASSWD: ALL\n"
	if o.SudoPassword != "" {
		sudo = user + " ALL=(ALL:ALL) ALL\n"
	}

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	now := time.Now()
	var failed error
	put := func(name, body string, mode int64, uid int) {
		h := &tar.Header{Name: "first-boot" + name, Mode: mode, Size: int64(len(body)), Uid: uid, Gid: uid, ModTime: now}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil && failed == nil {
			failed = err
		}
		if _, err := w.Write([]byte(body)); err != nil && failed == nil {
			failed = err
		}
	}
	put("/etc/hostname", m.Name+"\n", 0o644, 0)
	// As the installers of Debian and Ubuntu write it.
	put("/etc/hosts", fmt.Sprintf("127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n", m.Name), 0o644, 0)
	if len(host.Resolvers) > 0 {
		var conf strings.Builder
		for _, r := range host.Resolvers {
			fmt.Fprintf(&conf, "nameserver %s\n", r)
		}
		put("/etc/resolv.conf", conf.String(), 0o644, 0)
	}
	put("/etc/machine-id", hex.EncodeToString(id[:16])+"\n", 0o444, 0)
	put("/etc/nucspark-lab/product_uuid", uuid+"\n", 0o444, 0)
	put("/etc/ssh/ssh_host_ed25519_key", string(m.HostKey.Private), 0o600, 0)
	put("/etc/ssh/ssh_host_ed25519_key.pub", m.HostKey.Authorized()+"\n", 0o644, 0)
	put("/etc/sudoers.d/nucspark-lab", sudo, 0o440, 0)
	put("/home/"+user+"/", "", 0o755, 1000)
	put("/home/"+user+"/.ssh/", "", 0o700, 1000)
	put("/home/"+user+"/.ssh/authorized_keys", userKey+"\n", 0o600, 1000)

	for _, f := range more {
		put(f.Name, f.Body, 0o644, 0)
	}
	apt := machineApt(ctx)
	if apt.Conf != "" {
		put("/etc/apt/apt.conf.d/99machine", apt.Conf, 0o644, 0)
	}
	for i, s := range apt.Sources {
		if i == 0 {
			put("/etc/apt/sources.list", "", 0o644, 0)
		}
		if s.Name == "/etc/apt/sources.list" {
			put("/etc/apt/sources.list.d/machine.list", s.Body, 0o644, 0)
		} else {
			put("/etc/apt/sources.list.d/"+filepath.Base(s.Name), s.Body, 0o644, 0)
		}
	}
	// Where this machine trusts authorities of its own, so do its nodes.
	own, _ := filepath.Glob("/usr/local/share/ca-certificates/*.crt")
	for _, name := range own {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		put(name, string(b), 0o644, 0)
	}
	if len(own) > 0 {
		if b, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt"); err == nil {
			put("/etc/ssl/certs/ca-certificates.crt", string(b), 0o644, 0)
		}
	}
	if err := w.Close(); failed == nil {
		failed = err
	}
	return &buf, failed
}

// start presses the power button and, where sudo shall ask, sets the password:
// through the standard input, so that it is in no process list.
func (c *containers) start(ctx context.Context, node string) error {
	name := c.o.object(node)
	if _, err := docker(ctx, nil, "start", name); err != nil {
		return err
	}
	if c.o.SudoPassword == "" {
		return nil
	}
	_, err := docker(ctx, strings.NewReader(user+":"+c.o.SudoPassword+"\n"), "exec", "--interactive", name, "chpasswd")
	return err
}

// answers makes one SSH connection with the key and the host key of the lab
// and runs `true`.
func answers(ctx context.Context, m machine, key ssh.Signer) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(m.Address, 22).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	// A machine without hardware virtualization takes seconds for the keys.
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, m.Address.String(), &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback:   ssh.FixedHostKey(m.HostKey.Signer.PublicKey()),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	return session.Run("true")
}

// waitForSSH polls until the node answers, goes off or ctx ends.
func waitForSSH(ctx context.Context, b backend, m machine, key ssh.Signer) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		e := answers(ctx, m, key)
		if e == nil {
			return nil
		}
		if err == nil || ctx.Err() == nil { // else it says only that time is up
			err = e
		}
		if !b.running(ctx, m.Name) {
			return fmt.Errorf("%s went off while it started", m.Name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer over SSH at %s: %w", m.Name, m.Address, err)
		case <-tick.C:
		}
	}
}
