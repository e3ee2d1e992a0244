package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestInterrupts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	said, ended := make(chan string, 2), make(chan int, 1)
	i := newInterrupts(cancel, func(text string) { said <- text })
	defer i.release()
	i.exit = func(code int) { ended <- code }
	restored := false
	restore := func() { restored = true }
	i.leave.Store(&restore)

	i.press()
	<-i.stop
	if text := <-said; !strings.HasPrefix(text, "Stopping: the running steps are finished") {
		t.Errorf("the first Ctrl-C said %q", text)
	}
	if ctx.Err() != nil {
		t.Error("the first Ctrl-C cancelled the running steps")
	}
	i.press()
	<-ctx.Done()
	if text := <-said; !strings.HasPrefix(text, "Cancelling: the running steps are broken off") {
		t.Errorf("the second Ctrl-C said %q", text)
	}
	i.press()
	if code := <-ended; code != 130 || !restored {
		t.Errorf("the third Ctrl-C ended with %d, terminal given back: %v", code, restored)
	}
	for range 5 { // more than can be taken must not block the screen
		i.press()
	}
}

func TestCommandsToGoOnWith(t *testing.T) {
	for file, want := range map[string][]string{
		"cluster.hcl": {"nucspark up", "nucspark status"},
		"lab.hcl":     {"nucspark up -f lab.hcl", "nucspark status -f lab.hcl"},
	} {
		app := &App{File: file}
		if got := []string{retryCommand(app, "up"), nextCommands(app)[0]}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
