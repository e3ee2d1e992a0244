package provision

import (
	"context"
	"errors"
	"fmt"
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
	r := &runner{id: o.ID, fleet: fleet, site: site, options: o, started: time.Now(),
		done: map[string]*outcome{}, apt: map[string]chan struct{}{}}
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
		if node := NodeOf(p.Step.ID()); r.apt[node] == nil { // one that leaves is not in the inventory
			r.apt[node] = make(chan struct{}, 1)
		}
		r.done[p.Step.ID()] = &outcome{ready: make(chan struct{})}
		begin.Steps = append(begin.Steps, StepSummary{ID: p.Step.ID(), Node: NodeOf(p.Step.ID()), Needs: p.Step.Needs(), Changes: len(p.Changes)})
	}
	r.emit(begin)
	results := make([]Result, len(plan.Steps))
	var wg sync.WaitGroup
	for i, p := range plan.Steps {
		wg.Add(1)
		go func() {
			defer wg.Done()
			results[i] = r.step(ctx, p)
			out := r.done[p.Step.ID()]
			out.result = results[i]
			close(out.ready)
		}()
	}
	wg.Wait()
	var errs []error
	for _, res := range results {
		if res.Err != nil {
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
	done    map[string]*outcome

	emitting sync.Mutex
	seq      int64

	apt map[string]chan struct{} // one slot a node: see Node.Exclusive
}

// outcome of a step, for those that need it. applied is true when it, or
// anything it needs, changed something in this run.
type outcome struct {
	ready   chan struct{}
	result  Result
	applied bool
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

// step waits for what a step needs, looks again where that changed something,
// and applies what is left to do.
func (r *runner) step(ctx context.Context, p *Planned) Result {
	id, res := p.Step.ID(), Result{Step: p.Step}
	out := r.done[id]
	stale := false
	for _, need := range p.Step.Needs() {
		n := r.done[need]
		<-n.ready
		if n.result.Err != nil || n.result.Blocked != "" {
			if res.Blocked == "" {
				res.Blocked = need
				if n.result.Blocked != "" {
					res.Blocked = n.result.Blocked
				}
			}
		}
		res.Stopped = res.Stopped || n.result.Stopped
		stale = stale || n.applied
	}
	switch {
	case res.Blocked != "":
		r.emit(Event{Kind: StepBlocked, Node: NodeOf(id), Step: id, Line: res.Blocked})
		return res
	case res.Stopped || stopped(r.options.Stop) || ctx.Err() != nil:
		res.Stopped = true
		return res
	}
	out.applied = stale
	start := time.Now()
	changes, facts, err := p.Changes, p.facts, p.Err
	if stale && len(p.Step.Reads()) > 0 {
		facts, changes, err = r.look(ctx, p.Step)
	}
	if err == nil && len(changes) == 0 {
		r.emit(Event{Kind: StepDone, Node: NodeOf(id), Step: id, Elapsed: time.Since(start)})
		return res
	}
	if err == nil {
		r.emit(Event{Kind: StepStarted, Node: NodeOf(id), Step: id, Changes: changes})
		out.applied = true
		res.Changes, err = r.apply(ctx, p.Step, changes, facts)
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
		return res
	}
	r.emit(Event{Kind: StepDone, Node: NodeOf(id), Step: id, Changes: res.Changes, Elapsed: time.Since(start)})
	return res
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
	facts, err := r.fleet.Read(ctx, s.Reads())
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
