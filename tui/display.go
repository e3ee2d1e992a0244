package tui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

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
	In       io.Reader
	Out, Err io.Writer // JSON goes to Out, everything else to Err
	Cluster  string
	Log      io.Writer // every event as a line of JSON, in every mode
	LogPath  string    // where Log is kept, for the summary
	Retry    string    // the command that goes on after a failure
	Next     []string  // commands to go on with after a success
	// Interrupt is called for a Ctrl-C that the terminal gave to the screen
	// instead of to the process.
	Interrupt func()
}

// Display shows one run.
type Display struct {
	o     Options
	mode  Mode
	state provision.State
	log   *json.Encoder
	shown shower
}

// shower is what differs between the modes.
type shower interface {
	event(provision.Event, *provision.State)
	say(text string)
	close()
}

// New starts a display. Close ends it.
func New(mode Mode, o Options) (*Display, error) {
	if mode == Auto {
		mode = Plain
		if isTerminal(o.In) && isTerminal(o.Err) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "" {
			mode = Screen
		}
	}
	d := &Display{o: o, mode: mode, log: json.NewEncoder(o.Log)}
	switch mode {
	case Screen:
		s, err := newScreen(o)
		if err != nil {
			return nil, err
		}
		d.shown = s
	case Plain:
		d.shown = &plain{w: o.Err}
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

// Event shows one event. It is called by one goroutine at a time.
func (d *Display) Event(e provision.Event) {
	d.state.Apply(e)
	// A full disk under the log must not stop the run that is shown.
	_ = d.log.Encode(e)
	d.shown.event(e, &d.state)
}

// Say shows a word to the person that is no event of the run.
func (d *Display) Say(text string) { d.shown.say(text) }

// Close ends the display and prints the summary.
func (d *Display) Close() {
	d.shown.close()
	if d.mode == JSON {
		return
	}
	if d.mode == Quiet && len(d.state.Failed()) == 0 {
		return
	}
	WriteSummary(d.o.Err, &d.state, d.o)
}

type jsonLines struct{ enc *json.Encoder }

func (j jsonLines) event(e provision.Event, _ *provision.State) { _ = j.enc.Encode(e) }
func (jsonLines) say(string)                                    {}
func (jsonLines) close()                                        {}

type quiet struct{}

func (quiet) event(provision.Event, *provision.State) {}
func (quiet) say(string)                              {}
func (quiet) close()                                  {}
