package host

import "strings"

// Quote returns s as one word of a POSIX shell: in single quotes, with every
// single quote of s written as '\”. Nothing inside is special to the shell,
// a newline included.
//
// No argument of a process can contain a NUL. Quote leaves it in place, and
// Run refuses a script that contains one, so it is an error and never a
// truncated value.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// encodeScript writes a script as one line of printable ASCII that
// printf '%b' of a POSIX shell turns back into the script.
func encodeScript(script string) string {
	const octal = "01234567"
	var b strings.Builder
	b.Grow(len(script) + len(script)/16 + 1)
	for i := range len(script) {
		switch c := script[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c == '\n':
			b.WriteString(`\n`)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		default:
			b.WriteString(`\0`)
			b.WriteByte(octal[c>>6])
			b.WriteByte(octal[c>>3&7])
			b.WriteByte(octal[c&7])
		}
	}
	b.WriteByte('\n')
	return b.String()
}
