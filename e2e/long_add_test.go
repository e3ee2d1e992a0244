package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
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

	"nucspark.io/nucspark/provision"
)

// growing is a lab of three machines of which the file has two at first. Disks
// of 2 GiB make a difference of some blocks one of some percent; a datanode
// takes no block where less than 1 GiB would be left.
type growing struct {
	*bench
	small, whole string // inventories: without nuc03, and with
	pod          string // of the application that runs meanwhile
}

// TestLongAdd adds a machine while an application runs, and moves blocks to it.
// Its parts build on each other.
func TestLongAdd(t *testing.T) {
	g := &growing{bench: longLab(t, "3")}
	one := strings.Replace(g.text(t), "replication = 2", "replication = 1", 1)
	g.whole = g.file(t, "whole.hcl", one)
	g.small = g.file(t, "small.hcl", block("node", "nuc03").ReplaceAllString(one, ""))
	part(t, "up with two machines", g.testSmall)
	part(t, "a third one, while an application runs", g.testAdd)
	part(t, "what is new lands on it", g.testNew)
	part(t, "balance", g.testBalance)
	part(t, "a balance that is ended", g.testInterrupted)
}

func (g *growing) testSmall(t *testing.T) {
	for _, node := range []string{"nuc02", "nuc03"} {
		g.on(t, node, "mkdir -p /data/hdfs && mount -t tmpfs -o size=2g none /data/hdfs")
	}
	g.ok(t, "up", "--yes", "-f", g.small)
	put := []string{"hdfs", "put", "-f", g.small}
	data := make([]byte, 16<<20) // more than 10 MiB, or the balancer leaves it
	for i := range 10 {
		rand.Read(data) // never fails
		put = append(put, g.file(t, fmt.Sprint("old-", i), string(data)))
	}
	g.ok(t, append(put, "/old/")...)
	if out := g.run(t, "hdfs", "balance", "-f", g.small); out.code != 1 || !strings.Contains(out.stderr, "nothing to balance between") {
		t.Errorf("balance with one datanode:\n%s", out)
	}
	g.pod = g.hold(t)
	eventually(t, 5*time.Minute, "the application has an executor", func() bool {
		return strings.Contains(g.on(t, "nuc02", "pgrep -fa CoarseGrainedExecutorBackend || true"), "CoarseGrained")
	})
}

// kept fails for each process that ran before on one of the machines and does
// not run now.
func (b *bench) kept(t *testing.T, before map[string]string) {
	t.Helper()
	for node, were := range before {
		are := strings.Split(b.processes(t, node), "\n")
		for _, p := range strings.Split(were, "\n") {
			if !slices.Contains(are, p) {
				t.Errorf("%s: %q runs no more:\n%s", node, p, strings.Join(are, "\n"))
			}
		}
	}
}

func (g *growing) testAdd(t *testing.T) {
	before := map[string]string{"nuc01": g.processes(t, "nuc01"), "nuc02": g.processes(t, "nuc02")}
	// The others learn its address, and the control plane keeps a copy of the
	// cluster's record, and lets it to the cache.
	learn := regexp.MustCompile(`^nuc0[12]/(hosts|firewall/(rules|table)|nfs/(export|server))$|^nuc01/(kubeadm/record|cache/(config|service))$`)
	for _, e := range events(t, g.ok(t, "up", "--yes", "--progress=json", "-f", g.whole)) {
		if node, _, _ := strings.Cut(e.Step, "/"); e.Kind == provision.StepStarted && (node == "nuc01" || node == "nuc02") && !learn.MatchString(e.Step) {
			t.Errorf("%s is worked on: %+v", e.Step, e.Changes)
		}
	}
	g.kept(t, before)
	phase := func() string {
		return g.ok(t, "kubectl", "-f", g.whole, "--", "-n", "nucspark", "get", "pod", g.pod, "-o", "jsonpath={.status.phase}").stdout
	}
	if is := phase(); is != "Running" {
		t.Errorf("the application is %s", is)
	}
	g.ok(t, "hdfs", "put", "-f", g.whole, g.whole, letGo)
	eventually(t, 3*time.Minute, "the end of the application", func() bool { return phase() != "Running" })
	if is := phase(); is != "Succeeded" {
		t.Errorf("the application is %s", is)
	}
	g.ok(t, "hdfs", "rm", "-f", g.whole, letGo)
	if out := g.ok(t, "up", "--yes", "-f", g.whole); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
}

func (g *growing) testNew(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range g.status(t) {
		if !h.OK {
			t.Errorf("%s %s: %s", h.Component, h.Name, h.Reason)
		}
		if h.Node == "nuc03" {
			seen[h.Component+" "+h.Name] = true
		}
	}
	for _, name := range []string{"hdfs datanode nuc03", "spark worker nuc03"} {
		if !seen[name] {
			t.Errorf("status does not tell of %s: %v", name, seen)
		}
	}
	local := filepath.Join(g.dir, "new")
	if err := os.WriteFile(local, bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16), 0o600); err != nil {
		t.Fatal(err)
	}
	g.putApart(t, local, "/new")
	out := g.ok(t, "submit", "-f", g.whole, "../examples/wordcount.py", "hdfs:///new", "--any")
	if !strings.Contains(out.stdout, "TOTAL 2\n") {
		t.Errorf("two files of one word each:\n%s", out)
	}
}

// blocks is how many blocks of the old files lie on a machine.
func (g *growing) blocks(t *testing.T, node string) string {
	return g.on(t, node, "find /data/hdfs -name 'blk_*' ! -name '*.meta' -size +8M | wc -l")
}

func (g *growing) testBalance(t *testing.T) {
	if n, m := g.blocks(t, "nuc02"), g.blocks(t, "nuc03"); n != "10" || m != "0" {
		t.Fatalf("%s old blocks are on nuc02 and %s on nuc03", n, m)
	}
	var r struct {
		Balanced  bool  `json:"balanced"`
		Bytes     int64 `json:"moved_bytes"`
		Blocks    int64 `json:"moved_blocks"`
		Datanodes []struct {
			Node     string `json:"node"`
			Used     int64  `json:"used_bytes"`
			Capacity int64  `json:"capacity_bytes"`
		} `json:"datanodes"`
	}
	out := g.ok(t, "hdfs", "balance", "--json", "--bandwidth", "200Mi", "--threshold", "1", "-f", g.whole)
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := g.blocks(t, "nuc03"); !r.Balanced || n == "0" || n != fmt.Sprint(r.Blocks) || r.Bytes != r.Blocks*16<<20 || len(r.Datanodes) != 2 {
		t.Errorf("%s old blocks are on nuc03, and it says %+v\n%s", n, r, out)
	}
	t.Logf("%d blocks moved: %+v", r.Blocks, r.Datanodes)
	if !strings.Contains(out.stderr, "balancing") {
		t.Errorf("it does not say how far it is:\n%s", out)
	}
	g.ok(t, "hdfs", "fsck", "-f", g.whole)
	for i := range 10 {
		back := filepath.Join(t.TempDir(), "back")
		g.ok(t, "hdfs", "get", "-f", g.whole, fmt.Sprint("/old/old-", i), back)
		was, err := os.ReadFile(filepath.Join(g.dir, fmt.Sprint("old-", i)))
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(back); err != nil || !bytes.Equal(is, was) {
			t.Errorf("file %d is not what it was (%v)", i, err)
		}
	}
	if out := g.ok(t, "hdfs", "balance", "--threshold", "1", "-f", g.whole); !strings.Contains(out.stdout, "HDFS is balanced: 0 blocks moved") {
		t.Errorf("a second balance:\n%s", out)
	}
}

// testInterrupted: without the files on nuc03 there is something to move again.
// A block of 16 MiB takes four minutes with 64 KiB a second, once a datanode has
// used up what it may send of the former limit.
func (g *growing) testInterrupted(t *testing.T) {
	for i := range 10 {
		if name := fmt.Sprint("/old/old-", i); slices.Contains(g.hosts(t, name), g.address(t, "nuc03")) {
			g.ok(t, "hdfs", "rm", "-f", g.whole, name)
		}
	}
	eventually(t, time.Minute, "the end of the blocks on nuc03", func() bool { return g.blocks(t, "nuc03") == "0" })
	var said bytes.Buffer
	cmd := exec.Command(g.binary, "hdfs", "balance", "--bandwidth", "64Ki", "--threshold", "1", "-f", g.whole)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, "blocks that begin to move", func() bool {
		return strings.Contains(g.run(t, "kubectl", "-f", g.whole, "--", "-n", "nucspark", "logs", "hdfs-balance").stdout, "Will move")
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d after Ctrl-C\n%s", code, said.String())
	}
	left := g.ok(t, "kubectl", "-f", g.whole, "--", "-n", "nucspark", "get", "pods", "-l", "app.kubernetes.io/name=hdfs-balance", "-o", "name").stdout
	if left != "" {
		t.Errorf("%s is left over", left)
	}
}
