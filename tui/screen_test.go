package tui

import (
	"bytes"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"nucspark.io/nucspark/provision"
)

func key(s string) tea.KeyMsg {
	if s == "ctrl+c" {
		return tea.KeyMsg{Type: tea.KeyCtrlC}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s)}
}

func TestKeys(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 30*time.Second, 80, 30)
	before := m.View()
	shown := "✓ done    nuc03    kubeadm/images        00:25"

	m.Update(key("e"))
	if text := m.View(); !strings.Contains(text, shown) {
		t.Errorf("e does not show the steps that are done:\n%s", text)
	}
	m.Update(key("e"))
	m.Update(key("?"))
	if text := m.View(); !strings.Contains(text, "again: cancel what runs") || strings.Contains(text, "nuc01") {
		t.Errorf("? does not show the help:\n%s", text)
	}
	m.Update(key("?"))
	m.Update(key("x"))
	if text := m.View(); text != before {
		t.Errorf("the keys did not take back what they did:\n%s", text)
	}

	pressed := 0
	m.interrupt = func() { pressed++ }
	for range 2 {
		if _, cmd := m.Update(key("ctrl+c")); cmd != nil {
			t.Error("ctrl+c ended the screen: the run decides when it is over")
		}
	}
	if pressed != 2 {
		t.Errorf("two ctrl+c interrupted %d times", pressed)
	}
	m.note = "Stopping: the running steps are finished."
	if lines := strings.Split(m.View(), "\n"); lines[len(lines)-1] != m.note {
		t.Errorf("the last line is not what was said: %q", lines[len(lines)-1])
	}

	m.Update(tea.WindowSizeMsg{Width: 33, Height: 5})
	fits(t, m.View(), 33, 5)
	if _, cmd := m.Update(tick(time.Now())); cmd == nil {
		t.Error("after a tick nothing draws again")
	}
}

func TestFailureOnScreen(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	events := []provision.Event{
		{Kind: provision.RunStarted, Run: "r", Time: at, Steps: []provision.StepSummary{
			{ID: "nuc01/kubeadm/init", Node: "nuc01", Changes: 1}, {ID: "nuc02/image", Node: "nuc02", Changes: 1},
			{ID: "nuc02/kubeadm/join", Node: "nuc02", Needs: []string{"nuc01/kubeadm/init"}, Changes: 1}}},
		{Kind: provision.StepStarted, Step: "nuc01/kubeadm/init", Time: at},
		{Kind: provision.StepStarted, Step: "nuc02/image", Time: at},
		{Kind: provision.StepProgress, Step: "nuc02/image", Done: 150 << 20, Total: 300 << 20, Unit: "bytes", Line: "hadoop:3.4.2", Time: at},
		{Kind: provision.StepFailed, Step: "nuc01/kubeadm/init", Time: at, Error: &provision.Failure{
			Message: "nuc01/kubeadm/init: the port 6443\nis in use", Hint: "stop what listens there"}},
	}
	want := `lab up  00:09  1 FAILED  0/2 nodes  0/3 steps
✗ failed  nuc01  kubeadm/init  00:00  the port 6443 is in use
                 → stop what listens there
⠋ running nuc02  image         00:09  50 %  150.0 MiB of 300.0 MiB  hadoop:3.4.2
✗ blocked nuc02  0/2 steps, by nuc01/kubeadm/init

ctrl+c stop · e done steps · ? help`
	m := modelAt(events, 9*time.Second, 120, 7)
	m.now = func() time.Time { return at.Add(9 * time.Second).Truncate(time.Second) }
	if got := m.View(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	m.ascii = true
	if got := m.View(); strings.ContainsFunc(got, func(r rune) bool { return r > 0x7e }) || !strings.Contains(got, "x failed  nuc01") {
		t.Errorf("in ASCII:\n%s", got)
	}
}

func TestNoColor(t *testing.T) {
	t.Setenv("CLICOLOR_FORCE", "1") // a test writes to no terminal
	t.Setenv("TERM", "xterm-256color")
	for noColor, coloured := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColor)
		m := modelAt(recorded(t, "failed"), 10*time.Second, 80, 24)
		if got := strings.Contains(m.View(), "\x1b["); got != coloured {
			t.Errorf("NO_COLOR=%q: coloured %v, want %v", noColor, got, coloured)
		}
	}
}

func TestLocale(t *testing.T) {
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false},
		{"", "", "C", false},
		{"", "", "en_GB.UTF-8", true},
		{"", "C.utf8", "C", true},
		{"POSIX", "en_GB.UTF-8", "en_GB.UTF-8", false},
	} {
		t.Setenv("LC_ALL", c.all)
		t.Setenv("LC_CTYPE", c.ctype)
		t.Setenv("LANG", c.lang)
		if got := utf8Locale(); got != c.want {
			t.Errorf("LC_ALL=%q LC_CTYPE=%q LANG=%q: %v, want %v", c.all, c.ctype, c.lang, got, c.want)
		}
	}
}

func TestEveryGlyphHasAnASCIIForm(t *testing.T) {
	for _, r := range spinner {
		if asciiGlyphs[r] == 0 {
			t.Errorf("%c has none", r)
		}
	}
	if got := ascii("✗ “café”"); got != "x ?caf??" {
		t.Errorf("got %q", got)
	}
}

func TestScreenNeedsATerminal(t *testing.T) {
	if _, err := New(Screen, Options{In: strings.NewReader(""), Err: &bytes.Buffer{}, Log: &bytes.Buffer{}}); err == nil {
		t.Error("a screen on no terminal")
	}
}
