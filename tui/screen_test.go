package tui

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"nucspark.io/nucspark/provision"
)

// press presses keys, as Bubble Tea names them.
func press(m *model, keys ...string) {
	for _, k := range keys {
		m.Update(keyNamed(k))
	}
}

// chosenRow is the row with the mark.
func chosenRow(t *testing.T, m *model) string {
	t.Helper()
	for _, l := range strings.Split(m.View(), "\n") {
		if rest, ok := strings.CutPrefix(l, "› "); ok {
			return rest
		}
	}
	return ""
}

func last(m *model) string {
	lines := strings.Split(m.View(), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func TestListKeys(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 60*time.Second, 80, 50)
	before := m.View()
	if got := chosenRow(t, m); got != "" {
		t.Errorf("a row is chosen before a key was pressed: %q", got)
	}
	for _, c := range []struct{ keys, want string }{
		{"down", "⠏ running  nuc01    kubeadm/init"},
		{"j", "⠏ running  nuc02    nfs/server"},
		{"k", "⠏ running  nuc01    kubeadm/init"},
		{"up", "⠏ running  nuc01    kubeadm/init"},
		{"end", "✓ done     99 steps"},
		{"up", "◌ waiting  cluster  api"},
		{"home", "⠏ running  nuc01    kubeadm/init"},
		{"esc", ""},
		{"G", "✓ done     99 steps"},
	} {
		press(m, c.keys)
		if got := chosenRow(t, m); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s chose %q, want %q", c.keys, got, c.want)
		}
	}
	m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("gjj")}) // pressed at once
	if got := chosenRow(t, m); !strings.HasPrefix(got, "⠏ running  nuc01    hdfs/image") {
		t.Errorf("gjj chose %q", got)
	}
	press(m, "esc", "e")
	if text := m.View(); !strings.Contains(text, "✓ done     nuc01    packages/kubernetes") {
		t.Errorf("e does not show the steps that are done:\n%s", text)
	}
	press(m, "e", "?")
	if text := m.View(); !strings.Contains(text, "again: cancel what runs") || strings.Contains(text, "nuc01") {
		t.Errorf("? does not show the help:\n%s", text)
	}
	press(m, "?", "x")
	if text := m.View(); text != before {
		t.Errorf("the keys did not take back what they did:\n%s", text)
	}
	for key, want := range map[string]string{"q": "The run goes on. Ctrl-C stops it.", "f": "No step has failed.", "r": "No step has failed.", "R": "No step has failed.", "y": "Choose a row first"} {
		if press(m, key); !strings.Contains(m.View(), want) {
			t.Errorf("%s said %q, want %q", key, m.note, want)
		}
	}
}

// The chosen row stays chosen while rows come and go above it.
func TestChosenRowStays(t *testing.T) {
	events := recorded(t, "clean")
	m := modelAt(events, 60*time.Second, 80, 50)
	press(m, "end")
	for m.run.state.Ended.IsZero() {
		i := len(events) - 1
		for ; events[i-1].Time.After(m.now()); i-- {
		}
		now := events[i].Time
		m.now = func() time.Time { return now }
		m.run.state.Apply(events[i])
		if got := chosenRow(t, m); !strings.HasPrefix(got, "✓ done ") {
			t.Fatalf("after event %d the row %q is chosen", i, got)
		}
	}
}

// A list longer than the screen moves with the chosen row.
func TestListScrolls(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 60*time.Second, 80, 10)
	m.expanded = true
	seen := map[string]bool{}
	for range 150 {
		press(m, "down")
		row := chosenRow(t, m)
		if row == "" {
			t.Fatalf("no chosen row on the screen:\n%s", m.View())
		}
		fits(t, m.View(), 80, 10)
		seen[row] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d rows were seen, want all of more than ninety", len(seen))
	}
	if text := m.View(); strings.Contains(text, "more") || strings.Contains(text, "running") {
		t.Errorf("the end of the list:\n%s", text)
	}
}

func TestLogView(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 60*time.Second, 80, 12)
	press(m, "down", "enter")
	text := m.View()
	lines := strings.Split(text, "\n")
	if !strings.HasPrefix(lines[0], "  nuc01/kubeadm/init  ⠏ running  00:08") || !strings.Contains(lines[10], "[kubelet-start] Starting the kubelet") || !strings.HasPrefix(lines[11], "  following") {
		t.Fatalf("the log:\n%s", text)
	}
	state := &m.run.state
	more := func(line string) {
		e := provision.Event{Kind: provision.StepLog, Step: "nuc01/kubeadm/init", Line: line}
		state.Apply(e)
		m.logs.add(e, state.Step(e.Step))
	}
	more("new \x1b[2Jone")
	if text := m.View(); !strings.Contains(text, "  new one\n") {
		t.Errorf("the log does not follow:\n%s", text)
	}
	press(m, "up")
	held := m.View()
	for i := range 50 {
		more(fmt.Sprintf("line %d", i))
	}
	if text := m.View(); text != held {
		t.Errorf("the log moved while somebody read it:\n%s", text)
	}
	press(m, "f")
	if !strings.Contains(m.View(), "line 49") {
		t.Errorf("f does not follow:\n%s", m.View())
	}
	press(m, "g")
	if strings.Contains(m.View(), "line 49") {
		t.Errorf("g does not go to the begin:\n%s", m.View())
	}

	press(m, "/", "L", "I", "N", "X", "backspace", "E", " ", "4", "enter")
	press(m, "n")
	if text := m.View(); !strings.Contains(text, "› line 4\n") || !strings.Contains(last(m), "/LINE 4  1 of 11 lines") {
		t.Errorf("the search:\n%s", text)
	}
	for range 11 {
		press(m, "n")
	}
	if got := last(m); !strings.HasPrefix(got, "/LINE 4  ") {
		t.Errorf("the search says %q", got)
	}
	press(m, "/", "esc", "esc")
	if m.log != nil {
		t.Error("esc does not lead back")
	}
	// Keys of the list are letters while a search is typed.
	press(m, "enter", "/", "q", "r", "?", "y")
	if m.log == nil || m.log.query != "qr?y" || m.help {
		t.Errorf("typed %+v", m.log)
	}
}

func TestLogsAreBounded(t *testing.T) {
	l := logs{}
	st := &provision.StepState{StepSummary: provision.StepSummary{ID: "a/x"}, Status: provision.StatusRunning}
	for i := range 10 * mostKept {
		st.Line = fmt.Sprint(i)
		l.add(provision.Event{Kind: provision.StepLog}, st)
	}
	if n := len(l["a/x"]); n >= 2*mostKept {
		t.Errorf("%d lines are kept", n)
	}
	if got := l.of(st); len(got) != mostKept || got[mostKept-1] != fmt.Sprint(10*mostKept-1) {
		t.Errorf("%d lines, the last is %s", len(got), got[len(got)-1])
	}
}

// In the failed run two steps failed, one row each.
func TestRetryKeys(t *testing.T) {
	m := modelAt(recorded(t, "failed"), 52*time.Second, 100, 40)
	asked := func() []string {
		var ids []string
		for {
			select {
			case id := <-m.retries:
				ids = append(ids, id)
			default:
				return ids
			}
		}
	}
	press(m, "r")
	if got := asked(); got != nil || !strings.Contains(m.note, "f chooses one") {
		t.Errorf("r without a row asked for %q: %s", got, m.note)
	}
	press(m, "f")
	if got := chosenRow(t, m); !strings.HasPrefix(got, "✗ failed   nuc02    packages/kubernetes") {
		t.Errorf("f chose %q", got)
	}
	press(m, "f", "r")
	if got := asked(); !slices.Equal(got, []string{"nuc01/spark/image"}) {
		t.Errorf("r asked for %q", got)
	}
	press(m, "R")
	if got := asked(); !slices.Equal(got, []string{"nuc02/packages/kubernetes", "nuc01/spark/image"}) {
		t.Errorf("R asked for %q", got)
	}
	press(m, "enter", "r")
	if got := asked(); !slices.Equal(got, []string{"nuc01/spark/image"}) || m.log == nil {
		t.Errorf("r in the log asked for %q", got)
	}
	for _, want := range []string{"ctr: failed to resolve image", "command: ctr -n k8s.io images pull", "→ correct the name in the images block"} {
		if text := m.View(); !strings.Contains(text, want) {
			t.Errorf("the log of a failed step does not say %q:\n%s", want, text)
		}
	}
}

// When nothing can go on the run waits for a key, and not for ever.
func TestStuck(t *testing.T) {
	stuck := func() *model {
		m := modelAt(recorded(t, "failed"), 59*time.Second, 100, 40)
		m.run.state.Ended = time.Time{}
		if !m.run.state.Stuck() {
			t.Fatal("the end of the failed run is not stuck")
		}
		return m
	}
	open := func(m *model) bool { return m.retries != nil }

	m := stuck()
	if text := m.View(); !strings.Contains(text, "Nothing else can go on.") || !strings.Contains(text, "ends by itself in 15 minutes") || !strings.Contains(text, "q end the run") {
		t.Errorf("it does not say so:\n%s", text)
	}
	retries := m.retries
	press(m, "q")
	if _, more := <-retries; more || open(m) {
		t.Error("q does not end the run")
	}
	press(m, "R") // must neither panic nor block
	if !strings.Contains(m.note, "the run ends") {
		t.Errorf("R said %q", m.note)
	}

	m = stuck()
	start := m.now()
	for _, c := range []struct {
		after time.Duration
		key   string
		open  bool
	}{{14 * time.Minute, "", true}, {14 * time.Minute, "j", true}, {28 * time.Minute, "", true}, {30 * time.Minute, "", false}} {
		m.now = func() time.Time { return start.Add(c.after) }
		if c.key != "" {
			press(m, c.key)
		}
		if m.Update(tick{}); open(m) != c.open {
			t.Errorf("after %s: open is %v", c.after, open(m))
		}
	}
}

func TestCopySSH(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 60*time.Second, 80, 30)
	var terminal bytes.Buffer
	m.clipboard = &terminal
	m.ssh = func(node string) string { return "ssh nuc@" + node }
	press(m, "down", "down")
	_, cmd := m.Update(keyNamed("y"))
	if cmd == nil || !strings.Contains(m.View(), "ssh nuc@nuc02") {
		t.Fatalf("y said %q", m.note)
	}
	cmd()
	if got, want := terminal.String(), "\x1b]52;c;"+base64.StdEncoding.EncodeToString([]byte("ssh nuc@nuc02"))+"\x07"; got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}
	m.now = func() time.Time { return m.pressed.Add(noteTime + time.Second) }
	if m.Update(tick{}); m.note != "" {
		t.Errorf("after a while it still says %q", m.note)
	}
	m.ssh = func(string) string { return "" }
	if _, cmd := m.Update(keyNamed("y")); cmd != nil || !strings.Contains(m.note, "nuc02") {
		t.Errorf("of a machine that is in no file y said %q", m.note)
	}
}

func TestInterruptKeys(t *testing.T) {
	m := modelAt(recorded(t, "clean"), 60*time.Second, 80, 30)
	pressed := 0
	m.interrupt = func() { pressed++ }
	for _, during := range [][]string{{}, {"down", "enter"}, {"/"}} { // the list, a log, a search
		press(m, during...)
		if _, cmd := m.Update(keyNamed("ctrl+c")); cmd != nil {
			t.Error("ctrl+c ended the screen: the run decides when it is over")
		}
	}
	if pressed != 3 {
		t.Errorf("three ctrl+c interrupted %d times", pressed)
	}
	press(m, "esc", "esc")
	m.said = "Stopping: the running steps are finished, nothing new is started. Ctrl-C again cancels them."
	for _, size := range sizes {
		m.width, m.height = size.width, size.height
		if text := strings.Join(strings.Fields(m.View()), " "); !strings.Contains(text, "nothing new is started. Ctrl-C again cancels them.") {
			t.Errorf("%d×%d does not show what was said:\n%s", size.width, size.height, m.View())
		}
		fits(t, m.View(), size.width, size.height)
	}
	if _, cmd := m.Update(tick{}); cmd == nil {
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
	want := `  lab up  0 %  00:09  1 FAILED  0/3 steps
  ✗ failed   nuc01  kubeadm/init  00:00  the port 6443 is in use
                    → stop what listens there
  ⠋ running  nuc02  image         00:09  ━━━━━━──────  50 %  150.0 MiB of 300.0 MiB  hadoop:3.4.2
  ✗ blocked  nuc02  kubeadm/join         by nuc01/kubeadm/init

  r try again · R all · enter log · ↑↓ choose · f failed · e done · y copy ssh · ctrl+c stop · ? help`
	m := modelAt(events, 9*time.Second, 120, 7)
	now := at.Add(9 * time.Second)
	m.now = func() time.Time { return now.Truncate(time.Second) }
	if got := m.View(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	m.ascii = true
	if got := m.View(); strings.ContainsFunc(got, func(r rune) bool { return r > 0x7e }) || !strings.Contains(got, "x failed   nuc01") || !strings.Contains(got, "######------  50 %") {
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
	for _, r := range string(spinner) + "✗✓◌…·→│›↑↓━─" {
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
