package provision

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"nucspark.io/nucspark/provision/host"
)

// FuzzStateText applies events that anybody may have written: the reducer never panics, each
// step is in exactly one state with what that state promises, and no text can
// steer a terminal.
func FuzzStateText(f *testing.F) {
	f.Add(`{"kind":"run-started","run":"r","steps":[{"id":"a/x","node":"a","changes":1},{"id":"b/y","node":"b","needs":["a/x"],"changes":1}]}
{"kind":"step-started","step":"a/x"}
{"kind":"step-log","step":"a/x","line":"\u001b[2Jtext"}
{"kind":"step-retried","step":"a/x","attempt":1}
{"kind":"step-failed","step":"a/x"}
{"kind":"step-blocked","step":"b/y","line":"a/x"}
{"kind":"step-reopened","step":"a/x"}
{"kind":"step-reopened","step":"b/y"}
{"kind":"step-done","step":"a/x","changes":[{"kind":"file","key":"/etc/\u001bc"}]}
{"kind":"step-progress","step":"b/y","done":3,"total":-1,"unit":"\u0007"}
{"kind":"run-done"}`)
	f.Add(`{"kind":"run-started","steps":[{"id":"a","needs":["b"]},{"id":"b","needs":["a","c"]},{"id":"b"}]}
{"kind":"step-failed","step":"b","error":{"message":"\u001b]0;","tail":["\r"],"hint":"\u009b"}}`)
	f.Fuzz(func(t *testing.T, lines string) {
		var s State
		for line := range strings.Lines(lines) {
			var e Event
			if json.Unmarshal([]byte(line), &e) != nil {
				continue
			}
			s.Apply(e)
			running := 0
			for _, st := range s.Steps {
				s.WaitsFor(st)
				switch st.Status {
				case StatusFailed:
					if st.Error == nil {
						t.Fatalf("%s failed without a reason", st.ID)
					}
					text := st.Error.Message + st.Error.Command + st.Error.Hint
					if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl) || slices.ContainsFunc(st.Error.Tail, func(l string) bool { return host.Clean(l) != l }) {
						t.Fatalf("%s failed with %+v", st.ID, st.Error)
					}
				case StatusRunning:
					running++
				case StatusWaiting, StatusDone, StatusBlocked:
				default:
					t.Fatalf("%s is %q", st.ID, st.Status)
				}
				for _, text := range []string{st.ID, st.Node, st.Line, st.Unit, st.Blocked} {
					if host.Clean(text) != text {
						t.Fatalf("%q of %q", text, st.ID)
					}
				}
				for _, c := range st.Changes {
					if host.Clean(c.Key) != c.Key || host.Clean(c.Kind) != c.Kind {
						t.Fatalf("%+v", c)
					}
				}
			}
			if len(s.Running()) != running || s.Stuck() && running > 0 {
				t.Fatalf("%d run, %d are listed, stuck: %v", running, len(s.Running()), s.Stuck())
			}
			s.Nodes()
		}
	})
}
