package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

// live is a run of nucspark that is watched while it goes on.
type live struct {
	cmd    *exec.Cmd
	events chan provision.Event // closed at the end of its output
	stderr bytes.Buffer         // to be read after wait
}

func (b *bench) live(t *testing.T, args ...string) *live {
	t.Helper()
	l := &live{cmd: exec.Command(b.binary, append(args, "--progress=json")...), events: make(chan provision.Event, 10000)}
	l.cmd.Stderr = &l.stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.events)
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			var e provision.Event
			if json.Unmarshal(sc.Bytes(), &e) == nil { // the line of a killed run may break off
				l.events <- e
			}
		}
	}()
	return l
}

// signal sends one to the run; that it has ended is no error.
func (l *live) signal(s syscall.Signal) { _ = l.cmd.Process.Signal(s) }

// wait returns the exit code, -1 for a run that was killed, once the events
// are read.
func (l *live) wait() int {
	for range l.events { // what nobody read
	}
	_ = l.cmd.Wait() // the code tells
	return l.cmd.ProcessState.ExitCode()
}

// until reads the events of a run until one of them is what is looked for. It
// fails the test when the run ends before.
func (l *live) until(t *testing.T, what string, is func(provision.Event) bool) provision.Event {
	t.Helper()
	bound := time.After(15 * time.Minute)
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				t.Fatalf("the run ended before %s, with %d\n%s", what, l.wait(), tail(l.stderr.String()))
			}
			if is(e) {
				return e
			}
		case <-bound:
			l.signal(syscall.SIGKILL)
			t.Fatalf("%s did not come", what)
		}
	}
}
