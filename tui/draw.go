package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
)

// Below narrow columns a row is its word, the place and the step; below wide
// ones a failure is without its remedy.
const (
	narrow = 60
	wide   = 100
)

type row struct {
	style lipgloss.Style
	text  string
}

// draw is the whole screen: a header, then what failed, what runs, and each
// place with what it waits for, as much as fits; those that are done come
// last, in one row.
func (m *model) draw(s *provision.State) string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	all := places(s)
	now := m.now()
	if !s.Ended.IsZero() {
		now = s.Ended
	}
	rows := m.rows(s, all, now)
	if m.help {
		rows = m.helpRows()
	}
	// Two rows are the header's and the footer's.
	if room := max(m.height-2, 0); len(rows) > room {
		hidden := len(rows) - room + 1
		rows = rows[:room]
		if room > 0 {
			rows[room-1] = row{m.styles.idle, fmt.Sprintf("… %d more", hidden)}
		}
	}
	for len(rows) < m.height-2 {
		rows = append(rows, row{})
	}
	foot := row{m.styles.idle, "ctrl+c stop · e done steps · ? help"}
	if m.note != "" {
		foot = row{m.styles.bold, m.note}
	}
	rows = append([]row{{m.styles.bold, m.header(s, all, now)}}, append(rows, foot)...)
	lines := make([]string, 0, len(rows))
	for _, r := range rows[:min(len(rows), m.height)] {
		lines = append(lines, r.style.Render(ansi.Truncate(strings.TrimRight(r.text, " "), m.width, "…")))
	}
	return strings.Join(lines, "\n")
}

// header says how far the run is. What failed comes early, where a narrow
// screen has it too.
func (m *model) header(s *provision.State, all []*place, now time.Time) string {
	done, steps, failed, nodesDone, nodes := 0, 0, 0, 0, 0
	for _, p := range all {
		done, steps, failed = done+p.done, steps+p.steps, failed+p.failed
		if p.name == placeName("") {
			continue
		}
		nodes++
		if p.failed+p.left == 0 {
			nodesDone++
		}
	}
	text := m.cluster + " up"
	if s.Run == "" {
		return text
	}
	text += "  " + clock(now.Sub(s.Started))
	if failed > 0 {
		text += fmt.Sprintf("  %d FAILED", failed)
	}
	return text + fmt.Sprintf("  %d/%d nodes  %d/%d steps", nodesDone, nodes, done, steps)
}

func (m *model) rows(s *provision.State, all []*place, now time.Time) []row {
	frame := spinner[now.UnixMilli()/100%int64(len(spinner))]
	names, steps := 0, 0
	for _, p := range all {
		names = max(names, ansi.StringWidth(p.name))
	}
	for _, st := range s.Steps {
		if st.Work() {
			steps = max(steps, ansi.StringWidth(stepName(st)))
		}
	}
	steps = min(steps, m.width/4)

	var rows []row
	step := func(style lipgloss.Style, word string, st *provision.StepState, d time.Duration, text string) {
		line := fmt.Sprintf("%s %-*s  %s", word, names, placeName(st.Node), stepName(st))
		if m.width >= narrow {
			line = fmt.Sprintf("%s %-*s  %-*s  %5s  %s", word, names, placeName(st.Node), steps, stepName(st), clock(d), strings.ReplaceAll(text, "\n", " "))
		}
		rows = append(rows, row{style, line})
	}
	for _, st := range s.Failed() {
		step(m.styles.bad, "✗ failed ", st, st.Elapsed, reason(st))
		if st.Error.Hint != "" && m.width >= wide {
			rows = append(rows, row{m.styles.bad, fmt.Sprintf("  %*s→ %s", len("failed   ")+names+1, "", st.Error.Hint)})
		}
	}
	for _, st := range s.Running() {
		text := progress(st)
		if st.Attempt > 0 {
			text = fmt.Sprintf("attempt %d: %s", st.Attempt+1, text)
		}
		step(m.styles.busy, string(frame)+" running", st, now.Sub(st.Started), text)
	}

	var done []string
	for _, p := range all {
		word, style, text := "", m.styles.idle, ""
		switch {
		case p.failed+p.left == 0:
			done = append(done, p.name)
			continue
		case p.next != nil:
			word, text = "◌ waiting", stepName(p.next)
			switch on := s.WaitsFor(p.next); {
			case on == nil:
			case on.Status == provision.StatusFailed:
				word, style, text = "✗ blocked", m.styles.bad, "by "+on.ID
			default:
				text += " after " + on.ID
			}
		case p.blocked != nil:
			word, style, text = "✗ blocked", m.styles.bad, "by "+p.blocked.Blocked
		default:
			continue // what is left of it runs, failed, or stands for others
		}
		line := fmt.Sprintf("%s %-*s  %d/%d steps", word, names, p.name, p.done, p.steps)
		if m.width >= narrow {
			line += ", " + text
		}
		rows = append(rows, row{style, line})
	}
	if len(done) > 0 {
		rows = append(rows, row{m.styles.good, fmt.Sprintf("✓ done    %s", strings.Join(done, ", "))})
	}
	if m.expanded {
		for _, st := range s.Steps {
			if st.Status == provision.StatusDone && len(st.Changes) > 0 {
				step(m.styles.good, "✓ done   ", st, st.Elapsed, "")
			}
		}
	}
	return rows
}

func (m *model) helpRows() []row {
	var rows []row
	for _, text := range []string{
		"✗ failed   the others go on",
		"✗ blocked  by a step that failed",
		string(spinner[0]) + " running  for so long, latest output",
		"◌ waiting  for another step",
		"✓ done     all steps of these are done",
		"",
		"ctrl+c     finish what runs, then stop",
		"ctrl+c     again: cancel what runs",
		"e          show each step that was done",
		"?          back to the run",
	} {
		rows = append(rows, row{text: text})
	}
	return rows
}
