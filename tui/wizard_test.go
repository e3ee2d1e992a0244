package tui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/wizard"
)

// found is a Finder of the machines that discover's tests recorded.
type found struct {
	machines []discover.Machine
	failed   map[string]error // by address
}

func recordedMachines(t *testing.T) *found {
	t.Helper()
	b, err := os.ReadFile("../discover/testdata/machines.json")
	if err != nil {
		t.Fatal(err)
	}
	f := &found{failed: map[string]error{}}
	if err := json.Unmarshal(b, &f.machines); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *found) Scan(_ context.Context, addresses []netip.Addr, seen func(discover.Seen)) error {
	for _, m := range f.machines {
		seen(m.Seen)
	}
	return nil
}

func (f *found) Ask(_ context.Context, s discover.Seen, _ wizard.As) (discover.Machine, error) {
	if err := f.failed[s.Address.String()]; err != nil {
		return discover.Machine{}, err
	}
	for _, m := range f.machines {
		if m.Address == s.Address {
			return m, nil
		}
	}
	return discover.Machine{}, errors.New("nobody there")
}

// sitting is a person before the wizard: keys go in, and what the program would
// do with commands is done at once.
type sitting struct {
	*testing.T
	m       *wizardModel
	written []byte
	exists  bool
	fails   error // of writing
	ended   bool
}

func sit(t *testing.T, f wizard.Finder) *sitting {
	s := &sitting{T: t}
	state := &wizard.State{Path: "cluster.hcl", Supported: func(os, version, _ string) error {
		if os+version == "debian11" {
			return errors.New("the system is too old")
		}
		return nil
	}}
	state.Local.Range = "192.168.1.0/24"
	s.m = newWizard(context.Background(), WizardOptions{State: state, Finder: f, Exists: func() bool { return s.exists }, Write: func(b []byte) error {
		if s.fails == nil {
			s.written = b
		}
		return s.fails
	}})
	s.m.styles, s.m.width, s.m.height = newWizardStyles(io.Discard), 100, 80
	s.m.now = func() time.Time { return time.Unix(0, 0) }
	return s
}

// do carries a command out, until nothing more comes.
func (s *sitting) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil, spinMsg:
	case tea.BatchMsg:
		for _, c := range msg {
			s.do(c)
		}
	case tea.QuitMsg:
		s.ended = true
	default:
		_, next := s.m.Update(msg)
		s.do(next)
	}
}

var wizardKeys = map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "up": tea.KeyUp, "down": tea.KeyDown, "home": tea.KeyHome, "end": tea.KeyEnd,
	"space": tea.KeySpace, "ctrl+c": tea.KeyCtrlC, "ctrl+u": tea.KeyCtrlU, "backspace": tea.KeyBackspace, "left": tea.KeyLeft, "delete": tea.KeyDelete, "pgdown": tea.KeyPgDown}

// press presses keys; what is no name of a key is typed.
func (s *sitting) press(keys ...string) {
	s.Helper()
	for _, k := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		if kind, ok := wizardKeys[k]; ok {
			msg = tea.KeyMsg{Type: kind}
			if kind == tea.KeySpace {
				msg.Runes = []rune{' '}
			}
		}
		_, cmd := s.m.Update(msg)
		s.do(cmd)
	}
}

func (s *sitting) shows(words ...string) {
	s.Helper()
	text := s.m.View()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.Errorf("the screen does not show %q:\n%s", w, text)
		}
	}
}

var wizardSizes = []struct{ width, height int }{{40, 12}, {80, 24}, {100, 80}}

// TestWizardScreens compares each page, at several sizes.
func TestWizardScreens(t *testing.T) {
	f := recordedMachines(t)
	f.failed["192.168.1.11"] = errors.New("192.168.1.11 (192.168.1.11:22): log in: ssh: handshake failed: the machine accepted no key and no password of \"ubuntu\": check user, private_key and the agent, or add the key with ssh-copy-id")
	var all strings.Builder
	s := sit(t, f)
	shot := func(name string) {
		for _, size := range wizardSizes {
			s.m.Update(tea.WindowSizeMsg{Width: size.width, Height: size.height})
			text := s.m.View()
			fits(t, text, size.width, size.height)
			fmt.Fprintf(&all, "== %s, %d×%d\n%s\n", name, size.width, size.height, unpadded(text))
		}
	}
	shot("range")
	s.press("up", "enter", "ctrl+u", "192.168.1")
	shot("range is typed")
	s.press("enter")
	shot("no range")
	s.press("esc", "down", "enter")
	shot("found")
	s.press("up")
	shot("found, the last one")
	s.press("down", "enter")
	shot("login")
	s.press("up", "enter", "secret")
	shot("a password is typed")
	s.press("enter")
	shot("a password is set")
	s.press("enter")
	shot("machines")
	s.press("up", "up", "up", "up")
	shot("one machine")
	s.press("end", "up", "space", "end", "enter")
	shot("one that will not do")
	s.press("up", "space", "end", "enter")
	shot("values")
	s.press("home", "down", "down", "enter", "x")
	shot("a value is typed")
	s.press("enter", "end", "enter")
	shot("the file")
	s.press("end")
	shot("its end")
	s.exists = true
	s.press("enter")
	shot("it is there already")
	s.press("y")
	shot("written")
	golden.Check(t, "wizard.golden", all.String())
}

// TestWizardSameFile: with nothing but Enter the file is that of an empty
// preseed.
func TestWizardSameFile(t *testing.T) {
	f := recordedMachines(t)
	s := sit(t, f)
	s.press("enter", "enter", "enter", "enter", "enter")
	if s.m.state.Page != wizard.Review {
		t.Fatalf("five times Enter led to page %d:\n%s", s.m.state.Page, s.m.View())
	}
	s.press("enter", "n")
	other := sit(t, f).m.state
	keys, err := other.Preseed("answers.hcl", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Fill(context.Background(), f, keys, func(discover.Seen) bool { return true }, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.written, other.File()) || len(s.written) == 0 {
		t.Errorf("the screens wrote\n%s\nthe preseed\n%s", s.written, other.File())
	}
	if !s.m.written || s.m.up || !s.ended {
		t.Errorf("written %v, up %v, ended %v", s.m.written, s.m.up, s.ended)
	}
	if _, err := inventory.Parse(filepath.Join(t.TempDir(), "cluster.hcl"), s.written); err != nil {
		t.Error(err)
	}
}

// TestWizardBack goes back from each page, with a value changed on it.
func TestWizardBack(t *testing.T) {
	s := sit(t, recordedMachines(t))
	s.press("esc")
	if s.m.state.Page != wizard.Range {
		t.Error("there is a page before the first")
	}
	s.press("up", "enter", "ctrl+u", "192.168.1.8/29", "enter", "enter")
	s.shows("2/6", "Go on with")
	s.press("home", "space", "end", "enter", "home", "enter", "ctrl+u", "admin", "enter", "end", "enter")
	s.press("enter")
	s.shows("5/6")
	s.press("home", "enter", "ctrl+u", "office", "enter", "end", "enter")
	s.shows("6/6", `cluster "office"`)
	for page := 5; page > 0; page-- {
		s.press("esc")
		s.shows(fmt.Sprintf("%d/6", page))
	}
	s.shows("192.168.1.8/29", "yours")
	s.press("enter", "enter", "enter", "enter", "enter")
	s.shows("6/6", `cluster "office"`, "admin")
	if strings.Contains(s.m.View(), "192.168.1.11") {
		t.Error("the machine that was left out is in the file")
	}
	s.press("esc", "home", "x", "end", "enter")
	s.shows(`cluster "nucs"`)
}

func TestWizardQuestions(t *testing.T) {
	s := sit(t, recordedMachines(t))
	s.exists = true
	s.press("enter", "enter", "enter", "enter", "enter", "enter")
	s.shows("is there already")
	for _, no := range []string{"n", "esc"} {
		s.press(no)
		if s.written != nil || s.m.question != noQuestion {
			t.Fatalf("%s is a yes", no)
		}
		s.press("enter")
	}
	s.press("enter", "x")
	if s.written != nil {
		t.Error("Enter is a yes")
	}
	s.fails = errors.New("disk full")
	s.press("y")
	s.shows("disk full", "The file")
	if s.m.written {
		t.Error("what failed is written")
	}
	s.fails = nil
	s.press("enter", "y")
	s.shows("is written", "nucspark up")
	s.press("y")
	if !s.ended || !s.m.up || !s.m.written {
		t.Errorf("ended %v, up %v, written %v", s.ended, s.m.up, s.m.written)
	}
}

func TestWizardEnds(t *testing.T) {
	for pages := range 6 {
		s := sit(t, recordedMachines(t))
		for range pages {
			s.press("enter")
		}
		s.press("ctrl+c")
		if !s.ended || s.written != nil || s.m.written || s.m.up {
			t.Errorf("ctrl+c on page %d: ended %v, written %v", pages+1, s.ended, s.written != nil)
		}
	}
}

// slow is a Finder whose answers wait.
type slow struct {
	*found
	open chan struct{}
}

func (f slow) Scan(ctx context.Context, a []netip.Addr, seen func(discover.Seen)) error {
	select {
	case <-f.open:
		return f.found.Scan(ctx, a, seen)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestWizardLate: what comes for a page that was left is dropped, and a page
// is not left forward before all came.
func TestWizardLate(t *testing.T) {
	f := slow{recordedMachines(t), make(chan struct{})}
	s := sit(t, f)
	_, cmd := s.m.Update(tea.KeyMsg{Type: tea.KeyEnter})
	s.shows("trying port 22 of 192.168.1.0/24")
	s.m.Update(tea.KeyMsg{Type: tea.KeyEnter})
	s.shows("not all have answered yet", "2/6")
	old := s.m.work
	s.m.Update(tea.KeyMsg{Type: tea.KeyEsc})
	s.m.Update(sawMsg{old, f.machines[0].Seen})
	if len(s.m.state.Seen()) != 0 {
		t.Error("a machine of a scan that was left was taken up")
	}
	_ = cmd
	close(f.open)
	s.m.state.Rescan()
	s.press("enter")
	if n := len(s.m.state.Seen()); n != 6 {
		t.Errorf("%d machines after another scan", n)
	}
}

// TestWizardSizes draws every page at sizes from 1×1.
func TestWizardSizes(t *testing.T) {
	for size := 1; size < 130; size += 3 {
		s := sit(t, recordedMachines(t))
		for range 7 {
			for _, height := range []int{1, 2, 3, 5, size} {
				s.m.Update(tea.WindowSizeMsg{Width: size, Height: height})
				fits(t, s.m.View(), size, height)
			}
			s.press("up", "enter", "end", "enter")
		}
	}
}

// TestWizardHostile: names and errors of strangers reach no terminal as they
// are.
func TestWizardHostile(t *testing.T) {
	f := recordedMachines(t)
	f.failed["192.168.1.12"] = errors.New("\x1b[2J\x1b]0;evil\x07gone\nfar")
	s := sit(t, f)
	s.press("enter", "enter", "enter", "home", "down")
	s.shows("gone far")
	if strings.Contains(s.m.View(), "\x1b") {
		t.Errorf("%q", s.m.View())
	}
}

func TestWizardASCII(t *testing.T) {
	s := sit(t, recordedMachines(t))
	s.m.ascii = true
	for range 6 {
		if text := s.m.View(); strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("not ASCII:\n%s", text)
		}
		s.press("enter")
	}
}

func TestWizardNeedsATerminal(t *testing.T) {
	if _, err := RunWizard(context.Background(), WizardOptions{In: strings.NewReader(""), Err: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "--from") {
		t.Errorf("got %v", err)
	}
}

func TestField(t *testing.T) {
	f := newField("abc", false)
	for _, k := range []string{"left", "left", "X", "delete", "backspace", "home", "Y", "end", "Z"} {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		if kind, ok := wizardKeys[k]; ok {
			msg = tea.KeyMsg{Type: kind}
		}
		f.key(msg)
	}
	if f.text() != "YacZ" {
		t.Errorf("got %q", f.text())
	}
	f.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("\x1b\n~é")})
	if f.text() != "YacZ~é" {
		t.Errorf("got %q", f.text())
	}
	if got := newField("secret", true).draw(20); got != "******_" {
		t.Errorf("a password is drawn as %q", got)
	}
	for width := range 12 {
		if got := newField("a long text", false).draw(width); ansi.StringWidth(got) > width || width > 0 && !strings.HasSuffix(got, "_") {
			t.Errorf("in %d cells: %q", width, got)
		}
	}
}
