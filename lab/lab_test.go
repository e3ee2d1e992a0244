package lab

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/inventory"
)

// TestLab makes a lab of one machine beside whatever labs there are, and takes
// it off again. It needs a running container engine and runs when NUCSPARK_LAB
// is 1, as `make test` sets it:
//
//	NUCSPARK_LAB=1 go test ./lab -run TestLab -v
func TestLab(t *testing.T) {
	if os.Getenv("NUCSPARK_LAB") != "1" {
		t.Skip("NUCSPARK_LAB is not 1: no machine is made")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	o := Options{
		Name: "labtest", Nodes: 1, Subnet: netip.MustParsePrefix("172.31.78.0/24"),
		Dir: t.TempDir(), State: t.TempDir(), SudoPassword: "three 'odd' words", NoMirror: true,
	}
	started := time.Now()
	o.Progress = func(line string) { t.Logf("%.1fs %s", time.Since(started).Seconds(), line) }
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := Down(ctx, o); err != nil {
			t.Error(err)
		}
	})
	before := engineObjects(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(Up(ctx, o))
	full, err := o.withDefaults()
	must(err)
	cluster, err := inventory.Load(full.inventoryFile())
	must(err)
	node := cluster.Nodes[0]
	shell := dialNode(t, full, node)

	// What a bare machine is.
	if got := shell("systemctl is-system-running --wait"); got != "running" {
		t.Errorf("systemd is %q; failed units: %s", got, shell("systemctl --failed --no-legend --plain"))
	}
	for _, command := range []string{"containerd", "dockerd", "kubelet", "kubeadm", "exportfs", "ganesha.nfsd"} {
		if got := shell("PATH=$PATH:/usr/sbin:/sbin; command -v " + command + " || echo none"); got != "none" {
			t.Errorf("a bare machine has %s", got)
		}
	}
	if got := shell("findmnt -nro TARGET --target /etc/hosts; findmnt -nro TARGET --target /etc/resolv.conf"); got != "/\n/" {
		t.Errorf("/etc/hosts and /etc/resolv.conf lie on %q", got)
	}
	if got := shell("apt-cache policy nfs-common | grep -c Candidate"); got != "1" {
		t.Error("apt knows no packages")
	}
	if got := shell("PATH=$PATH:/usr/sbin; ip -4 -br addr show eth0"); !strings.Contains(got, "172.31.78.11/24") {
		t.Errorf("the address is %q", got)
	}
	if got := shell("sudo -n true 2>&1 || echo asks"); !strings.HasSuffix(got, "asks") {
		t.Errorf("sudo does not ask for a password: %q", got)
	}
	if got := shell(`printf '%s\n' "three 'odd' words" | sudo -S -p '' id -u`); got != "0" {
		t.Errorf("sudo with the password: %q", got)
	}

	// A power cut takes memory and /run, and leaves the disks and the identity.
	id := shell("cat /etc/machine-id")
	shell("touch /dev/shm/memory; printf '%s\\n' \"three 'odd' words\" | sudo -S -p '' touch /run/fresh /data/disk /var/lib/disk /etc/disk")
	must(Kill(ctx, o, node.Name))
	must(Kill(ctx, o, node.Name)) // off already
	if s, err := Status(ctx, o); err != nil || s.Up || s.Nodes[0].SSH || s.Nodes[0].Power == "running" {
		t.Errorf("after the power cut: %+v, %v", s, err)
	}
	must(Start(ctx, o, node.Name))
	waitUp(ctx, t, o)
	shell = dialNode(t, full, node)
	if got := shell("ls -d /data/disk /var/lib/disk /etc/disk /run/fresh /dev/shm/memory 2>/dev/null"); got != "/data/disk\n/etc/disk\n/var/lib/disk" {
		t.Errorf("left after the power cut: %q", got)
	}
	if got := shell("cat /etc/machine-id"); got != id {
		t.Errorf("the machine-id was %s and is %s", id, got)
	}

	// Up again takes up what runs, and starts what is off.
	must(Kill(ctx, o, node.Name))
	must(Up(ctx, o))
	shell = dialNode(t, full, node)
	if got := shell("cat /etc/machine-id"); got != id {
		t.Error("up replaced a machine that was whole")
	}
	// What does not start is replaced, under the same host key.
	shell(`printf '%s\n' "three 'odd' words" | sudo -S -p '' rm /sbin/init`)
	must(Kill(ctx, o, node.Name))
	must(Up(ctx, o))
	shell = dialNode(t, full, node)
	if got := shell("ls /data"); got != "" {
		t.Errorf("a replaced machine has %s on its disk", got)
	}

	if err := Kill(ctx, o, "nuc07"); err == nil || !strings.Contains(err.Error(), "it has nuc01") {
		t.Errorf("killing a machine that is not there: %v", err)
	}

	// Down leaves nothing of the lab, and everything else.
	must(Down(ctx, o))
	if after := engineObjects(t); after != before {
		t.Errorf("the engine had\n%s\nand has\n%s", before, after)
	}
	if _, err := os.Stat(full.inventoryFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lab.hcl is still there: %v", err)
	}
	if left, err := os.ReadDir(o.State); err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v, %v", left, err)
	}
	must(Down(ctx, o)) // nothing to do
}

// TestInventoryFile: a file that somebody changed is never lost.
func TestInventoryFile(t *testing.T) {
	o, err := Options{Dir: filepath.Join(t.TempDir(), "not", "there", "yet"), State: t.TempDir()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			return "none"
		}
		return string(b)
	}
	name := o.inventoryFile()
	for _, step := range []struct{ edit, write, want, old string }{
		{"", "first", "first", "none"},
		{"", "second", "second", "none"},       // ours is replaced
		{"mine", "third", "third", "mine"},     // a changed one is kept beside
		{"fourth", "fourth", "fourth", "mine"}, // equal by chance: ours now
	} {
		if step.edit != "" {
			if err := os.WriteFile(name, []byte(step.edit), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeInventory(o, []byte(step.write)); err != nil {
			t.Fatal(err)
		}
		if got, old := read(name), read(name+".old"); got != step.want || old != step.old {
			t.Errorf("after writing %q: %q, old %q; want %q, %q", step.write, got, old, step.want, step.old)
		}
	}
	if err := os.WriteFile(name, []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeInventory(o); err != nil || read(name) != "edited" {
		t.Errorf("an edited file did not stay: %q, %v", read(name), err)
	}
	if err := os.WriteFile(name, []byte("fourth"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeInventory(o); err != nil || read(name) != "none" {
		t.Errorf("an unchanged file stayed: %q, %v", read(name), err)
	}
}

// engineObjects lists all containers, volumes, networks and node images.
func engineObjects(t *testing.T) string {
	t.Helper()
	var all []string
	for _, args := range [][]string{
		{"container", "ls", "--all", "--format", "container {{.Names}}"},
		{"volume", "ls", "--format", "volume {{.Name}}"},
		{"network", "ls", "--format", "network {{.Name}}"},
	} {
		out, err := docker(t.Context(), nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out)
	}
	return strings.Join(all, "\n")
}

func waitUp(ctx context.Context, t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		s, err := Status(ctx, o)
		if err == nil && s.Up {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the lab is not up: %+v, %v", s, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// dialNode connects as the inventory says and returns a function that runs a
// shell command and gives its output, without the last line end.
func dialNode(t *testing.T, o Options, n inventory.Node) func(string) string {
	t.Helper()
	key, err := readKey(o.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(n.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", n.Address.String()+":22", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key.Signer)},
		HostKeyCallback: ssh.FixedHostKey(hostKey), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return func(command string) string {
		t.Helper()
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		var out bytes.Buffer
		session.Stdout = &out
		// The exit status is part of what is asked: the output tells.
		_ = session.Run(command)
		return strings.TrimSpace(out.String())
	}
}
