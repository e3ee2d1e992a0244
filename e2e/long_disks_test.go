package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disks is a lab of three nodes, of which two have a second disk for HDFS.
type disks struct {
	*bench
	one, two string // inventories: with one directory for HDFS on each node, and with two
	moved    string // with the volume on nuc03, and one directory
	local    string // a directory of files, which are in HDFS too
}

// second is the directory on the second disk, which is mounted at /mnt/b.
const second = "/mnt/b/hdfs"

// TestLongDisks replaces a disk and a machine, takes a directory out of HDFS,
// and moves a volume. Its parts build on each other.
func TestLongDisks(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir()) // host keys are pinned there, and one changes
	d := &disks{bench: longLab(t, "3")}
	// Host keys are accepted when they are seen, and not in the file.
	d.one = d.file(t, "one.hcl", regexp.MustCompile(`(?m)^ *host_key .*\n`).ReplaceAllString(d.text(t), ""))
	d.two = d.derived(t, "two.hcl", `dirs = ["/data/hdfs"]`, `dirs = ["/data/hdfs", "`+second+`"]`)
	d.moved = d.derived(t, "moved.hcl", `node = "nuc02"`, `node = "nuc03"`)
	part(t, "up", func(t *testing.T) {
		for _, node := range []string{"nuc02", "nuc03"} {
			d.mount(t, node)
		}
		d.ok(t, "up", "--yes", "--accept-new-host-keys", "-f", d.two)
		d.fill(t)
	})
	part(t, "a machine that was replaced", d.testReplacedMachine)
	part(t, "a disk that is not mounted", d.testUnmounted)
	part(t, "a disk that was replaced", d.testReplacedDisk)
	part(t, "a directory leaves", d.testDirectoryLeaves)
	part(t, "a volume moves", d.testVolumeMoves)
}

// derived is the first inventory with all places of a text changed.
func (d *disks) derived(t *testing.T, name, old, now string) string {
	t.Helper()
	b, err := os.ReadFile(d.one)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%s does not hold %q", d.one, old)
	}
	return d.file(t, name, strings.ReplaceAll(string(b), old, now))
}

// mount mounts a fresh file system. Hadoop uses a disk only as long as a GiB is
// free on it (dfs.datanode.round-robin-volume-choosing-policy.additional-available-space).
func (d *disks) mount(t *testing.T, node string) {
	t.Helper()
	d.on(t, node, "mkdir -p /mnt/b && mount -t tmpfs -o size=2g,mode=755 disk /mnt/b")
}

// fill puts files into HDFS, of some blocks each.
func (d *disks) fill(t *testing.T) {
	t.Helper()
	d.local = filepath.Join(d.dir, "data")
	if err := os.MkdirAll(d.local, 0o700); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<20)
	args := []string{"hdfs", "put", "-f", d.two, "--block-size", "1Mi"}
	for i := range 10 {
		rand.Read(data) // never fails
		name := filepath.Join(d.local, fmt.Sprint(i))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	d.ok(t, append(args, "/kept/")...)
	for _, node := range []string{"nuc02", "nuc03"} {
		if d.blocks(t, node) == "0" {
			t.Fatalf("no block is in %s on %s", second, node)
		}
	}
}

// blocks counts those in the second directory.
func (d *disks) blocks(t *testing.T, node string) string {
	t.Helper()
	return d.on(t, node, "find "+second+" -name 'blk_*' ! -name '*.meta' -type f | wc -l")
}

// kept compares what is in HDFS with what was put there.
func (d *disks) kept(t *testing.T, file string) {
	t.Helper()
	for i := range 10 {
		back := filepath.Join(t.TempDir(), "back")
		d.ok(t, "hdfs", "get", "-f", file, fmt.Sprintf("/kept/%d", i), back)
		if was, is := sum(t, filepath.Join(d.local, fmt.Sprint(i))), sum(t, back); was != is {
			t.Errorf("the checksum of file %d was %s and is %s", i, was, is)
		}
	}
}

// whole waits until HDFS has all copies of all blocks. A copy that was on its
// way to a datanode that then started anew is asked for again after 5 minutes
// (dfs.namenode.reconstruction.pending.timeout-sec).
func (d *disks) whole(t *testing.T, file string) {
	t.Helper()
	eventually(t, 15*time.Minute, "all copies of all blocks", func() bool {
		out := d.run(t, "kubectl", "-f", file, "--", "get", "--raw", "/api/v1/namespaces/nucspark/pods/namenode-0:9870/proxy/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")
		return strings.Contains(out.stdout, `"UnderReplicatedBlocks" : 0,`) && strings.Contains(out.stdout, `"PendingReconstructionBlocks" : 0,`) && strings.Contains(out.stdout, `"NumLiveDataNodes" : 2,`)
	})
	d.ok(t, "hdfs", "fsck", "-f", file)
}

func (d *disks) same(t *testing.T, file string) {
	t.Helper()
	if out := d.ok(t, "up", "--yes", "-f", file); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
}

// testReplacedMachine: a machine with the name and the address of nuc02, and
// nothing of what it was.
func (d *disks) testReplacedMachine(t *testing.T) {
	name := container("nuc02")
	was := d.on(t, "nuc02", "cat /etc/machine-id")
	for _, args := range [][]string{{"rm", "--force", name}, {"volume", "rm", "--force", name + "-var", name + "-data", name + "-srv"}} {
		if out := execute(t, time.Minute, nil, "docker", args...); out.code != 0 {
			t.Fatalf("docker %v: %s", args, out)
		}
	}
	if err := os.Remove(filepath.Join(os.Getenv("XDG_STATE_HOME"), "nucspark", "labs", labName, "nuc02.host_key")); err != nil {
		t.Fatal(err)
	}
	d.ok(t, "lab", "up", "--name", labName, "--subnet", labSubnet, "--dir", d.dir, "--nodes", "3")
	is := d.on(t, "nuc02", "cat /etc/machine-id")
	d.mount(t, "nuc02")
	d.refused(t, 2, []string{"the host key has changed", "nucspark trust nuc02"}, "up", "--yes", "-f", d.two)
	// A file that pins a key is not overruled.
	other, _, _ := strings.Cut(d.on(t, "nuc01", "cat /etc/ssh/ssh_host_ed25519_key.pub"), " root")
	pinned := d.derived(t, "pinned.hcl", `node "nuc02" {`, "node \"nuc02\" {\n  host_key = \""+other+"\"")
	d.refused(t, 2, []string{"pins the host key of nuc02", "write host_key = "}, "trust", "--yes", "-f", pinned, "nuc02")
	d.refused(t, 2, []string{"nuc01 is the control plane"}, "trust", "--yes", "-f", d.two, "nuc01")
	d.refused(t, 2, []string{"the NFS volume shared was on the old machine", "--lose-volume shared"}, "trust", "--yes", "-f", d.two, "nuc02")
	d.on(t, "nuc02", `mkdir -p -m 700 /var/lib/nucspark && printf '{"cluster":"other","uid":"u","node":"nuc02","machine_id":"`+is+`"}' > /var/lib/nucspark/identity.json`)
	d.refused(t, 2, []string{`it belongs to the cluster "other"`}, "trust", "--yes", "-f", d.two, "nuc02", "--lose-volume", "shared")
	d.on(t, "nuc02", "rm -rf /var/lib/nucspark")
	out := d.ok(t, "trust", "--yes", "-f", d.two, "nuc02", "--lose-volume", "shared")
	for _, word := range []string{was, is, "host key that is pinned: SHA256:", "host key that it shows:  SHA256:"} {
		if !strings.Contains(out.stderr, word) {
			t.Errorf("trust does not show %q:\n%s", word, out)
		}
	}
	if out := d.ok(t, "trust", "--yes", "-f", d.two, "nuc02"); !strings.Contains(out.stderr, "is trusted already") {
		t.Errorf("a second time: %s", out)
	}
	// The namenode counts the old datanode as dead after 10.5 minutes; one that
	// starts anew has never heard of it.
	d.ok(t, "kubectl", "-f", d.two, "--", "-n", "nucspark", "delete", "pod", "namenode-0")
	d.ok(t, "up", "--yes", "--progress=plain", "-f", d.two)
	if got := d.ok(t, "kubectl", "-f", d.two, "--", "get", "node", "nuc02", "-o", "jsonpath={.status.nodeInfo.machineID}").stdout; strings.TrimSpace(got) != is {
		t.Errorf("the machine-id of nuc02 is %q in the cluster, and %s", got, is)
	}
	d.whole(t, d.two)
	d.kept(t, d.two)
	d.ok(t, "status", "-f", d.two)
	d.same(t, d.two)
}

// testUnmounted: nothing is written where a disk was.
func (d *disks) testUnmounted(t *testing.T) {
	d.on(t, "nuc02", "umount /mnt/b")
	out := d.refused(t, 1, []string{second + " on nuc02 holds blocks of this cluster, but it is empty", "nucspark disk accept nuc02 " + second}, "up", "--yes", "-f", d.two)
	if strings.Contains(out.stderr, "nuc03/") && strings.Contains(out.stderr, "✗ nuc03") {
		t.Errorf("nuc03 has nothing to do with it:\n%s", out)
	}
	if out := d.run(t, "status", "-f", d.two); out.code != 1 || !strings.Contains(out.stdout, second+" has no .nucspark-disk and is left out") {
		t.Errorf("status: %s", out)
	}
	d.refused(t, 2, []string{second + " on nuc02 lay on a file system mounted at /mnt/b and lies on that of "}, "disk", "accept", "--yes", "-f", d.two, "nuc02", second)
	d.refused(t, 2, []string{"/mnt/c is no data directory of nuc02"}, "disk", "accept", "--yes", "-f", d.two, "nuc02", "/mnt/c")
	// Nor by the datanode, when it starts anew.
	d.ok(t, "kubectl", "-f", d.two, "--", "-n", "nucspark", "delete", "pod", "-l", "app.kubernetes.io/name=datanode", "--field-selector", "spec.nodeName=nuc02")
	eventually(t, 3*time.Minute, "a datanode on nuc02 without that directory", func() bool {
		return strings.TrimSpace(d.run(t, "kubectl", "-f", d.two, "--", "-n", "nucspark", "get", "pods", "-l", "app.kubernetes.io/name=datanode", "--field-selector", "spec.nodeName=nuc02",
			"-o", "jsonpath={.items[*].status.containerStatuses[*].ready}").stdout) == "true"
	})
	d.kept(t, d.two)
	if got := d.on(t, "nuc02", "find /mnt/b -mindepth 1"); got != "" && got != second {
		t.Errorf("where the disk is not mounted there are\n%s", got)
	}
}

// testReplacedDisk: a new disk joins, if it is one.
func (d *disks) testReplacedDisk(t *testing.T) {
	d.on(t, "nuc02", "rm -rf /mnt/b/hdfs") // the kubelet makes mount points of pods
	d.mount(t, "nuc02")
	accept := []string{"disk", "accept", "--yes", "-f", d.two, "nuc02", second}
	d.on(t, "nuc02", "mkdir -p "+second+" && touch "+second+"/photo")
	d.refused(t, 2, []string{"is not empty (photo)"}, accept...)
	d.on(t, "nuc02", "rm "+second+`/photo && printf '{"cluster":"other","node":"nuc02","path":"`+second+`","filesystem":""}' > `+second+"/.nucspark-disk")
	d.refused(t, 2, []string{"it is a disk of another cluster"}, accept...)
	d.on(t, "nuc02", "rm "+second+"/.nucspark-disk")
	d.ok(t, accept...)
	d.whole(t, d.two)
	d.kept(t, d.two)
	if out := d.ok(t, accept...); !strings.Contains(out.stderr, "is in use already") {
		t.Errorf("a second time: %s", out)
	}
	d.ok(t, "status", "-f", d.two)
	d.same(t, d.two)
}

// testDirectoryLeaves: the run is killed when the first datanode has given up
// its directory, and ended by the next.
func (d *disks) testDirectoryLeaves(t *testing.T) {
	// A disk that is new has no block yet.
	d.ok(t, "hdfs", "put", "-f", d.two, "--block-size", "1Mi", filepath.Join(d.local, "0"), filepath.Join(d.local, "1"), "/more/")
	was := map[string]string{}
	for _, node := range []string{"nuc02", "nuc03"} {
		if was[node] = d.blocks(t, node); was[node] == "0" {
			t.Fatalf("no block is in %s on %s", second, node)
		}
	}
	d.ok(t, "hdfs", "put", "-f", d.two, "--replication", "1", d.two, "/once")
	d.refused(t, 2, []string{second + " on nuc02 cannot leave HDFS: 1 files have one copy of each block only, which may be there: /once;"}, "up", "--yes", "-f", d.one)
	d.ok(t, "hdfs", "rm", "-f", d.two, "/once")
	plan := d.ok(t, "plan", "-f", d.one)
	if strings.Count(plan.stdout, second+" leaves: the datanode starts anew without it") != 2 {
		t.Errorf("the plan does not say what happens:\n%s", plan)
	}
	var said bytes.Buffer
	cmd := exec.Command(d.binary, "up", "--yes", "--progress=plain", "-f", d.one)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		return strings.Count(d.ok(t, "kubectl", "-f", d.one, "--", "get", "nodes", "-o", `jsonpath={.items[*].metadata.annotations.nucspark\.io/hdfs-dirs}`).stdout, second)
	}
	eventually(t, 5*time.Minute, "the first datanode without its directory", func() bool { return held() < 2 })
	if held() == 0 {
		t.Error("both datanodes gave up their directories at once")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatalf("it was done before it could be killed:\n%s", said.String())
	}
	// The lock of the one that was killed is free within half a minute.
	var out output
	eventually(t, time.Minute, "the end of the lock", func() bool {
		out = d.run(t, "up", "--yes", "--progress=plain", "-f", d.one)
		return out.code != 4
	})
	if out.code != 0 {
		t.Fatalf("the next run: exit code %d\n%s", out.code, out)
	}
	d.whole(t, d.one)
	d.kept(t, d.one)
	for node, blocks := range was {
		if is := d.blocks(t, node); is != blocks {
			t.Errorf("%s on %s had %s blocks, and has %s", second, node, blocks, is)
		}
	}
	d.ok(t, "status", "-f", d.one)
	d.same(t, d.one)
}

// testVolumeMoves: the files go over, and the claim stays the same.
func (d *disks) testVolumeMoves(t *testing.T) {
	const sums = "cd /shared && find . -type f -exec sha256sum {} + | sort"
	d.pod(t, d.one, "writer", "nuc02", "Succeeded", "cd /shared && mkdir -p 'a b' && head -c 20000000 /dev/urandom > 'a b/x' && echo note > note && chmod 600 note && ln -s note link && "+sums)
	was := d.ok(t, "kubectl", "-f", d.one, "--", "-n", "nucspark", "logs", "writer").stdout
	d.pod(t, d.one, "user", "nuc03", "Running", "sleep 3600")
	d.refused(t, 2, []string{"the volume shared is on nuc02", `write node = "nuc03"`}, "volume", "move", "--yes", "-f", d.one, "shared", "nuc03")
	d.refused(t, 1, []string{"the volume shared is at nuc02:/data/nfs/shared in the cluster and at nuc03:/data/nfs/shared in ", "nucspark volume move shared nuc03"}, "up", "--yes", "-f", d.moved)
	move := []string{"volume", "move", "--yes", "-f", d.moved, "shared", "nuc03"}
	d.refused(t, 2, []string{"pods use it: nucspark/user; end them first"}, move...)
	d.refused(t, 2, []string{"shared is on nuc02 yet"}, append(move, "--drop-old")...)
	d.ok(t, "kubectl", "-f", d.moved, "--", "-n", "nucspark", "delete", "pod", "user", "writer", "--now")
	d.ok(t, move...)
	d.ok(t, "up", "--yes", "-f", d.moved)
	d.same(t, d.moved)
	d.pod(t, d.moved, "reader", "nuc02", "Succeeded", sums+" && touch new")
	if is := d.ok(t, "kubectl", "-f", d.moved, "--", "-n", "nucspark", "logs", "reader").stdout; is != was || !strings.Contains(is, "a b/x") {
		t.Errorf("the files are\n%s\nwere\n%s", is, was)
	}
	d.on(t, "nuc03", "test -e /data/nfs/shared/new")
	d.on(t, "nuc02", "test -e /data/nfs/shared/note && ! test -e /data/nfs/shared/new")
	if out := d.ok(t, move...); !strings.Contains(out.stderr, "shared is on nuc03") {
		t.Errorf("a second time: %s", out)
	}
	d.on(t, "nuc02", "touch /data/nfs/shared/late")
	d.refused(t, 1, []string{"is not as it was when the volume was moved: it is not deleted"}, append(move, "--drop-old")...)
	d.on(t, "nuc02", "rm /data/nfs/shared/late")
	d.ok(t, append(move, "--drop-old")...)
	if got := d.on(t, "nuc02", "ls -A /data/nfs"); got != ".nucspark-disk" {
		t.Errorf("left on nuc02: %s", got)
	}
	d.ok(t, "kubectl", "-f", d.moved, "--", "-n", "nucspark", "delete", "pod", "reader", "--now")
	d.ok(t, "status", "-f", d.moved)
	d.same(t, d.moved)
}
