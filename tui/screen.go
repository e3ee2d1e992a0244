package tui

import (
	"errors"
	"io"
	"os"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"nucspark.io/nucspark/provision"
)

// redraw is how often the screen is drawn. Events only change the state, so
// that however many come, none waits for the terminal.
const redraw = 100 * time.Millisecond

// screen is the display of a terminal.
type screen struct {
	program *tea.Program
	ended   chan struct{}
	model   *model
}

func newScreen(o Options, run *shared) (*screen, error) {
	out, ok := o.Err.(*os.File)
	if !ok || !isTerminal(out) || !isTerminal(o.In) {
		return nil, errors.New("--progress=tui needs a terminal; --progress=plain does not")
	}
	m := &model{run: run, cluster: o.Cluster, interrupt: o.Interrupt, now: time.Now, styles: newStyles(out), ascii: !utf8Locale()}
	s := &screen{ended: make(chan struct{}), model: m}
	s.program = tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	go func() {
		defer close(s.ended)
		// When the terminal goes away the run goes on; its log has everything.
		_, _ = s.program.Run()
	}()
	return s, nil
}

// event has nothing to do: the state has changed, and the next redraw shows it.
func (*screen) event(provision.Event, *provision.State) {}

func (s *screen) say(text string) { s.model.note = text }

func (s *screen) close() {
	s.program.Quit()
	<-s.ended
}

// model is the Bubble Tea side of the screen.
type model struct {
	run     *shared
	note    string // said last; under the lock of run
	cluster string

	interrupt     func()
	now           func() time.Time
	styles        styles
	ascii         bool
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
	m.run.mu.Lock()
	defer m.run.mu.Unlock()
	text := m.draw(&m.run.state)
	if m.ascii {
		text = ascii(text)
	}
	return text
}

// styles are the colours of the screen, of the terminal's own palette so that
// they suit it; without colour they change nothing.
type styles struct{ bad, busy, idle, good, bold lipgloss.Style }

// newStyles makes the styles for a terminal. NO_COLOR is respected.
func newStyles(w io.Writer) styles {
	r := lipgloss.NewRenderer(w)
	colour := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return styles{bad: colour("1").Bold(true), busy: colour("6"), idle: colour("8"), good: colour("2"), bold: r.NewStyle().Bold(true)}
}
