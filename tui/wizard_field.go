package tui

import (
	"slices"
	"strings"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
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
