package tui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"nucspark.io/nucspark/provision"
)

// Mode is how a run is shown.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"  // Screen in a terminal, Plain elsewhere
	Screen Mode = "tui"   // a screen that is redrawn
	Plain  Mode = "plain" // a line for each thing that happens
	JSON   Mode = "json"  // each event as one line of JSON on standard output
	Quiet  Mode = "quiet" // failures and the summary of them only
)

// ParseMode reads the value of --progress.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, Screen, Plain, JSON, Quiet:
		return m, nil
	}
	return "", fmt.Errorf("--progress is auto, tui, plain, json or quiet, not %q", s)
}

// Options of a display.
type Options struct {
	In        io.Reader
	Out, Err  io.Writer // JSON goes to Out, everything else to Err
	Cluster   string
	Log       io.Writer                // every event as a line of JSON, in every mode
	LogPath   string                   // where Log is kept, for the summary
	Retry     string                   // the command that goes on after a failure
	Next      []string                 // commands to go on with after a success
	Done      string                   // what the cluster is then; default "up"
	Durations Durations                // of steps in earlier runs
	SSH       func(node string) string // the command that leads to a node, or to the cluster's own for ""
	// Interrupt is called for a Ctrl-C that the terminal gave to the screen
	// instead of to the process.
	Interrupt func()
}

// Display shows one run.
type Display struct {
	o     Options
	mode  Mode
	text  io.Writer // Err, for text
	run   shared
	log   *json.Encoder
	shown shower

	ending sync.Once
	stray  string // what somebody else wrote under the screen
}

// shared is the run as the events so far tell it. A display that looks at it
// by itself holds the lock meanwhile.
type shared struct {
	mu    sync.Mutex
	state provision.State
}

// shower is what differs between the modes. event and say are called under
// the lock of the run.
type shower interface {
	event(provision.Event, *provision.State)
	say(text string)
	close() string // what somebody else wrote meanwhile
}

// New starts a display. Close ends it. Without a locale of UTF-8 all is shown
// in ASCII.
func New(mode Mode, o Options) (*Display, error) {
	if mode == Auto {
		mode = Plain
		if isTerminal(o.In) && isTerminal(o.Err) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "" {
			mode = Screen
		}
	}
	d := &Display{o: o, mode: mode, text: o.Err, log: json.NewEncoder(o.Log)}
	if !utf8Locale() {
		d.text = asciiWriter{o.Err}
	}
	switch mode {
	case Screen:
		s, err := newScreen(o, &d.run)
		if err != nil {
			return nil, err
		}
		d.shown = s
	case Plain:
		d.shown = newPlain(d.text, &d.run)
	case JSON:
		d.shown = jsonLines{json.NewEncoder(o.Out)}
	case Quiet:
		d.shown = quiet{}
	}
	return d, nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Event shows one event. Events are shown in the order of the calls.
func (d *Display) Event(e provision.Event) {
	d.run.mu.Lock()
	defer d.run.mu.Unlock()
	d.run.state.Apply(e)
	// A full disk under the log must not stop the run that is shown.
	_ = d.log.Encode(e)
	d.shown.event(e, &d.run.state)
}

// Say shows a word to the person that is no event of the run.
func (d *Display) Say(text string) {
	d.run.mu.Lock()
	defer d.run.mu.Unlock()
	d.shown.say(text)
}

// Retries are the IDs of failed steps that somebody wants tried again; nil
// where nobody can ask for it. It is closed when nobody will any more.
func (d *Display) Retries() <-chan string {
	if s, ok := d.shown.(*screen); ok {
		return s.retries
	}
	return nil
}

// Durations are those of earlier runs, with what this one learned.
func (d *Display) Durations() Durations {
	d.run.mu.Lock()
	defer d.run.mu.Unlock()
	return d.o.Durations.Learn(&d.run.state)
}

// Restore gives the terminal back, for a process that ends at once.
func (d *Display) Restore() { d.ending.Do(func() { d.stray = d.shown.close() }) }

// Close ends the display and prints the summary.
func (d *Display) Close() {
	d.Restore()
	if d.mode == JSON {
		return
	}
	if d.mode == Quiet && len(d.run.state.Failed()) == 0 {
		return
	}
	if d.stray != "" {
		fmt.Fprintf(d.text, "Written while the screen was shown:\n%s\n", strings.TrimSpace(d.stray))
	}
	WriteSummary(d.text, &d.run.state, d.o)
}

type jsonLines struct{ enc *json.Encoder }

func (j jsonLines) event(e provision.Event, _ *provision.State) { _ = j.enc.Encode(e) }
func (jsonLines) say(string)                                    {}
func (jsonLines) close() string                                 { return "" }

type quiet struct{}

func (quiet) event(provision.Event, *provision.State) {}
func (quiet) say(string)                              {}
func (quiet) close() string                           { return "" }
