package host

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func (h *Host) remember(g group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = append(h.lost, g)
}

// stop ends a process group, if its leader is still the process that it was:
// TERM first, KILL after killGrace. It uses a second session, because sshd's
// own signal request cannot reach what runs as root.
func (h *Host) stop(ctx context.Context, c *conn, g group) error {
	if g.leader <= 1 || g.id <= 1 {
		return fmt.Errorf("process group %d is not one of ours", g.id)
	}
	select {
	case h.stops <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.stops }()
	script := fmt.Sprintf(`
{ read -r l </proc/%[1]d/stat; } 2>/dev/null || exit 0
set -- ${l##*) }
[ "$3" = %[2]d ] && [ "${20}" = %[3]d ] || exit 0
read -r l </proc/$$/stat
set -- ${l##*) }
[ "$3" != %[2]d ] || { echo "it shares its process group with sshd" >&2; exit 1; }
kill -TERM -%[2]d
i=0
while kill -0 -%[2]d 2>/dev/null && [ $i -lt %[4]d ]; do sleep 0.1; i=$((i+1)); done
kill -KILL -%[2]d 2>/dev/null || :
`, g.leader, g.id, g.start, killGrace.Milliseconds()/100)
	p, err := h.start(ctx, c, Command{Script: script, Root: g.root, Idle: stopTimeout})
	if err != nil {
		return err
	}
	defer p.ch.Close()
	select {
	case e, ok := <-p.exit:
		if ok && e.code == 0 {
			return nil
		}
		p.drain(ctx, time.Second)
		_, tail := p.result(-1)
		return fmt.Errorf("stopping it failed: %s", strings.Join(tail, "; "))
	case <-c.dead:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
