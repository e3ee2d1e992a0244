package tui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
)

// redraw is how often the screen is drawn. Events only change the state, so
// that however many come, none waits for the terminal.
const redraw = 100 * time.Millisecond

// screen is the display of a terminal.
type screen struct {
	program *tea.Program
	ended   chan struct{}

	mu    sync.Mutex
	state provision.State
	note  string
}

func newScreen(o Options) (*screen, error) {
	s := &screen{ended: make(chan struct{})}
	out, ok := o.Err.(*os.File)
	if !ok {
		return nil, fmt.Errorf("--progress=tui needs a terminal")
	}
	m := &model{screen: s, cluster: o.Cluster, interrupt: o.Interrupt, now: time.Now, styles: newStyles(out)}
	s.program = tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	go func() {
		defer close(s.ended)
		// When the terminal goes away the run goes on; its log has everything.
		_, _ = s.program.Run()
	}()
	return s, nil
}

func (s *screen) event(e provision.Event, _ *provision.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Apply(e)
}

func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = text
}

func (s *screen) close() {
	s.program.Quit()
	<-s.ended
}

// model is the Bubble Tea side of the screen.
type model struct {
	screen        *screen
	cluster       string
	interrupt     func()
	now           func() time.Time
	styles        styles
	width, height int
	expanded      bool // show each step that is done
	help          bool
}

type tick time.Time

func nextTick() tea.Cmd { return tea.Tick(redraw, func(t time.Time) tea.Msg { return tick(t) }) }

func (m *model) Init() tea.Cmd { return nextTick() }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		return m, nextTick()
	case tea.KeyMsg:
		switch msg.String() {
		case "ctrl+c":
			if m.interrupt != nil {
				m.interrupt()
			}
		case "e":
			m.expanded = !m.expanded
		case "?":
			m.help = !m.help
		}
	}
	return m, nil
}

func (m *model) View() string {
	m.screen.mu.Lock()
	defer m.screen.mu.Unlock()
	return m.draw(&m.screen.state, m.screen.note)
}

// styles are the colours of the screen; without colour they change nothing.
type styles struct{ bad, busy, idle, good, bold lipgloss.Style }

func newStyles(w io.Writer) styles {
	r := lipgloss.NewRenderer(w)
	fg := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	return styles{bad: fg("1", "9").Bold(true), busy: fg("4", "14"), idle: fg("8", "8"), good: fg("2", "10"), bold: r.NewStyle().Bold(true)}
}

// draw is the whole screen: a header, then what failed, what runs, what waits
// for it, and what is done, as much as fits.
func (m *model) draw(s *provision.State, note string) string {
	width, height := m.width, m.height
	if width <= 0 || height <= 0 {
		return ""
	}
	var lines []string
	add := func(style lipgloss.Style, text string) {
		lines = append(lines, style.Render(ansi.Truncate(text, width, "…")))
	}
	add(m.styles.bold, m.header(s))
	room := height - 2 // header and footer
	var rows []row
	for _, st := range s.Failed() {
		rows = append(rows, row{m.styles.bad, m.line("✗ failed ", st, st.Elapsed, st.Error.Message)})
	}
	for _, st := range s.Running() {
		rows = append(rows, row{m.styles.busy, m.line(spinner(m.now())+" running", st, m.now().Sub(st.Started), progress(st))})
	}
	waiting, done := m.rest(s)
	rows = append(rows, waiting...)
	rows = append(rows, done...)
	if len(rows) > room && room > 0 {
		hidden := len(rows) - room + 1
		rows = append(rows[:room-1], row{m.styles.idle, fmt.Sprintf("… %d more", hidden)})
	}
	for _, r := range rows[:min(len(rows), max(room, 0))] {
		add(r.style, r.text)
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	foot := "e done steps · ? help · ctrl+c stop after the running steps"
	if m.help {
		foot = "✗ failed, " + spinner(m.now()) + " running, ◌ waits for another step, ✓ done · e shows each done step · ctrl+c twice cancels"
	}
	if note != "" {
		foot = note
	}
	add(m.styles.idle, foot)
	return strings.Join(lines[:min(len(lines), height)], "\n")
}

type row struct {
	style lipgloss.Style
	text  string
}

func (m *model) header(s *provision.State) string {
	done, failed := 0, len(s.Failed())
	nodesDone, nodes := 0, 0
	for _, n := range s.Nodes() {
		if n == "" {
			continue
		}
		nodes++
		all := true
		for _, st := range s.Steps {
			all = all && (st.Node != n || st.Status == provision.StatusDone)
		}
		if all {
			nodesDone++
		}
	}
	for _, st := range s.Steps {
		if st.Status == provision.StatusDone {
			done++
		}
	}
	text := fmt.Sprintf("%s up  %d/%d nodes  %d/%d steps  %s", m.cluster, nodesDone, nodes, done, len(s.Steps), clock(m.now().Sub(s.Started)))
	if failed > 0 {
		text += fmt.Sprintf("  %d FAILED", failed)
	}
	return text
}

// line is one step: word, node and step, time, and what it is at. Narrow
// screens leave out the end of it.
func (m *model) line(word string, st *provision.StepState, d time.Duration, text string) string {
	if m.width < 60 {
		return fmt.Sprintf("%s %s", word, st.ID)
	}
	return strings.TrimRight(fmt.Sprintf("%s %-34s %s  %s", word, st.ID, clock(d), strings.ReplaceAll(text, "\n", " ")), " ")
}

// rest is one row for each place with steps that wait, naming what for, and
// one for what is done.
func (m *model) rest(s *provision.State) (waiting, done []row) {
	status := map[string]provision.Status{}
	for _, st := range s.Steps {
		status[st.ID] = st.Status
	}
	for _, n := range s.Nodes() {
		count, finished, blocked := 0, 0, ""
		var next *provision.StepState
		for _, st := range s.Steps {
			if st.Node != n {
				continue
			}
			switch st.Status {
			case provision.StatusDone:
				finished++
				if m.expanded && len(st.Changes) > 0 {
					done = append(done, row{m.styles.good, m.line("✓ done   ", st, st.Elapsed, "")})
				}
			case provision.StatusWaiting:
				count++
				if next == nil {
					next = st
				}
			case provision.StatusBlocked:
				blocked = st.Blocked
			}
		}
		switch {
		case next != nil:
			for _, need := range next.Needs {
				if status[need] != provision.StatusDone {
					waiting = append(waiting, row{m.styles.idle, fmt.Sprintf("◌ waiting %s: %d steps, next %s after %s", placeName(n), count, next.ID, need)})
					break
				}
			}
		case blocked != "":
			waiting = append(waiting, row{m.styles.bad, fmt.Sprintf("✗ blocked %s by %s", placeName(n), blocked)})
		}
		if finished > 0 {
			done = append(done, row{m.styles.good, fmt.Sprintf("✓ done    %s: %d steps", placeName(n), finished)})
		}
	}
	return waiting, done
}

func progress(st *provision.StepState) string {
	if st.Total > 0 {
		return fmt.Sprintf("%d %% of %d %s  %s", st.Done*100/st.Total, st.Total, st.Unit, st.Line)
	}
	return st.Line
}

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func spinner(t time.Time) string {
	return string(frames[t.UnixMilli()/100%int64(len(frames))])
}
