package main

import (
	"context"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/ubuntu"
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
		if err := a.consent(t.question); err != nil {
			return false, err
		}
	}
	return true, underLock(ctx, a, t.fleet, t.nodes, agreed, yes, func(ctx context.Context) (performance, error) {
		site, p, err := t.plan(ctx)
		return performance{site: site, plan: p, mode: mode, retry: t.retry, next: t.next, done: t.done}, err
	})
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

// prepareWith surveys the machines for a task that cannot do without one of them.
func prepareWith(ctx context.Context, fleet *provision.Fleet, name string) (*provision.Site, error) {
	site, failed, err := fleet.Prepare(ctx, ubuntu.Supported)
	if err == nil {
		err = failed[name]
	}
	return site, err
}
