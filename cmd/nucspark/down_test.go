package main

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

func downCluster() *inventory.Cluster {
	return &inventory.Cluster{File: "nucs.hcl", Name: "nucs", Network: inventory.Network{Pods: netip.MustParsePrefix("10.244.0.0/16")}, Nodes: []inventory.Node{
		{Name: "nuc01", Role: inventory.ControlPlane}, {Name: "nuc02"}, {Name: "nuc03"},
	}}
}

func TestParseErase(t *testing.T) {
	got, err := parseErase(downCluster(), []string{"nuc02:/srv/nfs", "nuc02:/data", "nuc02:/data"})
	if err != nil || !reflect.DeepEqual(got, map[string][]string{"nuc02": {"/srv/nfs", "/data"}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"nuc02", "/data", "nuc02:data", "nuc02:/data/", "nuc02:/data/../etc", "nuc09:/data", "nuc02:/data:/srv/../x"} {
		var usage *usageError
		if _, err := parseErase(downCluster(), []string{bad}); !errors.As(err, &usage) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestDownOrder: pods end everywhere before anything below them goes, those of
// the control plane last.
func TestDownOrder(t *testing.T) {
	c := downCluster()
	site := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{"nuc01": {}, "nuc02": {}}} // nuc03 is off
	d := &downing{surveyed: surveyed{cluster: c, site: site, failed: map[string]error{"nuc03": errors.New("no answer")}}}
	needs := map[string][]string{}
	for _, s := range d.steps() {
		needs[s.ID()] = s.Needs()
		if strings.HasPrefix(s.ID(), "nuc03") {
			t.Errorf("%s is for a machine that is off", s.ID())
		}
	}
	var above func(id string) map[string]bool
	above = func(id string) map[string]bool {
		all := map[string]bool{}
		for _, n := range needs[id] {
			if _, there := needs[n]; !there {
				t.Fatalf("%s needs %s, which is not there", id, n)
			}
			all[n] = true
			for a := range above(n) {
				all[a] = true
			}
		}
		return all
	}
	if !above("nuc01/undo/kubeadm/reset")[provision.NodeReset("nuc02")] {
		t.Error("the control plane ends before the workers")
	}
	if !above("nuc02/undo/packages")["nuc01/undo/kubeadm/reset"] {
		t.Error("packages go while pods run elsewhere")
	}
	if n := d.notes(); len(n) != 1 || !strings.Contains(n[0], "nuc03 stays as it is") {
		t.Errorf("notes %q", n)
	}
}
