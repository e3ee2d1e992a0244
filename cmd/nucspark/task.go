package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/tui"
)

// task is a change of its own, beside what up makes true: a few steps that are
// shown, agreed to, and carried out under the locks of some nodes.
type task struct {
	fleet    *provision.Fleet
	nodes    []string // to be locked
	question string
	retry    string // the command that goes on after a failure
	done     string // what the cluster is then
	next     []string
	// look surveys the machines and makes the steps. Under the locks it is
	// called again.
	look func(ctx context.Context) (*provision.Site, []provision.Step, error)
}

// carry carries a task out. It says whether there was anything to do.
func (a *App) carry(ctx context.Context, t *task, yes bool, mode tui.Mode) (changed bool, err error) {
	_, agreed, err := t.plan(ctx)
	if err != nil || agreed.Changes() == 0 {
		return false, err
	}
	if !yes || mode != tui.Quiet {
		writePlan(a.Err, agreed, nil)
	}
	if !yes {
		if !a.interactive() {
			return false, &ExitError{Code: exitBad, Err: errors.New("there is no terminal to ask for consent; add --yes to go on without asking")}
		}
		ok, err := a.ask(t.question)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, &ExitError{Code: exitBad, Err: errors.New("nothing was changed")}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ints := newInterrupts(cancel, func(text string) { fmt.Fprintln(a.Err, text) })
	defer ints.release()
	id := time.Now().UTC().Format("20060102T150405Z")
	lock, err := t.fleet.Acquire(ctx, id, t.nodes)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	site, p, err := t.plan(ctx)
	if err != nil {
		return false, err
	}
	if !yes && !p.Same(agreed) {
		return false, &ExitError{Code: exitBad, Err: errors.New("the machines changed since the plan was shown, and nothing was done; run it again")}
	}
	return true, perform(ctx, a, performance{id: id, site: site, fleet: t.fleet, plan: p, lock: lock, ints: ints, mode: mode, retry: t.retry, next: t.next, done: t.done})
}

// plan looks and compares. What is known to fail is not begun.
func (t *task) plan(ctx context.Context) (*provision.Site, *provision.Plan, error) {
	site, steps, err := t.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	p, err := provision.MakePlan(ctx, t.fleet, steps)
	if err != nil {
		return nil, nil, err
	}
	if errs := p.Errors(); len(errs) > 0 {
		var reasons []string
		for _, err := range errs {
			reasons = append(reasons, err.Error())
		}
		return nil, nil, &provision.RefusedError{Reasons: reasons}
	}
	return site, p, nil
}
