package tui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"nucspark.io/nucspark/provision"
)

// heartbeat is how long plain lines may be silent while a step runs, so that
// nobody thinks that it hangs.
const heartbeat = 15 * time.Second

// plain writes a line for each thing that happens. Steps that held already
// and remote output are left out; the log has them.
type plain struct {
	w      io.Writer
	tenths map[string]int64 // of the progress last shown, by step
	last   time.Time        // of the latest line
	stop   chan struct{}
	beats  sync.WaitGroup
}

// newPlain starts the heartbeat.
func newPlain(w io.Writer, run *shared) *plain {
	p := &plain{w: w, tenths: map[string]int64{}, stop: make(chan struct{})}
	p.beats.Add(1)
	go func() {
		defer p.beats.Done()
		ticker := time.NewTicker(heartbeat / 3)
		defer ticker.Stop()
		for {
			select {
			case <-p.stop:
				return
			case now := <-ticker.C:
				run.mu.Lock()
				p.beat(now, &run.state)
				run.mu.Unlock()
			}
		}
	}()
	return p
}

func (p *plain) line(now time.Time, s *provision.State, word, format string, args ...any) {
	p.last = now
	fmt.Fprintf(p.w, "%s %-8s %s\n", clock(now.Sub(s.Started)), word, fmt.Sprintf(format, args...))
}

func (p *plain) event(e provision.Event, s *provision.State) {
	line := func(word, format string, args ...any) { p.line(e.Time, s, word, format, args...) }
	if e.Kind == provision.RunStarted {
		line("run", "%s: %s, %d with changes", s.Run, counted(len(s.Steps), "step"), s.Planned())
		return
	}
	st := s.Step(e.Step)
	if st == nil {
		return
	}
	switch e.Kind {
	case provision.StepStarted:
		line("start", "%s", st.ID)
	case provision.StepProgress:
		// One line each tenth is enough for a log.
		if st.Total > 0 && percent(st.Done, st.Total)/10 != p.tenths[st.ID] {
			p.tenths[st.ID] = percent(st.Done, st.Total) / 10
			line("progress", "%s: %s", st.ID, progress(st))
		}
	case provision.StepLog:
		if strings.HasPrefix(e.Line, "waiting") {
			line("wait", "%s: %s", st.ID, e.Line)
		}
	case provision.StepRetried:
		line("retry", "%s, attempt %d: %s", st.ID, st.Attempt+1, st.Line)
	case provision.StepDone:
		if len(st.Changes) > 0 {
			line("done", "%s (%s)", st.ID, took(st.Elapsed))
		}
	case provision.StepFailed:
		line("FAILED", "%s: %s", st.ID, reason(st))
	}
}

// beat says which step has run longest, when nothing else was said for long.
func (p *plain) beat(now time.Time, s *provision.State) {
	running := s.Running()
	if len(running) == 0 || now.Sub(p.last) < heartbeat {
		return
	}
	oldest := running[0]
	for _, st := range running {
		if st.Started.Before(oldest.Started) {
			oldest = st
		}
	}
	text := fmt.Sprintf("%s (%s)", oldest.ID, took(now.Sub(oldest.Started).Truncate(time.Second)))
	if len(running) > 1 {
		text += fmt.Sprintf(" and %d more", len(running)-1)
	}
	if at := progress(oldest); at != "" {
		text += ": " + at
	}
	p.line(now, s, "running", "%s", text)
}

func (p *plain) say(text string) { fmt.Fprintln(p.w, text) }

func (p *plain) close() string {
	close(p.stop)
	p.beats.Wait()
	return ""
}
