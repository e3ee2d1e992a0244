package e2e

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// stays is what differs on a machine after down, as the README lists it. The
// last two are of the lab alone: its machines have no modules, and sudo says
// there that it was used.
var stays = regexp.MustCompile(`^(` + strings.Join([]string{
	`etc-sum \S+ +/etc/(passwd|group|shadow|gshadow)-?`, // with the users of packages, and shadow's copies of former versions
	`(user|group) (_rpc|statd):.*`,
	`sysctl /proc/sys/net/ipv4/conf/all/route_localnet .*`, // kube-proxy's, until the next boot
	`sysctl /proc/sys/net/netfilter/nf_conntrack_tcp_.*`,
	`file /usr/lib/modules d 0:0`,
	`file /home/nuc/\.sudo_as_admin_successful f .*`,
}, "|") + `)$`)

// machine is what a machine is like, as lines (testdata/machine.sh).
func (b *bench) machine(t *testing.T, node string) []string {
	t.Helper()
	script, err := os.ReadFile("testdata/machine.sh")
	if err != nil {
		t.Fatal(err)
	}
	out := execute(t, 5*time.Minute, script, "docker", "exec", "-i", container(node), "sh")
	if out.code != 0 {
		t.Fatalf("%s cannot be looked at: %s", node, out)
	}
	lines := strings.Split(strings.TrimSpace(out.stdout), "\n")
	for _, part := range []string{"package", "unit-file", "unit", "etc", "etc-sum", "user", "group", "mount", "link", "route", "sysctl", "file"} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, part+" ") }) {
			t.Fatalf("%s says nothing of %s", node, part)
		}
	}
	return lines
}

// differences are the lines of one list that are not in the other, and are not
// listed in stays.
func differences(before, after []string) []string {
	in := func(list []string) map[string]bool {
		set := map[string]bool{}
		for _, l := range list {
			set[l] = true
		}
		return set
	}
	was, is := in(before), in(after)
	var all []string
	for _, l := range before {
		if !is[l] && !stays.MatchString(l) {
			all = append(all, "- "+l)
		}
	}
	for _, l := range after {
		if !was[l] && !stays.MatchString(l) {
			all = append(all, "+ "+l)
		}
	}
	return all
}

// TestLongDown takes a cluster down and makes it again from its data. Its parts
// build on each other.
func TestLongDown(t *testing.T) {
	b := longLab(t, "2")
	d := &downTest{bench: b, before: map[string][]string{}}
	part(t, "up", d.testUp)
	part(t, "refused before any change", d.testRefused)
	part(t, "killed and finished", d.testDown)
	part(t, "as before", d.testAsBefore)
	part(t, "up takes the data over", d.testAdopt)
	part(t, "a machine off, and data deleted", d.testOff)
}

type downTest struct {
	*bench
	before map[string][]string // machines, by name
	local  string              // a file, of which HDFS has a copy
	id     string              // of the file system
}

const namenodeVersion = "/var/lib/nucspark/namenode/current/VERSION"

func (d *downTest) testUp(t *testing.T) {
	f := d.inventory()
	for _, n := range []string{"nuc01", "nuc02"} {
		d.before[n] = d.machine(t, n)
	}
	if out := d.ok(t, "down", "--yes", "-f", f); !strings.Contains(out.stderr, "Nothing to do") {
		t.Errorf("down of bare machines:\n%s", out)
	}
	d.ok(t, "up", "--yes", "-f", f)
	d.local = filepath.Join(d.dir, "data")
	data := make([]byte, 32<<20)
	rand.Read(data) // never fails
	if err := os.WriteFile(d.local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d.ok(t, "hdfs", "put", "-f", f, d.local, "/kept")
	d.on(t, "nuc02", "echo volume > /data/nfs/shared/kept")
	d.id = d.on(t, "nuc01", "grep clusterID "+namenodeVersion)
	// Somebody's own: a change of a file of nucspark's, and a rule in a table
	// of iptables.
	d.on(t, "nuc02", "echo '# mine' >> /etc/modules-load.d/nucspark.conf")
	d.on(t, "nuc01", "iptables -t filter -A INPUT -s 203.0.113.7/32 -j DROP")
}

func (d *downTest) testRefused(t *testing.T) {
	f := d.inventory()
	out := d.refused(t, 2, []string{"no terminal", "nuc02: /data/hdfs stays", "nuc01: /var/lib/nucspark/namenode stays", "kubeadm reset"}, "down", "-f", f)
	if !strings.Contains(out.stderr, "/etc/modules-load.d/nucspark.conf.nucspark-kept") {
		t.Errorf("the plan does not tell of the changed file:\n%s", out.stderr)
	}
	for path, words := range map[string]string{"nuc02:/data": "no data directory", "nuc02:/etc": "no data directory", "nuc01:/data/hdfs": "no data directory", "nuc02:/data/nfs": "/data/nfs/shared lies in it"} {
		d.refused(t, 2, []string{path, words}, "down", "--yes", "--delete-data", path, "-f", f)
	}
	d.refused(t, 2, []string{`belongs to the cluster "`}, "down", "--yes", "-f", d.edited(t, `cluster "`+labName+`"`, `cluster "other"`))
	if plan := d.ok(t, "plan", "-f", f); !strings.Contains(plan.stdout, "modules-load.d/nucspark.conf") || strings.Contains(plan.stdout, "2 changes") {
		t.Errorf("something was changed:\n%s", plan.stdout)
	}
}

// testDown kills a run in its middle; the next one finishes it.
func (d *downTest) testDown(t *testing.T) {
	f := d.inventory()
	var said bytes.Buffer
	cmd := exec.Command(d.binary, "down", "--yes", "--progress=plain", "-f", f)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Minute, "the reset of nuc02", func() bool {
		return strings.TrimSpace(d.on(t, "nuc02", "[ -e /etc/kubernetes/kubelet.conf ] || echo gone")) == "gone"
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	var out output
	eventually(t, time.Minute, "the lock of the killed run is free", func() bool {
		out = d.run(t, "down", "--yes", "--progress=plain", "-f", f)
		return out.code != 4
	})
	if out.code != 0 || !strings.Contains(out.stderr, " is down after ") {
		t.Fatalf("the second down:\n%s", out)
	}
	if out := d.ok(t, "down", "--yes", "-f", f); !strings.Contains(out.stderr, "Nothing to do") {
		t.Errorf("the third down:\n%s", out)
	}
}

func (d *downTest) testAsBefore(t *testing.T) {
	if rules := d.on(t, "nuc01", "nft list ruleset"); !strings.Contains(rules, "203.0.113.7") {
		t.Errorf("a rule of somebody else is gone:\n%s", rules)
	}
	d.on(t, "nuc01", "nft delete table ip filter")
	if kept := d.on(t, "nuc02", "cat /etc/modules-load.d/nucspark.conf.nucspark-kept; rm /etc/modules-load.d/nucspark.conf.nucspark-kept"); !strings.Contains(kept, "# mine") {
		t.Errorf("the changed file was kept as %q", kept)
	}
	for _, n := range []string{"nuc01", "nuc02"} {
		if diff := slices.DeleteFunc(differences(d.before[n], d.machine(t, n)), func(l string) bool {
			return regexp.MustCompile(`^\+ file /var/lib/nucspark(/(namenode|checkpoint)(/.*)?)? \S+ \d+:\d+$`).MatchString(l)
		}); len(diff) > 0 {
			t.Errorf("%s differs from before:\n%s", n, strings.Join(diff, "\n"))
		}
		if left := d.on(t, n, "ls -A /var/lib/nucspark"); strings.Contains(left, "json") || strings.Contains(left, "lock") {
			t.Errorf("%s keeps %s", n, left)
		}
	}
}

func (d *downTest) testAdopt(t *testing.T) {
	f := d.inventory()
	out := d.ok(t, "up", "--yes", "-f", f)
	if !strings.Contains(out.stderr, "is taken over") || !strings.Contains(out.stderr, "nuc02:/data/hdfs") {
		t.Errorf("up does not say that it takes the data over:\n%s", tail(out.stderr))
	}
	if id := d.on(t, "nuc01", "grep clusterID "+namenodeVersion); id != d.id {
		t.Errorf("the file system is %s, and was %s", id, d.id)
	}
	back := filepath.Join(t.TempDir(), "back")
	d.ok(t, "hdfs", "get", "-f", f, "/kept", back)
	was, err := os.ReadFile(d.local)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := os.ReadFile(back); err != nil || !bytes.Equal(is, was) {
		t.Errorf("the file is not what it was (%v)", err)
	}
	d.ok(t, "hdfs", "fsck", "-f", f)
	if text := d.on(t, "nuc02", "cat /data/nfs/shared/kept"); text != "volume" {
		t.Errorf("the volume holds %q", text)
	}
	if plan := d.ok(t, "plan", "-f", f); !strings.Contains(plan.stdout, "Nothing to change") || strings.Contains(plan.stdout, "taken over") {
		t.Errorf("afterwards:\n%s", plan.stdout)
	}
}

// testOff: the others are taken down without the machine that is off, and it
// follows when it is on again. Data that was named goes with it.
func (d *downTest) testOff(t *testing.T) {
	f := d.inventory()
	d.ok(t, "lab", "kill", "nuc02", "--name", labName)
	d.refused(t, 2, []string{"nuc02 did not answer"}, "down", "--yes", "--delete-data", "nuc02:/data/hdfs", "-f", f)
	d.refused(t, 1, []string{"nuc02", "stays as it is", " is down after "}, "down", "--yes", "--progress=plain", "-f", f)
	d.ok(t, "lab", "start", "nuc02", "--name", labName)
	d.ok(t, "down", "--yes", "--delete-data", "nuc02:/data/hdfs", "-f", f)
	if left := d.on(t, "nuc02", "[ ! -e /data/hdfs ] || ls -A /data/hdfs; cat /data/nfs/shared/kept"); left != "volume" {
		t.Errorf("on nuc02: %q", left)
	}
	if diff := slices.DeleteFunc(differences(d.before["nuc02"], d.machine(t, "nuc02")), func(l string) bool {
		return strings.Contains(l, " /var/lib/nucspark") || strings.HasPrefix(l, "- sysctl") || strings.HasPrefix(l, "+ sysctl")
	}); len(diff) > 0 {
		t.Errorf("nuc02 differs from before:\n%s", strings.Join(diff, "\n"))
	}
}
