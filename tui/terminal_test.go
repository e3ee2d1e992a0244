package tui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"

	"nucspark.io/nucspark/provision"
)

// child is what runs in the terminal of TestOwnTerminal: a run that waits for
// Ctrl-C, and something that writes where it must not.
func child() {
	stop := make(chan struct{})
	d, err := New(Auto, Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Cluster: "lab", Log: io.Discard, LogPath: "RUN.jsonl", Retry: "nucspark up",
		Interrupt: func() { close(stop) }})
	if err != nil {
		log.Fatal(err)
	}
	d.Event(provision.Event{Kind: provision.RunStarted, Run: "r", Time: time.Now(), Steps: []provision.StepSummary{{ID: "nuc01/a", Node: "nuc01", Changes: 1}}})
	d.Event(provision.Event{Kind: provision.StepStarted, Step: "nuc01/a", Time: time.Now()})
	fmt.Println("STRAY OUT")
	log.Print("STRAY \x1b[31mLOG")
	<-stop
	d.Event(provision.Event{Kind: provision.RunDone, Time: time.Now()})
	d.Close()
	fmt.Println("GIVEN BACK")
}

// The screen in a terminal: nothing else writes to it, it follows the window's
// size, Ctrl-C reaches the run as a key, and what is left in the end is the
// summary.
func TestOwnTerminal(t *testing.T) {
	if os.Getenv("NUCSPARK_TUI_CHILD") != "" {
		child()
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOwnTerminal$")
	cmd.Env = append(os.Environ(), "NUCSPARK_TUI_CHILD=1", "TERM=screen", "LC_ALL=C.UTF-8", "NO_COLOR=1") // Bubble Tea asks other terminals for their colour, and waits for an answer
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var out bytes.Buffer
	seen := func(text string) {
		t.Helper()
		buf := make([]byte, 4096)
		for !strings.Contains(ansi.Strip(out.String()), text) {
			n, err := terminal.Read(buf)
			out.Write(buf[:n])
			if err != nil {
				t.Fatalf("the terminal closed before %q was there: %v\n%q", text, err, out.String())
			}
		}
	}
	seen("0 of 1 node, 0 of 1 step done")
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 12, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	seen("lab up  0 %")
	if _, err := terminal.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(terminal) // ends with an error when the other side is closed
	out.Write(rest)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	screen, after, ok := strings.Cut(out.String(), "\x1b[?1049l")
	if !ok {
		t.Fatalf("the screen did not leave the scrollback as it was: %q", out.String())
	}
	if strings.Contains(screen, "STRAY") {
		t.Errorf("something else wrote to the terminal under the screen: %q", screen)
	}
	after = strings.ReplaceAll(ansi.Strip(after), "\r", "")
	for _, want := range []string{"Written while the screen was shown:\nSTRAY OUT\n", "STRAY LOG\n", "◌ open    nuc01", "lab was stopped after", "Go on with: nucspark up\nGIVEN BACK\n"} {
		if !strings.Contains(after, want) {
			t.Errorf("%q is not left on the terminal:\n%s", want, after)
		}
	}
}
