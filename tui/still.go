package tui

import (
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/watch"
)

// Still is the screen of a recorded run some time after its start, with the
// colours of a terminal, after keys as Bubble Tea names them ("down", "enter").
func Still(o Options, events []provision.Event, at time.Duration, width, height int, keys ...string) string {
	m := newModel(o, &shared{}, io.Discard)
	m.styles, m.ascii, m.width, m.height = coloured(), false, width, height
	m.replay(events, at)
	for _, k := range keys {
		m.Update(keyNamed(k))
	}
	return m.View()
}

// WatchStill is the screen of a recorded look at a cluster, with the colours of
// a terminal.
func WatchStill(s watch.State, width, height int) string {
	v := watchView{styles: coloured(), width: width, height: height}
	return v.draw(&s)
}

// coloured are the styles for a terminal with the usual colours.
func coloured() styles {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(termenv.ANSI)
	return newStyles(r)
}

// replay takes in the events of the first part of a run, and stops the clock
// at its end.
func (m *model) replay(events []provision.Event, part time.Duration) {
	now := events[0].Time.Add(part)
	m.now = func() time.Time { return now }
	m.stuckSince = now
	for _, e := range events {
		if e.Time.After(now) {
			return
		}
		m.run.state.Apply(e)
		if st := m.run.state.Step(e.Step); st != nil {
			m.logs.add(e, st)
		}
	}
}

var keyTypes = map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown,
	"home": tea.KeyHome, "end": tea.KeyEnd, "ctrl+c": tea.KeyCtrlC, "backspace": tea.KeyBackspace}

func keyNamed(name string) tea.KeyMsg {
	if t, ok := keyTypes[name]; ok {
		return tea.KeyMsg{Type: t}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}
