package host

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// shells are the ones that quoting is held against. Both are on every Debian
// and Ubuntu, so a missing one fails the test.
var shells = []string{"dash", "bash"}

func allBytes() string {
	var b strings.Builder
	for c := 1; c < 256; c++ {
		b.WriteByte(byte(c))
	}
	return b.String()
}

func quoteSeeds(f *testing.F) {
	for _, s := range []string{"", "a b", "'", `'\''`, `\`, `\'`, "$(id)`id`${IFS}", "a\nb\n\n", "-n", "!!", "\x81\x82\x88", "é\xff", "*?[a]~", "a'b\"c\\", allBytes()} {
		f.Add(s)
	}
}

func FuzzQuote(f *testing.F) {
	quoteSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.IndexByte(s, 0) >= 0 {
			return // see Quote: no shell can be given one
		}
		for _, shell := range shells {
			out, err := exec.Command(shell, "-c", "printf '%s|%s' "+Quote(s)+" "+Quote(s)).Output()
			if err != nil {
				t.Fatalf("%s: %v", shell, err)
			}
			if want := s + "|" + s; string(out) != want {
				t.Fatalf("%s: got %q, want %q", shell, out, want)
			}
		}
	})
}

// FuzzBootstrap sends a value in a script through the bootstrap itself.
func FuzzBootstrap(f *testing.F) {
	quoteSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.IndexByte(s, 0) >= 0 {
			return
		}
		for _, shell := range shells {
			cmd := exec.Command(shell, "-c", bootstrap, "MARK")
			cmd.Stdin = strings.NewReader(encodeScript("printf '%s' "+Quote(s)+"\ncat") + "rest of stdin\n")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", shell, err)
			}
			_, after, _ := strings.Cut(string(out), "\nMARK ")
			_, got, _ := strings.Cut(after, "\n")
			if want := s + "rest of stdin\n"; got != want {
				t.Fatalf("%s: got %q, want %q", shell, got, want)
			}
		}
	})
}

// A script that arrives in part must not run in part.
func TestBootstrapNeedsTheWholeScript(t *testing.T) {
	for _, shell := range shells {
		cmd := exec.Command(shell, "-c", bootstrap, "MARK")
		cmd.Stdin = strings.NewReader("echo ran")
		out, err := cmd.Output()
		if strings.Contains(string(out), "ran") || cmd.ProcessState.ExitCode() != 125 {
			t.Errorf("%s: %q, %v", shell, out, err)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                       "plain",
		"a\tb":                        "a b",
		"\x1b[31mred\x1b[0m":          "red",
		"\x1b]0;title\x07text":        "text",
		"\x1b]8;;http://x\x1b\\link":  "link",
		"\x1b]0;never ends":           "0;never ends",
		"\x1bPq#1\x1b\\after":         "after",
		"\u009b2Jgone":                "gone",
		"\u009d0;t\u009cx":            "x",
		"\x1b(Bascii":                 "ascii",
		"\x1bcreset":                  "reset",
		"bell\x07 back\x08 nul\x00":   "bell back nul",
		"bad \xff\xfe utf8":           "bad  utf8",
		"a\u202eb\u2066c\u200bd":      "abcd",
		"Grüße, 世界 ✓":                 "Grüße, 世界 ✓",
		"\x1b":                        "",
		"\x1b[":                       "",
		"\x1b[12\nx":                  " x",
		"line\u2028sep":               "line sep",
		"\x1b[?25l\x1b[38;5;1mx\x1b7": "x",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;x\x07\xc2\x9b1m")
	f.Add(allBytes())
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Fatalf("invalid UTF-8: %q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Fatalf("Clean(%q) keeps %U", s, r)
			}
		}
		if again := Clean(got); again != got {
			t.Fatalf("Clean(%q) is %q, and cleaned again %q", s, got, again)
		}
	})
}

func TestLineCutter(t *testing.T) {
	var got []string
	l := lineCutter{emit: func(s string) { got = append(got, s) }}
	for _, part := range []string{"one\ntw", "o\r\n10%\r20%", "\n\n" + strings.Repeat("x", 3*maxLine) + "\nend"} {
		l.Write([]byte(part))
	}
	l.flush()
	want := []string{"one", "two", "10%", "20%", strings.Repeat("x", maxLine) + " …", "end"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}
