package tui

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/wizard"
)

// wizardFrame are the rows of a screen besides its body: title, an empty one,
// and the keys.
const wizardFrame = 3

// wizardStyles are the colours of the wizard, of the terminal's own palette.
type wizardStyles struct{ bad, busy, idle, good, bold lipgloss.Style }

// newWizardStyles makes the styles for a terminal. NO_COLOR is respected.
func newWizardStyles(w io.Writer) wizardStyles {
	r := lipgloss.NewRenderer(w)
	colour := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return wizardStyles{bad: colour("1").Bold(true), busy: colour("6"), idle: colour("8"), good: colour("2"), bold: r.NewStyle().Bold(true)}
}

type wizardRow struct {
	style lipgloss.Style
	text  string
}

// titles of the pages.
var titles = map[wizard.Page]string{
	wizard.Range:    "Where are the machines?",
	wizard.Found:    "Who is there?",
	wizard.Login:    "How are they entered?",
	wizard.Machines: "What are they?",
	wizard.Values:   "What shall they be?",
	wizard.Review:   "The file",
}

func (m *wizardModel) View() string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	body, focus := m.body()
	room := max(m.height-wizardFrame, 0)
	var note []wizardRow
	if m.note != "" {
		note = m.wrapped(m.styles.bad, "! ", m.note)
		note = note[:min(len(note), max(1, room/2))]
		room -= len(note)
	}
	// The row of the cursor stays in sight.
	first := 0
	if m.state.Page == wizard.Review && m.question == noQuestion {
		m.scroll = max(0, min(m.scroll, len(body)-room))
		first = m.scroll
	} else if len(body) > room {
		first = max(0, min(focus-room/2, len(body)-max(room, 0)))
	}
	below := max(0, len(body)-first-room)
	body = body[first : len(body)-below]
	rows := []wizardRow{{m.styles.bold, fmt.Sprintf("init %d/%d  %s", m.state.Page+1, wizard.Review+1, titles[m.state.Page])}, {m.styles.idle, hidden(first, below)}}
	rows = append(rows, body...)
	for len(rows) < m.height-1-len(note) {
		rows = append(rows, wizardRow{})
	}
	rows = append(rows, note...)
	rows = append(rows, wizardRow{m.styles.idle, m.keys()})
	lines := make([]string, 0, len(rows))
	for _, r := range rows[:min(len(rows), m.height)] {
		lines = append(lines, r.style.Render(ansi.Truncate(strings.TrimRight(r.text, " "), m.width, "…")))
	}
	text := strings.Join(lines, "\n")
	if m.ascii {
		text = ascii(text)
	}
	return text
}

// hidden says how much of a page does not fit.
func hidden(above, below int) string {
	var parts []string
	if above > 0 {
		parts = append(parts, fmt.Sprintf("↑ %d more", above))
	}
	if below > 0 {
		parts = append(parts, fmt.Sprintf("↓ %d more", below))
	}
	return strings.Join(parts, " · ")
}

// keys are those of the page, the most needed first.
func (m *wizardModel) keys() string {
	switch {
	case m.edit != nil:
		return "enter take · esc leave as it was · empty: what is proposed"
	case m.question == overwriteQuestion:
		return "y yes · n no · esc back"
	case m.question == upQuestion:
		return "y yes · n no, end · esc back to the file"
	}
	switch m.state.Page {
	case wizard.Range:
		return "enter go on · ↑↓ choose · ctrl+c end"
	case wizard.Found, wizard.Machines:
		return "enter go on · esc back · ↑↓ space choose · r again · ctrl+c end"
	case wizard.Review:
		return "enter write it · esc back · ↑↓ scroll · ctrl+c end"
	}
	return "enter change, go on · esc back · ↑↓ choose · x as proposed · ctrl+c end"
}

// body is what a page shows, and the row of the cursor in it.
func (m *wizardModel) body() (rows []wizardRow, focus int) {
	switch {
	case m.question == overwriteQuestion:
		return m.wrapped(m.styles.bold, "", fmt.Sprintf("%s is there already. Shall it be replaced? What is in it now is lost.", m.state.Path)), 0
	case m.question == upQuestion:
		rows = m.wrapped(m.styles.good, "✓ ", m.state.Path+" is written.")
		return append(rows, m.wrapped(m.styles.bold, "", "Go on with nucspark up? It shows what it would change on each machine, and asks before it does.")...), 0
	}
	switch m.state.Page {
	case wizard.Range:
		rows = m.wrapped(lipgloss.Style{}, "", "Machines are looked for by their SSH servers: port 22 of each of these addresses is tried, and nothing else. Nothing is changed before the very end, and then only after you agreed.")
		rows = append(rows, wizardRow{})
		return m.fieldRows(rows, "Look for machines there")
	case wizard.Found:
		return m.foundRows()
	case wizard.Login:
		rows = m.wrapped(lipgloss.Style{}, "", "The machines are asked what they are; nothing is changed there.")
		rows = append(rows, wizardRow{})
		return m.fieldRows(rows, "Ask the machines")
	case wizard.Machines:
		return m.machineRows()
	case wizard.Values:
		return m.fieldRows(nil, "Show the file")
	}
	return m.fileRows(), 0
}

// wrapped is a text in as many rows as it takes, the first with a mark.
func (m *wizardModel) wrapped(style lipgloss.Style, mark, text string) []wizardRow {
	var rows []wizardRow
	width := m.width - ansi.StringWidth(mark)
	for i, line := range strings.Split(ansi.Wrap(host.Clean(text), max(1, width), " "), "\n") {
		if i > 0 {
			mark = strings.Repeat(" ", ansi.StringWidth(mark))
		}
		rows = append(rows, wizardRow{style, mark + line})
	}
	return rows
}

// button is the row that goes on.
func (m *wizardModel) button(text string) wizardRow {
	if m.cursor == m.last() {
		return wizardRow{m.styles.bold, "> [ " + text + " ]"}
	}
	return wizardRow{lipgloss.Style{}, "  [ " + text + " ]"}
}

// pointer marks the row of the cursor.
func (m *wizardModel) pointer(i int) (string, lipgloss.Style) {
	if i == m.cursor {
		return "> ", m.styles.bold
	}
	return "  ", lipgloss.Style{}
}

// fieldRows are the values of a page, below other rows, and a button.
func (m *wizardModel) fieldRows(rows []wizardRow, button string) ([]wizardRow, int) {
	fields := m.fields()
	labels, section, focus := 0, "", 0
	for _, f := range fields {
		labels = max(labels, ansi.StringWidth(f.label))
	}
	for i, f := range fields {
		if f.section != section {
			section = f.section
			if i > 0 {
				rows = append(rows, wizardRow{})
			}
			rows = append(rows, wizardRow{m.styles.idle, m.heading(section)})
		}
		mark, style := m.pointer(i)
		line := fmt.Sprintf("%s%-*s  ", mark, labels, f.label)
		if i == m.cursor {
			focus = len(rows)
		}
		switch {
		case i == m.cursor && m.edit != nil:
			rows = append(rows, wizardRow{style, line + m.edit.draw(m.width-ansi.StringWidth(line))})
		default:
			text := f.text
			if f.hidden && text != "" {
				text = "(set)"
			}
			source := string(f.source)
			if text == "" {
				text, source = "-", ""
			}
			// The source stands where the value leaves room, and always complete.
			room := m.width - ansi.StringWidth(line) - len(wizard.Proposed) - 2
			line += fmt.Sprintf("%-*s", max(0, min(room, 28)), ansi.Truncate(host.Clean(text), max(1, room), "…"))
			rows = append(rows, wizardRow{style, line + "  " + source})
		}
		if i == m.cursor && f.about != "" {
			rows = append(rows, m.wrapped(m.styles.idle, "    ", f.about)...)
		}
	}
	rows = append(rows, wizardRow{})
	if m.cursor == m.last() {
		focus = len(rows)
	}
	return append(rows, m.button(button)), focus
}

// heading of a section; that of a machine says what it is.
func (m *wizardModel) heading(section string) string {
	for _, machine := range m.state.Chosen() {
		if machine.Address.String() == section {
			return fmt.Sprintf("%s  %s", section, machine.Describe())
		}
	}
	return map[string]string{"hdfs": "HDFS", "spark": "Spark, on each machine that computes", "volume": "a volume for pods, by NFS"}[section] + map[bool]string{true: "the cluster"}[section == "cluster"]
}

// check is the box before a machine.
func (m *wizardModel) check(a netip.Addr) string {
	if m.state.Uses(a) {
		return "[x]"
	}
	return "[ ]"
}

func (m *wizardModel) spinner() string {
	return string(spinner[m.now().UnixMilli()/100%int64(len(spinner))])
}

// foundRows are the addresses where an SSH server answered.
func (m *wizardModel) foundRows() (rows []wizardRow, focus int) {
	seen := m.state.Seen()
	switch {
	case m.work != nil:
		rows = append(rows, wizardRow{m.styles.busy, fmt.Sprintf("%s trying port 22 of %s; %s", m.spinner(), m.state.Text(wizard.KeyRange), counted(len(seen), "answer"))})
	case len(seen) == 0:
		rows = m.wrapped(m.styles.bad, "", fmt.Sprintf("No SSH server answers in %s. Are the machines on, and is openssh-server installed? Go back for another range, or press r to try again.", m.state.Text(wizard.KeyRange)))
	default:
		rows = m.wrapped(lipgloss.Style{}, "", "Choose those of the cluster. By going on you trust their keys: compare each with what ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub says on the machine.")
	}
	rows = append(rows, wizardRow{})
	names := 0
	for _, s := range seen {
		names = max(names, ansi.StringWidth(s.Name))
	}
	for i, s := range seen {
		mark, style := m.pointer(i)
		if i == m.cursor {
			focus = len(rows)
		}
		text := s.Key.Fingerprint
		switch {
		case s.Err != nil:
			style, text = m.styles.bad, "✗ "+s.Err.Error()
		case s.Own:
			text += "  this computer"
		case s.Key.Known:
			text += "  known"
		}
		line := fmt.Sprintf("%s%s %-15s", mark, m.check(s.Address), s.Address)
		if m.width >= narrow {
			line += fmt.Sprintf(" %-*s  %s", names, s.Name, text)
		} else {
			line += " " + s.Name
		}
		rows = append(rows, wizardRow{style, line})
		// A fingerprint that is cut off cannot be compared.
		if i == m.cursor && ansi.StringWidth(line) > m.width || m.width < narrow && i == m.cursor {
			rows = append(rows, m.wrapped(m.styles.idle, "      ", text)...)
		}
	}
	rows = append(rows, wizardRow{})
	if m.cursor == m.last() {
		focus = len(rows)
	}
	return append(rows, m.button(fmt.Sprintf("Go on with %s", counted(m.used(), "machine")))), focus
}

// used counts the machines of the page that are chosen.
func (m *wizardModel) used() int {
	n := 0
	for _, a := range m.addresses() {
		if m.state.Uses(a) {
			n++
		}
	}
	return n
}

// machineRows are the machines with what they are; what the one of the cursor
// is, and what is wrong with it, stands below the table.
func (m *wizardModel) machineRows() (rows []wizardRow, focus int) {
	machines := map[netip.Addr]discover.Machine{}
	for _, machine := range m.state.Asked() {
		machines[machine.Address] = machine
	}
	verdicts := m.state.Verdicts()
	var details []wizardRow
	for i, a := range m.addresses() {
		mark, style := m.pointer(i)
		if i == m.cursor {
			focus = len(rows)
		}
		machine, answered := machines[a]
		line := fmt.Sprintf("%s%s %-15s ", mark, m.check(a), a)
		word := "✓ good"
		v := verdicts[a]
		switch {
		case m.state.Failed(a) != nil:
			style, word = m.styles.bad, "✗ no answer"
		case !answered && m.waiting[a]:
			style, word = m.styles.busy, m.spinner()+" asking"
		case !answered:
			word = "◌ not asked"
		case len(v.Problems) > 0:
			style, word = m.styles.bad, "✗ will not do"
		case len(v.Warnings) > 0:
			word = "! " + counted(len(v.Warnings), "remark")
		}
		switch {
		case !answered || m.width < narrow:
			line += word
		default:
			line += fmt.Sprintf("%-13s %-10s %8s %9s", word, ansi.Truncate(machine.Hostname, 10, "…"), counted(machine.CPUs, "core"), inventory.Size(machine.Memory).Human())
			if m.width >= wide {
				line += fmt.Sprintf("  %-12s %-10s %s", machine.System(), machine.Link().Describe(), counted(len(machine.Disks), "disk"))
			}
		}
		rows = append(rows, wizardRow{style, line})
		if i == m.cursor {
			details = m.details(machine, answered, m.state.Failed(a), v)
		} else if m.cursor == m.last() && (len(v.Problems) > 0 || m.state.Failed(a) != nil) {
			// Why somebody is left out is told without being asked for.
			details = append(details, m.details(machine, false, m.state.Failed(a), discover.Verdict{Problems: v.Problems})...)
		}
	}
	rows = append(rows, wizardRow{})
	if m.cursor == m.last() {
		focus = len(rows)
	}
	rows = append(rows, m.button(fmt.Sprintf("Go on with %s", counted(m.used(), "machine"))), wizardRow{})
	return append(rows, details...), focus
}

// details of one machine.
func (m *wizardModel) details(machine discover.Machine, answered bool, failed error, v discover.Verdict) (rows []wizardRow) {
	if failed != nil {
		return m.wrapped(m.styles.bad, "✗ ", failed.Error())
	}
	if answered {
		rows = m.wrapped(lipgloss.Style{}, "", machine.Describe())
		for _, d := range machine.Disks {
			text := d.Describe()
			if d.Model != "" {
				text += " (" + d.Model + ")"
			}
			rows = append(rows, m.wrapped(lipgloss.Style{}, "disk ", text)...)
		}
		for _, l := range machine.Links {
			text := l.Name + " " + l.MAC
			if d := l.Describe(); d != l.Name {
				text += " " + d
			}
			if !l.Up && len(l.Addresses) == 0 {
				text += ", not connected"
			}
			rows = append(rows, m.wrapped(lipgloss.Style{}, "link ", text)...)
		}
	}
	for _, text := range v.Problems {
		prefix := "✗ "
		if !answered {
			prefix += machine.Address.String() + ": "
		}
		rows = append(rows, m.wrapped(m.styles.bad, prefix, text)...)
	}
	for _, text := range v.Warnings {
		rows = append(rows, m.wrapped(lipgloss.Style{}, "! ", text)...)
	}
	return rows
}

// fileRows are the file, below what is wrong with it.
func (m *wizardModel) fileRows() (rows []wizardRow) {
	for _, text := range m.state.Refused() {
		rows = append(rows, m.wrapped(m.styles.bad, "✗ ", "nucspark up would refuse: "+text)...)
	}
	if _, diags := m.state.Check(); len(diags) > 0 {
		for _, d := range diags {
			text := d.Summary
			if d.Detail != "" {
				text += ". " + d.Detail
			}
			rows = append(rows, m.wrapped(m.styles.idle, "! ", text)...)
		}
	}
	if len(rows) > 0 {
		rows = append(rows, wizardRow{})
	}
	for line := range strings.Lines(string(m.state.File())) {
		rows = append(rows, wizardRow{text: strings.TrimRight(line, "\n")})
	}
	return rows
}
