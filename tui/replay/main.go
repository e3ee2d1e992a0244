// The program replay shows a run that was recorded: as the screen that it was,
// in this terminal, or one moment of it as a picture.
//
//	go run ./tui/replay -speed 10 RUN.jsonl
//	go run ./tui/replay -at 60s -size 100x30 -svg up.svg RUN.jsonl
//
// With -status it draws the first look that nucspark status --watch --json
// wrote:
//
//	go run ./tui/replay -status -size 100x30 -svg status.svg LOOKS.jsonl
//
// Nothing is contacted, and no step is tried again.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/tui"
	"nucspark.io/nucspark/watch"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run() error {
	speed := flag.Float64("speed", 1, "how many times faster than it was")
	at := flag.Duration("at", 0, "for a picture: so long after the start")
	size := flag.String("size", "100x28", "for a picture: columns and rows")
	svg := flag.String("svg", "", "write a picture to this file")
	title := flag.String("title", "nucspark up", "for a picture: the command")
	keys := flag.String("keys", "", "for a picture: keys pressed before, with commas: down,enter")
	before := flag.String("before", "", "an earlier run that the durations of steps are remembered from")
	cluster := flag.String("cluster", "lab", "the name of the cluster")
	done := flag.String("done", "up", "what the cluster is at the end")
	status := flag.Bool("status", false, "the file holds looks at a cluster; a picture only")
	flag.Parse()
	if flag.NArg() != 1 {
		return fmt.Errorf("replay takes one file, the events of a run, not %d", flag.NArg())
	}
	var width, height int
	if _, err := fmt.Sscanf(*size, "%dx%d", &width, &height); err != nil {
		return fmt.Errorf("-size %q: it is columns and rows, as 100x28", *size)
	}
	draw := func(screen string) error {
		return os.WriteFile(*svg, []byte(tui.Picture(*title, screen, width, height)), 0o644)
	}
	if *status {
		look, err := readLook(flag.Arg(0))
		if err != nil {
			return err
		}
		return draw(tui.WatchStill(look, width, height))
	}
	events, err := read(flag.Arg(0))
	if err != nil {
		return err
	}
	o := tui.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Cluster: *cluster, Done: *done, Log: io.Discard, LogPath: flag.Arg(0), Retry: "nucspark up",
		SSH: func(node string) string { return "ssh ubuntu@" + node }}
	if *before != "" {
		earlier, err := read(*before)
		if err != nil {
			return err
		}
		var s provision.State
		for _, e := range earlier {
			s.Apply(e)
		}
		o.Durations = o.Durations.Learn(&s)
	}
	if *svg != "" {
		var pressed []string
		if *keys != "" {
			pressed = strings.Split(*keys, ",")
		}
		return draw(tui.Still(o, events, *at, width, height, pressed...))
	}
	return play(o, events, *speed)
}

// play shows a run as it was, until it ends or Ctrl-C.
func play(o tui.Options, events []provision.Event, speed float64) error {
	var stopped atomic.Bool
	o.Interrupt = func() { stopped.Store(true) }
	d, err := tui.New(tui.Screen, o)
	if err != nil {
		return err
	}
	defer d.Close()
	start := time.Now()
	for _, e := range events {
		after := time.Duration(float64(e.Time.Sub(events[0].Time)) / speed)
		for time.Since(start) < after && !stopped.Load() {
			time.Sleep(min(50*time.Millisecond, after))
		}
		if stopped.Load() {
			break
		}
		e.Time = start.Add(after)
		d.Event(e)
	}
	return nil
}

// readLook reads the first look at a cluster.
func readLook(path string) (watch.State, error) {
	var look watch.State
	f, err := os.Open(path)
	if err != nil {
		return look, err
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&look); err != nil {
		return look, fmt.Errorf("%s: %w", path, err)
	}
	look.Interval = 2 * time.Second
	return look, nil
}

// read reads the events of a run.
func read(path string) ([]provision.Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []provision.Event
	dec := json.NewDecoder(bufio.NewReader(f))
	for dec.More() {
		var e provision.Event
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("%s, event %d: %w", path, len(events)+1, err)
		}
		events = append(events, e)
	}
	if len(events) == 0 || events[0].Kind != provision.RunStarted {
		return nil, fmt.Errorf("%s does not hold the events of a run", path)
	}
	return events, nil
}
