package support

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nucspark.io/nucspark/provision/host"
)

const hidden = "(sensitive)"

const (
	// A longer text of a secret is looked for by all its parts of this many
	// bytes, so that halves of it, and such as are quoted in an odd way, are
	// found too.
	part = 12
	// A shorter text is found everywhere by chance.
	shortest = 4
)

// Redactor takes secrets out of text. Its zero value knows none, and goes by
// their looks alone.
type Redactor struct {
	parts map[string]bool // of long texts; whether it is one in base64
	whole map[string]bool // short texts; the same
	home  *regexp.Regexp  // directory of the user, nil where it says nothing of them
	// TooShort counts the values that are so short that they are not looked for.
	TooShort int
}

// NewRedactor looks for each of the secrets: as it is, as JSON, Go, a shell or a
// URL quotes it, in hexadecimal, and in base64 wherever it stands in the encoded
// text; with line breaks in it. home becomes "~".
func NewRedactor(home string, secrets ...string) *Redactor {
	r := &Redactor{parts: map[string]bool{}, whole: map[string]bool{}}
	if home = filepath.Clean(home); filepath.IsAbs(home) && home != "/" && home != "/root" {
		r.home = regexp.MustCompile(regexp.QuoteMeta(home) + `\b`)
	}
	secrets = slices.Clone(secrets)
	slices.Sort(secrets)
	for _, s := range slices.Compact(secrets) {
		s = strings.TrimSpace(s)
		if len(squeeze([]byte(s)).flat) < shortest {
			if s != "" {
				r.TooShort++
			}
			continue
		}
		for _, form := range written(s) {
			r.learn(form, false)
		}
		for _, form := range inBase64(s) {
			r.learn(form, true)
		}
	}
	return r
}

func (r *Redactor) learn(form string, encoded bool) {
	flat := squeeze([]byte(form)).flat
	switch {
	case len(flat) < shortest:
	case len(flat) < part:
		r.whole[string(flat)] = encoded
	default:
		for i := 0; i+part <= len(flat); i++ {
			r.parts[string(flat[i:i+part])] = encoded
		}
	}
}

// written are the ways in which programs write a text, but for the backslashes
// that squeeze leaves out.
func written(s string) []string {
	quoted := strconv.Quote(s)
	return []string{s, host.Clean(s), quoted[1 : len(quoted)-1], url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString([]byte(s)),
		strings.ReplaceAll(s, "'", `'\''`), strings.ReplaceAll(s, "'", `'"'"'`), strings.ReplaceAll(s, "$", "$$")}
}

// inBase64 is what of the encoded text is the same whatever stands before and
// behind s: three bytes become four characters, so s may begin at three places.
func inBase64(s string) []string {
	var all []string
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), s...))
		from := (before*8 + 5) / 6      // characters with bits of what is before
		to := (before + len(s)) * 8 / 6 // without the last one, if that is not whole
		if from < to {
			core := text[from:to]
			all = append(all, core, strings.NewReplacer("+", "-", "/", "_").Replace(core))
		}
	}
	return all
}

// squeezed is a text without white space, and without the backslashes by which
// JSON in whatever depth, Go and shells quote: text is wrapped anywhere, and
// quoted again and again.
type squeezed struct {
	flat     []byte
	from, to []int32 // the place in the text of each byte that is left, with its backslashes
}

func squeeze(b []byte) squeezed {
	s := squeezed{make([]byte, 0, len(b)), make([]int32, 0, len(b)), make([]int32, 0, len(b))}
	for i := 0; i < len(b); {
		from := i
		for i < len(b) && b[i] == '\\' {
			i++
		}
		if i == len(b) {
			break
		}
		c, escaped := b[i], i > from
		i++
		switch {
		case c == ' ', c == '\t', c == '\n', c == '\r', escaped && (c == 'n' || c == 'r' || c == 't'):
			continue
		case escaped && c == 'u' && i+4 <= len(b):
			if code, err := strconv.ParseUint(string(b[i:i+4]), 16, 16); err == nil && code > ' ' && code < 0x7f {
				c, i = byte(code), i+4
			}
		}
		s.flat, s.from, s.to = append(s.flat, c), append(s.from, int32(from)), append(s.to, int32(i))
	}
	return s
}

// Redact returns text without secrets.
func (r *Redactor) Redact(text []byte) []byte {
	text = r.known(text)
	small := bytes.ToLower(text)
	for _, l := range looks {
		if slices.ContainsFunc(l.holds, func(h string) bool { return bytes.Contains(small, []byte(h)) }) {
			text = l.form.ReplaceAllFunc(text, l.hide)
		}
	}
	if r.home != nil {
		text = r.home.ReplaceAll(text, []byte("~"))
	}
	return text
}

// known takes out the values that the redactor was told.
func (r *Redactor) known(text []byte) []byte {
	s := squeeze(text)
	bad := make([]bool, len(s.flat))
	found := false
	mark := func(from, to int, encoded bool) {
		found = true
		if encoded { // the whole word, since what is beside it belongs to it
			for from > 0 && isBase64(s.flat[from-1]) && s.from[from] == s.to[from-1] {
				from--
			}
			for to < len(s.flat) && isBase64(s.flat[to]) && s.from[to] == s.to[to-1] {
				to++
			}
		}
		for i := from; i < to; i++ {
			bad[i] = true
		}
	}
	for i := 0; i+part <= len(s.flat); i++ {
		if encoded, ok := r.parts[string(s.flat[i:i+part])]; ok {
			mark(i, i+part, encoded)
		}
	}
	for form, encoded := range r.whole {
		for from := 0; ; {
			i := bytes.Index(s.flat[from:], []byte(form))
			if i < 0 {
				break
			}
			mark(from+i, from+i+len(form), encoded)
			from += i + 1
		}
	}
	if !found {
		return text
	}
	var out []byte
	next := int32(0) // of text
	for i := 0; i < len(bad); {
		if !bad[i] {
			i++
			continue
		}
		from := s.from[i]
		for i < len(bad) && bad[i] {
			i++
		}
		out = append(append(out, text[next:from]...), hidden...)
		next = s.to[i-1]
		if bytes.IndexByte(text[from:next], '\n') >= 0 && int(next) < len(text) && text[next] != '\n' {
			out = append(out, '\n')
		}
	}
	return append(out, text[next:]...)
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}

// look is the look of secrets that nobody told.
type look struct {
	holds []string // a text that has none of them, in small letters, is not searched
	form  *regexp.Regexp
	hide  func(match []byte) []byte
}

// all hides what was found, but for its first submatch.
func all(holds, form string) look {
	re := regexp.MustCompile(form)
	return look{[]string{holds}, re, func(m []byte) []byte {
		keep := re.FindSubmatch(m)
		if len(keep) < 2 {
			return []byte(hidden)
		}
		return append(append([]byte{}, keep[1]...), hidden...)
	}}
}

// What keys and tokens look like. A line break may be written \n.
const br = `(?:\s|\\+n|\\+r)`

// word is text up to a blank or a quote. The backslash before a quote, and one
// that stands for white space, is no part of it.
const word = `(?:[^\s"'\\]|\\+[^\s"'\\nrt])+`

var looks = []look{
	all("private key", `-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)-----END [A-Z ]*PRIVATE KEY-----`),
	all("private key", `-----BEGIN [A-Z ]*PRIVATE KEY-----(?:`+br+`|[A-Za-z0-9+/=:,-])*`), // its end was cut off
	all("private key", `(?:[A-Za-z0-9+/]{16,}`+br+`+)*[A-Za-z0-9+/]*=*`+br+`*-----END [A-Z ]*PRIVATE KEY-----`),
	// "-----BEGIN" and "PRIVATE KEY" in base64.
	all("ls0tls1crudjti", `LS0tLS1CRUdJTi[A-Za-z0-9+/]{0,40}?(?:UFJJVkFURSBLRV|BSSVZBVEUgS0VZ|QUklWQVRFIEtFW)[A-Za-z0-9+/]*=*`),
	all("bearer", `(?i)(\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*`),
	all("authorization", `(?i)(\bauthorization\\*["']?[ \t]*[:=][ \t]*\\*["']?(?:bearer|basic)\s+)`+word),
	all("eyj", `\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?`), // JSON Web Token (RFC 7519)
	all(".", `\b[a-z0-9]{6}\.[a-z0-9]{16}\b`),                                    // kubeadm's tokens
	all("://", `(://[^\s/:@"'\\]*:)[^\s/@"'\\]+@`),
	{words, flagForm, hideFlag},
	{words, namedForm, hideNamed},
}

// words are in the names of what is secret. It is Spark's own rule
// (spark.redaction.regex), with a few more.
var words = []string{"password", "passwd", "passphrase", "secret", "token", "access", "client-key-data", `"auth`}

// Values whose name says that they are secret, whatever writes them: arguments,
// JSON, YAML, a file of properties, the environment.
var (
	flagForm  = regexp.MustCompile(`(?im)((?:^|\s)--?(?:password|passwd|passphrase|secret|token)[ =])` + word)
	namedForm = regexp.MustCompile(`(?i)([\w.-]*(?:password|passwd|passphrase|secret|token|access[._-]?key|client-key-data|"auth)\\*["']?[ \t]*[:=][ \t]*)` +
		`("(?:[^"\\]|\\.)*"|\\+"(?:[^"\\]|\\+[^"\\])*\\+"|'[^']*'|\\*["']` + word + `|(?:[^\s"'\\,;}\]]|\\+[^\s"'\\nrt])+)`)
)

func hideFlag(m []byte) []byte {
	return append(append([]byte{}, flagForm.FindSubmatch(m)[1]...), hidden...)
}

// hideNamed leaves what is no text as it is, so that JSON stays what it is.
func hideNamed(m []byte) []byte {
	sub := namedForm.FindSubmatch(m)
	value := string(sub[2])
	bare := strings.Trim(value, `\"'`)
	_, err := strconv.ParseFloat(value, 64)
	switch {
	case bare == "", bare == "true", bare == "false", bare == "null", bare == hidden, value[0] == '{', value[0] == '[', err == nil && len(value) < shortest:
		return m
	}
	quote := value[:len(value)-len(strings.TrimLeft(value, `\"'`))]
	return append(append([]byte{}, sub[1]...), quote+hidden+quote...)
}
