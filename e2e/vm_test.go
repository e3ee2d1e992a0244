package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/lab"
	"nucspark.io/nucspark/provision"
)

var (
	vmName   = cmp.Or(os.Getenv("NUCSPARK_LAB_NAME"), "testvm")
	vmSubnet = cmp.Or(os.Getenv("NUCSPARK_LAB_SUBNET"), "172.31.80.0/24")
)

// Without hardware virtualization all is some ten times slower, and more on a
// busy machine. What is waited for is a condition; these only end a test that
// hangs.
const (
	vmCommand = 2 * time.Hour
	vmBound   = time.Hour
)

// vmBench is a lab of virtual machines.
type vmBench struct {
	bench
	nodes map[string]*inventory.Node
	auth  ssh.Signer
}

// TestVM shows what containers cannot: the kernel's NFS, control groups and
// swap as they are on a machine, reboots and power cuts. One control plane and
// one worker; all that up brings but HDFS. Its parts build on each other.
func TestVM(t *testing.T) {
	binary := os.Getenv("NUCSPARK")
	if os.Getenv("NUCSPARK_VM") != "1" || binary == "" {
		t.Skip("virtual machines are not asked for: make test-vm runs this")
	}
	began := time.Now()
	t.Cleanup(func() { t.Logf("total: %.0f s", time.Since(began).Seconds()) })
	v := &vmBench{bench: bench{binary: binary, dir: t.TempDir(), bound: vmCommand}}
	start := []string{"lab", "up", "--backend", lab.VMs, "--nodes", "2", "--memory", "2560", "--name", vmName, "--subnet", vmSubnet, "--dir", v.dir}
	if consent() {
		start = append(start, "--start-engine")
	}
	v.ok(t, "lab", "down", "--name", vmName)
	if os.Getenv(keepLab) != "1" {
		t.Cleanup(func() { v.ok(t, "lab", "down", "--name", vmName) })
	}
	if up := watched(t, vmCommand, nil, os.Stderr, binary, start...); up.code != 0 {
		t.Fatalf("lab up: exit code %d\n%s", up.code, up)
	}
	v.prepare(t)
	part(t, "up", v.testUp)
	part(t, "control groups", v.testControlGroups)
	part(t, "NFS", v.testNFS)
	part(t, "reboot", v.testReboot)
	part(t, "power cut", v.testPowerCut)
	part(t, "disk that is not mounted", v.testUnmounted)
}

// prepare takes HDFS and the settings of Spark out of the lab's inventory, and reads how its
// machines are reached.
func (v *vmBench) prepare(t *testing.T) {
	t.Helper()
	src, err := os.ReadFile(v.inventory())
	if err != nil {
		t.Fatal(err)
	}
	f, diags := hclwrite.ParseConfig(src, "lab.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, b := range f.Body().Blocks() {
		switch b.Type() {
		case "patch":
			t.Error("the inventory of virtual machines has a patch block")
		case "hdfs", "spark":
			f.Body().RemoveBlock(b)
		case "node":
			if h := b.Body().FirstMatchingBlock("hdfs", nil); h != nil {
				b.Body().RemoveBlock(h)
			}
		}
	}
	if err := os.WriteFile(v.inventory(), f.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := inventory.Load(v.inventory())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(c.SSH.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if v.auth, err = ssh.ParsePrivateKey(key); err != nil {
		t.Fatal(err)
	}
	v.nodes = map[string]*inventory.Node{}
	for i := range c.Nodes {
		v.nodes[c.Nodes[i].Name] = &c.Nodes[i]
	}
}

// try runs a script as root in a machine and returns its output.
func (v *vmBench) try(node, script string) (string, error) {
	n := v.nodes[node]
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(n.HostKey))
	if err != nil {
		return "", err
	}
	conn, err := net.DialTimeout("tcp", n.Address.String()+":22", 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return "", err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, n.Address.String(), &ssh.ClientConfig{
		User: "nuc", Auth: []ssh.AuthMethod{ssh.PublicKeys(v.auth)},
		HostKeyCallback: ssh.FixedHostKey(hostKey), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(script), &stdout, &stderr
	if err := session.Run("sudo sh -e"); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// on is try for what must succeed.
func (v *vmBench) on(t *testing.T, node, script string) string {
	t.Helper()
	out, err := v.try(node, script)
	if err != nil {
		t.Fatalf("on %s: %s: %v", node, script, err)
	}
	return out
}

// is compares the output of a script with what it must be.
func (v *vmBench) is(t *testing.T, node, what, script, want string) {
	t.Helper()
	if got := v.on(t, node, script); got != want {
		t.Errorf("%s: %s: %q, want %q", node, what, got, want)
	}
}

// settles waits until everything is healthy, and checks that nothing is to be
// changed then.
func (v *vmBench) settles(t *testing.T) {
	t.Helper()
	var bad string
	healthy := func() bool {
		bad = ""
		for _, h := range v.status(t) {
			if !h.OK {
				bad += h.Component + " " + h.Name + ": " + h.Reason + "; "
			}
		}
		return bad == ""
	}
	t.Cleanup(func() {
		if t.Failed() && bad != "" {
			t.Logf("last seen: %s", bad)
		}
	})
	eventually(t, vmBound, "everything is healthy", healthy)
	if out := v.run(t, "plan", "--exit-code", "-f", v.inventory()); out.code != 0 {
		t.Errorf("there is something to change: exit code %d\n%s", out.code, out)
	}
}

// reboots runs a command that ends the boot of a machine and waits for the
// next one.
func (v *vmBench) reboots(t *testing.T, node string, end func()) {
	t.Helper()
	const boot = "cat /proc/sys/kernel/random/boot_id"
	was := v.on(t, node, boot)
	end()
	eventually(t, vmBound, node+" boots again", func() bool {
		is, err := v.try(node, boot)
		return err == nil && is != was
	})
}

// reboot is an end of a boot. The connection may end before it says so.
func (v *vmBench) reboot(node string) func() {
	return func() { _, _ = v.try(node, "systemctl reboot --no-block") }
}

// recovers waits until everything is healthy in a machine's next boot. Until the
// kubelet has told of it, the API server shows the pods as they were before.
func (v *vmBench) recovers(t *testing.T, node string, end func()) {
	t.Helper()
	worker := []string{"kubectl", "-f", v.inventory(), "--", "-n", "nucspark", "--selector=app.kubernetes.io/name=spark-worker"}
	starts := func() string {
		return v.run(t, append(worker, "get", "pods", "--field-selector=spec.nodeName="+node, "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}")...).stdout
	}
	was := starts()
	if was == "" {
		t.Fatalf("%s has no Spark worker", node)
	}
	v.reboots(t, node, end)
	eventually(t, vmBound, "the Spark worker of "+node+" starts again", func() bool {
		is := starts()
		return is != "" && is != was
	})
	v.ok(t, append(worker, "wait", "pods", "--for=condition=Ready", "--timeout=60m")...)
	v.settles(t)
}

// testUp begins with a machine that swaps, now and at each boot.
func (v *vmBench) testUp(t *testing.T) {
	v.on(t, "nuc02", "fallocate -l 128M /swapfile; chmod 600 /swapfile; mkswap /swapfile >/dev/null; echo '/swapfile none swap sw 0 0' >> /etc/fstab; swapon -a")
	v.is(t, "nuc02", "swap before up", "grep -c swapfile /proc/swaps", "1")
	if up := watched(t, vmCommand, nil, os.Stderr, v.binary, "up", "--yes", "-f", v.inventory()); up.code != 0 {
		t.Fatalf("up: exit code %d\n%s", up.code, up)
	}
	v.settles(t)
	if out := v.ok(t, "up", "--yes", "-f", v.inventory()); !strings.Contains(out.stdout, "Nothing to change") {
		t.Errorf("a second up changes something:\n%s", out)
	}
}

func (v *vmBench) testControlGroups(t *testing.T) {
	for node := range v.nodes {
		v.is(t, node, "control groups", "stat -fc %T /sys/fs/cgroup", "cgroup2fs")
		v.is(t, node, "driver of the kubelet", "grep ^cgroupDriver: /var/lib/kubelet/config.yaml", "cgroupDriver: systemd")
		v.is(t, node, "driver of containerd", "containerd config dump | grep -o 'SystemdCgroup = .*'", "SystemdCgroup = true")
		// In effect: pods are slices of systemd, their containers its scopes.
		v.is(t, node, "the pods' slice", "systemctl is-active kubepods.slice", "active")
		if got := v.on(t, node, "systemctl list-units --type=scope --no-legend 'cri-containerd-*' | wc -l"); got == "0" {
			t.Errorf("%s: no container is a scope of systemd", node)
		}
	}
}

// testNFS: the kernel serves and mounts version 4.2, pods get it, and a lock
// that one machine holds is refused to the other.
func (v *vmBench) testNFS(t *testing.T) {
	v.is(t, "nuc02", "the server", "systemctl is-active nfs-server; systemctl is-active nfs-ganesha || true", "active\ninactive")
	v.is(t, "nuc02", "versions of the kernel's server", "grep -o '+4.2' /proc/fs/nfsd/versions", "+4.2")

	image := v.on(t, "nuc02", "ctr -n k8s.io images ls -q | grep -m1 '/pause:'")
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"holder","namespace":"nucspark"},"spec":{
		"containers":[{"name":"main","image":%q,"volumeMounts":[{"name":"shared","mountPath":"/shared"}]}],
		"volumes":[{"name":"shared","persistentVolumeClaim":{"claimName":"shared"}}]}}`, image)
	if out := execute(t, vmCommand, []byte(manifest), v.binary, "kubectl", "-f", v.inventory(), "--", "apply", "-f", "-"); out.code != 0 {
		t.Fatal(out)
	}
	v.ok(t, "kubectl", "-f", v.inventory(), "--", "-n", "nucspark", "wait", "--for=condition=Ready", "--timeout=60m", "pod/holder")
	mount := v.on(t, "nuc02", "findmnt --noheadings --list --types nfs4 --output OPTIONS")
	if !regexp.MustCompile(`(^|,)vers=4\.2,`).MatchString(mount) {
		t.Errorf("the pod's volume is mounted with %q", mount)
	}

	server := v.nodes["nuc02"].Address.String()
	for node := range v.nodes {
		v.on(t, node, fmt.Sprintf("mkdir -p /mnt/shared; mount -t nfs -o vers=4.2,hard %s:/data/nfs/shared /mnt/shared", server))
		v.is(t, node, "kind of the mount", "stat -fc %T /mnt/shared", "nfs")
	}
	const as = "setpriv --reuid 871 --regid 871 --clear-groups "
	v.on(t, "nuc01", as+"sh -c 'echo written by nuc01 > /mnt/shared/note'")
	v.is(t, "nuc02", "what the other machine wrote", "cat /mnt/shared/note", "written by nuc01")

	// flock(2) over NFS is a lock of the whole file at the server.
	v.on(t, "nuc01", "systemd-run --quiet --unit=holder --uid=871 --gid=871 flock --exclusive --nonblock /mnt/shared/lock sleep infinity")
	eventually(t, vmBound, "the lock is held", func() bool {
		out, err := v.try("nuc01", as+"flock --exclusive --nonblock /mnt/shared/lock true && echo free || echo held")
		return err == nil && out == "held"
	})
	try := as + "flock --exclusive --nonblock /mnt/shared/lock true && echo free || echo held"
	v.is(t, "nuc02", "a lock that nuc01 holds", try, "held")
	v.on(t, "nuc01", "systemctl stop holder")
	v.is(t, "nuc02", "a lock that nobody holds", try, "free")
	v.on(t, "nuc02", "umount /mnt/shared")
}

// testReboot: what up set is set after a real reboot, too, and a client's
// mount goes on when its server comes back.
func (v *vmBench) testReboot(t *testing.T) {
	v.recovers(t, "nuc02", v.reboot("nuc02"))
	v.is(t, "nuc02", "swap", "tail -n +2 /proc/swaps", "")
	v.is(t, "nuc02", "modules", "lsmod | grep -oE '^(overlay|br_netfilter) ' | sort", "br_netfilter \noverlay")
	v.is(t, "nuc02", "settings", "sysctl -n net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables", "1\n1")
	v.is(t, "nuc01", "a file on the server that was away", "cat /mnt/shared/note", "written by nuc01")
	if out := v.ok(t, "up", "--yes", "-f", v.inventory()); !strings.Contains(out.stdout, "Nothing to change") {
		t.Errorf("up after a reboot changes something:\n%s", out)
	}
}

// testPowerCut: the worker ends in one instant; what NFS answered for is there.
func (v *vmBench) testPowerCut(t *testing.T) {
	v.on(t, "nuc01", "setpriv --reuid 871 --regid 871 --clear-groups sh -c 'echo before the cut > /mnt/shared/synced; sync /mnt/shared/synced'")
	v.recovers(t, "nuc02", func() {
		v.ok(t, "lab", "kill", "--name", vmName, "nuc02")
		v.ok(t, "lab", "start", "--name", vmName, "nuc02")
	})
	v.is(t, "nuc02", "what was on the disk", "cat /data/nfs/shared/synced", "before the cut")
	v.on(t, "nuc01", "umount /mnt/shared")
}

// testUnmounted: a server that boots without the disk of its export serves
// nothing, and says so.
func (v *vmBench) testUnmounted(t *testing.T) {
	v.on(t, "nuc02", "sed -i 's|^LABEL=data|#LABEL=data|' /etc/fstab")
	v.reboots(t, "nuc02", v.reboot("nuc02"))
	// Boot is over when this returns, whatever it says.
	v.on(t, "nuc02", "systemctl is-system-running --wait >/dev/null || true")
	v.is(t, "nuc02", "the disk", "findmnt -n /data || echo not mounted", "not mounted")
	v.is(t, "nuc02", "the server", "systemctl is-active nfs-server || true", "inactive")
	v.refused(t, 1, []string{"nuc02", provision.Sentinel}, "up", "--yes", "-f", v.inventory())
	v.is(t, "nuc02", "the server after up", "systemctl is-active nfs-server || true", "inactive")

	v.on(t, "nuc02", "sed -i 's|^#LABEL=data|LABEL=data|' /etc/fstab; systemctl daemon-reload; mount /data")
	v.ok(t, "up", "--yes", "-f", v.inventory())
	v.settles(t)
	v.is(t, "nuc02", "what was on the disk", "cat /data/nfs/shared/synced", "before the cut")
}
