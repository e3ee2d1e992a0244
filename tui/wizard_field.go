package tui

import (
	"slices"
	"strings"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/wizard"
)

// field is a line that is being typed.
type field struct {
	runes  []rune
	at     int // the cursor stands before this one
	hidden bool
}

func newField(text string, hidden bool) *field {
	r := []rune(text)
	return &field{runes: r, at: len(r), hidden: hidden}
}

func (f *field) text() string { return string(f.runes) }

func (f *field) key(k tea.KeyMsg) {
	switch k.String() {
	case "left", "ctrl+b":
		f.at = max(0, f.at-1)
	case "right", "ctrl+f":
		f.at = min(len(f.runes), f.at+1)
	case "home", "ctrl+a":
		f.at = 0
	case "end", "ctrl+e":
		f.at = len(f.runes)
	case "ctrl+u":
		f.runes, f.at = slices.Delete(f.runes, 0, f.at), 0
	case "ctrl+k":
		f.runes = f.runes[:f.at]
	case "backspace":
		if f.at > 0 {
			f.runes, f.at = slices.Delete(f.runes, f.at-1, f.at), f.at-1
		}
	case "delete":
		if f.at < len(f.runes) {
			f.runes = slices.Delete(f.runes, f.at, f.at+1)
		}
	default:
		if k.Type != tea.KeyRunes && k.Type != tea.KeySpace || k.Alt {
			return
		}
		// What is pasted may have line ends.
		typed := slices.DeleteFunc(slices.Clone(k.Runes), func(r rune) bool { return !unicode.IsPrint(r) })
		f.runes = slices.Insert(f.runes, f.at, typed...)
		f.at += len(typed)
	}
}

// draw is the line with its cursor, no wider than width cells.
func (f *field) draw(width int) string {
	shown := f.runes
	if f.hidden {
		shown = []rune(strings.Repeat("*", len(f.runes)))
	}
	line := string(shown[:f.at]) + "_" + string(shown[f.at:])
	// The cursor stays in sight.
	if over := ansi.StringWidth(string(shown[:f.at])) + 1 - width; over > 0 {
		line = ansi.TruncateLeft(line, over, "")
	}
	return ansi.Truncate(line, max(0, width), "")
}

// fieldRow is one value that can be changed.
type fieldRow struct {
	key, label, section, text string
	source                    wizard.Source
	hidden                    bool   // a password
	about                     string // what it is, where the label does not say it
}

// Keys of what the state keeps apart from answers: it is never shown.
const (
	keyPassphrase   = "passphrase"
	keySudoPassword = "sudo_password"
)

// fields are the values of the page.
func (m *wizardModel) fields() []fieldRow {
	s := m.state
	row := func(key, label, about string) fieldRow {
		return fieldRow{key: key, label: label, text: s.Text(key), source: s.From(key), about: about}
	}
	secret := func(key, label, about string, v inventory.Secret) fieldRow {
		r := fieldRow{key: key, label: label, text: v.Reveal(), about: about, hidden: true, source: wizard.Proposed}
		if r.text != "" {
			r.source = wizard.Yours
		}
		return r
	}
	switch s.Page {
	case wizard.Range:
		return []fieldRow{row(wizard.KeyRange, "addresses", `such as "192.168.1.0/24" or "192.168.1.11-13, 192.168.1.20"`)}
	case wizard.Login:
		return []fieldRow{
			row(wizard.KeyUser, "user", "the account on all machines; it must be allowed to use sudo"),
			row(wizard.KeyPrivateKey, "private key", "a file; empty: the agent, then ~/.ssh/id_ed25519, id_ecdsa, id_rsa"),
			secret(keyPassphrase, "its passphrase", "only for a key that has one and is not in the agent", s.Passphrase),
			secret(keySudoPassword, "sudo password", "only where sudo asks for one; it does not go into the file", s.SudoPassword),
		}
	case wizard.Values:
		var rows []fieldRow
		for _, v := range s.Values() {
			rows = append(rows, fieldRow{key: v.Key, label: v.Label, section: v.Section, text: v.Text, source: v.Source})
		}
		return rows
	}
	return nil
}

// field is that of the row.
func (m *wizardModel) field() (fieldRow, bool) {
	rows := m.fields()
	if m.cursor >= len(rows) {
		return fieldRow{}, false
	}
	return rows[m.cursor], true
}
