package main

import (
	"errors"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// What is known to fail is said before anybody is asked, and does not count
// as holding.
func TestPlanThatFails(t *testing.T) {
	p := &provision.Plan{Steps: []*provision.Planned{
		{Step: provision.Milestone{Name: "nuc01/base"}},
		{Step: provision.Milestone{Name: "nuc02/nfs/directory"}, Err: errors.New("/srv/nfs on nuc02 is not empty; take another")},
	}}
	var w strings.Builder
	writePlan(&w, p, failing(p))
	want := "! will fail: nuc02/nfs/directory: /srv/nfs on nuc02 is not empty; take another\nNothing to change: 1 steps hold.\n"
	if w.String() != want {
		t.Errorf("got %q, want %q", w.String(), want)
	}
}
