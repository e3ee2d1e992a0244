package tui

import (
	"fmt"
	"strings"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
)

// mostKept bounds the lines of one step that can be looked at on the screen.
// The log of the run has more.
const mostKept = 1000

// logs are the latest lines of output by step.
type logs map[string][]string

// add takes in what an event says of a step.
func (l logs) add(e provision.Event, st *provision.StepState) {
	var line string
	switch e.Kind {
	case provision.StepLog:
		line = st.Line
	case provision.StepRetried:
		line = "tried again: " + st.Line
	case provision.StepReopened:
		line = "tried again, as somebody asked for it"
	default:
		return
	}
	kept := append(l[st.ID], line)
	if len(kept) >= 2*mostKept { // once in a thousand lines, not at each
		kept = append(kept[:0], kept[len(kept)-mostKept:]...)
	}
	l[st.ID] = kept
}

// of returns the lines of a step, and what became of it.
func (l logs) of(st *provision.StepState) []string {
	kept := l[st.ID]
	lines := append([]string{}, kept[max(0, len(kept)-mostKept):]...)
	switch {
	case st.Status == provision.StatusFailed:
		lines = append(lines, failureLines(st, len(lines) == 0)...)
	case len(lines) == 0 && st.Status == provision.StatusDone:
		lines = append(lines, "It printed nothing.")
	case len(lines) == 0 && st.Status == provision.StatusRunning:
		lines = append(lines, "It has printed nothing yet.")
	case len(lines) == 0:
		lines = append(lines, "It has not begun.")
	}
	for _, c := range st.Changes {
		lines = append(lines, "✓ "+string(c.Action)+" "+c.Kind+" "+c.Key)
	}
	return lines
}

// logView is the log of one step on the screen.
type logView struct {
	step   string
	top    int  // the first line that is shown
	follow bool // the last one is shown, whatever comes
	query  string
	typing bool // the query is being typed
}

// logRow is a line of a log as it is shown: a long one takes several.
type logRow struct {
	text string
	hit  bool // it holds what was searched for
}

// logRows wraps the lines of the shown log.
func (m *model) logRows(s *provision.State) []logRow {
	st := s.Step(m.log.step)
	if st == nil {
		return nil
	}
	query := strings.ToLower(m.log.query)
	var rows []logRow
	for _, line := range m.logs.of(st) {
		hit := query != "" && strings.Contains(strings.ToLower(line), query)
		for _, part := range strings.Split(ansi.Wrap(line, max(1, m.width-4), ""), "\n") {
			rows = append(rows, logRow{part, hit})
			hit = false // a line counts once
		}
	}
	return rows
}

// logHeight is how many lines of a log fit: two are the head's, one the foot's.
func (m *model) logHeight() int { return max(1, m.height-3) }

// key moves through the log. It returns false when the log is left.
func (v *logView) key(name string, rows []logRow, height int) bool {
	last := max(0, len(rows)-height)
	top := min(v.top, last)
	if v.follow {
		top = last
	}
	switch name {
	case "esc", "q", "enter":
		return false
	case "up", "k":
		top--
	case "down", "j":
		top++
	case "pgup", "b":
		top -= height
	case "pgdown", " ":
		top += height
	case "home", "g":
		top = 0
	case "end", "G":
		top = last
	case "f":
		if v.follow = !v.follow; v.follow {
			top = last
		}
		v.top = top
		return true
	case "/":
		v.typing, v.query = true, ""
		return true
	case "n":
		top = v.search(rows, top+1, 1, top)
	case "N":
		top = v.search(rows, top-1, -1, top)
	default:
		return true
	}
	v.top = min(max(top, 0), last)
	v.follow = v.top == last && name != "n" && name != "N"
	return true
}

// typed takes a key of a query that is being typed.
func (v *logView) typed(k tea.KeyMsg) {
	switch k.Type {
	case tea.KeyEnter:
		v.typing = false
	case tea.KeyEsc:
		v.typing, v.query = false, ""
	case tea.KeyBackspace:
		if r := []rune(v.query); len(r) > 0 {
			v.query = string(r[:len(r)-1])
		}
	case tea.KeyRunes, tea.KeySpace:
		for _, r := range k.Runes { // pasted, perhaps
			if unicode.IsPrint(r) {
				v.query += string(r)
			}
		}
	}
}

// search finds the next hit from a row on, in a direction and around the end.
func (v *logView) search(rows []logRow, from, step, none int) int {
	for i := range rows {
		at := ((from+i*step)%len(rows) + len(rows)) % len(rows)
		if rows[at].hit {
			return at
		}
	}
	return none
}

// drawLog is the log of a step on the whole screen.
func (m *model) drawLog(s *provision.State) []string {
	v, st := m.log, s.Step(m.log.step)
	if st == nil {
		return nil
	}
	word, style := m.word(st.Status, m.clock(s))
	head := "  " + m.styles.bold.Render(st.ID) + "  " + style.Render(strings.TrimSpace(word))
	if d := elapsed(st, m.clock(s)); d > 0 {
		head += "  " + clock(d)
	}
	lines := []string{head, "  " + m.styles.faint.Render(strings.Repeat("─", max(0, m.width-4)))}

	rows, height := m.logRows(s), m.logHeight()
	top := max(0, len(rows)-height)
	if !v.follow {
		top = min(v.top, top)
	}
	hits, before := 0, 0
	for i, r := range rows {
		if r.hit {
			if hits++; i <= top {
				before++
			}
		}
	}
	for i := top; i < top+height; i++ {
		if i >= len(rows) {
			lines = append(lines, "")
			continue
		}
		text := "  " + rows[i].text
		if rows[i].hit {
			text = m.styles.busy.Render("› ") + m.styles.bold.Render(rows[i].text)
		}
		lines = append(lines, text)
	}
	foot := "esc back · ↑↓ move · f follow · / search · y copy ssh"
	switch {
	case v.typing:
		foot = "/" + v.query + "_"
	case m.note != "":
		foot = m.note
	case v.query != "":
		foot = fmt.Sprintf("/%s  %d of %d lines · n next · N previous · esc back", v.query, before, hits)
	case v.follow && st.Status == provision.StatusRunning:
		foot = "following · " + foot
	}
	if st.Status == provision.StatusFailed && !v.typing && m.note == "" {
		foot = "r try again · " + foot
	}
	return append(lines, m.styles.faint.Render("  "+foot))
}

// failureLines are what is known of a failed step, with the last lines of what
// it printed where they are not shown already.
func failureLines(st *provision.StepState, tail bool) []string {
	f := st.Error
	lines := strings.Split("✗ "+withoutHint(st), "\n")
	if f.Command != "" {
		lines = append(lines, fmt.Sprintf("command: %s (exit code %d)", strings.ReplaceAll(f.Command, "\n", " "), f.Code))
	}
	if tail {
		for _, l := range f.Tail {
			lines = append(lines, "│ "+l)
		}
	}
	if f.Hint != "" {
		lines = append(lines, "→ "+f.Hint)
	}
	return lines
}
