package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/spark"
)

// surveyed is an inventory and the machines that answered for it.
type surveyed struct {
	cluster *inventory.Cluster
	fleet   *provision.Fleet
	site    *provision.Site
	failed  map[string]error // nodes that cannot be worked on now
	removal provision.Removal
	left    []string                     // notes about those that leave
	ledgers map[string][]provision.Entry // of those that leave and answer
}

// survey loads the inventory, connects, and finds out what the machines are.
// The caller closes the fleet.
func (a *App) survey(ctx context.Context) (*surveyed, error) {
	c, fleet, err := a.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer a.sayWhoIsSilent(fleet).Stop()
	site, failed, err := fleet.Prepare(ctx, ubuntu.Supported)
	if err != nil {
		fleet.Close()
		return nil, err
	}
	return &surveyed{cluster: c, fleet: fleet, site: site, failed: failed}, nil
}

// patience is after what time somebody at a terminal is told for whom they wait.
const patience = 3 * time.Second

// sayWhoIsSilent names the machines that are not connected by then, unless it
// was stopped or something is being asked.
func (a *App) sayWhoIsSilent(fleet *provision.Fleet) *time.Timer {
	return time.AfterFunc(patience, func() {
		silent := fleet.Unconnected()
		if len(silent) == 0 || !isTerminal(a.Err) || !a.asking.TryLock() {
			return
		}
		defer a.asking.Unlock()
		fmt.Fprintf(a.Err, "waiting for an answer of %s\n", strings.Join(silent, ", "))
	})
}

// remove makes members leave that somebody named, and those whose removal was
// begun. Nothing is changed.
func (s *surveyed) remove(ctx context.Context, r provision.Removal) (err error) {
	s.removal = r
	if s.left, err = s.fleet.Leave(ctx, s.site, r); err != nil {
		return err
	}
	s.ledgers = map[string][]provision.Entry{}
	for _, l := range s.site.Leaving {
		if l.Machine == nil {
			continue
		}
		if s.ledgers[l.Name], err = s.fleet.Ledger(ctx, l.Name); err != nil {
			return err
		}
	}
	return nil
}

// undone are the steps that put the machines back that leave.
func (s *surveyed) undone() []provision.Step {
	var steps []provision.Step
	for _, l := range s.site.Leaving {
		after := []string{provision.NodeDrained(l.Name), provision.NodeUnused(l.Name)}
		if l.Machine == nil { // what is on it stays there
			steps = append(steps, provision.Milestone{Name: provision.NodeUndone(l.Name), After: after})
			continue
		}
		steps = append(steps, kubeadm.UndoSteps(s.site, l.Name, after...)...)
		steps = append(steps, ubuntu.UndoSteps(s.site, l.Name, s.ledgers[l.Name], nil, nil)...)
	}
	return steps
}

// again surveys once more the machines that were locked meanwhile. What
// somebody has to put right first ends the run.
func (s *surveyed) again(ctx context.Context) (*surveyed, error) {
	site, failed, err := s.fleet.PrepareAgain(ctx, s.site, s.failed, ubuntu.Supported)
	if err != nil {
		return nil, err
	}
	now := &surveyed{cluster: s.cluster, fleet: s.fleet, site: site, failed: failed}
	if err := now.remove(ctx, s.removal); err != nil {
		return nil, err
	}
	for i, l := range now.site.Leaving {
		if !slices.ContainsFunc(s.site.Leaving, func(was provision.Leaving) bool { return was.Name == l.Name && was.Machine != nil }) {
			now.site.Leaving[i].Machine = nil // it answers only now, and is not locked
		}
	}
	return now, nil
}

// steps are all that should be true. What members need that leave comes first.
func (s *surveyed) steps() []provision.Step {
	steps := s.undone()
	for _, component := range []func(*provision.Site) []provision.Step{
		kubeadm.Leave, hdfs.Leave, spark.Leave, nfs.Leave,
		ubuntu.Steps, kubeadm.Steps, nfs.Steps, hdfs.Steps, spark.Steps,
	} {
		steps = append(steps, component(s.site)...)
	}
	return steps
}

// plan compares the machines with the inventory.
func (s *surveyed) plan(ctx context.Context) (*provision.Plan, error) {
	return provision.MakePlan(ctx, s.fleet, s.steps())
}

// unreachable is the error for the nodes that did not answer, nil if all did.
func (s *surveyed) unreachable() error {
	var names []string
	for name := range s.failed {
		names = append(names, name)
	}
	sort.Strings(names)
	var errs []error
	for _, name := range names {
		errs = append(errs, s.failed[name])
	}
	return errors.Join(errs...)
}

// notes are what a person should know before the plan is carried out.
func (s *surveyed) notes() []string {
	var notes []string
	for name, err := range s.failed {
		notes = append(notes, fmt.Sprintf("%s is left out: %v", name, err))
	}
	sort.Strings(notes)
	if len(s.site.Adopted) > 0 {
		notes = append(notes, fmt.Sprintf("the data of a cluster that was taken down is taken over, with its UID %s: %s", s.site.Resolved.UID, strings.Join(s.site.Adopted, ", ")))
	}
	for _, name := range s.site.Foreign() {
		notes = append(notes, fmt.Sprintf("%s is a member of the cluster and not in %s: nothing is done to it; nucspark up --remove %[1]s takes it out", name, s.cluster.File))
	}
	return append(notes, s.left...)
}
