package tui

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/provision"
)

// recorded reads the events of a run that really happened, in a lab: clean.jsonl
// is an up of three bare machines that went through; in failed.jsonl, of two, a
// name server was dead and the registry did not have an image; down.jsonl takes
// two machines down; removal.jsonl takes one of three out of its cluster, with 96
// blocks of HDFS that were there alone. What changes would read was left out.
func recorded(t testing.TB, name string) []provision.Event {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []provision.Event
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e provision.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s, line %d: %v", f.Name(), len(events)+1, err)
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil || len(events) == 0 {
		t.Fatalf("%s: %d events, %v", f.Name(), len(events), err)
	}
	return events
}

// modelAt is a screen d after the start of a run.
func modelAt(events []provision.Event, d time.Duration, width, height int) *model {
	m := newModel(Options{Cluster: "lab"}, &shared{}, io.Discard)
	m.ascii, m.width, m.height = false, width, height
	m.replay(events, d)
	return m
}

var sizes = []struct{ width, height int }{{40, 12}, {80, 24}, {100, 80}, {200, 80}}

func TestScreens(t *testing.T) {
	for run, moments := range map[string][]time.Duration{
		"clean":   {0, 20 * time.Second, 60 * time.Second, 100 * time.Second, 139 * time.Second},
		"failed":  {2 * time.Second, 30 * time.Second, 51 * time.Second},
		"down":    {1 * time.Second, 20 * time.Second, 40 * time.Second},
		"removal": {20 * time.Second, 100 * time.Second, 220 * time.Second, 300 * time.Second},
	} {
		t.Run(run, func(t *testing.T) {
			events := recorded(t, run)
			var all strings.Builder
			for _, at := range moments {
				for _, size := range sizes {
					text := modelAt(events, at, size.width, size.height).View()
					fits(t, text, size.width, size.height)
					fmt.Fprintf(&all, "== %s, %d×%d\n%s\n", clock(at), size.width, size.height, unpadded(text))
				}
			}
			golden.Check(t, "screens-"+run+".golden", all.String())
		})
	}
}

// fits fails when a screen is larger than the terminal.
func fits(t *testing.T, text string, width, height int) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if len(lines) > height {
		t.Errorf("%d lines on a screen of %d", len(lines), height)
	}
	for _, l := range lines {
		if w := ansi.StringWidth(l); w > width {
			t.Errorf("a line of %d cells on a screen of %d: %q", w, width, l)
		}
	}
}

// unpadded writes empty lines in a row as their number.
func unpadded(text string) string {
	var out []string
	empty := 0
	for _, l := range strings.Split(text, "\n") {
		if l == "" {
			empty++
			continue
		}
		if empty > 0 {
			out = append(out, fmt.Sprintf("-- %d empty", empty))
			empty = 0
		}
		out = append(out, l)
	}
	return strings.Join(out, "\n")
}

// TestEveryMoment draws a run after each of its events, at sizes from 1×1.
func TestEveryMoment(t *testing.T) {
	for _, run := range []string{"clean", "failed", "down", "removal"} {
		events := recorded(t, run)
		m := modelAt(events[:1], 0, 0, 0)
		for i, e := range events {
			m.run.state.Apply(e)
			m.now = func() time.Time { return e.Time }
			m.width, m.height = 1+i%130, 1+i*7%40
			m.expanded, m.help = i%5 == 0, i%11 == 0
			fits(t, m.View(), m.width, m.height)
		}
	}
}
