package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

// intents follows the ledger of a machine and tells each intent.
func (b *bench) intents(t *testing.T, node string, tell chan<- provision.Entry) {
	t.Helper()
	cmd := exec.Command("docker", "exec", container(node), "sh", "-c", "until [ -e "+provision.Ledger+" ]; do sleep 0.1; done; exec tail -n +1 -F "+provision.Ledger)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var e provision.Entry
			if json.Unmarshal(sc.Bytes(), &e) == nil && e.Phase == provision.Intent {
				tell <- e
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait() // it was killed
	})
}

// interruption is one operation that is killed again and again until it is
// done: at the start of each step that changes something, and in the step's
// middle. Steps that run at that moment are killed with it, and count.
type interruption struct {
	*bench
	args    []string
	every   int // only each so many-th step is a reason to kill; see killEvery
	seen    []string
	start   map[string]bool // steps that ran without a sign of work when their run was killed
	middle  map[string]bool // steps that had said something, or announced a change in the ledger
	short   map[string]bool // steps that ended without any such sign: one request, or one look
	kills   int
	refused int           // runs that found the lock of the killed one still held
	resumed time.Duration // from the start of a run to its first event, in all
	longest time.Duration
}

// killEvery names the variable that makes the test quicker: 3 kills at a third
// of the steps. What was left out is printed.
const killEvery = "NUCSPARK_KILL_EVERY"

// converge kills and resumes the operation until it is done, and says how
// often that was.
func (b *bench) converge(t *testing.T, what string, nodes []string, args ...string) {
	t.Helper()
	i := &interruption{bench: b, args: args, every: 1, start: map[string]bool{}, middle: map[string]bool{}, short: map[string]bool{}}
	if s := os.Getenv(killEvery); s != "" {
		var err error
		if i.every, err = strconv.Atoi(s); err != nil || i.every < 1 {
			t.Fatalf("%s=%s is no number of steps", killEvery, s)
		}
	}
	intents := make(chan provision.Entry, 100000)
	for _, n := range nodes {
		b.intents(t, n, intents)
	}
	began := time.Now()
	for !i.attempt(t, intents) {
	}
	took := time.Since(began)
	var missed, whole []string
	for _, s := range i.seen {
		switch {
		case !i.start[s] && !i.middle[s]:
			missed = append(missed, s)
		case !i.middle[s] && !i.short[s]:
			whole = append(whole, s)
		}
	}
	t.Logf("%s: %d of %d interruptions converged in %.0f s: %d steps changed something, %d were killed at their start, %d in their middle; "+
		"%d ended without a sign of it, %d were complete although they were killed at their start; "+
		"a run took %.1f s to go on, %.1f s at most; %d runs met the lock of the one that was killed",
		what, i.kills, i.kills, took.Seconds(), len(i.seen), len(i.start), len(i.middle), len(i.short), len(whole),
		i.resumed.Seconds()/float64(i.kills+1), i.longest.Seconds(), i.refused)
	if len(missed) > 0 {
		t.Logf("%s: not killed: %s", what, strings.Join(missed, " "))
	}
	// A step may be over before the signal comes; most are not.
	if i.every == 1 && len(missed)*10 > len(i.seen) {
		t.Errorf("%s: %d of %d steps were never killed", what, len(missed), len(i.seen))
	}
	if i.kills == 0 {
		t.Errorf("%s was never interrupted", what)
	}
}

// chosen says whether a step is a reason to kill.
func (i *interruption) chosen(step string) bool {
	n := slices.Index(i.seen, step)
	if n < 0 {
		n = len(i.seen)
		i.seen = append(i.seen, step)
	}
	return n%i.every == 0
}

// attempt is one run. It is killed at the first step that was not killed
// there before; the answer is true when it came to its end.
func (i *interruption) attempt(t *testing.T, intents <-chan provision.Entry) bool {
	t.Helper()
	began := time.Now()
	l := i.live(t, i.args...)
	run, killed := "", false
	running := map[string]bool{} // with or without a sign of work
	sign := func(step string) bool {
		if _, ok := running[step]; !ok {
			return false
		}
		running[step] = true
		return i.chosen(step) && i.start[step] && !i.middle[step] && !i.short[step]
	}
	at := ""
	for open := true; open; {
		kill := false
		var e provision.Event
		select {
		case e, open = <-l.events:
			switch e.Kind {
			case provision.RunStarted:
				run = e.Run
				i.resumed += time.Since(began)
				i.longest = max(i.longest, time.Since(began))
			case provision.StepStarted:
				running[e.Step] = false
				kill = i.chosen(e.Step) && !i.start[e.Step]
			case provision.StepLog, provision.StepProgress:
				kill = sign(e.Step)
			case provision.StepDone, provision.StepFailed:
				if worked, ok := running[e.Step]; ok && !worked {
					i.short[e.Step] = true
				}
				delete(running, e.Step)
			}
		case in := <-intents:
			e.Step = in.Step
			kill = in.Run == run && run != "" && sign(in.Step)
		}
		if kill && !killed {
			l.signal(syscall.SIGKILL)
			killed, at = true, e.Step
		}
	}
	code := l.wait()
	switch {
	case code == 4:
		i.refused++
		return false
	case code == 0: // the kill may have come too late
		return true
	case code != -1:
		t.Fatalf("a run after %d interruptions, the last of them at %s: exit code %d\n%s", i.kills, at, code, tail(l.stderr.String()))
	}
	i.kills++
	t.Logf("%d: killed at %s after %.1f s, running: %s", i.kills, at, time.Since(began).Seconds(), names(running))
	for step, worked := range running {
		i.chosen(step)
		if worked {
			i.middle[step] = true
		} else {
			i.start[step] = true
		}
	}
	return false
}

// TestLongInterrupt kills runs at every step, until they are done.
func TestLongInterrupt(t *testing.T) {
	b := longLab(t, "3")
	i := &interrupted{bench: b, all: []string{"nuc01", "nuc02", "nuc03"}, before: map[string]string{}}
	one := regexp.MustCompile(`replication\s*=\s*\d+`).ReplaceAllString(b.text(t), "replication = 1") // with fewer, one machine keeps blocks
	i.more = b.file(t, "more.hcl", one)
	i.fewer = b.file(t, "fewer.hcl", block("node", "nuc03").ReplaceAllString(one, ""))
	for _, n := range i.all {
		i.before[n] = b.on(t, n, traces)
	}
	for _, o := range []struct {
		name           string
		changed, nodes []string // machines that it works on; those that are in the file
		args           []string
	}{
		{"up from bare", i.all[:2], i.all[:2], []string{"up", "--yes", "-f", i.fewer}},
		{"a third node is added", i.all, i.all, []string{"up", "--yes", "-f", i.more}},
		{"the third node is removed", i.all, i.all[:2], []string{"up", "--yes", "--remove", "nuc03", "-f", i.fewer}},
	} {
		part(t, o.name, func(t *testing.T) {
			b.converge(t, o.name, o.changed, o.args...)
			i.check(t, o.args[len(o.args)-1], o.nodes)
		})
	}
}

type interrupted struct {
	*bench
	all    []string
	more   string            // an inventory of all
	fewer  string            // one without nuc03
	before map[string]string // what traces found, by node
	kept   []byte            // what is in each file in HDFS
	files  int               // how many there are: one was written after each operation
	id     string            // of the file system
}

// check looks for what must be there once the operation is done, and for what
// must not.
func (i *interrupted) check(t *testing.T, file string, nodes []string) {
	t.Helper()
	if plan := i.ok(t, "plan", "-f", file); !strings.Contains(plan.stdout, "Nothing to change") {
		t.Errorf("afterwards there is something to change:\n%s", plan.stdout)
	}
	if out := i.run(t, "status", "-f", file); out.code != 0 {
		t.Errorf("afterwards not everything is healthy:\n%s", out)
	}
	// Nothing lost.
	id := i.on(t, "nuc01", "grep clusterID "+namenodeVersion)
	if i.id = cmp.Or(i.id, id); id != i.id {
		t.Errorf("the file system is %s, and was %s", id, i.id)
	}
	if i.kept == nil {
		i.kept = bytes.Repeat([]byte("kept\n"), 1<<20)
	}
	for n := range i.files {
		back := filepath.Join(t.TempDir(), "back")
		i.ok(t, "hdfs", "get", "-f", file, fmt.Sprintf("/kept-%d", n), back)
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, i.kept) {
			t.Errorf("file %d in HDFS is not what it was: %d bytes, %v", n, len(got), err)
		}
	}
	// Of several blocks, so that each datanode there is gets some.
	local := i.file(t, "kept", string(i.kept))
	i.ok(t, "hdfs", "put", "-f", file, "--block-size", "1Mi", local, fmt.Sprintf("/kept-%d", i.files))
	i.files++
	// Nothing done twice.
	for _, n := range nodes {
		entries, err := provision.ParseLedger([]byte(i.on(t, n, "cat "+provision.Ledger)))
		if err != nil || len(entries) == 0 {
			t.Fatalf("the ledger of %s: %d entries, %v", n, len(entries), err)
		}
		for _, twice := range doneTwice(entries) {
			t.Errorf("%s: done twice: %s", n, twice)
		}
	}
	// No key, no token, nothing temporary left over.
	if left := i.on(t, "nuc01", "kubectl --kubeconfig "+provision.AdminConf+" -n kube-system get secrets -o name"); strings.Contains(left, "bootstrap-token") || strings.Contains(left, "kubeadm-certs") {
		t.Errorf("left in the cluster:\n%s", left)
	}
	for _, n := range i.all {
		was := map[string]bool{}
		for l := range strings.Lines(i.before[n]) {
			was[strings.TrimSpace(l)] = true
		}
		for l := range strings.Lines(i.on(t, n, traces)) {
			if l = strings.TrimSpace(l); !was[l] {
				t.Errorf("%s: left over: %s", n, l)
			}
		}
	}
}

// traces lists what an interrupted run might leave: everything where programs
// put temporary files, nucspark's own files of that kind wherever they are,
// what kubeadm join needs, and the keys that may log in. The lock of kubeadm is
// empty and stays, as does sudo's note that somebody used it.
const traces = `find /tmp /var/tmp /root /home -xdev ! -path '*/systemd-private-*' ! -name .sudo_as_admin_successful ! -type d
find / /run /data -xdev \( -name '.nucspark-*' ! -name '.nucspark-disk' \) -o \( -name 'nucspark-*' -path '/run/*' ! -name nucspark-kubeadm.lock \)
ls -d /etc/kubernetes/bootstrap-kubelet.conf /var/lib/nucspark/lock.holder /var/lib/nucspark/lock.holder.new 2>/dev/null
find /root /home -name authorized_keys -exec sha256sum {} +`

// doneTwice lists what a ledger says was done although it was done already.
// Units are started, and exports read, as often as what they depend on changes;
// of a file of which only lines are nucspark's the ledger does not tell what it
// became.
func doneTwice(entries []provision.Entry) []string {
	type thing struct{ kind, key string }
	last := map[thing]provision.Entry{}
	var twice []string
	for _, e := range entries {
		if e.Phase != provision.Done || e.Kind == "unit" || e.Kind == "export" || e.After == "" && e.Kind != "images" {
			continue
		}
		k := thing{e.Kind, e.Key}
		if was, ok := last[k]; ok && was.After == e.After {
			twice = append(twice, fmt.Sprintf("%s %s by %s in %s and by %s in %s", e.Kind, e.Key, was.Step, was.Run, e.Step, e.Run))
		}
		last[k] = e
	}
	return twice
}

// TestDoneTwice: the check above can fail.
func TestDoneTwice(t *testing.T) {
	e := func(phase provision.Phase, kind, key, after string) provision.Entry {
		return provision.Entry{Phase: phase, Kind: kind, Key: key, After: after}
	}
	ledger := []provision.Entry{e(provision.Intent, "kubeadm", "init", "1"), e(provision.Intent, "kubeadm", "init", "1"), e(provision.Done, "kubeadm", "init", "1"),
		e(provision.Done, "file", "/x", "a"), e(provision.Done, "file", "/x", "b"), e(provision.Done, "file", "/x", "a"), e(provision.Done, "unit", "u", "active"), e(provision.Done, "unit", "u", "active")}
	if got := doneTwice(ledger); len(got) != 0 {
		t.Errorf("done once: %v", got)
	}
	ledger = append(ledger, e(provision.Done, "kubeadm", "init", "1"), e(provision.Done, "file", "/x", "a"))
	if got := doneTwice(ledger); len(got) != 2 {
		t.Errorf("two things were done twice: %v", got)
	}
}

// names are the steps of a map, for a log.
func names(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }
