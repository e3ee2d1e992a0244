package e2e

import (
	"bytes"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nucspark.io/nucspark/provision"
)

// TestLongStopped: somebody types Ctrl-C once, and in another run twice.
func TestLongStopped(t *testing.T) {
	b := longLab(t, "2")
	f := b.inventory()
	part(t, "Ctrl-C", func(t *testing.T) {
		l := b.live(t, "up", "--yes", "-f", f)
		running := map[string]bool{}
		planned := 0
		pressed := false
		for e := range l.events {
			switch e.Kind {
			case provision.RunStarted:
				for _, s := range e.Steps {
					if s.Changes > 0 {
						planned++
					}
				}
			case provision.StepStarted:
				running[e.Step] = true
			case provision.StepDone:
				delete(running, e.Step)
				planned--
			case provision.StepLog:
				if !pressed && strings.HasSuffix(e.Step, "/packages/kubernetes") {
					pressed = true
					l.signal(syscall.SIGINT)
				}
			}
		}
		if code := l.wait(); code != 130 || !strings.Contains(l.stderr.String(), "finished by running it again") {
			t.Errorf("the first Ctrl-C: exit code %d\n%s", code, tail(l.stderr.String()))
		}
		if !pressed || len(running) > 0 || planned < 20 {
			t.Errorf("pressed %t; not finished: %v; %d steps were not done", pressed, slices.Sorted(maps.Keys(running)), planned)
		}
	})
	part(t, "Ctrl-C twice", func(t *testing.T) {
		var said bytes.Buffer
		cmd := exec.Command(b.binary, "up", "--yes", "--progress=plain", "-f", f)
		press := func() { _ = cmd.Process.Signal(syscall.SIGINT) } // the exit code tells
		cmd.Stderr = io.MultiWriter(&said, &trigger{text: "start    nuc02/kubeadm/images", do: press}, &trigger{text: "Stopping: ", do: press})
		_ = cmd.Run() // the exit code tells
		if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(said.String(), "Cancelling.") || regexp.MustCompile(`(?m)^\S+ done +nuc02/kubeadm/images`).MatchString(said.String()) {
			t.Errorf("the second Ctrl-C: exit code %d\n%s", code, tail(said.String()))
		}
	})
}
