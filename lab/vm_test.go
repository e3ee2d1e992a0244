package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
)

// testVMs is a lab of virtual machines that is nowhere but in t's directory.
func testVMs(t *testing.T) *vms {
	t.Helper()
	o, err := Options{Backend: VMs, Nodes: 2, State: t.TempDir(), Cache: t.TempDir(), Dir: t.TempDir()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return &vms{o: o, accel: "tcg"}
}

func TestVMArgs(t *testing.T) {
	v := testVMs(t)
	v.images = "images.img"
	m := machine{"nuc02", v.o.address(12), testKey(t, 'b')}
	golden.Check(t, "vm-tcg.txt", strings.ReplaceAll(strings.Join(v.args(m), "\n"), v.o.State, "/state")+"\n")
	v.accel = "kvm"
	if args := strings.Join(v.args(m), " "); !strings.Contains(args, "-accel kvm -cpu host") || strings.Contains(args, "tcg") {
		t.Errorf("with KVM: %s", args)
	}
}

// The inventory of virtual machines has nothing that a mini PC's has not.
func TestVMInventory(t *testing.T) {
	o, nodes := testLab(t, 2)
	dir := t.TempDir()
	keyFile, mirrorKey := filepath.Join(dir, "id_ed25519"), filepath.Join(dir, "key.asc")
	if _, err := ensureKey(keyFile, "test"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mirrorKey, []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	body, err := renderInventory(o, nodes, hostFacts{VM: true}, keyFile, mirrorKey)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "vm.hcl", strings.ReplaceAll(string(body), dir, "/state"))
	c, err := inventory.Parse("lab.hcl", body)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Patches) > 0 || strings.Contains(string(body), "patch") {
		t.Errorf("there are patches: %v", c.Patches)
	}
}

// What a lab is made of is not changed by asking.
func TestBackend(t *testing.T) {
	v := testVMs(t)
	kind := func(asked string) string {
		o := v.o
		o.Backend = asked
		b, err := o.backend()
		switch b.(type) {
		case *vms:
			return VMs
		case *containers:
			return Containers
		}
		return err.Error()
	}
	expect := func(asked, want string) {
		t.Helper()
		if got := kind(asked); !strings.Contains(got, want) {
			t.Errorf("asked for %q: got %s, want %s", asked, got, want)
		}
	}
	expect("", Containers)
	expect(VMs, VMs)
	expect("kvm", "there is no backend")

	if err := os.MkdirAll(v.o.vmDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	expect("", VMs)
	expect(Containers, `are of the kind "vm"`)

	if err := os.Remove(v.o.vmDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := ensureKey(v.o.hostKeyFile("nuc01"), "nuc01"); err != nil {
		t.Fatal(err)
	}
	expect("", Containers)
	expect(VMs, `are of the kind "container"`)
}

// A process is ended only if it is the machine's own, whatever the pid file
// says.
func TestVMKill(t *testing.T) {
	v := testVMs(t)
	ctx := t.Context()
	// It stands in for qemu: what counts is how it was called.
	begin := func(pidfile string) *exec.Cmd {
		cmd := exec.Command("sh")
		cmd.Args = []string{qemu, "-c", "read line", "-pidfile", pidfile}
		in, err := cmd.StdinPipe() // kept open: it reads until then
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
		return cmd
	}
	power := func() string {
		nodes, err := v.nodes(ctx)
		if err != nil || len(nodes) != 1 || nodes[0].Name != "nuc01" {
			t.Fatalf("%+v, %v", nodes, err)
		}
		return nodes[0].Power
	}
	if err := os.MkdirAll(v.file("nuc01", ""), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := power(); got != "off" {
		t.Errorf("without a process it is %s", got)
	}
	for _, c := range []struct {
		pidfile, power string
	}{
		{v.file("nuc02", "pid"), "off"}, // another machine's
		{v.file("nuc01", "pid"), "running"},
	} {
		cmd := begin(c.pidfile)
		if err := os.WriteFile(v.file("nuc01", "pid"), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := power(); got != c.power {
			t.Errorf("%s: it is %s, want %s", c.pidfile, got, c.power)
		}
		if err := v.kill(ctx, "nuc01"); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe") // a zombie's leads nowhere
		if alive := err == nil; alive != (c.power == "off") {
			t.Errorf("%s: after kill it lives: %v", c.pidfile, alive)
		}
	}
	if err := removeVMs(ctx, v.o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v.o.vmDir()); !os.IsNotExist(err) {
		t.Errorf("the machines' directory is still there: %v", err)
	}
}
