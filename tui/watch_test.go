package tui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/watch"
)

// recordedState is a look at a lab of three machines, as nucspark status --watch
// --json printed it. The machines are containers of one computer that was busy.
func recordedState(t testing.TB) watch.State {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "watch.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s watch.State
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	s.Time, s.Interval = s.Time.UTC(), 2*time.Second
	return s
}

// states are the recorded one, and what becomes of it on a bad day.
func states(t testing.TB) map[string]watch.State {
	bad := recordedState(t)
	off := &bad.Machines[2]
	off.Seen, off.Vitals, off.Err = bad.Time.Add(-42*time.Second), nil, "nuc03 (172.31.77.13:22): dial: no route to host: is it switched on?"
	bad.Health = slices.Clone(bad.Health)
	for i, h := range bad.Health {
		switch {
		case h.Node == "nuc03":
			bad.Health[i].OK, bad.Health[i].Reason = false, "the machine does not answer"
		case h.Name == "namenode":
			bad.Health[i].OK, bad.Health[i].Reason = false, "7 blocks are missing: bring their machines back; nucspark hdfs fsck names the files"
		}
	}
	disk := &bad.Machines[1].Vitals.Disks[0]
	disk.Free = disk.Used / 19
	bad.Machines[1].Vitals.Celsius, bad.Machines[1].Vitals.Critical = 97, 100
	bad.HDFS.Missing, bad.HDFS.UnderReplicated, bad.HDFS.Corrupt = 7, 120, 1
	bad.HDFS.Live, bad.HDFS.Dead = 1, []string{"nuc03"}
	bad.HDFS.Leaving = []provision.StoreLeaving{{Name: "nuc02", Left: 55}}
	bad.Spark.Workers[0].CoresUsed, bad.Spark.Workers[0].MemoryUsed = 2, 1<<30
	bad.Spark.Applications = append(bad.Spark.Applications, provision.Application{ID: "app-20261122103931-0000", Name: "wordcount", Runs: true, Cores: 2, Memory: 1 << 30, Age: 31 * time.Second}, provision.Application{ID: "app-2", Name: "nightly report of a very long name", Memory: 1 << 30, Age: 3 * time.Hour})

	first := recordedState(t)
	first.HDFS, first.Spark, first.Health, first.API = nil, nil, nil, watch.Source{Asked: first.Time}
	for i := range first.Machines {
		first.Machines[i] = watch.Machine{Name: first.Machines[i].Name, Source: watch.Source{Asked: first.Time.Add(-4 * time.Second)}}
	}

	noAPI := recordedState(t)
	noAPI.HDFS, noAPI.Spark, noAPI.API.Err, noAPI.Paused = nil, nil, "the Kubernetes API on nuc01 does not answer", true
	noAPI.API.Seen = noAPI.Time.Add(-90 * time.Second)
	noAPI.Health = slices.DeleteFunc(noAPI.Health, func(h provision.Health) bool { return h.Component != "machine" })
	noAPI.Health = append(noAPI.Health, provision.Health{Component: "kubernetes", Name: "api", Node: "nuc01", Reason: noAPI.API.Err})
	return map[string]watch.State{"well": recordedState(t), "bad": bad, "first": first, "no-api": noAPI}
}

// still is a Watched that does not change, and counts.
type still struct {
	mu        sync.Mutex
	state     watch.State
	refreshed int
}

func (s *still) State() watch.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
func (s *still) Refresh() { s.mu.Lock(); defer s.mu.Unlock(); s.refreshed++ }
func (s *still) Pause(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Paused = on
}

func watchAt(s watch.State, width, height int) *watchModel {
	m := newWatchModel(&still{state: s})
	m.width, m.height = width, height
	return m
}

func TestWatchScreens(t *testing.T) {
	for name, s := range states(t) {
		var all strings.Builder
		for _, size := range sizes {
			m := watchAt(s, size.width, size.height)
			text := m.View()
			fits(t, text, size.width, size.height)
			fmt.Fprintf(&all, "== %d×%d\n%s\n", size.width, size.height, unpadded(text))
			m.ascii = true
			if text := m.View(); strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) || strings.Contains(text, "?h") {
				t.Errorf("%s: not ASCII:\n%s", name, text)
			}
		}
		golden.Check(t, "watch-"+name+".golden", all.String())
	}
}

// Every size is filled and not exceeded, and what is wrong is never below what
// is well.
func TestWatchSizes(t *testing.T) {
	for name, s := range states(t) {
		for width := 1; width <= 210; width += 7 {
			for height := 1; height <= 60; height += 3 {
				m := watchAt(s, width, height)
				for _, offset := range []int{0, 3, 1000} {
					m.offset = offset
					fits(t, m.View(), width, height)
				}
				m.help = true
				fits(t, m.View(), width, height)
			}
		}
		body := strings.Join(watchAt(s, 100, 60).body(&s), "\n")
		if before, _, _ := strings.Cut(body, "  machines"); strings.Contains(before, "✓") {
			t.Errorf("%s: something well stands above what is wrong:\n%s", name, body)
		}
	}
}

func TestWatchKeys(t *testing.T) {
	m := watchAt(states(t)["bad"], 60, 12)
	press := func(keys ...string) (ended bool) {
		for _, k := range keys {
			_, cmd := m.Update(keyNamed(k))
			if cmd != nil {
				_, ended = cmd().(tea.QuitMsg)
			}
		}
		return ended
	}
	first := m.View()
	lines := func() []string { return strings.Split(m.View(), "\n") }
	if !strings.Contains(first, "↓") || strings.Contains(lines()[1], "↑") {
		t.Fatalf("the first page:\n%s", first)
	}
	press("down", "j")
	if got := lines(); !strings.Contains(got[1], "↑ 3 more") {
		t.Errorf("two lines down:\n%s", m.View())
	}
	press("k", "up", "up")
	if m.View() != first {
		t.Errorf("up again:\n%s", m.View())
	}
	press("end")
	if text := m.View(); !strings.Contains(text, "spark") || strings.Contains(text, "↓ ") && !strings.Contains(lines()[11], "↓") {
		t.Errorf("the end:\n%s", text)
	}
	at := m.offset
	if press("pgdown", "down"); m.offset != at {
		t.Errorf("below the end: %d, not %d", m.offset, at)
	}
	press("pgup")
	if m.offset >= at {
		t.Error("pgup does not go up")
	}
	m.height = 60 // all of it fits now
	if press("down"); m.offset != 0 {
		t.Errorf("%d lines are hidden above, and there is room for them", m.offset)
	}
	m.height = 12
	press("G", "g")
	if m.View() != first {
		t.Errorf("home:\n%s", m.View())
	}
	press("r", "r")
	if n := m.from.(*still).refreshed; n != 2 {
		t.Errorf("r asked for %d looks", n)
	}
	if press("p"); !m.from.State().Paused || !strings.Contains(m.View(), "paused") || !strings.Contains(m.View(), "p go on") {
		t.Errorf("p:\n%s", m.View())
	}
	if press("p"); m.from.State().Paused {
		t.Error("p does not go on")
	}
	if press("?"); !strings.Contains(m.View(), "look now") || strings.Contains(m.View(), "nuc03") {
		t.Errorf("?:\n%s", m.View())
	}
	if press("q") || m.View() != first {
		t.Error("q does not lead back from the help")
	}
	for _, k := range []string{"q", "ctrl+c"} {
		if !press(k) {
			t.Errorf("%s does not end it", k)
		}
	}
	m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("jjr")}) // pressed at once
	if m.offset != 2 || m.from.(*still).refreshed != 3 {
		t.Errorf("jjr: %d lines down, %d looks", m.offset, m.from.(*still).refreshed)
	}
}

// What is shown grows older, and a machine that hangs is told of, though
// nothing comes any more.
func TestWatchAges(t *testing.T) {
	s := recordedState(t)
	begin := s.Shown(s.Time)
	for after, want := range map[time.Duration]string{0: "now, every 2s", 3 * time.Second: "3 s ago", 125 * time.Second: "2 min ago", 3 * time.Hour: "3 h ago"} {
		s.Time = begin.Add(after)
		if text := watchAt(s, 80, 24).View(); !strings.Contains(strings.Split(text, "\n")[0], want) {
			t.Errorf("after %s not %q:\n%s", after, want, text)
		}
	}
	s.Time = begin.Add(10 * time.Second)
	s.Machines[1].Asked = begin.Add(2 * time.Second)
	if text := watchAt(s, 80, 24).View(); !strings.Contains(text, "✗ silent   nuc02 since ") || !strings.Contains(text, "1 FAILED") {
		t.Errorf("a machine that hangs:\n%s", text)
	}
}

// FuzzWatch takes any state, whoever wrote it, and any keys: what is drawn
// steers no terminal, fits, and says nothing but text.
func FuzzWatch(f *testing.F) {
	for _, s := range states(f) {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "jjG?xgp", 100, 30)
		f.Add(b, "G", 40, 12)
	}
	const esc = `\u001b[2J\u009b1m\r\n\u202e`
	f.Add([]byte(strings.ReplaceAll(`{"cluster":"~a","time":"2026-01-02T03:04:05Z","machines":[{"name":"~b","error":"~c","seen":"2026-01-02T03:04:00Z"},
		{"name":"~d","vitals":{"cpus":-1,"load":-5e300,"cpu_use":7e200,"memory":-1,"memory_used":9,"celsius":1e300,"disks":[{"path":"~/e","size":-5,"used":9223372036854775807,"free":9223372036854775807}],
		"link":{"name":"~f","up":true,"megabits":-5,"in":1e300,"out":-1e300}}}],"api":{"seen":"2026-01-02T03:04:05Z"},
		"health":[{"component":"~g","name":"~h","reason":"~i"},{"component":"nfs","name":"volume ~j","ok":true}],
		"hdfs":{"capacity":-1,"used":5,"free":-9,"read_only":"~k","live":-1,"dead":["~l"],"leaving":[{"name":"~m","left":-1}]},
		"spark":{"workers":[{"name":"~n","cores":-1,"cores_used":5,"memory":-1}],"applications":[{"id":"~o","name":"~p","age_ns":-5}]},
		"volumes":[{"name":"~j","node":"~d","export":"~/e","size":-1}]}`, "~", esc)), "jjG?xgp", 200, 60)
	f.Fuzz(func(t *testing.T, state []byte, keys string, width, height int) {
		var s watch.State
		if width < 1 || height < 1 || width > 300 || height > 100 || len(keys) > 50 || json.Unmarshal(state, &s) != nil {
			return
		}
		m := watchAt(s, width, height)
		check := func() { harmless(t, m.View(), width, height) }
		check()
		for _, k := range keys {
			m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{k}})
			check()
		}
	})
}

// noisy is a Watched that writes where it must not, and for which r ends all.
type noisy struct {
	still
	end func()
}

func (n *noisy) State() watch.State { fmt.Println("STRAY OUT"); return n.still.State() }
func (n *noisy) Refresh()           { n.end() }

// watchChild is what runs in the terminal of TestWatchTerminal.
func watchChild() {
	b, err := os.ReadFile(filepath.Join("testdata", "watch.json"))
	var s watch.State
	if err = errors.Join(err, json.Unmarshal(b, &s)); err == nil && !CanWatch(os.Stdin, os.Stdout) {
		err = errors.New("no terminal")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s.Time, s.Interval = s.Shown(s.Time).Add(3*time.Second), 2*time.Second
	ctx, cancel := context.WithCancel(context.Background())
	stray, err := Watch(ctx, os.Stdin, os.Stdout, &noisy{still{state: s}, cancel})
	fmt.Printf("GIVEN BACK %v %.9s\n", err, stray)
}

// In a terminal: the screen is drawn, follows the window's size, nothing else
// writes there, and it ends with a key, or with its context, and leaves the
// scrollback as it was.
func TestWatchTerminal(t *testing.T) {
	if os.Getenv("NUCSPARK_TUI_CHILD") != "" {
		watchChild()
		return
	}
	for _, end := range []string{"q", "\x03", "r"} {
		c := startChild(t, "TestWatchTerminal")
		c.seen("3 s ago, every 2s")
		c.press("?")
		c.seen("any key: back")
		c.press("xp")
		c.seen("paused, 3 s ago")
		c.size(12, 40)
		c.seen("more")
		c.press(end)
		screen, after := c.end()
		if !strings.Contains(ansi.Strip(after), "GIVEN BACK <nil> STRAY OUT") {
			t.Fatalf("%q did not give the terminal back: %q", end, after)
		}
		if strings.Contains(screen, "STRAY") {
			t.Errorf("something else wrote to the terminal under the screen: %q", screen)
		}
	}
}
