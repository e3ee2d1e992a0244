package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a run.
type Options struct {
	ID     string          // of the run, as in ledger and events
	Events func(Event)     // called in order, by one goroutine at a time
	Lock   *Lock           // of this run: nothing is changed where it is lost; nil for a run that needs none
	Stop   <-chan struct{} // closed: finish what runs, start nothing new
	// Retry names failed steps that somebody wants tried again. While it is
	// open, a run with failed steps does not end; nil or closed, it ends when
	// nothing else can go on.
	Retry <-chan string
}

// tries bounds how often a step whose failure is transient is applied.
const tries = 3

// retryAfter is the pause before the next try. It grows with the attempt.
func retryAfter(attempt int) time.Duration { return time.Duration(attempt*attempt) * 2 * time.Second }

// Result is what became of one step.
type Result struct {
	Step    Step
	Changes []Change // that were made
	Err     error
	Blocked string // the step whose failure kept this one from running
	Stopped bool   // not started, because the run was asked to stop
}

// Run makes a plan true. Steps run side by side as soon as what they need
// holds; a step that fails stops only those that need it. The results are in
// the order of the plan. The error joins every failure.
func Run(ctx context.Context, fleet *Fleet, site *Site, plan *Plan, o Options) ([]Result, error) {
	r := &runner{id: o.ID, fleet: fleet, site: site, options: o, started: time.Now(), apt: map[string]chan struct{}{},
		tasks: map[string]*task{}, ended: make(chan *task)}
	if o.Lock != nil {
		// Without the control plane's lock nothing goes on, and nothing is
		// waited for.
		under, cancel := context.WithCancelCause(ctx)
		ctx = under
		defer cancel(nil)
		unlink := context.AfterFunc(o.Lock.over, func() { cancel(context.Cause(o.Lock.over)) })
		defer unlink()
		fleet.setGuard(func(ctx context.Context) error { return o.Lock.Check(ctx, "") })
		defer fleet.setGuard(nil)
	}
	begin := Event{Kind: RunStarted}
	for _, p := range plan.Steps {
		id := p.Step.ID()
		if node := NodeOf(id); r.apt[node] == nil { // one that leaves is not in the inventory
			r.apt[node] = make(chan struct{}, 1)
		}
		r.tasks[id] = &task{Planned: p}
		begin.Steps = append(begin.Steps, StepSummary{ID: id, Node: NodeOf(id), Needs: p.Step.Needs(), Awaits: AwaitsOf(p.Step), Changes: len(p.Changes)})
	}
	for _, p := range plan.Steps {
		t := r.tasks[p.Step.ID()]
		for _, id := range p.Step.Needs() {
			need := r.tasks[id]
			t.needs, t.left, need.after = append(t.needs, need), t.left+1, append(need.after, t)
		}
		for _, id := range AwaitsOf(p.Step) {
			n := r.tasks[id]
			t.awaits, t.left, n.awaited = append(t.awaits, n), t.left+1, append(n.awaited, t)
		}
	}
	r.emit(begin)
	r.schedule(ctx, plan)
	var results []Result
	var errs []error
	for _, p := range plan.Steps {
		res := r.tasks[p.Step.ID()].result
		if results = append(results, res); res.Err != nil {
			errs = append(errs, res.Err)
		}
	}
	err := errors.Join(errs...)
	if lost := lostLock(ctx); err == nil && lost != nil {
		err, errs = lost, []error{lost}
	}
	if err == nil && stopped(o.Stop) {
		err = context.Canceled
	}
	end := Event{Kind: RunDone, Elapsed: time.Since(r.started)}
	if len(errs) > 0 {
		end.Error = Failed(errs[0])
	}
	r.emit(end)
	return results, err
}

type runner struct {
	id      string
	fleet   *Fleet
	site    *Site
	options Options
	started time.Time
	tasks   map[string]*task // by the ID of the step

	ended  chan *task // each step that was worked on, when that is over
	active int        // that are worked on now
	failed int        // that failed and were not tried again

	emitting sync.Mutex
	seq      int64

	apt map[string]chan struct{} // one slot a node: see Node.Exclusive
}

// task is a step on its way through a run. All of it belongs to the goroutine
// of schedule, but result, applied and changed while the step is worked on.
type task struct {
	*Planned
	needs, after    []*task
	awaits, awaited []*task // the same, where the failure of the first keeps nothing from running
	left            int     // of needs and awaits: those that have not come to an end
	over            bool    // the step has come to an end, with result
	again           bool    // it failed before, and somebody wants it tried once more
	result          Result
	applied         bool // it, or anything that came before it, changed something in this run
}

// schedule begins each step when all that it needs has come to an end, until
// nothing is left. It alone decides what comes next, so that a failed step can
// be opened again, with those that it blocked.
func (r *runner) schedule(ctx context.Context, plan *Plan) {
	for _, p := range plan.Steps {
		if t := r.tasks[p.Step.ID()]; len(t.needs)+len(t.awaits) == 0 {
			r.begin(ctx, t)
		}
	}
	retry, stop := r.options.Retry, r.options.Stop
	for r.active > 0 || r.failed > 0 && retry != nil && !stopped(r.options.Stop) && ctx.Err() == nil {
		cancelled := ctx.Done()
		if r.active > 0 {
			cancelled = nil // what runs ends by itself
		}
		select {
		case t := <-r.ended:
			r.active--
			r.end(ctx, t)
		case id, open := <-retry:
			if !open {
				retry = nil
			} else if t := r.tasks[id]; t != nil && t.over && t.result.Err != nil && !stopped(r.options.Stop) && ctx.Err() == nil {
				r.failed--
				t.again = true
				r.reopen(t)
				r.begin(ctx, t)
			}
		case <-stop:
			stop = nil
		case <-cancelled:
		}
	}
}

// begin works on a step when all that comes before it has come to an end, or
// says why not.
func (r *runner) begin(ctx context.Context, t *task) {
	id := t.Step.ID()
	t.result = Result{Step: t.Step}
	for _, n := range t.needs {
		if n.result.Err != nil || n.result.Blocked != "" {
			t.result.Blocked = cmp.Or(t.result.Blocked, n.result.Blocked, n.Step.ID())
		}
	}
	for _, n := range slices.Concat(t.needs, t.awaits) {
		t.result.Stopped = t.result.Stopped || n.result.Stopped
		t.applied = t.applied || n.applied
	}
	switch {
	case t.result.Blocked != "":
		r.emit(Event{Kind: StepBlocked, Node: NodeOf(id), Step: id, Line: t.result.Blocked})
		r.end(ctx, t)
	case t.result.Stopped || stopped(r.options.Stop) || ctx.Err() != nil:
		t.result.Stopped = true
		r.end(ctx, t)
	default:
		r.active++
		go func() {
			r.step(ctx, t)
			r.ended <- t
		}()
	}
}

// end begins what waited for this step last.
func (r *runner) end(ctx context.Context, t *task) {
	t.over = true
	if t.result.Err != nil {
		r.failed++
	}
	next := append(t.after[:len(t.after):len(t.after)], t.awaited...)
	t.awaited = nil // went on without it, if it is tried again
	for _, a := range next {
		if a.left--; a.left == 0 {
			r.begin(ctx, a)
		}
	}
}

// reopen takes back that a step has come to an end, and with it those that it
// blocked.
func (r *runner) reopen(t *task) {
	t.over = false
	r.emit(Event{Kind: StepReopened, Node: NodeOf(t.Step.ID()), Step: t.Step.ID()})
	for _, a := range t.after {
		if a.left++; a.over {
			r.reopen(a)
		}
	}
}

func (r *runner) emit(e Event) {
	if r.options.Events == nil {
		return
	}
	r.emitting.Lock()
	defer r.emitting.Unlock()
	r.seq++
	e.V, e.Seq, e.Run, e.Time = EventVersion, r.seq, r.id, time.Now()
	r.options.Events(e)
}

func (r *runner) nodeOf(s Step) string { return NodeOf(s.ID()) }

func (r *runner) exclusive(ctx context.Context, node string) (func(), error) {
	slot := r.apt[node]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func stopped(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// step looks again where something that it needs was changed, and applies what
// is left to do.
func (r *runner) step(ctx context.Context, t *task) {
	id, res := t.Step.ID(), &t.result
	start := time.Now()
	changes, facts, err := t.Changes, t.facts, t.Err
	if (t.applied || t.again) && len(t.Step.Reads()) > 0 {
		facts, changes, err = r.look(ctx, t.Step)
	}
	if err == nil && len(changes) == 0 {
		r.emit(Event{Kind: StepDone, Node: NodeOf(id), Step: id, Elapsed: time.Since(start)})
		return
	}
	if err == nil {
		r.emit(Event{Kind: StepStarted, Node: NodeOf(id), Step: id, Changes: changes})
		t.applied = true
		res.Changes, err = r.apply(ctx, t.Step, changes, facts)
	}
	if err != nil {
		if lost := lostLock(ctx); lost != nil { // what was cancelled has no reason of its own
			err = lost
		}
		var step *StepError
		if !errors.As(err, &step) || step.Step != id {
			err = &StepError{Node: NodeOf(id), Step: id, Err: err}
		}
		res.Err = err
		r.emit(Event{Kind: StepFailed, Node: NodeOf(id), Step: id, Error: Failed(err), Elapsed: time.Since(start)})
		return
	}
	r.emit(Event{Kind: StepDone, Node: NodeOf(id), Step: id, Changes: res.Changes, Elapsed: time.Since(start)})
}

// lostLock is the reason why a run was ended for want of its lock, or nil.
func lostLock(ctx context.Context) error {
	var lost *LostLockError
	if errors.As(context.Cause(ctx), &lost) {
		return lost
	}
	return nil
}

func (r *runner) look(ctx context.Context, s Step) (Facts, []Change, error) {
	facts, err := r.fleet.readFor(ctx, s)
	if err != nil {
		return facts, nil, err
	}
	changes, err := s.Diff(facts)
	return facts, changes, err
}

// apply applies a step and looks whether it holds now, and tries again where
// that may help. It returns the changes that were made.
func (r *runner) apply(ctx context.Context, s Step, changes []Change, facts Facts) ([]Change, error) {
	made := changes
	for attempt := 1; ; attempt++ {
		err := r.try(ctx, s, changes, facts)
		if err == nil {
			return made, nil
		}
		if attempt == tries || !IsTransient(err) || ctx.Err() != nil || stopped(r.options.Stop) {
			return nil, err
		}
		r.emit(Event{Kind: StepRetried, Node: NodeOf(s.ID()), Step: s.ID(), Attempt: attempt, Error: Failed(err)})
		pause := time.NewTimer(retryAfter(attempt))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
		var lookErr error
		if facts, changes, lookErr = r.look(ctx, s); lookErr != nil {
			return nil, errors.Join(err, lookErr)
		}
		if len(changes) == 0 {
			return made, nil
		}
	}
}

func (r *runner) try(ctx context.Context, s Step, changes []Change, facts Facts) error {
	if r.options.Lock != nil {
		if err := r.options.Lock.Check(ctx, r.nodeOf(s)); err != nil {
			return err
		}
	}
	env := &Env{run: r, step: s, fact: facts}
	if err := s.Apply(ctx, env, changes); err != nil {
		return err
	}
	if len(s.Reads()) == 0 {
		return nil
	}
	_, left, err := r.look(ctx, s)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		c := left[0]
		differs := c.Detail
		if differs == "" {
			differs = fmt.Sprintf("is %q, should be %q", c.Old, c.New)
		}
		return fmt.Errorf("applied without an error, but %s %s still differs: %s", c.Kind, c.Key, strings.ReplaceAll(differs, "\n", "; "))
	}
	return nil
}
