package tui

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"nucspark.io/nucspark/provision"
)

// A flood is what three machines print when every one of its lines is wanted.
const (
	floodLines = 100_000
	floodRate  = 10_000 // lines a second
	floodSteps = 30
)

// flood shows a run whose steps print lines at floodRate and end. It reports
// the processor time of the whole process, how long the run waited for the
// display, all in all and the longest time for one event, and how late it
// was in the end.
func flood(b *testing.B, mode Mode) {
	for b.Loop() {
		terminal, tty, err := pty.Open()
		if err != nil {
			b.Fatal(err)
		}
		if err := pty.Setsize(terminal, &pty.Winsize{Rows: 40, Cols: 160}); err != nil {
			b.Fatal(err)
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, terminal) // the terminal of a person who only looks
		}()
		log, err := os.Create(filepath.Join(b.TempDir(), "run.jsonl"))
		if err != nil {
			b.Fatal(err)
		}
		began := processorTime(b)
		d, err := New(mode, Options{In: tty, Out: io.Discard, Err: tty, Cluster: "flood", Log: log})
		if err != nil {
			b.Fatal(err)
		}
		var blocked, longest time.Duration
		event := func(e provision.Event) {
			e.Time = time.Now()
			d.Event(e)
			took := time.Since(e.Time)
			blocked, longest = blocked+took, max(longest, took)
		}
		id := func(i int) string { return fmt.Sprintf("nuc%02d/packages/%d", i%3+1, i%floodSteps) }
		start := provision.Event{Kind: provision.RunStarted, Run: "flood"}
		for i := range floodSteps {
			start.Steps = append(start.Steps, provision.StepSummary{ID: id(i), Node: id(i)[:5], Changes: 1})
		}
		event(start)
		for i := range floodSteps {
			event(provision.Event{Kind: provision.StepStarted, Step: id(i)})
		}
		started := time.Now()
		for i := range floodLines {
			if due := started.Add(time.Duration(i) * time.Second / floodRate); i%10 == 0 {
				time.Sleep(time.Until(due))
			}
			event(provision.Event{Kind: provision.StepLog, Step: id(i), Line: fmt.Sprintf("Unpacking libexample%d:amd64 (2.36-9+deb12u%d) over (2.36-9) …", i, i)})
		}
		late := time.Since(started) - floodLines*time.Second/floodRate
		for i := range floodSteps {
			event(provision.Event{Kind: provision.StepDone, Step: id(i), Changes: []provision.Change{{Kind: "package"}}})
		}
		event(provision.Event{Kind: provision.RunDone})
		d.Close()
		used := processorTime(b) - began
		if n := len(d.run.state.Steps); n != floodSteps || d.run.state.Step(id(0)).Status != provision.StatusDone {
			b.Fatalf("%d steps at the end", n)
		}
		tty.Close()
		terminal.Close()
		<-drained
		log.Close()
		b.ReportMetric(used.Seconds(), "cpu-s")
		b.ReportMetric(blocked.Seconds(), "blocked-s")
		b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
		b.ReportMetric(max(0, late.Seconds()), "late-s")
	}
}

// processorTime is what this process used so far.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkFloodScreen(b *testing.B) { flood(b, Screen) }
func BenchmarkFloodQuiet(b *testing.B)  { flood(b, Quiet) }
