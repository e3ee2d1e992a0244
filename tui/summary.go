package tui

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"nucspark.io/nucspark/provision"
)

// WriteSummary says after a run what changed per node, what failed and why,
// and what to do next.
func WriteSummary(w io.Writer, s *provision.State, o Options) {
	all := places(s)
	width, left := 0, 0
	for _, p := range all {
		width = max(width, len(p.name))
		left += p.left
	}
	fmt.Fprintln(w)
	for _, p := range all {
		word := "✓ done  "
		if p.failed > 0 {
			word = "✗ failed"
		} else if p.left > 0 {
			word = "◌ open  "
		}
		fmt.Fprintf(w, "%s  %-*s  %d changed, %d unchanged", word, width, p.name, p.changed, p.held)
		if p.failed > 0 {
			fmt.Fprintf(w, ", %d failed", p.failed)
		}
		if p.left > 0 {
			fmt.Fprintf(w, ", %d not done", p.left)
		}
		fmt.Fprintln(w)
	}
	for _, st := range s.Failed() {
		f := st.Error
		fmt.Fprintf(w, "\n✗ %s failed after %s\n  %s\n", st.ID, took(st.Elapsed), strings.ReplaceAll(withoutHint(st), "\n", "\n  "))
		if f.Command != "" {
			fmt.Fprintf(w, "  command: %s (exit code %d)\n", strings.ReplaceAll(f.Command, "\n", "\n  "), f.Code)
		}
		for _, l := range f.Tail {
			fmt.Fprintf(w, "  │ %s\n", l)
		}
		if f.Hint != "" {
			fmt.Fprintf(w, "  → %s\n", f.Hint)
		}
	}
	after := took(s.Ended.Sub(s.Started))
	switch {
	case len(s.Failed()) > 0:
		fmt.Fprintf(w, "\n%s failed after %s. Every event is in %s\nWhat a step does, and why: nucspark explain STEP\nWhen the cause is gone, go on with: %s\n", o.Cluster, after, o.LogPath, o.Retry)
	case left > 0:
		fmt.Fprintf(w, "\n%s was stopped after %s. Every event is in %s\nGo on with: %s\n", o.Cluster, after, o.LogPath, o.Retry)
	default:
		fmt.Fprintf(w, "\n%s is %s after %s. Every event is in %s\n", o.Cluster, cmp.Or(o.Done, "up"), after, o.LogPath)
		for _, c := range o.Next {
			fmt.Fprintln(w, "  "+c)
		}
	}
}
