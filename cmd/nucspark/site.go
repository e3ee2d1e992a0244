package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

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
}

// survey loads the inventory, connects, and finds out what the machines are.
// The caller closes the fleet.
func (a *App) survey(ctx context.Context) (*surveyed, error) {
	c, err := a.Load()
	if err != nil {
		return nil, err
	}
	fleet, err := a.Connect(ctx, c)
	if err != nil {
		return nil, err
	}
	site, failed, err := fleet.Prepare(ctx, ubuntu.Supported)
	if err != nil {
		fleet.Close()
		return nil, err
	}
	return &surveyed{cluster: c, fleet: fleet, site: site, failed: failed}, nil
}

// again surveys once more the machines that were locked meanwhile. What
// somebody has to put right first ends the run.
func (s *surveyed) again(ctx context.Context) (*surveyed, error) {
	site, failed, err := s.fleet.PrepareAgain(ctx, s.site, s.failed, ubuntu.Supported)
	if err != nil {
		return nil, err
	}
	return &surveyed{cluster: s.cluster, fleet: s.fleet, site: site, failed: failed}, nil
}

// steps are all that should be true.
func (s *surveyed) steps() []provision.Step {
	var steps []provision.Step
	for _, component := range []func(*provision.Site) []provision.Step{
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
		notes = append(notes, fmt.Sprintf("%s is a member of the cluster and not in %s: nothing is done to it; removing nodes is not supported yet", name, s.cluster.File))
	}
	return notes
}
