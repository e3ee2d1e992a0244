package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"sort"
	"strings"
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

// LockedError says that another run works on a node.
type LockedError struct {
	Node   string
	Holder Holder
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being changed by another run: %s on %s (pid %d), since %s; wait for it to end, or end it there",
		e.Node, e.Holder.User, e.Holder.Host, e.Holder.PID, e.Holder.Since.Local().Format("15:04:05"))
}

// Lock is held on every node that a run changes: an flock, kept by a small
// process there that ends when no heartbeat came for 20 s. So a client that
// died frees it, and one that slept notices that it lost it.
type Lock struct {
	control string // the node of the control plane
	mu      sync.Mutex
	lost    map[string]error // by node
	stop    []func()
}

// Heartbeat and its bound. The bound is the time after which a client that
// died no longer keeps others out.
const (
	heartbeat      = 5 * time.Second
	heartbeatBound = 20
)

// lockScript takes the lock, says so, and keeps it as long as lines come in.
// bash is there on every supported system; dash has no read with a time limit.
func lockScript(holder string) string {
	return fmt.Sprintf(`set -e; umask 077; mkdir -p %[1]s
exec 9>>%[1]s/lock
if ! flock -n 9; then echo "held $(cat %[1]s/lock.holder 2>/dev/null)"; exit 0; fi
printf '%%s\n' %[2]s > %[1]s/lock.holder
echo locked
exec bash -c 'while read -r -t %[3]d beat && [ "$beat" = beat ]; do echo beat; done'
`, StateDir, Quote(holder), heartbeatBound)
}

// Acquire takes the lock of each node, in the order of their names.
func (f *Fleet) Acquire(ctx context.Context, run string, nodes []string) (*Lock, error) {
	l := &Lock{control: f.cluster.ControlPlane().Name, lost: map[string]error{}}
	h := Holder{Run: run, PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)}
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	h.Host, _ = os.Hostname()
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	nodes = append([]string(nil), nodes...)
	sort.Strings(nodes)
	for _, n := range nodes {
		if err := l.take(ctx, f, n, string(text)); err != nil {
			l.Release()
			return nil, err
		}
	}
	return l, nil
}

func (l *Lock) take(ctx context.Context, f *Fleet, node, holder string) error {
	r, err := f.Remote(ctx, node)
	if err != nil {
		return err
	}
	beats, feed := io.Pipe()
	first := make(chan string, 1)
	ended := make(chan error, 1)
	held, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		_, err := r.Run(held, host.Command{Script: lockScript(holder), Root: true, Stdin: beats, Idle: heartbeatBound * time.Second,
			Output: func(line string) {
				if line == "beat" {
					return
				}
				select {
				case first <- line:
				default:
				}
			}})
		if err == nil {
			err = errors.New("the process that keeps the lock ended")
		}
		beats.CloseWithError(err)
		l.mu.Lock()
		l.lost[node] = fmt.Errorf("the lock on %s is lost: %w; another run may work there now, so this one stops: run the command again", node, err)
		l.mu.Unlock()
		ended <- err
	}()
	l.stop = append(l.stop, func() {
		fmt.Fprintln(feed, "end")
		feed.Close()
		select {
		case <-ended:
		case <-time.After(5 * time.Second): // the process ends by itself without heartbeats
		}
		cancel()
	})
	select {
	case line := <-first:
		if line == "locked" {
			break
		}
		e := &LockedError{Node: node}
		// The holder's line may be half written at this moment: its name is
		// missing then, the refusal is right all the same.
		_ = json.Unmarshal([]byte(strings.TrimPrefix(line, "held ")), &e.Holder)
		return e
	case err := <-ended:
		ended <- err
		return fmt.Errorf("taking the lock on %s: %w", node, err)
	case <-ctx.Done():
		return ctx.Err()
	}
	go func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
				if _, err := fmt.Fprintln(feed, "beat"); err != nil {
					return
				}
			}
		}
	}()
	return nil
}

// Check says whether the lock is still held where a step is about to work:
// on its node, "" for none, and on the control plane. Every run needs the
// latter, so it keeps others out of all nodes, and one node that goes off
// stops no work elsewhere.
func (l *Lock) Check(node string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lost[l.control]; err != nil {
		return err
	}
	return l.lost[node]
}

// Release gives the lock back.
func (l *Lock) Release() {
	var wg sync.WaitGroup
	for _, stop := range l.stop {
		wg.Add(1)
		go func() { defer wg.Done(); stop() }()
	}
	wg.Wait()
	l.stop = nil
}
