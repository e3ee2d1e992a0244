package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// Heartbeat and its bounds.
const (
	heartbeat = 5 * time.Second
	// After so long without one the process on the node ends: a client that
	// died or sleeps keeps nobody out for longer.
	heartbeatBound = 20 * time.Second
	// An answer is good for so long after its heartbeat was sent. The process
	// on the node began to wait later than that, so less than heartbeatBound
	// is safe.
	heartbeatFresh = 15 * time.Second
	// How long an answer is waited for. A process that does not give one has
	// ended by then.
	heartbeatPatience = 2 * heartbeatBound
)

// Exit codes of the scripts below.
const (
	silentCode = 75 // no heartbeat came
	fencedCode = 97 // the lock is not this run's
)

// keeper is the process on a node that holds the flock.
type keeper struct {
	feed  *io.PipeWriter
	stop  context.CancelFunc
	ended chan struct{} // closed when the process has ended, or is out of reach
	err   error         // why; to be read after ended is closed
	kick  chan struct{} // asks for a heartbeat out of turn
	heard chan struct{} // gets an element with each answer, unless it has one

	mu   sync.Mutex
	sent []time.Time // when each heartbeat was sent, by its number
	last int         // number of the last one that was answered
}

// lockScript takes the lock, says so, and keeps it as long as lines come in;
// each is sent back. With again it takes it only where nobody else had it
// since: what an earlier process of the same run left ends by itself. bash is
// there on every supported system; dash has no read with a time limit.
//
// The name of the holder goes when the lock is given back, and when heartbeats
// failed to come. It stays where the connection was lost, for again.
func lockScript(holder string, again bool, bound time.Duration) string {
	seconds := max(1, int(bound.Seconds()))
	take := "flock -w 1 9 || held" // a survey that looks whether it is held has it for a moment
	if again {
		take = fmt.Sprintf("mine && flock -w %d 9 && mine || held", seconds+5)
	}
	return fmt.Sprintf(`set -e; umask 077; d=%[1]s; mkdir -p $d
held() { # a moment after it took the lock a run has not left its name yet
	i=0; while [ ! -s $d/lock.holder ] && [ $i -lt 10 ]; do sleep 0.1; i=$((i+1)); done
	echo "held $(cat $d/lock.holder 2>/dev/null)"; exit 0
}
mine() { [ "$(cat $d/lock.holder 2>/dev/null)" = %[2]s ]; }
exec 9>>$d/lock
%[3]s
printf '%%s\n' %[2]s > $d/lock.holder.new
mv $d/lock.holder.new $d/lock.holder
echo locked
exec bash -c 'while read -r -t %[4]d beat; code=$?; [ $code = 0 ] && [ "$beat" != end ]; do echo "$beat"; done
if [ "$beat" != end ] && [ $code -le 128 ]; then exit 0; fi # its client is gone
rm -f "$0/lock.holder"
if [ $code -gt 128 ]; then exit %[5]d; fi' $d
`, StateDir, Quote(holder), take, seconds, silentCode)
}

// fence stands before a script of a run: it ends where the lock is not that
// run's any more. So a command that was on its way when the client fell asleep
// does nothing when it wakes.
func fence(holder string) string {
	return fmt.Sprintf("l=$(cat %s/lock.holder 2>/dev/null) || :; [ \"$l\" = %s ] || exit %d; unset l\n", StateDir, Quote(holder), fencedCode)
}

// take starts the process that holds the lock on the node. Where another run
// has it, or with again had it, the error is a *LockedError.
func (h *hold) take(ctx context.Context, again bool) error {
	r, err := h.lock.fleet.Remote(ctx, h.node)
	if err != nil {
		return err
	}
	beats, feed := io.Pipe()
	first := make(chan string, 1)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	k := &keeper{feed: feed, stop: stop, ended: make(chan struct{}), kick: make(chan struct{}, 1), heard: make(chan struct{}, 1),
		sent: []time.Time{time.Now()}} // the process starts later than now
	h.mu.Lock()
	h.keeper = k
	h.mu.Unlock()
	go func() {
		_, err := r.Run(running, host.Command{Script: lockScript(h.lock.holder, again, heartbeatBound), Root: true, Stdin: beats, Idle: heartbeatPatience,
			Output: func(line string) {
				if n, err := strconv.Atoi(line); err == nil {
					k.answered(n)
					return
				}
				select {
				case first <- line:
				default:
				}
			}})
		k.err = err
		close(k.ended)
		beats.CloseWithError(io.ErrClosedPipe)
		var dropped *host.ConnectError
		if err != nil && !errors.As(err, &dropped) {
			h.lose(k.why())
		}
	}()
	select {
	case line := <-first:
		if line != "locked" {
			k.release()
			e := &LockedError{Node: h.node}
			// A name that is missing or damaged makes the refusal no less right.
			_ = json.Unmarshal([]byte(strings.TrimPrefix(line, "held ")), &e.Holder)
			return e
		}
	case <-k.ended:
		if k.err == nil {
			return fmt.Errorf("taking the lock on %s: its process ended at once", h.node)
		}
		return fmt.Errorf("taking the lock on %s: %w", h.node, k.err)
	case <-ctx.Done():
		k.release()
		return context.Cause(ctx)
	}
	go k.beat()
	return nil
}

// beat sends heartbeats until the process has ended.
func (k *keeper) beat() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-k.ended:
			return
		case <-tick.C:
		case <-k.kick:
		}
		k.mu.Lock()
		n := len(k.sent)
		k.sent = append(k.sent, time.Now())
		k.mu.Unlock()
		if _, err := fmt.Fprintln(k.feed, n); err != nil {
			return
		}
	}
}

func (k *keeper) answered(n int) {
	k.mu.Lock()
	if n > k.last && n < len(k.sent) {
		k.last = n
	}
	k.mu.Unlock()
	select {
	case k.heard <- struct{}{}:
	default:
	}
}

// fresh says whether a heartbeat was answered that was sent a moment before
// now.
func (k *keeper) fresh(now time.Time) bool {
	k.mu.Lock()
	sent := k.sent[k.last]
	k.mu.Unlock()
	// Go's monotonic clock stands still while a computer is suspended, the
	// wall clock may be set: both must agree.
	return now.Sub(sent) < heartbeatFresh && now.Round(0).Sub(sent.Round(0)) < heartbeatFresh
}

// held returns nil when the process holds the lock at this moment: it was
// heard a moment ago, or it answers now. One that had ended meanwhile would
// not answer.
func (k *keeper) held(ctx context.Context) error {
	patience := time.NewTimer(heartbeatPatience)
	defer patience.Stop()
	for !k.fresh(time.Now()) {
		select {
		case k.kick <- struct{}{}:
		default:
		}
		select {
		case <-k.heard:
		case <-k.ended:
			return k.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return &StepError{Err: errors.New("the process that keeps the lock does not answer"), Transient: true,
				Hint: "is the machine, or the network, overloaded?"}
		}
	}
	select {
	case <-k.ended:
		return k.err
	default:
		return nil
	}
}

// why says why the process ended.
func (k *keeper) why() string {
	var cmd *host.CommandError
	switch {
	case errors.As(k.err, &cmd) && cmd.Code == silentCode:
		return fmt.Sprintf("no heartbeat of this run came for %s, because this computer slept or nucspark was stopped, and another run may be at work since", heartbeatBound)
	case k.err == nil:
		return "the process that keeps it ended"
	}
	return fmt.Sprintf("the process that keeps it ended: %v", k.err)
}

// release lets the process end, which gives the lock back. It waits 5 s at
// most: without heartbeats the process ends by itself.
func (k *keeper) release() {
	go func() {
		fmt.Fprintln(k.feed, "end")
		k.feed.Close()
	}()
	select {
	case <-k.ended:
	case <-time.After(5 * time.Second):
	}
	k.stop()
}
