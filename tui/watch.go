package tui

import (
	"context"
	"errors"
	"io"
	"os"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"nucspark.io/nucspark/watch"
)

// Watched is what the screen of a cluster shows and asks. *watch.Watcher is the
// real one.
type Watched interface {
	State() watch.State
	Refresh()
	Pause(bool)
}

// CanWatch says whether there is a terminal for [Watch].
func CanWatch(in io.Reader, out io.Writer) bool {
	return isTerminal(in) && isTerminal(out) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// Watch shows a cluster on a screen until somebody ends it or ctx ends. It
// returns what somebody else wrote meanwhile.
func Watch(ctx context.Context, in io.Reader, out io.Writer, w Watched) (stray string, err error) {
	terminal, ok := out.(*os.File)
	if !ok {
		return "", errors.New("there is no terminal for a screen")
	}
	own, err := takeTerminal(terminal)
	if err != nil {
		return "", err
	}
	m := newWatchModel(w)
	m.styles, m.ascii = newStyles(lipgloss.NewRenderer(own.tty)), !utf8Locale()
	p := tea.NewProgram(m, tea.WithInput(in), tea.WithOutput(own.tty), tea.WithAltScreen(), tea.WithoutSignalHandler())
	stop := context.AfterFunc(ctx, p.Quit)
	_, err = p.Run()
	stop()
	return own.giveBack(), err
}

// watchModel is the Bubble Tea side of the screen.
type watchModel struct {
	from  Watched
	state watch.State // when it was drawn last
	watchView
	ascii bool
}

func newWatchModel(w Watched) *watchModel { return &watchModel{from: w, state: w.State()} }

func (m *watchModel) Init() tea.Cmd { return nextTick() }

func (m *watchModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.state = m.from.State()
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		return m, nextTick()
	case tea.KeyMsg:
		if msg.Type != tea.KeyRunes || msg.Paste {
			return m, m.key(msg.String())
		}
		for _, r := range msg.Runes { // keys that were pressed at once come as one
			if cmd := m.key(string(r)); cmd != nil {
				return m, cmd
			}
		}
	}
	return m, nil
}

// key does what a key is for.
func (m *watchModel) key(name string) tea.Cmd {
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.help {
		m.help = false // any key leads back
		return nil
	}
	page := max(1, m.room(&m.state)-1)
	switch name {
	case "q":
		return tea.Quit
	case "?":
		m.help = true
	case "r":
		m.from.Refresh()
	case "p":
		m.from.Pause(!m.state.Paused)
		m.state.Paused = !m.state.Paused
	case "up", "k":
		m.scroll(-1)
	case "down", "j":
		m.scroll(1)
	case "pgup":
		m.scroll(-page)
	case "pgdown", " ":
		m.scroll(page)
	case "home", "g":
		m.offset = 0
	case "end", "G":
		m.scroll(1 << 20)
	}
	return nil
}

// scroll moves what is shown by some lines.
func (m *watchModel) scroll(by int) {
	most := max(0, len(m.body(&m.state))-m.room(&m.state))
	m.offset = min(max(min(m.offset, most)+by, 0), most)
}

func (m *watchModel) View() string {
	text := m.draw(&m.state)
	if m.ascii {
		text = ascii(text)
	}
	return text
}
