package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/wizard"
)

// WizardOptions are what the wizard's screens need.
type WizardOptions struct {
	In     io.Reader
	Err    io.Writer // the terminal
	State  *wizard.State
	Finder wizard.Finder
	Exists func() bool          // the file is there already
	Write  func(b []byte) error // writes it, over the one that is there
}

// WizardResult is what the person decided.
type WizardResult struct {
	Written bool
	Up      bool // go on with nucspark up
}

// RunWizard shows the wizard until it is ended. Nothing but Write changes
// anything.
func RunWizard(ctx context.Context, o WizardOptions) (WizardResult, error) {
	out, ok := o.Err.(*os.File)
	if !ok || !isTerminal(out) || !isTerminal(o.In) {
		return WizardResult{}, errors.New("there is no terminal for questions; answer them in a file, with --from FILE")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newWizard(ctx, o)
	m.styles, m.ascii = newWizardStyles(out), !utf8Locale()
	p := tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(out), tea.WithAltScreen(), tea.WithContext(ctx))
	if _, err := p.Run(); err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return WizardResult{}, err
	}
	return WizardResult{Written: m.written, Up: m.up}, nil
}

// question is one that is asked on top of the last page.
type question int

const (
	noQuestion question = iota
	overwriteQuestion
	upQuestion
)

// wizardModel is the Bubble Tea side of the wizard. What is answered, found and
// proposed is in state.
type wizardModel struct {
	ctx    context.Context
	state  *wizard.State
	finder wizard.Finder
	exists func() bool
	write  func([]byte) error

	styles        wizardStyles
	ascii         bool
	width, height int
	now           func() time.Time

	cursor   int // the row; the last one of a page goes on
	scroll   int // first line of the file that is shown
	edit     *field
	note     string // what is wrong, or was done
	question question

	work    chan tea.Msg // of what goes on in the network; nil when nothing does
	stop    context.CancelFunc
	waiting map[netip.Addr]bool // machines that are being asked

	written, up bool
}

func newWizard(ctx context.Context, o WizardOptions) *wizardModel {
	m := &wizardModel{ctx: ctx, state: o.State, finder: o.Finder, exists: o.Exists, write: o.Write, now: time.Now}
	m.enter()
	return m
}

// What comes from the network. The channel tells the work that it belongs to:
// that of a page somebody left is dropped.
type (
	sawMsg struct {
		from chan tea.Msg
		seen discover.Seen
	}
	answeredMsg struct {
		from    chan tea.Msg
		address netip.Addr
		machine discover.Machine
		err     error
	}
	doneMsg struct {
		from chan tea.Msg
		err  error
	}
	spinMsg struct{}
)

func spin() tea.Cmd {
	return tea.Tick(redraw, func(time.Time) tea.Msg { return spinMsg{} })
}

func (m *wizardModel) Init() tea.Cmd { return nil }

func (m *wizardModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case spinMsg:
		if m.work != nil {
			return m, spin()
		}
	case sawMsg:
		if msg.from == m.work {
			atEnd := m.cursor == m.last()
			m.state.Saw(msg.seen)
			if atEnd {
				m.cursor = m.last()
			}
			return m, listen(m.work)
		}
	case answeredMsg:
		if msg.from == m.work {
			delete(m.waiting, msg.address)
			m.state.Answered(msg.address, msg.machine, msg.err)
			if len(m.waiting) == 0 {
				m.halt() // that was the last
				m.note = ""
				return m, nil
			}
			return m, listen(m.work)
		}
	case doneMsg:
		if msg.from == m.work {
			m.work, m.note = nil, ""
			if msg.err != nil {
				m.note = msg.err.Error()
			}
		}
	case tea.KeyMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// listen waits for the next message of some work.
func listen(work chan tea.Msg) tea.Cmd {
	return func() tea.Msg { return <-work }
}

// begin starts work in the network; f sends what it finds and returns at the
// end.
func (m *wizardModel) begin(f func(ctx context.Context, send func(tea.Msg), from chan tea.Msg) error) tea.Cmd {
	m.halt()
	ctx, cancel := context.WithCancel(m.ctx)
	work := make(chan tea.Msg)
	m.work, m.stop = work, cancel
	go func() {
		defer cancel()
		defer close(work) // whoever still listens gets no message
		send := func(msg tea.Msg) {
			select {
			case work <- msg:
			case <-ctx.Done():
			}
		}
		send(doneMsg{work, f(ctx, send, work)})
	}()
	return tea.Batch(listen(work), spin())
}

// halt ends the work of a page that is left.
func (m *wizardModel) halt() {
	if m.work != nil {
		m.stop()
		m.work = nil
	}
}

func (m *wizardModel) scan(addresses []netip.Addr) tea.Cmd {
	m.state.Scanning()
	return m.begin(func(ctx context.Context, send func(tea.Msg), from chan tea.Msg) error {
		return m.finder.Scan(ctx, addresses, func(s discover.Seen) { send(sawMsg{from, s}) })
	})
}

func (m *wizardModel) ask(list []discover.Seen) tea.Cmd {
	m.waiting = map[netip.Addr]bool{}
	for _, s := range list {
		m.waiting[s.Address] = true
	}
	as := m.state.As()
	return m.begin(func(ctx context.Context, send func(tea.Msg), from chan tea.Msg) error {
		wizard.AskAll(ctx, m.finder, list, as, func(a netip.Addr, machine discover.Machine, err error) {
			send(answeredMsg{from, a, machine, err})
		})
		return ctx.Err()
	})
}

// enter begins a page: with what it needs from the network, and the cursor
// where Enter goes on.
func (m *wizardModel) enter() tea.Cmd {
	m.halt()
	m.edit, m.note, m.scroll, m.question = nil, "", 0, noQuestion
	var cmd tea.Cmd
	switch m.state.Page {
	case wizard.Found:
		if addresses := m.state.Addresses(); len(addresses) > 0 {
			cmd = m.scan(addresses)
		}
	case wizard.Machines:
		if list := m.state.ToAsk(); len(list) > 0 {
			cmd = m.ask(list)
		}
	}
	m.cursor = m.last()
	return cmd
}

// key is one key of the person.
func (m *wizardModel) key(k tea.KeyMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		m.halt()
		return tea.Quit
	}
	if m.edit != nil {
		m.editKey(k)
		return nil
	}
	m.note = ""
	switch {
	case m.question != noQuestion:
		return m.answer(k.String())
	case m.state.Page == wizard.Review:
		return m.reviewKey(k.String())
	}
	switch k.String() {
	case "esc", "left", "b":
		if m.state.Back() {
			return m.enter()
		}
	case "up", "k", "shift+tab":
		m.cursor = max(0, m.cursor-1)
	case "down", "j", "tab":
		m.cursor = min(m.last(), m.cursor+1)
	case "home":
		m.cursor = 0
	case "end":
		m.cursor = m.last()
	case " ":
		m.toggle()
	case "r":
		return m.again()
	case "x", "delete":
		if row, ok := m.field(); ok {
			m.set(row, "")
		}
	case "enter":
		return m.enterKey()
	}
	return nil
}

// enterKey goes on, opens a field, or takes a machine in.
func (m *wizardModel) enterKey() tea.Cmd {
	if row, ok := m.field(); ok {
		m.edit = newField(row.text, row.hidden)
		return nil
	}
	if m.cursor < m.last() {
		m.toggle()
		return nil
	}
	if m.work != nil {
		m.note = "not all have answered yet; wait, or go back"
		return nil
	}
	if err := m.state.Next(); err != nil {
		m.note = err.Error()
		return nil
	}
	return m.enter()
}

// again looks, or asks, once more.
func (m *wizardModel) again() tea.Cmd {
	switch m.state.Page {
	case wizard.Found:
		m.state.Rescan()
	case wizard.Machines:
		m.state.AskAgain()
	}
	return m.enter()
}

// toggle takes the machine of the row in, or leaves it out. One that was not
// asked before is asked now.
func (m *wizardModel) toggle() {
	if a, ok := m.machine(); ok {
		m.state.Toggle(a)
	}
}

// machine is that of the row.
func (m *wizardModel) machine() (netip.Addr, bool) {
	if m.state.Page != wizard.Found && m.state.Page != wizard.Machines {
		return netip.Addr{}, false
	}
	rows := m.addresses()
	if m.cursor >= len(rows) {
		return netip.Addr{}, false
	}
	return rows[m.cursor], true
}

// addresses are the machines of the page, in the order of its rows.
func (m *wizardModel) addresses() []netip.Addr {
	var all []netip.Addr
	asked := map[netip.Addr]bool{}
	for _, machine := range m.state.Asked() {
		asked[machine.Address] = true
	}
	for _, s := range m.state.Seen() {
		a := s.Address
		if m.state.Page == wizard.Found || asked[a] || m.waiting[a] || m.state.Failed(a) != nil {
			all = append(all, a)
		}
	}
	return all
}

// last is the row that goes on.
func (m *wizardModel) last() int {
	switch m.state.Page {
	case wizard.Found, wizard.Machines:
		return len(m.addresses())
	case wizard.Review:
		return 0
	}
	return len(m.fields())
}

// editKey is a key while a field is open.
func (m *wizardModel) editKey(k tea.KeyMsg) {
	switch k.String() {
	case "esc":
		m.edit, m.note = nil, ""
	case "enter":
		if row, ok := m.field(); ok && m.set(row, m.edit.text()) {
			m.edit = nil
			m.cursor = min(m.last(), m.cursor+1)
		}
	default:
		m.edit.key(k)
	}
}

// set answers a question, the empty text with what is proposed. It says no,
// and why, where the text is no answer.
func (m *wizardModel) set(row fieldRow, text string) bool {
	m.note = ""
	switch {
	case row.key == keyPassphrase:
		m.state.Passphrase = inventory.NewSecret(text)
	case row.key == keySudoPassword:
		m.state.SudoPassword = inventory.NewSecret(text)
	case text == row.text: // what is proposed stays proposed
	default:
		if err := m.state.Set(row.key, text); err != nil {
			m.note = fmt.Sprintf("%s: %v", row.label, err)
			return false
		}
	}
	return true
}

// reviewKey is a key while the file is shown.
func (m *wizardModel) reviewKey(k string) tea.Cmd {
	page := max(1, m.height-wizardFrame)
	switch k {
	case "up", "k":
		m.scroll--
	case "down", "j":
		m.scroll++
	case "pgup":
		m.scroll -= page
	case "pgdown", " ":
		m.scroll += page
	case "home":
		m.scroll = 0
	case "end":
		m.scroll = 1 << 20 // drawing bounds it
	case "esc", "left", "b":
		m.state.Back()
		return m.enter()
	case "enter", "w":
		if m.exists() {
			m.question = overwriteQuestion
			return nil
		}
		m.save()
	}
	return nil
}

func (m *wizardModel) save() {
	if err := m.write(m.state.File()); err != nil {
		m.question, m.note = noQuestion, err.Error()
		return
	}
	m.written, m.question = true, upQuestion
}

// answer is a key while a question is asked. Only y is yes.
func (m *wizardModel) answer(k string) tea.Cmd {
	switch {
	case k == "esc" || k == "left":
		m.question = noQuestion // back to the file
	case m.question == overwriteQuestion && k == "y":
		m.save()
	case m.question == overwriteQuestion && k == "n":
		m.question, m.note = noQuestion, m.state.Path+" stays as it is"
	case m.question == upQuestion && k == "y":
		m.up = true
		return tea.Quit
	case m.question == upQuestion && (k == "n" || k == "q"):
		return tea.Quit
	}
	return nil
}
