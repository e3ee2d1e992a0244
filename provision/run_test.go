package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nucspark.io/nucspark/provision/host"
)

// fake is a step that notes when it is applied.
type fake struct {
	Base
	holds  *bool
	apply  func(env *Env) error
	broken bool // Apply does nothing
	log    *journal
}

type journal struct {
	mu  sync.Mutex
	did []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.did = append(j.did, s)
}

func (s fake) Reads() []Query { return []Query{SysctlQuery{Node: "nuc01", Name: "kernel.ostype"}} }
func (s fake) Diff(Facts) ([]Change, error) {
	if *s.holds {
		return nil, nil
	}
	return []Change{{Kind: "thing", Key: s.Name, Action: Create, New: "there"}}, nil
}
func (s fake) Apply(_ context.Context, env *Env, _ []Change) error {
	s.log.add(s.Name)
	if s.apply != nil {
		if err := s.apply(env); err != nil {
			return err
		}
	}
	if !s.broken {
		*s.holds = true
	}
	return nil
}

func runSteps(t *testing.T, o Options, steps ...Step) ([]Result, []Event, error) {
	t.Helper()
	f, site, _ := oneNode(t)
	p, err := MakePlan(context.Background(), f, steps)
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	o.ID = "test"
	o.Events = func(e Event) { events = append(events, e) }
	results, err := Run(context.Background(), f, site, p, o)
	return results, events, err
}

func step(j *journal, name string, holds bool, needs ...string) fake {
	return fake{Base: Base{Name: "nuc01/" + name, Node: "nuc01", After: needs}, holds: &holds, log: j}
}

func TestRunOrderAndVerify(t *testing.T) {
	j := &journal{}
	a, b, c := step(j, "a", false), step(j, "b", true, "nuc01/a"), step(j, "c", false, "nuc01/b")
	results, events, err := runSteps(t, Options{}, c, b, a)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(j.did, " "); got != "nuc01/a nuc01/c" {
		t.Errorf("applied %s", got)
	}
	if len(results) != 3 || events[0].Kind != RunStarted || events[len(events)-1].Kind != RunDone {
		t.Errorf("%d results, events %v", len(results), events)
	}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has number %d", i, e.Seq)
		}
	}
}

// A step that only awaits another begins when that one has failed, or was kept
// from running, and not before; when the other is tried again it is left alone.
func TestRunAwait(t *testing.T) {
	f, site, _ := oneNode(t)
	j := &journal{}
	bad, after := step(j, "bad", false), step(j, "after", false, "nuc01/bad")
	fails := true
	bad.apply = func(*Env) error {
		if fails {
			fails = false
			return errors.New("not yet")
		}
		return nil
	}
	lenient := step(j, "lenient", false)
	lenient.Await = []string{"nuc01/bad", "nuc01/after"}
	next := step(j, "next", false, "nuc01/lenient")
	p, err := MakePlan(context.Background(), f, []Step{next, lenient, after, bad})
	if err != nil {
		t.Fatal(err)
	}
	retry := make(chan string)
	var once sync.Once
	_, err = Run(context.Background(), f, site, p, Options{ID: "test", Retry: retry, Events: func(e Event) {
		if e.Kind == StepDone && e.Step == "nuc01/next" {
			once.Do(func() {
				go func() {
					retry <- "nuc01/bad"
					close(retry)
				}()
			})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(j.did, " "); got != "nuc01/bad nuc01/lenient nuc01/next nuc01/bad nuc01/after" {
		t.Errorf("applied %s", got)
	}
}

func TestRunFailureStopsOnlyWhatNeedsIt(t *testing.T) {
	j := &journal{}
	bad := step(j, "bad", false)
	bad.apply = func(*Env) error {
		return &host.CommandError{Node: "nuc01", Command: "false", Code: 7, Tail: []string{"no"}}
	}
	after, other := step(j, "after", false, "nuc01/bad"), step(j, "other", false)
	last := step(j, "last", false, "nuc01/after")
	results, events, err := runSteps(t, Options{}, bad, after, last, other)
	var se *StepError
	if !errors.As(err, &se) || se.Step != "nuc01/bad" || se.Node != "nuc01" {
		t.Fatalf("error %v", err)
	}
	state := map[string]string{}
	for _, r := range results {
		state[r.Step.ID()] = fmt.Sprint(r.Err != nil, r.Blocked)
	}
	want := map[string]string{"nuc01/bad": "true", "nuc01/after": "falsenuc01/bad", "nuc01/last": "falsenuc01/bad", "nuc01/other": "false"}
	for id, w := range want {
		if strings.ReplaceAll(state[id], " ", "") != w {
			t.Errorf("%s: %q, want %q", id, state[id], w)
		}
	}
	for _, e := range events {
		if e.Kind == StepFailed && (e.Error.Code != 7 || e.Error.Command != "false" || e.Error.Tail[0] != "no") {
			t.Errorf("failure %+v", e.Error)
		}
	}
}

func TestRunAppliedButStillDifferent(t *testing.T) {
	j := &journal{}
	s := step(j, "a", false)
	s.broken = true
	if _, _, err := runSteps(t, Options{}, s); err == nil || !strings.Contains(err.Error(), "still differs") {
		t.Errorf("got %v", err)
	}
}

func TestRunStop(t *testing.T) {
	j := &journal{}
	stop := make(chan struct{})
	a := step(j, "a", false)
	a.apply = func(*Env) error { close(stop); return nil }
	b := step(j, "b", false, "nuc01/a")
	results, _, err := runSteps(t, Options{Stop: stop}, a, b)
	if !errors.Is(err, context.Canceled) || !results[1].Stopped || len(j.did) != 1 {
		t.Errorf("err %v, results %+v, did %v", err, results, j.did)
	}
}

func TestOrderErrors(t *testing.T) {
	j := &journal{}
	for _, tc := range []struct {
		name, want string
		steps      []Step
	}{
		{"missing", "no step provides nuc01/x (needed by nuc01/a)", []Step{step(j, "a", true, "nuc01/x")}},
		{"circle", "circle", []Step{step(j, "a", true, "nuc01/b"), step(j, "b", true, "nuc01/a")}},
		{"twice", "two steps are called nuc01/a", []Step{step(j, "a", true), step(j, "a", true)}},
	} {
		if _, err := order(tc.steps); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

func TestLedgerAndFile(t *testing.T) {
	f, site, l := oneNode(t)
	path := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(path, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := File{Base: Base{Name: "nuc01/conf", Node: "nuc01"}, Path: path, Content: []byte("new\n"), Mode: 0o644, Owner: fmt.Sprint(os.Getuid()), Group: fmt.Sprint(os.Getgid())}
	ctx := context.Background()
	p, err := MakePlan(ctx, f, []Step{s})
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Steps[0].Changes; len(c) != 1 || c[0].Action != Update || c[0].Detail != "- old\n+ new" {
		t.Fatalf("plan %+v", c)
	}
	// A power cut left half a line behind.
	if err := os.WriteFile(filepath.Join(l.state, "ledger.jsonl"), []byte(`{"v":1,"kind":"fi`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(ctx, f, site, p, Options{ID: "r1"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(l.state, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n")
	entries, err := ParseLedger([]byte(rest + `{"v":1,"half`))
	if len(entries) != 2 || err != nil {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if e := entries[0]; e.Phase != Intent || e.Kind != "file" || e.Key != path || !strings.Contains(e.Before, "sha256:") || e.Step != "nuc01/conf" || e.Run != "r1" {
		t.Errorf("intent %+v", e)
	}
	if entries[1].Phase != Done {
		t.Errorf("second %+v", entries[1])
	}
	kept, err := filepath.Glob(filepath.Join(l.state, "before", "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v %v", kept, err)
	}
	if old, _ := os.ReadFile(kept[0]); string(old) != "old\n" {
		t.Errorf("kept %q", old)
	}
	if _, err := ParseLedger([]byte("{bad}\n{\"v\":1}\n")); err == nil {
		t.Error("a bad line in the middle must be an error")
	}
	again, err := MakePlan(ctx, f, []Step{s})
	if err != nil || again.Changes() != 0 {
		t.Errorf("second plan: %d changes, %v", again.Changes(), err)
	}
}

// A directory gets the bits that are asked for, and loses those that are not.
func TestDirectoryMode(t *testing.T) {
	f, site, _ := oneNode(t)
	dir := filepath.Join(t.TempDir(), "d")
	for _, mode := range []os.FileMode{0o775 | os.ModeSetgid, 0o777 | os.ModeSticky, 0o755 | os.ModeSetgid | os.ModeSticky, 0o700} {
		s := Directory{Base: Base{Name: "nuc01/d", Node: "nuc01"}, Path: dir, Mode: mode, Owner: fmt.Sprint(os.Getuid()), Group: fmt.Sprint(os.Getgid())}
		for _, changes := range []int{1, 0} {
			p, err := MakePlan(context.Background(), f, []Step{s})
			if err != nil {
				t.Fatal(err)
			}
			if p.Changes() != changes {
				t.Errorf("%s: changes %+v, want %d", mode, p.Steps[0].Changes, changes)
			}
			if _, err := Run(context.Background(), f, site, p, Options{ID: "r"}); err != nil {
				t.Fatal(err)
			}
		}
		if st, err := os.Stat(dir); err != nil || st.Mode() != mode|os.ModeDir {
			t.Errorf("%s: is %s, %v", mode, st.Mode(), err)
		}
	}
}

// A program that floods its output fills neither the log nor the memory of
// whoever runs nucspark.
func TestRunFlood(t *testing.T) {
	j := &journal{}
	loud := step(j, "loud", false)
	loud.apply = func(env *Env) error {
		for range mostLines * 3 {
			env.Log("\x1b[2Jagain")
		}
		return nil
	}
	_, events, err := runSteps(t, Options{}, loud)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range events {
		if e.Kind == StepLog {
			lines = append(lines, e.Line)
		}
	}
	if len(lines) != mostLines || lines[0] != "again" || !strings.Contains(lines[mostLines-1], "not kept") {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// A person has failed steps tried again while the run goes on: each looks
// first, those that it blocked follow, and the run ends as if nothing had been.
func TestRunRetry(t *testing.T) {
	j := &journal{}
	bad, worse := step(j, "bad", false), step(j, "worse", false)
	mended := false
	for _, s := range []*fake{&bad, &worse} {
		s.apply = func(*Env) error {
			if !mended {
				return errors.New("not mended")
			}
			return nil
		}
	}
	after, last := step(j, "after", false, "nuc01/bad"), step(j, "last", false, "nuc01/after", "nuc01/worse")
	retry := make(chan string, 10)
	var kinds []string
	failed := 0
	f, site, _ := oneNode(t)
	p, err := MakePlan(context.Background(), f, []Step{bad, worse, after, last})
	if err != nil {
		t.Fatal(err)
	}
	var state State
	results, err := Run(context.Background(), f, site, p, Options{ID: "test", Retry: retry, Events: func(e Event) {
		state.Apply(e)
		kinds = append(kinds, string(e.Kind)+" "+e.Step)
		switch {
		case e.Kind == StepFailed:
			failed++
		case e.Kind == StepBlocked && e.Step == "nuc01/last" && failed == 2:
			// Nothing else can go on, and the run is still there.
			failed, mended = 0, true
			for _, id := range []string{"nuc01/bad", "nuc01/bad", "nuc01/after", "no/such", "nuc01/worse"} {
				retry <- id
			}
		}
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(kinds, "\n"))
	}
	for _, r := range results {
		if r.Err != nil || r.Blocked != "" || len(r.Changes) != 1 {
			t.Errorf("%s: %+v", r.Step.ID(), r)
		}
	}
	for _, st := range state.Steps {
		if st.Status != StatusDone {
			t.Errorf("%s is %s", st.ID, st.Status)
		}
	}
	did := strings.Join(j.did, " ")
	if strings.Count(did, "nuc01/bad") != 2 || strings.Count(did, "nuc01/worse") != 2 || strings.Count(did, "nuc01/after") != 1 || strings.Count(did, "nuc01/last") != 1 {
		t.Errorf("applied %s", did)
	}
}

// A run with failed steps ends when nobody can ask for another try any more.
func TestRunRetryEnds(t *testing.T) {
	for name, end := range map[string]func(retry chan string, stop chan struct{}, cancel func()){
		"closed":    func(retry chan string, _ chan struct{}, _ func()) { close(retry) },
		"stopped":   func(_ chan string, stop chan struct{}, _ func()) { close(stop) },
		"cancelled": func(_ chan string, _ chan struct{}, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			bad := step(&journal{}, "bad", false)
			bad.apply = func(*Env) error { return errors.New("no") }
			f, site, _ := oneNode(t)
			p, err := MakePlan(context.Background(), f, []Step{bad})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			retry, stop := make(chan string), make(chan struct{})
			_, err = Run(ctx, f, site, p, Options{Retry: retry, Stop: stop, Events: func(e Event) {
				if e.Kind == StepFailed {
					end(retry, stop, cancel)
				}
			}})
			if err == nil || !strings.Contains(err.Error(), "nuc01/bad: no") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// curious is a step that asks for more where the answers say so.
type curious struct {
	fake
	asks []Query
	seen *bool
}

func (s curious) Asks(f Facts) []Query {
	if s.Reads()[0].(SysctlQuery).In(f).Exists {
		return s.asks
	}
	return nil
}

func (s curious) Diff(f Facts) ([]Change, error) {
	for _, q := range s.asks {
		*s.seen = q.(FileQuery).In(f).Exists
	}
	return s.fake.Diff(f)
}

func TestCurious(t *testing.T) {
	file := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j, seen := &journal{}, false
	s := curious{step(j, "a", true), []Query{FileQuery{Node: "nuc01", Path: file}}, &seen}
	if _, _, err := runSteps(t, Options{}, s); err != nil || !seen {
		t.Errorf("what it asked for was not answered (%t): %v", seen, err)
	}
}
