package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// removal is a lab of three nodes of which nuc03 leaves.
type removal struct {
	*bench
	whole, less string // inventories: with nuc03, and without
	local       string // a directory of files
	blocks      string // of HDFS on nuc03, with their checksums
}

// TestLongRemove takes a node out of a cluster of three, with refusals first
// and an interruption in the middle. Its parts build on each other.
func TestLongRemove(t *testing.T) {
	r := &removal{bench: longLab(t, "3")}
	r.whole = r.inventory()
	part(t, "up", func(t *testing.T) { r.ok(t, "up", "--yes", "-f", r.whole) })
	part(t, "refused before any change", r.testRefusals)
	part(t, "one copy of each block", r.testFill)
	part(t, "interrupted", r.testInterrupted)
	part(t, "finished by the next run", r.testFinished)
	part(t, "nothing to change", r.testAgain)
	part(t, "back, with its data", r.testBack)
	part(t, "a machine that is off", r.testDead)
}

func (r *removal) testRefusals(t *testing.T) {
	// As it was fixed at the first up: a file that says so is refused by itself.
	fixed := strings.Replace(r.text(t), "replication = 2", "", 1)
	r.less = r.file(t, "less.hcl", block("node", "nuc03").ReplaceAllString(fixed, ""))
	members := func() string {
		return r.ok(t, "kubectl", "-f", r.whole, "--", "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.unschedulable}{'\\n'}{end}").stdout
	}
	before := members()
	// Two copies of each block need two machines.
	r.refused(t, 2, []string{"nuc03: HDFS keeps 2 copies of each block, and only 1 in service would remain (nuc02)", "lower replication"},
		"up", "--yes", "--remove", "nuc03", "-f", r.less)
	r.refused(t, 2, []string{"nuc03 is in ", "take its block out of the file first"}, "up", "--yes", "--remove", "nuc03", "-f", r.whole)
	r.refused(t, 2, []string{"nuc01 is the control plane"}, "up", "--yes", "--remove", "nuc01", "-f", r.whole)
	r.refused(t, 2, []string{"nuc30 is no member"}, "up", "--yes", "--remove", "nuc30", "-f", r.less)
	// A volume keeps its machine, too.
	text := block("volume", "shared").ReplaceAllString(block("node", "nuc02").ReplaceAllString(fixed, ""), "")
	r.refused(t, 2, []string{"nuc02: the NFS volume shared is on it (/data/nfs/shared)"}, "up", "--yes", "--remove", "nuc02", "-f", r.file(t, "other.hcl", text))
	// A file of another cluster, and one without nodes.
	name := regexp.MustCompile(`(?m)^cluster "[^"]+"`)
	r.refused(t, 2, []string{`belongs to the cluster "` + labName + `", not to "renamed"`},
		"up", "--yes", "--remove", "nuc03", "-f", r.file(t, "renamed.hcl", name.ReplaceAllString(block("node", "nuc03").ReplaceAllString(fixed, ""), `cluster "renamed"`)))
	r.refused(t, 2, nil, "up", "--yes", "--remove", "nuc03", "-f", r.file(t, "empty.hcl", name.FindString(r.text(t))+" {\n}\n"))
	// Nobody named it: it stays, and that is said.
	r.refused(t, 1, []string{"nuc03 holds blocks in /data/hdfs and is not in the inventory any more", "nucspark up --remove nuc03"}, "up", "--yes", "-f", r.less)
	if after := members(); after != before {
		t.Errorf("the cluster's nodes were\n%s\nand are\n%s", before, after)
	}
	r.ok(t, "up", "--yes", "-f", r.whole)
}

func (r *removal) testFill(t *testing.T) {
	one := strings.Replace(r.text(t), "replication = 2", "replication = 1", 1)
	r.whole = r.file(t, "whole.hcl", one)
	r.less = r.file(t, "less.hcl", block("node", "nuc03").ReplaceAllString(one, ""))
	r.ok(t, "up", "--yes", "-f", r.whole)
	// A file that comes by WebHDFS lies on one machine, which the namenode
	// draws: that all of these lie on the same is next to impossible.
	r.local = filepath.Join(r.dir, "data")
	if err := os.MkdirAll(r.local, 0o700); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<20)
	for i := range 20 {
		rand.Read(data) // never fails
		if err := os.WriteFile(filepath.Join(r.local, fmt.Sprint(i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.put(t, "/kept")
	r.ok(t, "hdfs", "put", "-f", r.whole, "--replication", "2", r.whole, "/twice")
	r.refused(t, 2, []string{"nuc03: 1 files are to have more copies of each block than 1", ": /twice;"}, "up", "--yes", "--remove", "nuc03", "-f", r.less)
	r.ok(t, "hdfs", "rm", "-f", r.whole, "/twice")
	plan := r.ok(t, "plan", "--remove", "nuc03", "-f", r.less)
	m := regexp.MustCompile(`(\d+) blocks, [0-9.]+ MiB, get their copies on nuc02 \([0-9.]+ \wiB free\)\n\s+/data/hdfs stay on the machine as they are`).FindStringSubmatch(plan.stdout)
	if m == nil || m[1] == "0" {
		t.Fatalf("the plan does not say what happens to the data:\n%s", plan)
	}
	t.Logf("nuc03 holds %s blocks", m[1])
}

// put writes the files into a directory of HDFS, in blocks of 1 MiB.
func (r *removal) put(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.local, "*"))
	if err != nil {
		t.Fatal(err)
	}
	r.ok(t, append(append([]string{"hdfs", "put", "-f", r.whole, "--block-size", "1Mi"}, files...), dir+"/")...)
}

// kept compares what is in HDFS with what was put there.
func (r *removal) kept(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for i := range 20 {
		back := filepath.Join(dir, fmt.Sprint(i))
		r.ok(t, "hdfs", "get", "-f", r.less, fmt.Sprintf("/kept/%d", i), back)
		if was, is := sum(t, filepath.Join(r.local, fmt.Sprint(i))), sum(t, back); was != is {
			t.Errorf("the checksum of file %d was %s and is %s", i, was, is)
		}
	}
}

// state is what the namenode says of nuc03's datanode, "" while it is dead to it.
func (r *removal) state(t *testing.T) string {
	out := r.run(t, "kubectl", "-f", r.whole, "--", "get", "--raw", "/api/v1/namespaces/nucspark/pods/namenode-0:9870/proxy/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")
	_, live, _ := strings.Cut(strings.ReplaceAll(out.stdout, `\`, ""), `"LiveNodes"`)
	live, _, _ = strings.Cut(live, `"DeadNodes"`)
	_, rest, _ := strings.Cut(live, `"`+r.address(t, "nuc03")+`:9866":{`)
	m := regexp.MustCompile(`"adminState":"([^"]*)"`).FindStringSubmatch(rest)
	if m == nil {
		return ""
	}
	return m[1]
}

// testInterrupted: the run is killed while blocks are copied, and so is the
// datanode's pod. It does not come back into service.
func (r *removal) testInterrupted(t *testing.T) {
	var said bytes.Buffer
	cmd := exec.Command(r.binary, "up", "--yes", "--remove", "nuc03", "--progress=plain", "-f", r.less)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Minute, "the decommission of nuc03", func() bool { return strings.HasPrefix(r.state(t), "Decommission") })
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatalf("it was done before it could be killed:\n%s", said.String())
	}
	pods := func() string {
		return r.ok(t, "kubectl", "-f", r.whole, "--", "-n", "nucspark", "get", "pods", "-l", "app.kubernetes.io/name=datanode",
			"--field-selector", "spec.nodeName=nuc03,status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}={.items[*].status.podIP}").stdout
	}
	before := pods()
	name, address, _ := strings.Cut(before, "=")
	r.ok(t, "kubectl", "-f", r.whole, "--", "-n", "nucspark", "delete", "pod", name)
	eventually(t, 5*time.Minute, "another datanode on nuc03", func() bool {
		now, at, _ := strings.Cut(pods(), "=")
		return now != "" && now != name && at != "" && at != address
	})
	eventually(t, 5*time.Minute, "its registration", func() bool {
		_, at, _ := strings.Cut(pods(), "=")
		out := r.run(t, "kubectl", "-f", r.whole, "--", "get", "--raw", "/api/v1/namespaces/nucspark/pods/namenode-0:9870/proxy/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")
		return strings.Contains(out.stdout, at+":9866")
	})
	if s := r.state(t); !strings.HasPrefix(s, "Decommission") {
		t.Errorf("the datanode that started anew is %q", s)
	}
}

// testFinished: the next run, from another laptop and without --remove, ends
// what was begun.
func (r *removal) testFinished(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir()) // no host key is known there
	r.blocks = r.on(t, "nuc03", "find /data/hdfs -name 'blk_*' -type f -exec sha256sum {} + | sort")
	if n := len(lines(r.blocks)); n == 0 {
		t.Fatal("nuc03 holds no blocks")
	}
	before := map[string][]string{"nuc01": lines(r.processes(t, "nuc01")), "nuc02": lines(r.processes(t, "nuc02"))}
	out := r.ok(t, "up", "--yes", "--progress=plain", "-f", r.less)
	if !strings.Contains(out.stderr+out.stdout, "blocks left") && !strings.Contains(out.stderr+out.stdout, "nuc03/hdfs/stop") {
		t.Errorf("it does not say how far it is:\n%s", out)
	}
	for node, were := range before {
		are := lines(r.processes(t, node))
		for _, p := range were {
			if !slices.Contains(are, p) {
				t.Errorf("%s: %q runs no more:\n%s", node, p, strings.Join(are, "\n"))
			}
		}
	}
	r.kept(t)
	r.ok(t, "hdfs", "fsck", "-f", r.less)
	if out := r.ok(t, "kubectl", "-f", r.less, "--", "get", "nodes", "-o", "name"); strings.Contains(out.stdout, "nuc03") {
		t.Errorf("nuc03 is a member yet:\n%s", out)
	}
	// The machine: its data is as it was, and the rest is gone.
	if now := r.on(t, "nuc03", "find /data/hdfs -name 'blk_*' -type f -exec sha256sum {} + | sort"); now != r.blocks {
		t.Errorf("the blocks on nuc03 changed:\n%s\nwere\n%s", now, r.blocks)
	}
	for _, path := range []string{"/data/hdfs/.nucspark-disk", "/data/nfs/.nucspark-disk"} {
		r.on(t, "nuc03", "test -s "+path)
	}
	if got := r.on(t, "nuc03", "ls -d /etc/kubernetes/kubelet.conf /var/lib/nucspark/identity.json /etc/nucspark 2>/dev/null; dpkg -l containerd.io kubelet kubeadm 2>/dev/null | grep ^.i; pgrep -a 'kubelet|containerd|java|pause|flanneld|kube-proxy' || true"); got != "" {
		t.Errorf("left on nuc03:\n%s", got)
	}
	for _, node := range []string{"nuc01", "nuc02"} {
		if got := r.on(t, node, "grep -n nuc03 /etc/hosts; grep -n '"+r.address(t, "nuc03")+"' /etc/nucspark/nftables.nft /etc/ganesha/*.conf /etc/exports.d/* 2>/dev/null || true"); got != "" {
			t.Errorf("%s knows nuc03 yet:\n%s", node, got)
		}
	}
}

// testAgain: a second run changes nothing, and neither does a second removal.
func (r *removal) testAgain(t *testing.T) {
	if out := r.ok(t, "up", "--yes", "-f", r.less); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
	out := r.ok(t, "up", "--yes", "--remove", "nuc03", "-f", r.less)
	if !strings.Contains(out.stdout, "nuc03 is no member of the cluster: there is nothing to remove") {
		t.Errorf("a second removal:\n%s", out)
	}
	r.ok(t, "status", "-f", r.less)
}

// testBack: the machine joins anew, and takes up the directories that it left.
func (r *removal) testBack(t *testing.T) {
	r.ok(t, "up", "--yes", "-f", r.whole)
	r.ok(t, "status", "-f", r.whole)
	if s := r.state(t); s != "In Service" {
		t.Errorf("its datanode is %q", s)
	}
	r.put(t, "/lost")
}

// testDead: a machine that is off is taken out when the namenode counts its
// datanode as dead, and what is lost with it only if somebody says so.
func (r *removal) testDead(t *testing.T) {
	r.ok(t, "lab", "kill", "--name", labName, "nuc03")
	r.refused(t, 2, []string{"nuc03: it does not answer over SSH, but the namenode heard from its datanode", "is known after 16 minutes"},
		"up", "--yes", "--remove", "nuc03", "-f", r.less)
	// The namenode lists it as dead minutes before it counts what is lost.
	eventually(t, 30*time.Minute, "the end of nuc03 to the namenode", func() bool {
		out := r.run(t, "up", "--yes", "--remove", "nuc03", "-f", r.less)
		if out.code != 2 {
			t.Fatalf("a machine of which nobody knows what is lost with it: %s", out)
		}
		return !strings.Contains(out.stderr, "is known after 16 minutes") && !strings.Contains(out.stderr, "has not yet counted")
	})
	out := r.refused(t, 2, []string{"blocks have no copy on any other, of these files:", "\n    /lost/", "--accept-loss nuc03"}, "up", "--yes", "--remove", "nuc03", "-f", r.less)
	r.ok(t, "up", "--yes", "--remove", "nuc03", "--accept-loss", "nuc03", "-f", r.less)
	if out := r.ok(t, "kubectl", "-f", r.less, "--", "get", "nodes", "-o", "name"); strings.Contains(out.stdout, "nuc03") {
		t.Errorf("nuc03 is a member yet:\n%s", out)
	}
	// What was not listed is whole.
	for i := range 20 {
		name, back := fmt.Sprintf("/lost/%d", i), filepath.Join(t.TempDir(), "back")
		if strings.Contains(out.stderr, "    "+name+"\n") {
			continue
		}
		r.ok(t, "hdfs", "get", "-f", r.less, name, back)
		if was, is := sum(t, filepath.Join(r.local, fmt.Sprint(i))), sum(t, back); was != is {
			t.Errorf("the checksum of %s was %s and is %s", name, was, is)
		}
	}
	r.ok(t, "hdfs", "rm", "-f", r.less, "-r", "/lost")
	r.ok(t, "hdfs", "rm", "-f", r.less, "-r", "/kept")
	if out := r.ok(t, "up", "--yes", "-f", r.less); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
	r.ok(t, "status", "-f", r.less)
}

func sum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
