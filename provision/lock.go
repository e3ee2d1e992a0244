package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sort"
	"sync"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// Holder says who runs nucspark on a node.
type Holder struct {
	User  string    `json:"user"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Run   string    `json:"run"`
	Since time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.Run == "" { // it was just beginning, or its name was lost in a power cut
		return "somebody"
	}
	return fmt.Sprintf("%s on %s (pid %d), since %s", h.User, h.Host, h.PID, h.Since.Local().Format("2006-01-02 15:04:05"))
}

// LockedError says that another run works on a node.
type LockedError struct {
	Node   string
	Holder Holder
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being changed by another run: %s; wait for it to end, or end it there", e.Node, e.Holder)
}

// LostLockError says that a run holds the lock of a node no more, and will not
// have it again.
type LostLockError struct {
	Node string
	Why  string
}

func (e *LostLockError) Error() string {
	return fmt.Sprintf("the lock on %s is lost: %s; this run changes nothing more there: when no other run is at work, run the command again", e.Node, e.Why)
}

// Lock is held on every node that a run changes: an flock, kept by a small
// process there that ends when no heartbeat came for 20 s. So a client that
// died frees it, and so does one that slept.
//
// A run asks before each thing that it is about to do (Check). The answer is
// yes while a heartbeat was answered a moment ago; else the process on the
// node is asked. What was sent just before the client fell asleep asks on the
// node itself (fence). A lost connection is made again, and the lock taken
// again if nobody else had it meanwhile.
type Lock struct {
	fleet   *Fleet
	control string // the node of the control plane
	holder  string // the line that names this run on each node
	holds   map[string]*hold

	over context.Context // ends, with the reason, when the control plane's lock is lost for good
	end  context.CancelCauseFunc
}

// hold is the lock of one node.
type hold struct {
	lock *Lock
	node string
	turn chan struct{} // holds one element while somebody asks or takes

	mu     sync.Mutex // of what follows
	keeper *keeper
	lost   *LostLockError // for good
	tries  int            // attempts to take it again
	failed error          // of the latest
}

// Acquire takes the lock of each node, in the order of their names.
func (f *Fleet) Acquire(ctx context.Context, run string, nodes []string) (*Lock, error) {
	h := Holder{Run: run, PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)}
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	h.Host, _ = os.Hostname()
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	l := &Lock{fleet: f, control: f.cluster.ControlPlane().Name, holder: string(text), holds: map[string]*hold{}}
	l.over, l.end = context.WithCancelCause(context.Background())
	nodes = append([]string(nil), nodes...)
	sort.Strings(nodes)
	for _, n := range nodes {
		h := &hold{lock: l, node: n, turn: make(chan struct{}, 1)}
		if err := h.take(ctx, false); err != nil {
			l.Release()
			return nil, err
		}
		l.holds[n] = h
	}
	return l, nil
}

// Check says whether the lock is still held where a step is about to work:
// on its node, "" for none, and on the control plane. Every run needs the
// latter, so it keeps others out of all nodes, and one node that goes off
// stops no work elsewhere. A node that nobody locked counts as the control
// plane does.
func (l *Lock) Check(ctx context.Context, node string) error {
	for _, n := range []string{l.control, node} {
		if h := l.holds[n]; h != nil {
			if err := h.check(ctx); err != nil {
				return err
			}
		}
		if node == l.control {
			break
		}
	}
	return nil
}

// Release gives the lock back.
func (l *Lock) Release() {
	var wg sync.WaitGroup
	for _, h := range l.holds {
		wg.Add(1)
		go func() { defer wg.Done(); h.present().release() }()
	}
	wg.Wait()
}

func (h *hold) present() *keeper {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keeper
}

func (h *hold) lose(why string) *LostLockError {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost == nil {
		h.lost = &LostLockError{Node: h.node, Why: why}
		if h.node == h.lock.control {
			h.lock.end(h.lost)
		}
	}
	return h.lost
}

// check returns nil when this run holds the lock of the node at this moment.
func (h *hold) check(ctx context.Context) error {
	h.mu.Lock()
	tries := h.tries
	h.mu.Unlock()
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.turn }()
	h.mu.Lock()
	lost, k, others, failed := h.lost, h.keeper, h.tries != tries, h.failed
	h.mu.Unlock()
	if lost != nil {
		return lost
	}
	err := k.held(ctx)
	select {
	case <-k.ended:
	default:
		return err
	}
	var dropped *host.ConnectError
	if !errors.As(k.err, &dropped) {
		return h.lose(k.why())
	}
	if others && failed != nil { // somebody tried in vain while this one waited
		return failed
	}
	err = h.take(ctx, true)
	var taken *LockedError
	if errors.As(err, &taken) {
		err = h.lose(fmt.Sprintf("the connection was lost, and then came another run (%s)", taken.Holder))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries++
	h.failed = err
	return err
}

// locked is a machine as the steps of a run may use it: as long as the run
// holds its lock.
type locked struct {
	Remote
	lock *Lock
	node string
}

func (r locked) Run(ctx context.Context, c host.Command) (host.Result, error) {
	if err := r.lock.Check(ctx, r.node); err != nil {
		return host.Result{Code: -1}, err
	}
	res, err := r.Remote.Run(r.fenced(ctx), c)
	return res, r.fencedOff(err)
}

func (r locked) WriteFile(ctx context.Context, path string, content []byte, mode os.FileMode, owner, group string) error {
	if err := r.lock.Check(ctx, r.node); err != nil {
		return err
	}
	return r.fencedOff(r.Remote.WriteFile(r.fenced(ctx), path, content, mode, owner, group))
}

func (r locked) fenced(ctx context.Context) context.Context {
	if r.lock.holds[r.node] == nil {
		return ctx
	}
	return host.Fenced(ctx, fence(r.lock.holder))
}

// fencedOff says so when the machine itself refused a command because the lock
// is somebody else's.
func (r locked) fencedOff(err error) error {
	var cmd *host.CommandError
	if h := r.lock.holds[r.node]; h != nil && errors.As(err, &cmd) && cmd.Code == fencedCode {
		return h.lose("it was free while a command was on its way, and this run slept or was cut off")
	}
	return err
}
