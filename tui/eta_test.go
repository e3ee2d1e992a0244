package tui

import (
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

// learned are the durations that a recorded run leaves behind.
func learned(events []provision.Event) Durations {
	var s provision.State
	for _, e := range events {
		s.Apply(e)
	}
	return Durations(nil).Learn(&s)
}

// A run that takes as long as the one before it ends when it was said to, as
// far as steps that wait for each other's processor allow.
func TestForecast(t *testing.T) {
	for _, run := range []string{"clean", "down"} {
		events := recorded(t, run)
		f := newForecast(learned(events))
		whole := events[len(events)-1].Time.Sub(events[0].Time)
		shown := 0.0
		for part := 0; part <= 100; part += 2 {
			at := whole * time.Duration(part) / 100
			m := modelAt(events, at, 100, 30)
			left, ok := f.left(&m.run.state, m.now())
			if !ok {
				t.Fatalf("%s, after %v: nothing is known", run, at)
			}
			if wrong := (at + left - whole).Abs(); wrong > whole/6 {
				t.Errorf("%s, after %v: %v left of %v", run, at, left, whole)
			}
			share := f.share(&m.run.state, m.now())
			if share < shown-1e-9 || share > 1 {
				t.Errorf("%s, after %v: the share went from %.3f to %.3f", run, at, shown, share)
			}
			shown = share
		}
		if shown != 1 {
			t.Errorf("%s: at the end the share is %v", run, shown)
		}
	}
}

// On a first run, and where a step is new, nothing is said.
func TestForecastUnknown(t *testing.T) {
	events := recorded(t, "clean")
	m := modelAt(events, 30*time.Second, 100, 30)
	if left, ok := newForecast(nil).left(&m.run.state, m.now()); ok {
		t.Errorf("a first run takes another %v", left)
	}
	d := learned(events)
	delete(d, "cluster/spark/registered")
	if left, ok := newForecast(d).left(&m.run.state, m.now()); ok {
		t.Errorf("with a step that is new it takes another %v", left)
	}
	// A new node takes as long as the others.
	d = learned(events)
	delete(d, "nuc03/hdfs/image")
	if _, ok := newForecast(d).left(&m.run.state, m.now()); !ok {
		t.Error("of a new node nothing is known")
	}
}

func TestForecastOfAStep(t *testing.T) {
	now := begin.Add(20 * time.Second)
	f := newForecast(Durations{"a/x": 30 * time.Second})
	step := func(status provision.Status, done, total int64) *provision.StepState {
		return &provision.StepState{StepSummary: provision.StepSummary{ID: "a/x"}, Status: status, Started: begin, Done: done, Total: total}
	}
	for _, c := range []struct {
		st   *provision.StepState
		want time.Duration
	}{
		{step(provision.StatusWaiting, 0, 0), 30 * time.Second},
		{step(provision.StatusRunning, 0, 0), 10 * time.Second},
		{step(provision.StatusRunning, 1, 5), 10 * time.Second},
	} {
		if got, ok := f.rest(c.st, now); !ok || got != c.want {
			t.Errorf("%+v: %v, %v, want %v", c.st, got, ok, c.want)
		}
	}
	for done, want := range map[int64]time.Duration{0: -1, 1: 80 * time.Second, 5: 0, 9: 0} {
		got, ok := newForecast(nil).rest(step(provision.StatusRunning, done, 5), now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%d of 5 after 20 s, never done before: %v, %v, want %v", done, got, ok, want)
		}
	}
	if got, _ := f.rest(step(provision.StatusRunning, 0, 0), now.Add(time.Hour)); got != 0 {
		t.Errorf("a step that runs longer than ever takes another %v", got)
	}
	for d, want := range map[time.Duration]string{0: "~10 s", 31 * time.Second: "~40 s", 89 * time.Second: "~90 s", 90 * time.Second: "~2 min", 6 * time.Minute: "~6 min"} {
		if got := about(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The forecast is in the head from 100 columns on.
func TestForecastIsShown(t *testing.T) {
	events := recorded(t, "clean")
	for width, want := range map[int]bool{200: true, 100: true, 99: false, 40: false} {
		m := modelAt(events, 62*time.Second, width, 30)
		m.forecast = newForecast(learned(events))
		if head := strings.Split(m.View(), "\n")[0]; strings.Contains(head, " left  01:02") != want {
			t.Errorf("%d columns: %q", width, head)
		}
	}
}
