package provision

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// bounded is longer than anything here takes on a slow machine.
const bounded = time.Minute

// shell is a machine that runs scripts with a shell of this computer, as SSH
// does: output comes line by line, the fence stands before the script, and the
// connection may drop.
type shell struct {
	*local
	mu      sync.Mutex
	running map[*exec.Cmd]bool
	drops   bool // connections fail
}

var errDropped = &host.ConnectError{Node: "nuc01", Op: "run", Err: errors.New("the machine closed the connection"), Transient: true}

func newShell(t *testing.T) *shell { return &shell{local: newLocal(t), running: map[*exec.Cmd]bool{}} }

func (s *shell) Run(ctx context.Context, c host.Command) (host.Result, error) {
	script := strings.ReplaceAll(c.Script, StateDir, s.state)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	if c.Stdin != nil {
		in, err := cmd.StdinPipe()
		if err != nil {
			return host.Result{}, err
		}
		go func() {
			sc := bufio.NewScanner(c.Stdin)
			for sc.Scan() {
				fmt.Fprintln(in, sc.Text())
			}
			in.Close()
		}()
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return host.Result{}, err
	}
	s.mu.Lock()
	if s.drops {
		s.mu.Unlock()
		return host.Result{Code: -1}, errDropped
	}
	err = cmd.Start()
	s.running[cmd] = true
	s.mu.Unlock()
	if err != nil {
		return host.Result{}, err
	}
	var all bytes.Buffer
	for sc := bufio.NewScanner(out); sc.Scan(); {
		fmt.Fprintln(&all, sc.Text())
		if c.Output != nil {
			c.Output(sc.Text())
		}
	}
	err = cmd.Wait()
	s.mu.Lock()
	_, kept := s.running[cmd]
	delete(s.running, cmd)
	s.mu.Unlock()
	res := host.Result{Stdout: all.String(), Code: cmd.ProcessState.ExitCode()}
	switch {
	case !kept:
		return res, errDropped
	case err != nil:
		return res, &host.CommandError{Node: "nuc01", Code: res.Code}
	}
	return res, nil
}

// drop loses the connection: what runs ends.
func (s *shell) drop(stay bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops = stay
	for cmd := range s.running {
		delete(s.running, cmd)
		_ = cmd.Process.Kill()
	}
}

// keep runs the script of a keeper without a client: what is written to the
// returned pipe are its heartbeats.
func (s *shell) keep(t *testing.T, holder string, again bool, bound time.Duration) (beats func(string), lines chan string, code func() int) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(lockScript(holder, again, bound), StateDir, s.state))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines = make(chan string, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		_ = cmd.Wait() // the code tells
	}()
	t.Cleanup(func() { in.Close(); <-ended })
	return func(text string) {
			if text == "" {
				in.Close()
				return
			}
			fmt.Fprintln(in, text)
		}, lines, func() int {
			select {
			case <-ended:
				return cmd.ProcessState.ExitCode()
			case <-time.After(bounded):
				_ = cmd.Process.Kill()
				t.Fatal("the keeper does not end")
				return 0
			}
		}
}

func next(t *testing.T, lines chan string) string {
	t.Helper()
	select {
	case l := <-lines:
		return l
	case <-time.After(bounded):
		t.Fatal("the keeper says nothing")
		return ""
	}
}

// TestKeeper runs the script itself: who has the lock, who is told so, what
// frees it, and what is left of it.
func TestKeeper(t *testing.T) {
	s := newShell(t)
	name := filepath.Join(s.state, "lock.holder")
	beats, lines, code := s.keep(t, `{"run":"r1","user":"o'neil"}`, false, bounded)
	if l := next(t, lines); l != "locked" {
		t.Fatal(l)
	}
	beats("7")
	if l := next(t, lines); l != "7" {
		t.Errorf("a heartbeat is answered with %q", l)
	}
	_, others, second := s.keep(t, `{"run":"r2"}`, false, bounded)
	if l := next(t, others); l != `held {"run":"r1","user":"o'neil"}` || second() != 0 {
		t.Errorf("a second run hears %q", l)
	}
	beats("end")
	if code() != 0 {
		t.Errorf("given back with %d", code())
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name stays: %v", err)
	}

	beats, lines, code = s.keep(t, `{"run":"r2"}`, false, bounded)
	if l := next(t, lines); l != "locked" {
		t.Fatal(l)
	}
	beats("") // its connection is gone
	if code() != 0 {
		t.Errorf("at the end of its input: %d", code())
	}
	_, others, _ = s.keep(t, `{"run":"r1"}`, true, time.Second)
	if l := next(t, others); l != `held {"run":"r2"}` {
		t.Errorf("an earlier run takes the lock again after another one had it: %q", l)
	}
	_, lines, code = s.keep(t, `{"run":"r2"}`, true, time.Second)
	if l := next(t, lines); l != "locked" {
		t.Fatalf("the same run again: %q", l)
	}
	if code() != silentCode { // no heartbeat
		t.Errorf("without heartbeats: %d", code())
	}
	_, others, _ = s.keep(t, `{"run":"r2"}`, true, time.Second)
	if l := next(t, others); l != "held " {
		t.Errorf("a run that slept takes the lock again: %q", l)
	}
}

func lockOn(t *testing.T, remotes map[string]Remote) (*Fleet, *Lock) {
	t.Helper()
	c, _ := two()
	f := NewFleet(c, func(_ context.Context, n *inventory.Node) (Remote, error) { return remotes[n.Name], nil })
	l, err := f.Acquire(t.Context(), "r1", []string{"nuc02", "nuc01"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return f, l
}

func TestLocked(t *testing.T) {
	a, b := newShell(t), newShell(t)
	f, l := lockOn(t, map[string]Remote{"nuc01": a, "nuc02": b})
	_, err := f.Acquire(t.Context(), "r2", []string{"nuc02"})
	var held *LockedError
	if !errors.As(err, &held) || held.Node != "nuc02" || held.Holder.Run != "r1" || held.Holder.PID != os.Getpid() {
		t.Fatalf("a second run: %v", err)
	}
	for _, w := range []string{"nuc02", fmt.Sprintf("(pid %d)", os.Getpid()), held.Holder.User + " on " + held.Holder.Host, held.Holder.Since.Local().Format(time.DateTime)} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if err := l.Check(t.Context(), "nuc02"); err != nil {
		t.Errorf("the first run: %v", err)
	}
	l.Release()
	again, err := f.Acquire(t.Context(), "r2", []string{"nuc02", "nuc01"})
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

// A connection that drops is made again, and the lock with it; another run
// that came in between has it for good.
func TestLockTakenAgain(t *testing.T) {
	a, b := newShell(t), newShell(t)
	f, l := lockOn(t, map[string]Remote{"nuc01": a, "nuc02": b})
	dropped := func(s *shell, k *keeper, stay bool) {
		s.drop(stay)
		select {
		case <-k.ended:
		case <-time.After(bounded):
			t.Fatal("the keeper does not notice")
		}
	}
	first := l.holds["nuc02"].present()
	dropped(b, first, true)
	for range 2 {
		if err := l.Check(t.Context(), "nuc02"); err == nil || !IsTransient(err) {
			t.Errorf("while it is off: %v", err)
		}
	}
	for _, node := range []string{"", "nuc01"} {
		if err := l.Check(t.Context(), node); err != nil {
			t.Errorf("%q: %v", node, err)
		}
	}
	b.drop(false)
	if err := l.Check(t.Context(), "nuc02"); err != nil {
		t.Errorf("it is back: %v", err)
	}
	dropped(b, l.holds["nuc02"].present(), false)
	other, err := f.Acquire(t.Context(), "r2", []string{"nuc02"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	var lost *LostLockError
	if err := l.Check(t.Context(), "nuc02"); !errors.As(err, &lost) || IsTransient(err) || !strings.Contains(err.Error(), "another run") {
		t.Errorf("another run has it: %v", err)
	}
	if err := l.Check(t.Context(), "nuc01"); err != nil {
		t.Errorf("one node's lock: %v", err)
	}
}

// A client that slept, or was stopped, does nothing more on any node, and
// nothing in the cluster: not by itself, not by a command that was on its way.
func TestLockLost(t *testing.T) {
	a, b := newShell(t), newShell(t)
	f, l := lockOn(t, map[string]Remote{"nuc01": a, "nuc02": b})
	f.setGuard(func(ctx context.Context) error { return l.Check(ctx, "") })
	r := locked{b, l, "nuc02"}
	if _, err := r.Run(t.Context(), host.Command{Script: "exit 0", Root: true}); err != nil {
		t.Fatal(err)
	}
	// After 20 s without a heartbeat.
	if why := (&keeper{err: &host.CommandError{Code: silentCode}}).why(); !strings.Contains(why, "no heartbeat") || !strings.Contains(why, "20s") {
		t.Error(why)
	}
	fenced := false
	far := locked{fencing{b, &fenced}, l, "nuc02"}
	for what, do := range map[string]func() error{
		"a command": func() error { _, err := far.Run(t.Context(), host.Command{Script: "exit 0", Root: true}); return err },
		"a file":    func() error { return far.WriteFile(t.Context(), "/x", nil, 0o600, "", "") },
	} {
		l.holds["nuc02"].lost = nil
		var lost *LostLockError
		if err := do(); !errors.As(err, &lost) || !fenced {
			t.Errorf("%s that was on its way: %v", what, err)
		}
	}
	if err := l.Check(t.Context(), ""); err != nil {
		t.Errorf("the control plane's: %v", err)
	}
	l.holds["nuc01"].lose("a test")
	if err := f.mayChange(t.Context()); err == nil {
		t.Error("the cluster may be changed")
	}
	select {
	case <-l.over.Done():
	default:
		t.Error("the run goes on without the control plane's lock")
	}
}

// fencing answers as a machine on which the fence ends each command.
type fencing struct {
	Remote
	fenced *bool
}

func (f fencing) Run(context.Context, host.Command) (host.Result, error) {
	*f.fenced = true
	return host.Result{Code: fencedCode}, &host.CommandError{Code: fencedCode}
}

func (f fencing) WriteFile(ctx context.Context, path string, _ []byte, _ fs.FileMode, _, _ string) error {
	*f.fenced = true
	return &fs.PathError{Op: "write", Path: path, Err: &host.CommandError{Code: fencedCode}}
}

// TestFence runs the fence: it lets a script pass while the holder is its own.
func TestFence(t *testing.T) {
	dir := t.TempDir()
	mine := `{"run":"r1","user":"o'neil"}`
	for name, c := range map[string]struct {
		holder string
		code   int
	}{"mine": {mine + "\n", 0}, "another's": {`{"run":"r2"}` + "\n", fencedCode}, "nobody's": {"", fencedCode}} {
		path := filepath.Join(dir, "lock.holder")
		_ = os.Remove(path)
		if c.holder != "" {
			if err := os.WriteFile(path, []byte(c.holder), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(fence(mine), StateDir, dir)+"set -eu; [ -z \"${l-}\" ]\n")
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != c.code || len(out) > 0 {
			t.Errorf("%s: exit code %d, %s", name, cmd.ProcessState.ExitCode(), out)
		}
	}
}

// A run without the control plane's lock ends, whatever its steps wait for,
// and starts nothing.
func TestRunLostLock(t *testing.T) {
	f, site, _ := oneNode(t)
	s := newShell(t)
	f.remotes["nuc01"] = s
	l, err := f.Acquire(t.Context(), "r1", []string{"nuc01"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	j := &journal{}
	a, b := waits{step(j, "a", false), func() { l.holds["nuc01"].lose("a test") }}, step(j, "b", false, "nuc01/a")
	p, err := MakePlan(t.Context(), f, []Step{a, b})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), f, site, p, Options{ID: "r1", Lock: l})
	var lost *LostLockError
	if !errors.As(err, &lost) || errors.Is(err, context.Canceled) || strings.Join(j.did, " ") != "nuc01/a" {
		t.Errorf("err %v, did %v", err, j.did)
	}
	_, err = Run(t.Context(), f, site, p, Options{ID: "r1", Lock: l})
	if !errors.As(err, &lost) || len(j.did) != 1 {
		t.Errorf("the next: err %v, did %v", err, j.did)
	}
}

// waits is a step that waits for what does not come.
type waits struct {
	fake
	begun func()
}

func (s waits) Apply(ctx context.Context, _ *Env, _ []Change) error {
	s.log.add(s.Name)
	s.begun()
	<-ctx.Done()
	return ctx.Err()
}

func TestFresh(t *testing.T) {
	now := time.Now()
	k := &keeper{sent: []time.Time{now.Add(-time.Hour), now}, last: 1}
	slept := func(d time.Duration) time.Time { // the monotonic clock stood still, the wall clock did not
		return now.Round(0).Add(d)
	}
	for what, c := range map[string]struct {
		at   time.Time
		want bool
	}{
		"at once": {now, true}, "a moment later": {now.Add(heartbeatFresh - 1), true}, "too late": {now.Add(heartbeatFresh), false},
		"suspended for a moment": {slept(heartbeatFresh - 1), true}, "suspended": {slept(heartbeatFresh), false},
	} {
		if k.fresh(c.at) != c.want {
			t.Errorf("%s: %t", what, !c.want)
		}
	}
	if k.last = 0; k.fresh(now) {
		t.Error("a heartbeat that was not answered counts")
	}
}

// A lock that was not heard of for a while is asked for; the answer decides.
func TestHeld(t *testing.T) {
	s := newShell(t)
	_, l := lockOn(t, map[string]Remote{"nuc01": s, "nuc02": newShell(t)})
	k := l.holds["nuc01"].present()
	k.mu.Lock()
	k.sent[0] = time.Now().Add(-time.Hour)
	k.mu.Unlock()
	if err := l.Check(t.Context(), ""); err != nil {
		t.Errorf("it answers: %v", err)
	}
	k.mu.Lock()
	if k.last == 0 {
		t.Error("it was not asked")
	}
	k.mu.Unlock()
}

// What changes nothing needs no lock; everything else does.
func TestGuard(t *testing.T) {
	asked := 0
	refuse := errors.New("the lock is lost")
	k, err := kube.Connect([]byte(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],
"users":[{"name":"u"}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`), nil,
		func(context.Context) error { asked++; return refuse })
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, method := range []string{http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodDelete} {
		asked = 0
		if err := k.Clientset().CoreV1().RESTClient().Verb(method).AbsPath("/x").Do(t.Context()).Error(); !errors.Is(err, refuse) || asked != 1 {
			t.Errorf("%s: asked %d times, %v", method, asked, err)
		}
	}
}
