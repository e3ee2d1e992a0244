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

// inTerminal is a test that runs once more, in a process and a terminal of its
// own.
type inTerminal struct {
	t        *testing.T
	cmd      *exec.Cmd
	terminal *os.File
	out      bytes.Buffer
}

func startChild(t *testing.T, test string) *inTerminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	c := &inTerminal{t: t, cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$")}
	c.cmd.Env = append(os.Environ(), "NUCSPARK_TUI_CHILD=1", "TERM=screen", "LC_ALL=C.UTF-8", "NO_COLOR=1") // Bubble Tea asks other terminals for their colour, and waits for an answer
	var err error
	if c.terminal, err = pty.StartWithSize(c.cmd, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.terminal.Close() })
	return c
}

// seen waits until a text is in the terminal.
func (c *inTerminal) seen(text string) {
	c.t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(ansi.Strip(c.out.String()), text) {
		n, err := c.terminal.Read(buf)
		c.out.Write(buf[:n])
		if err != nil {
			c.t.Fatalf("the terminal closed before %q was there: %v\n%q", text, err, c.out.String())
		}
	}
}

func (c *inTerminal) press(keys string) {
	c.t.Helper()
	if _, err := c.terminal.Write([]byte(keys)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *inTerminal) size(rows, columns uint16) {
	c.t.Helper()
	if err := pty.Setsize(c.terminal, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		c.t.Fatal(err)
	}
}

// end waits until the process has ended well, and returns what was written to
// the screen, and after the scrollback was given back.
func (c *inTerminal) end() (screen, after string) {
	c.t.Helper()
	rest, _ := io.ReadAll(c.terminal) // ends with an error when the other side is closed
	c.out.Write(rest)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("%v\n%s", err, c.out.String())
	}
	screen, after, ok := strings.Cut(c.out.String(), "\x1b[?1049l")
	if !ok {
		c.t.Fatalf("the screen did not leave the scrollback as it was: %q", c.out.String())
	}
	return screen, after
}

// The screen in a terminal: nothing else writes to it, it follows the window's
// size, Ctrl-C reaches the run as a key, and what is left in the end is the
// summary.
func TestOwnTerminal(t *testing.T) {
	if os.Getenv("NUCSPARK_TUI_CHILD") != "" {
		child()
		return
	}
	c := startChild(t, "TestOwnTerminal")
	c.seen("0 of 1 node, 0 of 1 step done")
	c.size(12, 40)
	c.seen("lab up  0 %")
	c.press("\x03")
	screen, after := c.end()
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
