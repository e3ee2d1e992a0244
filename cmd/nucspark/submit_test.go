package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// What comes after the application belongs to it.
func TestSubmitArguments(t *testing.T) {
	cmd := newSubmitCommand(&App{})
	if err := cmd.ParseFlags([]string{"--name", "n", "--conf", "spark.a=b,c", "--conf", "spark.d=e", "app.py", "--conf", "x", "--", "-h", ""}); err != nil {
		t.Fatal(err)
	}
	if got, want := cmd.Flags().Args(), []string{"app.py", "--conf", "x", "--", "-h", ""}; !slices.Equal(got, want) {
		t.Errorf("the application gets %q, want %q", got, want)
	}
	if got, err := cmd.Flags().GetStringArray("conf"); err != nil || !slices.Equal(got, []string{"spark.a=b,c", "spark.d=e"}) {
		t.Errorf("properties %q, %v", got, err)
	}
}

// A second Ctrl-C, a closed input and the answer e end the application.
func TestLeave(t *testing.T) {
	for answer, want := range map[string]bool{"l\n": true, "L\n": true, "what\nl\n": true, "e\n": false, "": false, "what\n": false} {
		var out, asked bytes.Buffer
		app := &App{In: strings.NewReader(answer), Err: &asked}
		if got := leave(app, &gate{w: &out}, nil); got != want {
			t.Errorf("answer %q: %t", answer, got)
		}
	}
}
