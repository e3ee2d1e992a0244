package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/watch"
)

// look is one line of nucspark status --watch --json.
type look struct {
	watch.State
	Problems []watch.Problem `json:"problems"`
}

// well says that nothing fails. A full disk of this computer is its own matter.
func (l look) well() bool {
	return l.HDFS != nil && l.Spark != nil && !slices.ContainsFunc(l.Problems, func(p watch.Problem) bool { return p.Level != watch.Warning })
}

func (l look) machine(name string) watch.Machine {
	i := slices.IndexFunc(l.Machines, func(m watch.Machine) bool { return m.Name == name })
	if i < 0 {
		return watch.Machine{}
	}
	return l.Machines[i]
}

// watcher is a status --watch that goes on while other things are done.
type watcher struct {
	cmd    *exec.Cmd
	looks  *json.Decoder
	stderr bytes.Buffer
}

func (b *bench) watch(t *testing.T) *watcher {
	t.Helper()
	w := &watcher{cmd: exec.Command(b.binary, "status", "--watch", "--json", "--interval", "1s", "-f", b.inventory())}
	w.cmd.Stderr = &w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	w.looks = json.NewDecoder(out)
	return w
}

// until reads looks until one is as it should be.
func (w *watcher) until(t *testing.T, what string, is func(look) bool) {
	t.Helper()
	bound := time.AfterFunc(5*time.Minute, func() { _ = w.cmd.Process.Kill() })
	defer bound.Stop()
	for last := (look{}); ; {
		var l look
		if err := w.looks.Decode(&l); err != nil {
			t.Fatalf("%s was not seen: %v\nthe last look had %+v\n%s", what, err, last.Problems, w.stderr.String())
		}
		if last = l; is(l) {
			return
		}
	}
}

// end is Ctrl-C, which is how it ends on a good day.
func (w *watcher) end(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	for w.looks.More() { // what is still in the pipe
		var l look
		if w.looks.Decode(&l) != nil {
			break
		}
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("status --watch ended with %v\n%s", err, w.stderr.String())
	}
}
