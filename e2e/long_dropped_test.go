package e2e

import (
	"cmp"
	"os/exec"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// TestLongDropped: connections drop at every step, and machines lose their power
// in the middle of the work.
func TestLongDropped(t *testing.T) {
	b := longLab(t, "2")
	part(t, "connections drop, machines lose power", b.testDropped)
}

// testDropped goes on until a run comes to its end.
func (b *bench) testDropped(t *testing.T) {
	f := b.inventory()
	power := map[string]string{ // the machine that goes off at a step
		"nuc01/kubeadm/init": "nuc01",
		"nuc02/kubeadm/join": "nuc02",
		"nuc02/hdfs/image":   "nuc02",
		"cluster/record":     "nuc01",
	}
	seen := map[string]bool{}
	drops, cuts, runs := 0, 0, 0
	for code := -1; code != 0; runs++ {
		if runs == 40 {
			t.Fatal("it does not come to its end")
		}
		l := b.live(t, "up", "--yes", "-f", f)
		for e := range l.events {
			if e.Kind != provision.StepStarted || seen[e.Step] {
				continue
			}
			seen[e.Step] = true
			node := cmp.Or(provision.NodeOf(e.Step), "nuc01") // what belongs to the cluster goes through the control plane
			if off := power[e.Step]; off != "" {
				cuts++
				b.ok(t, "lab", "kill", off, "--name", labName)
				b.ok(t, "lab", "start", off, "--name", labName)
				continue
			}
			if exec.Command("docker", "exec", container(node), "pkill", "-9", "-f", "^sshd: nuc").Run() == nil {
				drops++
			}
		}
		code = l.wait()
		if code != 0 && code != 1 && code != 4 {
			t.Fatalf("exit code %d\n%s", code, tail(l.stderr.String()))
		}
		t.Logf("run %d ended with %d", runs+1, code)
	}
	for step := range power {
		if !seen[step] {
			t.Errorf("no run had the step %s", step)
		}
	}
	t.Logf("%d connections dropped and %d power cuts, %d runs", drops, cuts, runs)
	if plan := b.ok(t, "plan", "-f", f); !strings.Contains(plan.stdout, "Nothing to change") {
		t.Errorf("afterwards there is something to change:\n%s", plan.stdout)
	}
}
