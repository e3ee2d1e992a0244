package tui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"nucspark.io/nucspark/provision"
)

// FuzzScreen takes any events, one a line, whoever wrote them, and any keys:
// what is drawn steers no terminal, fits, and says nothing but text.
func FuzzScreen(f *testing.F) {
	for _, run := range []string{"clean", "failed", "down"} {
		var lines bytes.Buffer
		for i, e := range recorded(f, run) {
			if i%9 == 0 || e.Kind == provision.StepFailed {
				if err := json.NewEncoder(&lines).Encode(e); err != nil {
					f.Fatal(err)
				}
			}
		}
		f.Add(lines.Bytes(), "jj\rG/a\rnN", 100, 30)
	}
	f.Add([]byte(`{"kind":"run-started","run":"\u001b[2J","steps":[{"id":"a\u001b]0;x\u0007/b","node":"a\u009b","changes":1},{"id":"c","needs":["c"]}]}
{"kind":"step-failed","step":"a\u001b]0;x\u0007/b","error":{"message":"\u001b[31m\n\rno","command":"\u001bc","tail":["\u202etxt\u0008"],"hint":"\u001b[?1049l"}}
{"kind":"step-progress","step":"c","done":-5,"total":1,"unit":"\u001b[H","line":"一二三\u001b[1;1H"}
{"kind":"step-reopened","step":"c"}
{"kind":"step-blocked","step":"c","line":"\u001b[3J"}`), "j\rrRfy?", 40, 12)
	f.Fuzz(func(t *testing.T, lines []byte, keys string, width, height int) {
		if width < 1 || height < 1 || width > 300 || height > 100 || len(keys) > 50 {
			return
		}
		m := modelAt([]provision.Event{{Time: begin}}, 0, width, height)
		m.ssh = func(node string) string { return "ssh " + node }
		for line := range bytes.Lines(lines) {
			var e provision.Event
			if json.Unmarshal(line, &e) != nil {
				continue
			}
			m.run.state.Apply(e)
			if st := m.run.state.Step(e.Step); st != nil {
				m.logs.add(e, st)
			}
		}
		check := func() { harmless(t, m.View(), width, height) }
		check()
		for _, k := range keys {
			name := map[rune]string{'\r': "enter", 0x1b: "esc", '^': "up"}[k]
			if name == "" {
				name = string(k)
			}
			if k == ' ' || !unicode.IsPrint(k) && name == string(k) {
				continue
			}
			m.Update(keyNamed(name))
			check()
		}
		for _, mode := range []Mode{Plain, Quiet} {
			var text bytes.Buffer
			d, err := New(mode, Options{In: strings.NewReader(""), Err: &text, Log: &bytes.Buffer{}})
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(lines) {
				var e provision.Event
				if json.Unmarshal(line, &e) == nil {
					e.Time = begin.Add(time.Second)
					d.Event(e)
				}
			}
			d.Close()
			if strings.ContainsFunc(text.String(), func(r rune) bool { return r != '\n' && unicode.Is(unicode.Cc, r) }) {
				t.Fatalf("%s: %q", mode, text.String())
			}
		}
	})
}

// harmless checks that a screen fits, and that no rune on it steers a terminal.
func harmless(t *testing.T, text string, width, height int) {
	t.Helper()
	fits(t, text, width, height)
	for _, r := range text {
		if r != '\n' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)) {
			t.Fatalf("%U on the screen: %q", r, text)
		}
	}
}
