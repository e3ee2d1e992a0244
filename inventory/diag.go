package inventory

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rivo/uniseg"
)

// Severity of a diagnostic: "error" or "warning".
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one thing that is wrong with an inventory, or worth a word.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`          // one line: what is wrong
	Detail   string   `json:"detail,omitempty"` // what to do about it
	In       string   `json:"in,omitempty"`     // the block: "node nuc02"
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`   // from 1; 0 where no place can be named
	Column   int      `json:"column,omitempty"` // from 1, in characters

	offset                 int // in the file, for the order
	before, subject, after string
}

// Diagnostics is everything that was found, in the order of the file. As an
// error it prints all of it, with snippets.
type Diagnostics []Diagnostic

// HasErrors tells whether there is more than warnings.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

func (ds Diagnostics) Error() string {
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = d.String()
	}
	return strings.Join(texts, "\n")
}

// String gives the diagnostic as a person reads it, in several lines.
func (d Diagnostic) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Severity, d.Summary)
	fmt.Fprintf(&b, "  on %s", d.File)
	if d.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", d.Line, d.Column)
	}
	if d.In != "" {
		fmt.Fprintf(&b, ", in %s", d.In)
	}
	b.WriteByte('\n')
	if line := d.before + d.subject + d.after; strings.TrimSpace(line) != "" {
		number := strconv.Itoa(d.Line)
		fmt.Fprintf(&b, "  %s | %s\n", number, line)
		fmt.Fprintf(&b, "  %s | %s%s\n", strings.Repeat(" ", len(number)), blank(d.before),
			strings.Repeat("^", max(1, uniseg.StringWidth(d.subject))))
	}
	if d.Detail != "" {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(d.Detail, "\n", "\n  "))
	}
	return b.String()
}

// blank is as wide as s on a terminal.
func blank(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "\t") {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(strings.Repeat(" ", uniseg.StringWidth(part)))
	}
	return b.String()
}

// sortDiagnostics puts them in the order of the file and drops repetitions.
func sortDiagnostics(ds Diagnostics) Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int { return cmp.Compare(a.offset, b.offset) })
	return slices.Compact(ds)
}

// diagnose makes a diagnostic for a place in the source, with its snippet.
// Where hide is set nothing of the subject is shown.
func diagnose(src []byte, rng hcl.Range, hide bool) Diagnostic {
	d := Diagnostic{Severity: Error, File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column, offset: rng.Start.Byte}
	start := min(max(rng.Start.Byte, 0), len(src))
	end := min(max(rng.End.Byte, start), len(src))
	first := strings.LastIndexByte(string(src[:start]), '\n') + 1
	last := len(src)
	if i := strings.IndexByte(string(src[start:]), '\n'); i >= 0 {
		last = start + i
	}
	end = min(end, last)
	line := string(src[first:last])
	hidden := secrets(line)
	if hide {
		for i := range hidden {
			hidden[i] = span{min(hidden[i].from, start-first), min(hidden[i].to, start-first)}
		}
		hidden = append(hidden, span{start - first, len(line)})
	}
	d.before = shortenLeft(show(line, 0, start-first, hidden))
	d.subject = shortenRight(show(line, start-first, end-first, hidden))
	d.after = shortenRight(show(line, end-first, len(line), hidden))
	return d
}

// secretValue finds the values of password attributes in a line of HCL or JSON,
// and passwords in URLs.
var secretValue = regexp.MustCompile(`(?i)password\w*"?\s*[=:]\s*("(?:\\.|[^"\\])*"?|[^\s}]+)|://[^/\s"@]*?:([^/\s"]+)@`)

// span is a part of a line, in bytes.
type span struct{ from, to int }

// secrets gives the parts of a line that a snippet must not show.
func secrets(line string) []span {
	var found []span
	for _, m := range secretValue.FindAllStringSubmatchIndex(line, -1) {
		s := span{m[2], m[3]}
		if s.from < 0 {
			s = span{m[4], m[5]}
		}
		if !strings.HasPrefix(line[s.from:], "var.") {
			found = append(found, s)
		}
	}
	return found
}

// show gives line[from:to] with control characters made visible and the hidden
// parts left out.
func show(line string, from, to int, hidden []span) string {
	var b strings.Builder
	at := from
	for _, h := range hidden {
		if h.to <= at || h.from >= to {
			continue
		}
		b.WriteString(visible(line[at:max(at, h.from)]))
		if h.from >= from {
			b.WriteString(sensitive)
		}
		at = min(h.to, to)
	}
	b.WriteString(visible(line[at:to]))
	return b.String()
}

// visible replaces what could steer a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		if r == '\r' {
			return -1
		}
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

const snippetWidth = 80 // characters kept on each side of a long line

func shortenLeft(s string) string {
	if r := []rune(s); len(r) > snippetWidth {
		return "…" + string(r[len(r)-snippetWidth:])
	}
	return s
}

func shortenRight(s string) string {
	if r := []rune(s); len(r) > snippetWidth {
		return string(r[:snippetWidth]) + "…"
	}
	return s
}

// report adds a diagnostic.
func (d *decoder) report(s Severity, at place, detail, format string, args ...any) {
	diag := diagnose(d.src, at.rng, at.hide)
	diag.Severity, diag.In, diag.Detail = s, at.in, detail
	diag.Summary = fmt.Sprintf(format, args...)
	d.diags = append(d.diags, diag)
}

// reportHCL adds the diagnostics of the HCL library in our words where it has
// words of its own for what we know better.
func (d *decoder) reportHCL(at place, diags hcl.Diagnostics) {
	for _, h := range diags {
		at := at
		if h.Subject != nil {
			at.rng = *h.Subject
		}
		if at.in == "" {
			at.in = d.context(at.rng)
		}
		summary, detail := strings.TrimSuffix(lowerFirst(visible(h.Summary)), "."), visible(h.Detail)
		if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](h); ok && extra.FunctionCallError() != nil {
			summary, detail = extra.FunctionCallError().Error(), ""
			if p, ok := extra.FunctionCallError().(problem); ok {
				detail = p.detail
			}
		}
		severity := Error
		if h.Severity == hcl.DiagWarning {
			severity = Warning
		}
		d.report(severity, at, detail, "%s", summary)
	}
}

// context names the block around a place, as far as the parser knows it.
func (d *decoder) context(rng hcl.Range) string {
	if d.file == nil {
		return ""
	}
	if nav, ok := d.file.Nav.(interface{ ContextString(int) string }); ok {
		return strings.ReplaceAll(nav.ContextString(rng.Start.Byte), `"`, "")
	}
	return ""
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if next, _ := utf8.DecodeRuneInString(s[n:]); unicode.IsUpper(next) {
		return s // an abbreviation
	}
	return string(unicode.ToLower(r)) + s[n:]
}
