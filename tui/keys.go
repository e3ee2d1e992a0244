package tui

import (
	"fmt"
	"io"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
)

// key does what a key is for.
func (m *model) key(k tea.KeyMsg) tea.Cmd {
	m.note = ""
	name := k.String()
	if name == "ctrl+c" {
		if m.interrupt != nil {
			m.interrupt()
		}
		return nil
	}
	if m.log != nil && m.log.typing {
		m.log.typed(k)
		return nil
	}
	if name == "?" {
		m.help = !m.help
		return nil
	}
	if m.help {
		m.help = !slices.Contains([]string{"esc", "q", "enter"}, name)
		return nil
	}
	m.run.mu.Lock()
	defer m.run.mu.Unlock()
	s := &m.run.state
	switch name {
	case "r":
		m.retry(s)
		return nil
	case "R":
		m.retryAll(s)
		return nil
	case "y":
		return m.copySSH(s)
	}
	if m.log != nil {
		if !m.log.key(name, m.logRows(s), m.logHeight()) {
			m.log = nil
		}
		return nil
	}
	switch name {
	case "up", "k":
		m.move(s, -1)
	case "down", "j":
		m.move(s, 1)
	case "pgup":
		m.move(s, -m.room())
	case "pgdown":
		m.move(s, m.room())
	case "home", "g":
		m.move(s, -len(s.Steps)*2)
	case "end", "G":
		m.move(s, len(s.Steps)*2)
	case "e":
		m.expanded = !m.expanded
	case "f":
		m.nextFailure(s)
	case "esc":
		m.at, m.on = 0, ""
	case "enter":
		if m.on == "" {
			m.move(s, 0)
		}
		if st := s.Step(m.on); st != nil {
			m.log = &logView{step: st.ID, follow: true}
		} else if m.on == doneRow {
			m.expanded = !m.expanded
		}
	case "q":
		if s.Stuck() {
			m.leave()
		} else {
			m.note = "The run goes on. Ctrl-C stops it."
		}
	}
	return nil
}

// move chooses the row that lies so many below the chosen one.
func (m *model) move(s *provision.State, by int) {
	var on []string
	for _, r := range m.rows(s, m.clock(s)) {
		if r.on != "" {
			on = append(on, r.on)
		}
	}
	if len(on) == 0 {
		return
	}
	switch i := slices.Index(on, m.on); {
	case i >= 0:
		m.at = i + by
	case m.on != "": // that row is gone
		m.at += by
	default: // none was chosen
		m.at = 0
		if by > len(on) {
			m.at = by
		}
	}
	m.at = min(max(m.at, 0), len(on)-1)
	m.on = on[m.at]
}

// nextFailure chooses the failed step after the chosen one.
func (m *model) nextFailure(s *provision.State) {
	failed := s.Failed()
	if len(failed) == 0 {
		m.note = "No step has failed."
		return
	}
	i := slices.IndexFunc(failed, func(st *provision.StepState) bool { return st.ID == m.on })
	m.at = (i + 1) % len(failed)
	m.on = failed[m.at].ID
}

// chosen is the step that the chosen row, or the shown log, is about.
func (m *model) chosen(s *provision.State) *provision.StepState {
	if m.log != nil {
		return s.Step(m.log.step)
	}
	return s.Step(m.on)
}

func (m *model) retry(s *provision.State) {
	failed, st := s.Failed(), m.chosen(s)
	switch {
	case len(failed) == 0:
		m.note = "No step has failed."
	case st != nil && st.Status == provision.StatusFailed:
		m.tryAgain(st)
	case m.log == nil && len(failed) == 1:
		m.tryAgain(failed[0])
	default:
		m.note = "That step has not failed. f chooses one that has."
	}
}

func (m *model) retryAll(s *provision.State) {
	failed := s.Failed()
	if m.tryAgain(failed...); len(failed) == 0 {
		m.note = "No step has failed."
	}
}

// tryAgain asks the run for it.
func (m *model) tryAgain(steps ...*provision.StepState) {
	for _, st := range steps {
		select {
		case m.retries <- st.ID:
			m.note = "Trying again: " + st.ID
		default:
			m.note = "Nothing is tried again any more: the run ends."
			return
		}
	}
	if len(steps) > 1 {
		m.note = fmt.Sprintf("Trying again: %d steps", len(steps))
	}
}

// copySSH shows the command that leads to the machine of the chosen row, and
// asks the terminal to put it into its clipboard (OSC 52). Nothing says whether
// a terminal did.
func (m *model) copySSH(s *provision.State) tea.Cmd {
	node, ok := strings.CutPrefix(m.on, placeRow)
	if st := m.chosen(s); st != nil {
		node, ok = st.Node, true
	}
	if m.ssh == nil || !ok {
		m.note = "Choose a row first: up and down do."
		return nil
	}
	command := m.ssh(node)
	if command == "" {
		m.note = "The file does not say how " + placeName(node) + " is reached."
		return nil
	}
	m.note = "Copied, where the terminal allows it: " + command
	return func() tea.Msg {
		_, _ = io.WriteString(m.clipboard, ansi.SetSystemClipboard(command))
		return nil
	}
}
