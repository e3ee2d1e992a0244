package tui

import (
	"errors"
	"io"
	"os"
	"sync"
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
	own     *ownTerminal
	retries chan string
}

func newScreen(o Options, run *shared) (*screen, error) {
	terminal, ok := o.Err.(*os.File)
	if !ok || !isTerminal(terminal) || !isTerminal(o.In) {
		return nil, errors.New("--progress=tui needs a terminal; --progress=plain does not")
	}
	own, err := takeTerminal(terminal)
	if err != nil {
		return nil, err
	}
	m := newModel(o, run, own.tty)
	s := &screen{ended: make(chan struct{}), model: m, own: own, retries: m.retries}
	s.program = tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(own.tty), tea.WithAltScreen(), tea.WithoutSignalHandler())
	go func() {
		defer close(s.ended)
		// When the terminal goes away the run goes on; its log has everything.
		_, _ = s.program.Run()
		m.leave() // nobody is there to try something again
	}()
	return s, nil
}

// event keeps the lines of the logs. The rest of the state has changed
// already, and the next redraw shows it.
func (s *screen) event(e provision.Event, state *provision.State) {
	if st := state.Step(e.Step); st != nil {
		s.model.logs.add(e, st)
	}
}

func (s *screen) say(text string) { s.model.said = text }

// close gives the terminal back, with what somebody else wrote meanwhile.
func (s *screen) close() string {
	s.program.Quit()
	<-s.ended
	return s.own.giveBack()
}

// model is the Bubble Tea side of the screen.
type model struct {
	run     *shared
	logs    logs   // under the lock of run
	said    string // by the command, last; under the lock of run
	cluster string
	doing   string // what the cluster will be: "up", "down"

	interrupt func()
	ssh       func(node string) string // the command that leads to a node
	retries   chan string              // the steps to be tried again
	leaving   sync.Once
	clipboard io.Writer // the terminal
	forecast  forecast

	now           func() time.Time
	styles        styles
	ascii         bool
	width, height int

	expanded bool // show each step that is done
	help     bool
	log      *logView  // nil: the list of steps
	at       int       // the row that is chosen, where on is gone
	on       string    // what that row is about; "" for none
	note     string    // about the last key
	pressed  time.Time // the last key

	stuckSince time.Time // since when nothing can go on, if nothing can
}

func newModel(o Options, run *shared, terminal io.Writer) *model {
	m := &model{run: run, logs: logs{}, cluster: o.Cluster, doing: "up", interrupt: o.Interrupt, ssh: o.SSH, retries: make(chan string, 256),
		clipboard: terminal, forecast: newForecast(o.Durations), now: time.Now, styles: newStyles(lipgloss.NewRenderer(terminal)), ascii: !utf8Locale()}
	if o.Done != "" {
		m.doing = o.Done
	}
	return m
}

type tick time.Time

func nextTick() tea.Cmd { return tea.Tick(redraw, func(t time.Time) tea.Msg { return tick(t) }) }

func (m *model) Init() tea.Cmd { return nextTick() }

// patience is how long a run in which nothing can go on waits for somebody to
// have a failed step tried again. It holds the locks of the machines meanwhile.
const patience = 15 * time.Minute

// noteTime is how long what was said about a key stays.
const noteTime = 10 * time.Second

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		m.run.mu.Lock()
		stuck := m.run.state.Stuck()
		m.run.mu.Unlock()
		if m.now().Sub(m.pressed) > noteTime {
			m.note = ""
		}
		switch {
		case !stuck:
			m.stuckSince = m.now()
		case m.idle() > patience:
			m.leave()
		}
		return m, nextTick()
	case tea.KeyMsg:
		m.pressed = m.now()
		if msg.Type != tea.KeyRunes || msg.Paste {
			return m, m.key(msg)
		}
		var all []tea.Cmd
		for _, r := range msg.Runes { // keys that were pressed at once come as one
			all = append(all, m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: msg.Alt}))
		}
		return m, tea.Batch(all...)
	}
	return m, nil
}

// idle is how long nothing can go on, and no key was pressed.
func (m *model) idle() time.Duration {
	return min(m.now().Sub(m.pressed), m.now().Sub(m.stuckSince))
}

// leave says that no step will be tried again, so that a run with failed steps
// can end.
func (m *model) leave() { m.leaving.Do(func() { close(m.retries); m.retries = nil }) }

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
// they suit it, light or dark; without colour they change nothing.
type styles struct{ bad, held, busy, faint, good, bold lipgloss.Style }

// newStyles makes the styles for a terminal. NO_COLOR is respected.
func newStyles(r *lipgloss.Renderer) styles {
	colour := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return styles{bad: colour("1").Bold(true), held: colour("1"), busy: colour("6"), faint: r.NewStyle().Faint(true), good: colour("2"), bold: r.NewStyle().Bold(true)}
}
