package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestInterrupts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan string, 2)
	i := newInterrupts(cancel, func(text string) { said <- text })
	defer i.release()

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
	if text := <-said; text != "Cancelling." {
		t.Errorf("the second Ctrl-C said %q", text)
	}
	i.press() // more than can be taken must not block the screen
	i.press()
	i.press()
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
