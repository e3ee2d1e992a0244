package e2e

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

func saying(step string) func(provision.Event) bool {
	return func(e provision.Event) bool { return e.Kind == provision.StepLog && e.Step == step }
}

// TestLongOperators: two people run nucspark at the same machines; one of them
// dies, or falls asleep.
func TestLongOperators(t *testing.T) {
	b := longLab(t, "2")
	f := b.inventory()
	part(t, "a second run is refused", func(t *testing.T) {
		first := b.live(t, "up", "--yes", "-f", f)
		first.until(t, "packages are installed", saying("nuc02/packages/kubernetes"))
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		says := []string{"is being changed by another run", me.Username + " on " + host, fmt.Sprintf("(pid %d), since ", first.cmd.Process.Pid)}
		began := time.Now()
		b.refused(t, 4, append(says, "nuc01"), "up", "--yes", "-f", f)
		t.Logf("a second run is refused after %.1f s", time.Since(began).Seconds())
		b.refused(t, 4, append(says, "nuc01"), "down", "--yes", "-f", f)
		first.signal(syscall.SIGKILL)
		b.free(t, "killed", time.Now(), first)
	})
	part(t, "a run that sleeps", b.testAsleep)
	part(t, "nothing to change", func(t *testing.T) {
		if plan := b.ok(t, "plan", "-f", f); !strings.Contains(plan.stdout, "Nothing to change") {
			t.Errorf("afterwards there is something to change:\n%s", plan.stdout)
		}
	})
}

// free waits until the lock of a run is free on the control plane.
func (b *bench) free(t *testing.T, what string, since time.Time, l *live) {
	t.Helper()
	eventually(t, 2*time.Minute, "the lock of a run that was "+what+" is free", func() bool {
		return b.on(t, "nuc01", "flock -n /var/lib/nucspark/lock echo free || echo held") == "free"
	})
	t.Logf("the lock of a run that was %s was free after %.1f s", what, time.Since(since).Seconds())
	if what == "killed" {
		l.wait()
	}
}

// testAsleep: a run is stopped in the middle of a step, another one does the
// work, and the first one wakes.
func (b *bench) testAsleep(t *testing.T) {
	f := b.inventory()
	first := b.live(t, "up", "--yes", "-f", f)
	e := first.until(t, "images are pulled", func(e provision.Event) bool {
		return e.Kind == provision.StepStarted && strings.HasSuffix(e.Step, "/kubeadm/images")
	})
	first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	b.refused(t, 4, []string{fmt.Sprintf("(pid %d)", first.cmd.Process.Pid)}, "up", "--yes", "-f", f)
	b.free(t, "stopped", stopped, first)
	b.ok(t, "up", "--yes", "-f", f)
	before := map[string]string{}
	files := fmt.Sprintf("sha256sum %s; find /etc -xdev -type f -newermt @%d -printf '%%p %%T@\\n' | sort; ls -l --full-time /var/lib/nucspark", provision.Ledger, stopped.Unix())
	for _, n := range []string{"nuc01", "nuc02"} {
		before[n] = b.on(t, n, files)
	}
	generations := func() string {
		return b.on(t, "nuc01", "kubectl --kubeconfig "+provision.AdminConf+" get deployments,daemonsets,statefulsets,configmaps,secrets,services,namespaces -A --show-managed-fields -o "+
			`jsonpath='{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {range .metadata.managedFields[?(@.manager=="nucspark")]}{.time}{end}{"\n"}{end}'`)
	}
	objects := generations()
	first.signal(syscall.SIGCONT)
	woke := time.Now()
	said := ""
	for e := range first.events {
		if e.Kind == provision.RunDone && e.Error != nil {
			said = e.Error.Message
		}
	}
	code := first.wait()
	t.Logf("the run that slept ended %.1f s after it woke", time.Since(woke).Seconds())
	if code != 1 || !strings.Contains(said, "lock on nuc0") || !strings.Contains(said, "is lost") || !strings.Contains(said, "this run changes nothing more") {
		t.Errorf("it slept in %s and ended with %d: %s", e.Step, code, said)
	}
	for n, was := range before {
		if is := b.on(t, n, files); is != was {
			t.Errorf("%s was changed after the run woke: it was\n%s\nand is\n%s", n, was, is)
		}
	}
	if is := generations(); is != objects {
		t.Errorf("the cluster was changed after the run woke: it was\n%s\nand is\n%s", objects, is)
	}
}
