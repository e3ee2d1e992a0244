package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
)

// Below narrow columns a row is its word, the place and the step; from wide
// ones on there is room for output and for a forecast. Below low rows the head
// is one line.
const (
	narrow = 60
	wide   = 100
	low    = 16
)

// draw is the whole screen: a head, then the rows as much as fits around the
// chosen one, then a foot.
func (m *model) draw(s *provision.State) string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	var lines []string
	switch {
	case m.help:
		lines = m.page(append([]string{m.styles.bold.Render("  " + m.title()), ""}, m.helpLines()...), []string{m.styles.faint.Render("  ? back to the run")})
	case m.log != nil && s.Step(m.log.step) != nil:
		lines = m.drawLog(s)
	default:
		head, foot := m.head(s), m.foot(s)
		rows := m.window(m.rows(s, m.clock(s)), m.height-len(head)-len(foot))
		lines = m.page(append(head, rows...), foot)
	}
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	return strings.Join(lines[:min(len(lines), m.height)], "\n")
}

// page puts the foot at the bottom of the screen.
func (m *model) page(lines, foot []string) []string {
	room := max(m.height-len(foot), 0)
	lines = lines[:min(len(lines), room)]
	for len(lines) < room {
		lines = append(lines, "")
	}
	return append(lines, foot...)
}

// clock is now, or when the run ended.
func (m *model) clock(s *provision.State) time.Time {
	if !s.Ended.IsZero() {
		return s.Ended
	}
	return m.now()
}

// room is how many rows a page has.
func (m *model) room() int { return max(1, m.height-6) }

func (m *model) title() string { return m.cluster + " " + m.doing }

// head says how far the run is.
func (m *model) head(s *provision.State) []string {
	if s.Run == "" {
		return []string{m.styles.bold.Render("  " + m.title())}
	}
	now := m.clock(s)
	done, steps, failed, nodesDone, nodes := 0, 0, 0, 0, 0
	for _, p := range places(s) {
		done, steps, failed = done+p.done, steps+p.steps, failed+p.failed
		if p.name == placeName("") {
			continue
		}
		nodes++
		if p.failed+p.left == 0 {
			nodesDone++
		}
	}
	share := m.forecast.share(s, now)
	percent := fmt.Sprintf("%d %%", int(share*100))
	time := clock(now.Sub(s.Started))
	bad := ""
	if failed > 0 {
		bad = fmt.Sprintf("  %d FAILED", failed)
	}
	if m.width < narrow || m.height < low {
		line := "  " + m.styles.bold.Render(m.title()) + "  " + percent + "  " + time + m.styles.bad.Render(bad)
		if counts := fmt.Sprintf("  %d/%d steps", done, steps); ansi.StringWidth(line+counts) <= m.width {
			line += m.styles.faint.Render(counts)
		}
		return []string{line}
	}
	left := ""
	if rest, ok := m.forecast.left(s, now); ok && rest > 0 && m.width >= wide && s.Ended.IsZero() {
		left = about(rest) + " left"
	}
	counts := m.styles.faint.Render(fmt.Sprintf("%d of %s, %d of %s done", nodesDone, counted(nodes, "node"), done, counted(steps, "step"))) + m.styles.bad.Render(bad)
	right := time
	if left != "" {
		right = m.styles.faint.Render(left) + "  " + time
	}
	size := min(m.width, 120) - 2
	bar := size - 2 - len("100 %") - 2
	full := int(share * float64(bar))
	return []string{
		m.spread("  "+m.styles.bold.Render(m.title())+"  "+counts, right, size),
		"  " + m.styles.busy.Render(strings.Repeat("━", full)) + m.styles.faint.Render(strings.Repeat("─", bar-full)) + fmt.Sprintf("  %5s", percent),
		"",
	}
}

// spread puts two texts at the ends of a line.
func (m *model) spread(left, right string, size int) string {
	return left + strings.Repeat(" ", max(2, size-ansi.StringWidth(left)-ansi.StringWidth(right))) + right
}

// row is a line of the list. on is what it is about: the ID of a step, or
// placeRow and a node, or doneRow; "" for a line that cannot be chosen.
type row struct{ on, text string }

const (
	placeRow = "waiting at " // no ID of a step has a space
	doneRow  = "what is done"
)

// word is the glyph and the word for where a step is, nine cells wide.
func (m *model) word(status provision.Status, now time.Time) (string, lipgloss.Style) {
	switch status {
	case provision.StatusFailed:
		return "✗ failed ", m.styles.bad
	case provision.StatusBlocked:
		return "✗ blocked", m.styles.held
	case provision.StatusRunning:
		return string(spinner[now.UnixMilli()/100%int64(len(spinner))]) + " running", m.styles.busy
	case provision.StatusDone:
		return "✓ done   ", m.styles.good
	}
	return "◌ waiting", m.styles.faint
}

// elapsed is how long a step took, or runs already.
func elapsed(st *provision.StepState, now time.Time) time.Duration {
	if st.Status == provision.StatusRunning {
		return now.Sub(st.Started)
	}
	return st.Elapsed
}

// rows are what failed, what runs, what is blocked, what waits for what, and in
// one row what is done.
func (m *model) rows(s *provision.State, now time.Time) []row {
	all := places(s)
	names, steps := 0, 0
	for _, p := range all {
		names = max(names, ansi.StringWidth(p.name))
	}
	for _, st := range s.Steps {
		if st.Work() {
			steps = max(steps, ansi.StringWidth(stepName(st)))
		}
	}
	names, steps = min(names, 20), min(steps, max(16, m.width*3/10))

	var rows []row
	add := func(on string, st *provision.StepState, as provision.Status, took, text string) {
		word, look := m.word(as, now)
		line := look.Render(word) + "  " + cell(placeName(st.Node), names) + "  "
		if m.width < narrow {
			line += stepName(st)
		} else {
			line += cell(stepName(st), steps) + "  " + m.styles.faint.Render(fmt.Sprintf("%5s", took)) + "  " + text
		}
		rows = append(rows, row{on, strings.TrimRight(line, " ")})
	}
	indent := strings.Repeat(" ", len("x failed ")+2+names+2)
	beside := m.width - 2 - len(indent) - steps - len("  00:00  ")
	room := m.height / 2 // why steps failed must not hide all others
	for _, st := range s.Failed() {
		why := strings.ReplaceAll(withoutHint(st), "\n", " ")
		below := m.why(st, why, beside, min(m.width, 120)-4-len(indent))
		if room -= 1 + len(below); room >= 0 && m.width >= narrow {
			if ansi.StringWidth(why) > beside {
				why = ""
			}
		} else {
			below = nil
		}
		add(st.ID, st, st.Status, clock(st.Elapsed), why)
		for _, l := range below {
			rows = append(rows, row{text: indent + l})
		}
	}
	for _, st := range s.Running() {
		text := m.progress(st)
		if st.Attempt > 0 {
			text = fmt.Sprintf("attempt %d  %s", st.Attempt+1, text)
		}
		add(st.ID, st, st.Status, clock(now.Sub(st.Started)), text)
	}
	var waiting []*place
	for _, p := range all {
		if st := p.blocked; st != nil {
			add(st.ID, st, st.Status, "", m.styles.faint.Render("by "+st.Blocked+m.more(", with", p.blockedSteps)))
		}
		if p.next == nil {
			continue
		}
		// What waits for something else, too, is not blocked yet, but will be.
		if on := s.WaitsFor(p.next); on != nil && on.Status == provision.StatusFailed {
			add(placeRow+p.node, p.next, provision.StatusBlocked, "", m.styles.faint.Render("by "+on.ID+m.more(", with", p.waiting)))
		} else {
			waiting = append(waiting, p)
		}
	}
	for _, p := range waiting {
		text := "its turn"
		if on := s.WaitsFor(p.next); on != nil {
			text = "after " + on.ID
		}
		add(placeRow+p.node, p.next, provision.StatusWaiting, "", m.styles.faint.Render(text+m.more(", then", p.waiting)))
	}
	if text := m.doneText(all); text != "" {
		rows = append(rows, row{doneRow, m.styles.good.Render("✓ done   ") + "  " + text})
	}
	for _, st := range s.Steps {
		if m.expanded && st.Status == provision.StatusDone && len(st.Changes) > 0 {
			add(st.ID, st, st.Status, clock(st.Elapsed), "")
		}
	}
	return rows
}

// why is the reason of a failure, where it does not fit beside the step, and
// what to do.
func (m *model) why(st *provision.StepState, reason string, beside, width int) []string {
	var lines []string
	width = max(width, 20)
	if ansi.StringWidth(reason) > beside {
		lines = strings.Split(ansi.Wrap(reason, width, ""), "\n")
	}
	if st.Error.Hint != "" {
		hint := strings.Split(ansi.Wrap(strings.ReplaceAll(st.Error.Hint, "\n", " "), width-2, ""), "\n")
		lines = append(lines, "→ "+strings.Join(hint, "\n  "))
	}
	return strings.Split(strings.Join(lines, "\n"), "\n")
}

// doneText is how many steps are done, and which nodes wholly.
func (m *model) doneText(all []*place) string {
	done := 0
	var ready []string
	for _, p := range all {
		if done += p.done; p.failed+p.left == 0 {
			ready = append(ready, p.name)
		}
	}
	text := counted(done, "step")
	switch {
	case done == 0 && len(ready) == 0:
		return ""
	case len(ready) > 0:
		text += m.styles.faint.Render(", all of " + strings.Join(ready, ", "))
	}
	return text
}

// more is how many steps come after the first, where there is room.
func (m *model) more(word string, steps int) string {
	if steps < 2 || m.width < wide {
		return ""
	}
	return fmt.Sprintf("%s %d more", word, steps-1)
}

// progress is how far a running step is, and where there is room its latest
// line.
func (m *model) progress(st *provision.StepState) string {
	if st.Total <= 0 {
		if m.width < wide {
			return ""
		}
		return m.styles.faint.Render(strings.TrimPrefix(strings.TrimSpace(st.Line), st.ID+": "))
	}
	const size = 12
	full := int(percent(st.Done, st.Total)) * size / 100
	text := m.styles.busy.Render(strings.Repeat("━", full)) + m.styles.faint.Render(strings.Repeat("─", size-full)) + fmt.Sprintf(" %3d %%  %s", percent(st.Done, st.Total), amount(st))
	if m.width >= wide {
		text += "  " + m.styles.faint.Render(st.Line)
	}
	return text
}

// cell is a text of a fixed width.
func cell(text string, width int) string {
	text = ansi.Truncate(text, width, "…")
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// window is as many rows as fit, around the chosen one, which is marked.
func (m *model) window(rows []row, room int) []string {
	room = max(room, 0)
	at := -1
	if m.on != "" {
		at = slices.IndexFunc(rows, func(r row) bool { return r.on == m.on })
	}
	from := 0
	if len(rows) > room && at >= room-1 {
		from = min(at-room/2, len(rows)-room)
	}
	var lines []string
	for i := max(from, 0); i < len(rows) && len(lines) < room; i++ {
		mark := "  "
		if i == at {
			mark = m.styles.busy.Render("› ")
		}
		lines = append(lines, mark+rows[i].text)
	}
	if rest := len(rows) - from - len(lines); rest > 0 && len(lines) > 0 {
		lines[len(lines)-1] = m.styles.faint.Render(fmt.Sprintf("  … %d more", rest+1))
	}
	return lines
}

// foot is what can be done now, and what was said last.
func (m *model) foot(s *provision.State) []string {
	keys := []string{"? help", "ctrl+c stop", "↑↓ choose", "enter log", "e done", "y copy ssh"}
	if len(s.Failed()) > 0 {
		keys = []string{"? help", "ctrl+c stop", "r try again", "R all", "enter log", "↑↓ choose", "f failed", "e done", "y copy ssh"}
	}
	said := m.said
	if s.Stuck() && said == "" {
		keys[1] = "q end the run"
		left := patience - m.idle()
		said = fmt.Sprintf("Nothing else can go on. Try again what failed, or end the run; it ends by itself in %s.", counted(max(1, int(left.Minutes()+0.5)), "minute"))
	}
	if m.note != "" {
		said = m.note
	}
	var lines []string
	if said != "" {
		lines = append(lines, "")
		for _, l := range strings.Split(ansi.Wrap(said, max(10, m.width-4), ""), "\n") {
			lines = append(lines, "  "+m.styles.bold.Render(l))
		}
		lines = lines[:min(len(lines), 1+max(1, m.height/4))]
	}
	if m.height < low && len(lines) > 0 {
		return lines[1:] // what was said matters more than the keys
	}
	return append(lines, m.styles.faint.Render("  "+keysThatFit(keys, m.width-2)))
}

// keysThatFit joins as many as there is room for; the first two matter most,
// and stand at the end.
func keysThatFit(keys []string, width int) string {
	for i := len(keys); i > 1; i-- {
		if all := strings.Join(append(slices.Clone(keys[2:i]), keys[1], keys[0]), " · "); ansi.StringWidth(all) <= width {
			return all
		}
	}
	return keys[0]
}

func (m *model) helpLines() []string {
	glyph := func(style lipgloss.Style, word, text string) string { return "  " + style.Render(word) + "  " + text }
	lines := []string{
		glyph(m.styles.bad, "✗ failed ", "and why; the others go on"),
		glyph(m.styles.held, "✗ blocked", "by a step that failed"),
		glyph(m.styles.busy, string(spinner[0])+" running", "for so long, how far, its latest output"),
		glyph(m.styles.faint, "◌ waiting", "for another step"),
		glyph(m.styles.good, "✓ done   ", "how many steps, which nodes wholly"),
		"",
	}
	for _, k := range [][2]string{
		{"↑↓ j k", "choose a row"},
		{"enter", "the log of its step; there f follows, / searches, n and N go on"},
		{"f", "choose the next failed step"},
		{"r", "try the failed step again; it looks first"},
		{"R", "try all failed steps again"},
		{"e", "show each step that is done"},
		{"y", "copy the ssh command to the row's machine"},
		{"ctrl+c", "finish what runs, start nothing new"},
		{"", "again: cancel what runs; a third time: leave at once"},
		{"q", "end a run in which nothing can go on"},
	} {
		lines = append(lines, "  "+m.styles.bold.Render(cell(k[0], 9))+"  "+k[1])
	}
	return lines
}
