package main

import (
	"fmt"
	"io"
	"time"

	"nucspark.io/nucspark/inventory"
)

// meter shows how far a transfer is: in place on a terminal, else a line every
// few seconds, so that a log stays short.
type meter struct {
	w       io.Writer
	what    string
	tty     bool
	started time.Time
	shown   time.Time
	done    int64
	size    int64
}

const (
	meterTTY  = 200 * time.Millisecond
	meterLine = 10 * time.Second
)

func newMeter(w io.Writer, what string) *meter {
	now := time.Now()
	return &meter{w: w, what: printable(what), tty: isTerminal(w), started: now, shown: now}
}

func (m *meter) show(done, size int64) {
	m.done, m.size = done, size
	pause := meterLine
	if m.tty {
		pause = meterTTY
	}
	if time.Since(m.shown) < pause {
		return
	}
	m.shown = time.Now()
	m.line("")
}

func (m *meter) line(end string) {
	text := fmt.Sprintf("%s  %s", m.what, inventory.Size(m.done).Human())
	if m.size > 0 {
		text += fmt.Sprintf(" of %s (%d %%)", inventory.Size(m.size).Human(), m.done*100/m.size)
	}
	if s := time.Since(m.started).Seconds(); s > 0.5 {
		text += fmt.Sprintf("  %s/s", inventory.Size(float64(m.done)/s).Human())
	}
	if m.tty {
		fmt.Fprintf(m.w, "\r\x1b[K%s%s", text, end)
		return
	}
	fmt.Fprintln(m.w, text)
}

// end leaves the last state on the screen.
func (m *meter) end(ok bool) {
	switch {
	case ok:
		m.line("\n")
	case m.tty:
		fmt.Fprintln(m.w)
	}
}
