package tui

import (
	"fmt"
	"io"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// plain writes a line for each thing that happens. Steps that held already
// and remote output are left out; the log has them.
type plain struct {
	w       io.Writer
	percent map[string]int64 // last shown, by step
}

func (p *plain) event(e provision.Event, s *provision.State) {
	line := func(word, format string, args ...any) {
		fmt.Fprintf(p.w, "%s %-8s %s\n", clock(e.Time.Sub(s.Started)), word, fmt.Sprintf(format, args...))
	}
	switch e.Kind {
	case provision.RunStarted:
		line("run", "%s: %d steps, %d with changes", e.Run, len(e.Steps), s.Planned())
	case provision.StepStarted:
		line("start", "%s", e.Step)
	case provision.StepProgress:
		if p.percent == nil {
			p.percent = map[string]int64{}
		}
		if e.Total > 0 {
			// One line each tenth is enough for a log.
			if tenth := e.Done * 10 / e.Total; tenth != p.percent[e.Step] {
				p.percent[e.Step] = tenth
				line("progress", "%s: %d0 %% of %d %s %s", e.Step, tenth, e.Total, e.Unit, e.Line)
			}
		}
	case provision.StepLog:
		if strings.HasPrefix(e.Line, "waiting") {
			line("wait", "%s: %s", e.Step, e.Line)
		}
	case provision.StepRetried:
		line("retry", "%s, attempt %d: %s", e.Step, e.Attempt+1, e.Error.Message)
	case provision.StepDone:
		if len(e.Changes) > 0 {
			line("done", "%s (%s)", e.Step, e.Elapsed.Round(100*time.Millisecond))
		}
	case provision.StepFailed:
		line("FAILED", "%s: %s", e.Step, e.Error.Message)
	case provision.NodeLost:
		line("lost", "%s: %s", e.Node, e.Error.Message)
	}
}

func (p *plain) say(text string) { fmt.Fprintln(p.w, text) }
func (*plain) close()            {}

// clock is minutes and seconds of a run.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// WriteSummary says after a run what changed per node, what failed and why,
// and what to do next.
func WriteSummary(w io.Writer, s *provision.State, o Options) {
	nodes := s.Nodes()
	width := 4
	for _, n := range nodes {
		width = max(width, len(placeName(n)))
	}
	fmt.Fprintln(w)
	for _, n := range nodes {
		var changed, held, failed, left int
		for _, st := range s.Steps {
			if st.Node != n {
				continue
			}
			switch {
			case st.Status == provision.StatusFailed:
				failed++
			case st.Status == provision.StatusDone && len(st.Changes) > 0:
				changed++
			case st.Status == provision.StatusDone:
				held++
			default:
				left++
			}
		}
		word := "✓ done  "
		if failed > 0 {
			word = "✗ failed"
		} else if left > 0 {
			word = "◌ open  "
		}
		fmt.Fprintf(w, "%s  %-*s  %d changed, %d unchanged", word, width, placeName(n), changed, held)
		if failed > 0 {
			fmt.Fprintf(w, ", %d failed", failed)
		}
		if left > 0 {
			fmt.Fprintf(w, ", %d not started", left)
		}
		fmt.Fprintln(w)
	}
	for _, st := range s.Failed() {
		f := st.Error
		fmt.Fprintf(w, "\n✗ %s failed after %s\n  %s\n", st.ID, clock(st.Elapsed), strings.ReplaceAll(f.Message, "\n", "\n  "))
		if f.Command != "" {
			fmt.Fprintf(w, "  command: %s (exit code %d)\n", f.Command, f.Code)
		}
		for _, l := range f.Tail {
			fmt.Fprintf(w, "  │ %s\n", l)
		}
		if f.Hint != "" {
			fmt.Fprintf(w, "  → %s\n", f.Hint)
		}
	}
	if len(s.Failed()) > 0 {
		fmt.Fprintf(w, "\n%s failed. Every event is in %s\nWhen the cause is gone, go on with: %s\n", o.Cluster, o.LogPath, o.Retry)
		return
	}
	fmt.Fprintf(w, "\n%s is up after %s. Every event is in %s\n", o.Cluster, clock(s.Ended.Sub(s.Started)), o.LogPath)
	for _, c := range o.Next {
		fmt.Fprintln(w, "  "+c)
	}
}

func placeName(node string) string {
	if node == "" {
		return "cluster"
	}
	return node
}
