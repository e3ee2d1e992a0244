package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// Env is what a step may use while it is applied.
type Env struct {
	run   *runner
	step  Step
	fact  Facts
	lines atomic.Int64 // that were reported
}

// mostLines bounds what is reported of one step: a program that floods its
// output must not fill the disk of whoever runs nucspark. A large install
// prints some hundred.
const mostLines = 10000

// Node returns the machine of that name. It must be reachable: steps are made
// for reachable nodes only.
func (e *Env) Node(name string) *Node {
	r := e.run.fleet.remote(name)
	if r == nil {
		panic(fmt.Sprintf("step %s asks for node %q, which is not connected", e.step.ID(), name))
	}
	if e.run.options.Lock != nil {
		r = locked{r, e.run.options.Lock, name}
	}
	return &Node{env: e, name: name, remote: r}
}

// Kube returns the client of the cluster's API, dialled on first use.
func (e *Env) Kube(ctx context.Context) (*kube.Client, error) { return e.run.fleet.Kube(ctx) }

// ForgetKube is called when the administrator's credentials on the control
// plane may have changed: the next Kube reads them again.
func (e *Env) ForgetKube() { e.run.fleet.forgetKube() }

// Facts are the answers from which the step's changes were computed.
func (e *Env) Facts() Facts { return e.fact }

// Read asks again.
func (e *Env) Read(ctx context.Context, queries ...Query) (Facts, error) {
	return e.run.fleet.Read(ctx, queries)
}

// Site is what the steps were made from.
func (e *Env) Site() *Site { return e.run.site }

// Log reports a line of text about the step, up to mostLines of them.
func (e *Env) Log(line string) {
	switch n := e.lines.Add(1); {
	case n > mostLines:
		return
	case n == mostLines:
		line = "… more lines of this step are not kept"
	}
	e.run.emit(Event{Kind: StepLog, Node: e.run.nodeOf(e.step), Step: e.step.ID(), Line: host.Clean(line)})
}

// Progress reports how far the step is: done of total in unit ("bytes",
// "blocks"), of what.
func (e *Env) Progress(done, total int64, unit, what string) {
	e.run.emit(Event{Kind: StepProgress, Node: e.run.nodeOf(e.step), Step: e.step.ID(), Done: done, Total: total, Unit: unit, Line: host.Clean(what)})
}

// Node is one machine, as a step changes it. Every change is written to the
// node's ledger before it is made.
type Node struct {
	env    *Env
	name   string
	remote Remote
}

// Name is that of the inventory.
func (n *Node) Name() string { return n.name }

// Remote is the connection, for what is no change: reading, forwarding.
func (n *Node) Remote() Remote { return n.remote }

// Run runs a script as root for what only looks or what the caller has put
// into the ledger itself. Its output is reported line by line. The result's
// Stdout holds up to 1 MiB.
func (n *Node) Run(ctx context.Context, script string) (host.Result, error) {
	return n.remote.Run(ctx, host.Command{Script: script, Root: true, Output: n.env.Log})
}

// follow is Run that tells each line of output, cleaned, to a function, too.
func (n *Node) follow(ctx context.Context, script string, each func(line string)) (host.Result, error) {
	return n.remote.Run(ctx, host.Command{Script: script, Root: true, Output: func(line string) {
		n.env.Log(line)
		each(host.Clean(line))
	}})
}

// RunSecret runs a script that carries a secret or prints one: it is sent on
// standard input, never shown, and its output is not reported.
func (n *Node) RunSecret(ctx context.Context, script string) (host.Result, error) {
	return n.remote.Run(ctx, host.Command{Script: script, Root: true, Secret: true})
}

// Change runs a script as root that changes one thing, between an intent and a
// done line of the ledger.
func (n *Node) Change(ctx context.Context, e Entry, script string) error {
	return n.ChangeQuietly(ctx, e, script, 0) // 0: the connection's own idle limit
}

// ChangeQuietly is Change for a script that prints nothing while it works,
// such as a download: the idle limit of the connection, which is meant for
// what hangs, is bound instead.
func (n *Node) ChangeQuietly(ctx context.Context, e Entry, script string, bound time.Duration) error {
	done, err := n.Begin(ctx, e)
	if err != nil {
		return err
	}
	if _, err := n.remote.Run(ctx, host.Command{Script: script, Root: true, Output: n.env.Log, Idle: bound}); err != nil {
		return err
	}
	return done(ctx)
}

// Begin writes an intent to the node's ledger for each thing that a change of
// more than one script touches. The returned function writes that they are
// done.
func (n *Node) Begin(ctx context.Context, entries ...Entry) (done func(context.Context) error, err error) {
	return n.begin(ctx, "", entries...)
}

// begin is Begin; when keep names a file, its body is kept with the intent.
func (n *Node) begin(ctx context.Context, keep string, entries ...Entry) (done func(context.Context) error, err error) {
	mark := func(ctx context.Context, p Phase, keep string) error {
		for i := range entries {
			e := &entries[i]
			e.V, e.Run, e.Step, e.Time, e.Phase = LedgerVersion, n.env.run.id, n.env.step.ID(), time.Now().UTC(), p
		}
		return n.append(ctx, keep, entries...)
	}
	if err := mark(ctx, Intent, keep); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return mark(ctx, Done, "") }, nil
}

// Written is a file to be written.
type Written struct {
	Path         string
	Content      []byte
	Mode         fs.FileMode
	Owner, Group string
	Sensitive    bool     // the ledger keeps a salted hash instead of the body before
	Before       FileFact // what is there now
}

// WriteFile replaces a file atomically. The body of a file that was there
// before is kept beside the ledger, so that it can be put back.
func (n *Node) WriteFile(ctx context.Context, w Written) error {
	sum := sha256.Sum256(w.Content)
	after := hex.EncodeToString(sum[:])
	if w.Sensitive {
		after = saltedHash(n.env.run.site.Resolved.UID, w.Content)
	}
	keep := ""
	if w.Before.Exists && !w.Sensitive {
		keep = w.Path
	}
	done, err := n.begin(ctx, keep, Entry{Kind: "file", Key: w.Path, Before: fileBefore(w.Before, w.Sensitive), After: after})
	if err != nil {
		return err
	}
	if err := n.remote.WriteFile(ctx, w.Path, w.Content, w.Mode, w.Owner, w.Group); err != nil {
		return err
	}
	return done(ctx)
}

// RemoveFile removes a file and keeps its body beside the ledger.
func (n *Node) RemoveFile(ctx context.Context, path string, before FileFact) error {
	keep := ""
	if before.Mode.IsRegular() {
		keep = path
	}
	done, err := n.begin(ctx, keep, Entry{Kind: "file", Key: path, Before: fileBefore(before, false)})
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, "rm -f -- "+Quote(path)); err != nil {
		return err
	}
	return done(ctx)
}

// Exclusive holds the node's package manager until the returned function is
// called: dpkg works on one thing at a time.
func (n *Node) Exclusive(ctx context.Context) (release func(), err error) {
	return n.env.run.exclusive(ctx, n.name)
}

func fileBefore(f FileFact, sensitive bool) string {
	if !f.Exists {
		return ""
	}
	s := describeFile(f.Mode, f.Owner, f.Group, int(f.Size))
	if !sensitive && f.SHA256 != "" {
		s += " sha256:" + f.SHA256
	}
	return s
}

// Quote makes one word of the shell out of any text.
func Quote(s string) string { return host.Quote(s) }
