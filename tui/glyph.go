package tui

import (
	"io"
	"os"
	"strings"
)

// utf8Locale says whether the terminal shows more than ASCII, by the variables
// in the order in which POSIX reads them. None set is the C locale.
func utf8Locale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// spinner turns while something runs. Its frames in ASCII are below.
var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

var asciiGlyphs = map[rune]rune{
	'✗': 'x', '✓': '+', '◌': '.', '…': '~', '·': '|', '→': '>', '│': '|', '›': '>', '↑': '^', '↓': 'v', '━': '#', '─': '-', '°': ' ',
	'⠋': '|', '⠙': '/', '⠹': '-', '⠸': '\\', '⠼': '|', '⠴': '/', '⠦': '-', '⠧': '\\', '⠇': '|', '⠏': '/',
}

// ascii replaces each character that is none by one that is, of the same or a
// smaller width.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 {
			return r
		}
		if g := asciiGlyphs[r]; g != 0 {
			return g
		}
		return '?'
	}, s)
}

// asciiWriter is for text that is written in whole characters.
type asciiWriter struct{ w io.Writer }

func (a asciiWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(a.w, ascii(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
