package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Only its whole name, typed, takes out a member whose block left the file.
func TestAskRemoval(t *testing.T) {
	for name, tt := range map[string]struct {
		typed  string
		given  []string
		member provision.Member
		want   []string
		asks   bool
	}{
		"its name":      {typed: "nuc03\n", want: []string{"nuc03"}, asks: true},
		"yes":           {typed: "yes\n", asks: true},
		"another":       {typed: "nuc02\n", asks: true},
		"nothing":       {typed: "\n", asks: true},
		"no answer":     {asks: true},
		"named already": {given: []string{"nuc03"}},
		"begun already": {member: provision.Member{Leaving: true}},
	} {
		var said bytes.Buffer
		app := &App{In: strings.NewReader(tt.typed), Err: &said}
		c := &inventory.Cluster{File: "cluster.hcl", Nodes: []inventory.Node{{Name: "nuc01"}}}
		s := &surveyed{cluster: c, site: &provision.Site{Cluster: c, Members: map[string]provision.Member{"nuc01": {}, "nuc03": tt.member}}}
		got, err := app.askRemoval(s, provision.Removal{Nodes: tt.given})
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tt.want)
		}
		if asked := strings.Contains(said.String(), "nuc03 is a member of the cluster and not in cluster.hcl"); asked != tt.asks {
			t.Errorf("%s: it said %q", name, said.String())
		}
	}
}

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
