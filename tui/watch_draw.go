package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/watch"
)

// watchView is how a cluster is drawn: where, how, and which part of it. The
// state has the moment.
type watchView struct {
	styles        styles
	width, height int
	offset        int // lines that are above what is shown
	help          bool
}

// barsFrom is the width from which on shares are drawn as bars, too.
const barsFrom = 80

// draw is the whole screen: a head, as much of the body as fits, a foot.
func (v *watchView) draw(s *watch.State) string {
	if v.width <= 0 || v.height <= 0 {
		return ""
	}
	head, foot := v.head(s), v.foot(s)
	var lines []string
	if v.help {
		lines = append([]string{v.styles.bold.Render("  " + host.Clean(s.Cluster) + " status"), ""}, v.helpLines()...)
		foot = []string{v.styles.faint.Render("  any key: back")}
	} else {
		lines = append(head, v.visible(v.body(s), v.height-len(head)-len(foot))...)
	}
	room := max(v.height-len(foot), 0)
	lines = lines[:min(len(lines), room)]
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines, foot...)
	for i, l := range lines {
		lines[i] = ansi.Truncate(strings.TrimRight(l, " "), v.width, "…")
	}
	return strings.Join(lines[:min(len(lines), v.height)], "\n")
}

// visible are the lines of the body that fit, and how many do not.
func (v *watchView) visible(body []string, room int) []string {
	if room <= 0 {
		return nil
	}
	from := min(v.offset, max(0, len(body)-room))
	shown := slices.Clone(body[from:min(from+room, len(body))])
	if below := len(body) - from - len(shown); below > 0 {
		shown[len(shown)-1] = v.styles.faint.Render(fmt.Sprintf("  ↓ %d more", below+1))
	}
	if from > 0 && len(shown) > 1 {
		shown[0] = v.styles.faint.Render(fmt.Sprintf("  ↑ %d more", from+1))
	}
	return shown
}

// room is how many lines of the body fit.
func (v *watchView) room(s *watch.State) int {
	return max(0, v.height-len(v.head(s))-len(v.foot(s)))
}

// head says whether all is well, and how old that is.
func (v *watchView) head(s *watch.State) []string {
	bad, warnings := 0, 0
	for _, p := range s.Problems(s.Time) {
		if p.Level == watch.Warning {
			warnings++
		} else {
			bad++
		}
	}
	shown := s.Shown(s.Time)
	verdict := v.styles.good.Render("✓ all well")
	switch {
	case bad > 0:
		verdict = v.styles.bad.Render(fmt.Sprintf("✗ %d FAILED", bad))
	case warnings > 0:
		verdict = v.styles.held.Render("! " + counted(warnings, "warning"))
	case shown.IsZero() || slices.ContainsFunc(s.Machines, func(m watch.Machine) bool { return m.Vitals == nil }) || s.API.Seen.IsZero():
		verdict = v.styles.faint.Render("◌ asking")
	}
	age := "nothing yet"
	if !shown.IsZero() {
		age = old(s.Time.Sub(shown))
	}
	if s.Paused {
		age = "paused, " + age
	}
	title := "  " + v.styles.bold.Render(host.Clean(s.Cluster)) + "  " + verdict
	if v.width < narrow || v.height < low {
		return []string{title + "  " + v.styles.faint.Render(age)}
	}
	if bad > 0 && warnings > 0 {
		title += "  " + v.styles.held.Render("! "+counted(warnings, "warning"))
	}
	if !s.Paused {
		age += ", every " + s.Interval.String()
	}
	gap := min(v.width, 140) - 2 - ansi.StringWidth(title) - ansi.StringWidth(age)
	return []string{title + strings.Repeat(" ", max(2, gap)) + v.styles.faint.Render(age), ""}
}

// old is an age: "now", "3 s ago", "2 min ago".
func old(d time.Duration) string {
	switch s := int(d.Seconds()); {
	case s < 1:
		return "now"
	case s < 120:
		return fmt.Sprintf("%d s ago", s)
	case s < 7200:
		return fmt.Sprintf("%d min ago", s/60)
	default:
		return fmt.Sprintf("%d h ago", s/3600)
	}
}

func (v *watchView) foot(s *watch.State) []string {
	pause := "p pause"
	if s.Paused {
		pause = "p go on"
	}
	return []string{v.styles.faint.Render("  " + keysThatFit([]string{"? help", "q end", "r look now", pause, "↑↓ scroll"}, v.width-2))}
}

// body is everything, what is wrong first. On a low screen nothing stands
// between its parts.
func (v *watchView) body(s *watch.State) []string {
	var lines []string
	for _, part := range [][]string{v.problems(s), v.machines(s), v.storage(s), v.compute(s), v.volumes(s), v.disks(s), v.checks(s)} {
		if len(part) == 0 {
			continue
		}
		if len(lines) > 0 && v.height >= low {
			lines = append(lines, "")
		}
		lines = append(lines, part...)
	}
	return lines
}

// word is the glyph and the word for how something is, nine cells wide.
func (v *watchView) word(level watch.Level) string {
	switch level {
	case watch.Silent:
		return v.styles.bad.Render("✗ silent ")
	case watch.Failed:
		return v.styles.bad.Render("✗ failed ")
	case watch.Warning:
		return v.styles.held.Render("! warning")
	}
	return v.styles.good.Render("✓ ok     ")
}

// levelIf is a level where something is so, else none.
func levelIf(is bool, level watch.Level) watch.Level {
	if is {
		return level
	}
	return ""
}

// title is that of a part, with what stands above its columns.
func (v *watchView) title(name, columns string) string {
	return v.styles.faint.Render(strings.TrimRight("  "+cell(name, 9)+"  "+columns, " "))
}

// names is how wide the names of machines and other things are.
func (v *watchView) names(s *watch.State) int {
	widest := 4
	for _, m := range s.Machines {
		widest = max(widest, ansi.StringWidth(host.Clean(m.Name)))
	}
	for _, volume := range s.Volumes {
		widest = max(widest, ansi.StringWidth(host.Clean(volume.Name)))
	}
	return min(widest, max(4, v.width/5), 20)
}

// problems are what is wrong, each with its reason.
func (v *watchView) problems(s *watch.State) []string {
	var lines []string
	const indent = 2 + 9 + 2
	for _, p := range s.Problems(s.Time) {
		name, reason := host.Clean(p.Name), host.Clean(p.Reason)
		if p.Component != "machine" && v.width >= narrow {
			name = host.Clean(p.Component) + " " + name
		}
		if p.Level == watch.Silent && !p.Since.IsZero() {
			name += fmt.Sprintf(" since %s", p.Since.In(s.Time.Location()).Format("15:04:05"))
			if v.width >= narrow {
				name += ", " + clock(s.Time.Sub(p.Since))
			}
		}
		if len(p.With) > 0 && v.width >= narrow {
			reason += "; with it " + host.Clean(strings.Join(p.With, ", "))
		}
		first := "  " + v.word(p.Level) + "  " + v.styles.bold.Render(name)
		if ansi.StringWidth(first)+2+ansi.StringWidth(reason) <= v.width {
			lines = append(lines, first+"  "+reason)
			continue
		}
		// Below it, and not so much of it that it hides all others.
		most := max(1, v.height/8)
		wrapped := strings.Split(ansi.Wrap(reason, max(10, min(v.width, 120)-indent), ""), "\n")
		if len(wrapped) > most {
			wrapped = append(wrapped[:most-1], strings.Join(wrapped[most-1:], " "))
		}
		lines = append(lines, first)
		for _, l := range wrapped {
			lines = append(lines, strings.Repeat(" ", indent)+l)
		}
	}
	return lines
}

func (v *watchView) helpLines() []string {
	glyph := func(word, text string) string { return "  " + word + "  " + text }
	lines := []string{
		glyph(v.word(watch.Silent), "it does not answer, and since when"),
		glyph(v.word(watch.Failed), "and why; what to do where that is known"),
		glyph(v.word(watch.Warning), "nearly full, nearly out of memory, hot"),
		glyph(v.styles.faint.Render("◌ asking "), "it has not answered yet"),
		glyph(v.word(""), "as it should be"),
		"",
	}
	for _, k := range [][2]string{
		{"q ctrl+c", "end"},
		{"r", "look now"},
		{"p", "look no more, and go on"},
		{"↑↓ j k", "scroll; pgup, pgdown, home, end"},
	} {
		lines = append(lines, "  "+v.styles.bold.Render(cell(k[0], 9))+"  "+k[1])
	}
	return lines
}
