package tui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/provision"
)

// show replays a run into a display and returns what it wrote.
func show(t *testing.T, mode Mode, events []provision.Event, next ...string) (stdout, stderr, log string) {
	t.Helper()
	t.Setenv("LC_ALL", "C.UTF-8")
	var out, errs, logged bytes.Buffer
	d, err := New(mode, Options{In: strings.NewReader(""), Out: &out, Err: &errs, Cluster: "lab", Log: &logged,
		LogPath: "RUN.jsonl", Retry: "nucspark up", Next: next})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		d.Event(e)
	}
	d.Close()
	return out.String(), errs.String(), logged.String()
}

func TestPlain(t *testing.T) {
	for _, run := range []string{"clean", "failed"} {
		out, errs, log := show(t, Auto, recorded(t, run), "nucspark status")
		golden.Check(t, "plain-"+run+".golden", errs)
		if out != "" {
			t.Errorf("progress on standard output: %q", out)
		}
		if got, want := strings.Count(log, "\n"), len(recorded(t, run)); got != want {
			t.Errorf("%d events in the log, want %d", got, want)
		}
	}
}

func TestStopped(t *testing.T) {
	events := recorded(t, "clean")
	var some []provision.Event
	for _, e := range events {
		if e.Kind == provision.RunDone || e.Time.Sub(events[0].Time) < 30*time.Second {
			some = append(some, e)
		}
	}
	_, text, _ := show(t, Plain, some)
	if strings.Contains(text, "is up") || !strings.Contains(text, "lab was stopped after 2 min 19 s") || !strings.Contains(text, "Go on with: nucspark up") {
		t.Errorf("a run that was stopped:\n%s", text)
	}
}

func TestJSONAndQuiet(t *testing.T) {
	events := recorded(t, "clean")
	out, errs, _ := show(t, JSON, events)
	dec := json.NewDecoder(strings.NewReader(out))
	for i := range events {
		var e provision.Event
		if err := dec.Decode(&e); err != nil || e.Seq != events[i].Seq {
			t.Fatalf("event %d: %v, seq %d, want %d", i, err, e.Seq, events[i].Seq)
		}
	}
	if errs != "" {
		t.Errorf("JSON with text: %q", errs)
	}
	if out, errs, _ := show(t, Quiet, events); out+errs != "" {
		t.Errorf("quiet said %q", out+errs)
	}
	if _, errs, _ := show(t, Quiet, recorded(t, "failed")); !strings.Contains(errs, "✗ nuc02/packages/kubernetes failed after 23.0 s\n") {
		t.Errorf("quiet did not say what failed: %q", errs)
	}
}

// What to do is said once, though the message has it too.
func TestSummaryHint(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	_, text, _ := show(t, Quiet, []provision.Event{
		{Kind: provision.RunStarted, Time: at, Run: "r", Steps: []provision.StepSummary{{ID: "a/x", Node: "a", Changes: 1}}},
		{Kind: provision.StepFailed, Time: at, Node: "a", Step: "a/x", Error: &provision.Failure{Message: "a/x: it is broken; mend it", Hint: "mend it"}},
		{Kind: provision.RunDone, Time: at, Error: &provision.Failure{Message: "a/x: it is broken; mend it"}},
	})
	if !strings.Contains(text, "\n  it is broken\n  → mend it\n") || strings.Count(text, "mend it") != 1 {
		t.Errorf("got\n%s", text)
	}
}

func TestHeartbeat(t *testing.T) {
	var w bytes.Buffer
	p := &plain{w: &w, tenths: map[string]int64{}}
	var s provision.State
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := func(after time.Duration, e provision.Event) {
		e.Time = at.Add(after)
		s.Apply(e)
		p.event(e, &s)
	}
	event(0, provision.Event{Kind: provision.RunStarted, Run: "r", Steps: []provision.StepSummary{{ID: "a/x", Changes: 1}, {ID: "b/y", Changes: 1}}})
	p.beat(at.Add(time.Minute), &s) // nothing runs
	event(60*time.Second, provision.Event{Kind: provision.StepStarted, Step: "b/y"})
	event(70*time.Second, provision.Event{Kind: provision.StepStarted, Step: "a/x"})
	event(71*time.Second, provision.Event{Kind: provision.StepLog, Step: "b/y", Line: "pulling"})
	p.beat(at.Add(80*time.Second), &s) // too early
	p.beat(at.Add(85*time.Second), &s)
	p.beat(at.Add(90*time.Second), &s) // that was a line
	event(91*time.Second, provision.Event{Kind: provision.StepDone, Step: "b/y", Elapsed: 31 * time.Second, Changes: []provision.Change{{}}})
	p.beat(at.Add(2*time.Minute), &s)
	event(121*time.Second, provision.Event{Kind: provision.StepProgress, Step: "a/x", Done: 3, Total: 30, Unit: "blocks"})
	event(122*time.Second, provision.Event{Kind: provision.StepProgress, Step: "a/x", Done: 4, Total: 30, Unit: "blocks"})
	event(123*time.Second, provision.Event{Kind: provision.StepRetried, Step: "a/x", Attempt: 1, Error: &provision.Failure{Message: "busy"}})
	want := `00:00 run      r: 2 steps, 2 with changes
01:00 start    b/y
01:10 start    a/x
01:25 running  b/y (25.0 s) and 1 more: pulling
01:31 done     b/y (31.0 s)
02:00 running  a/x (50.0 s)
02:01 progress a/x: 10 %  3 of 30 blocks
02:03 retry    a/x, attempt 2: busy
`
	if got := w.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		d           time.Duration
		clock, took string
	}{
		{-time.Second, "00:00", "0.0 s"},
		{340 * time.Millisecond, "00:00", "0.3 s"},
		{59*time.Second + 980*time.Millisecond, "00:59", "1 min 0 s"},
		{754 * time.Second, "12:34", "12 min 34 s"},
		{3723 * time.Second, "1:02:03", "1 h 2 min"},
	} {
		if clock(c.d) != c.clock || took(c.d) != c.took {
			t.Errorf("%v: %q and %q, want %q and %q", c.d, clock(c.d), took(c.d), c.clock, c.took)
		}
	}
	for n, want := range map[int64]string{812: "812 B", 1536: "1.5 KiB", 266 << 20: "266.0 MiB", 3 << 40: "3.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
