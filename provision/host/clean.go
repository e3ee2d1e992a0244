package host

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s as it may be shown on a terminal: without escape sequences,
// control characters, invisible formatting characters (which can reverse the
// direction of the text) and invalid UTF-8. Tabs, newlines and other white
// space become single spaces of their own.
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0x1b, r >= 0x80 && r < 0xa0:
			i += escapeLen(s[i:])
			continue
		case r == utf8.RuneError && n == 1:
		case r == '\t', r == '\n', r == '\r', r == '\v', r == '\f', r == 0x2028, r == 0x2029:
			b.WriteByte(' ')
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r):
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// escapeLen returns the length of the escape sequence (ECMA-48) that s starts
// with. Of a sequence that does not end in s only the introducer counts, so
// that it cannot hide the text behind it.
func escapeLen(s string) int {
	intro := 2 // ESC and the byte that says what follows
	var kind byte
	if s[0] == 0x1b {
		if len(s) == 1 {
			return 1
		}
		kind = s[1]
	} else { // a C1 control, two bytes in UTF-8, is ESC and a byte in one
		kind = s[1] - 0x40
	}
	rest := s[intro:]
	switch {
	case kind == '[': // CSI: parameters, intermediates, one final byte
		for i := range len(rest) {
			switch c := rest[i]; {
			case c >= 0x40 && c <= 0x7e:
				return intro + i + 1
			case c < 0x20 || c > 0x3f:
				return intro + i
			}
		}
		return len(s)
	case strings.IndexByte("]PX^_", kind) >= 0: // OSC, DCS, SOS, PM, APC: up to BEL or ST
		for i := range len(rest) {
			switch {
			case rest[i] == 0x07:
				return intro + i + 1
			case rest[i] == 0x1b && i+1 < len(rest) && rest[i+1] == '\\',
				rest[i] == 0xc2 && i+1 < len(rest) && rest[i+1] == 0x9c:
				return intro + i + 2
			}
		}
		return intro
	case s[0] != 0x1b:
		return intro
	case kind >= 0x20 && kind <= 0x2f: // intermediates and a final byte, as in ESC ( B
		for i := range len(rest) {
			if c := rest[i]; c < 0x20 || c > 0x2f {
				if c >= 0x30 && c <= 0x7e {
					return intro + i + 1
				}
				return intro + i
			}
		}
		return len(s)
	case kind >= 0x30 && kind <= 0x7e:
		return intro
	}
	return 1
}

// Bounds of one line that is shown: remote output may have no newline at all.
const maxLine = 4096 // bytes, before cleaning

// lineCutter cuts a stream into cleaned lines, at newlines and carriage
// returns. Of a line longer than maxLine the rest is dropped. Empty lines are
// not emitted.
type lineCutter struct {
	buf  []byte
	over bool
	emit func(string)
}

func (l *lineCutter) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n' || c == '\r':
			l.flush()
		case len(l.buf) < maxLine:
			l.buf = append(l.buf, c)
		default:
			l.over = true
		}
	}
	return len(p), nil
}

func (l *lineCutter) flush() {
	line := strings.TrimRight(Clean(string(l.buf)), " ")
	if l.over {
		line += " …"
	}
	l.buf, l.over = l.buf[:0], false
	if line != "" {
		l.emit(line)
	}
}
