package kubeadm

import (
	"slices"
	"testing"

	"nucspark.io/nucspark/provision"
)

// withReplaced is a cluster in which another machine answers as nuc02.
func withReplaced() *provision.Site {
	site := three()
	m := site.Machines["nuc02"]
	m.MachineID = "new"
	site.Machines["nuc02"] = m
	site.Members = map[string]provision.Member{"nuc02": {MachineID: "old", Replacement: "new", Address: "192.168.1.12"}}
	return site
}

func TestTrusted(t *testing.T) {
	step := Trust(withReplaced(), "nuc02")[0]
	for name, tt := range map[string]struct {
		member provision.Member
		want   int
	}{
		"not yet":         {provision.Member{MachineID: "old"}, 1},
		"another one was": {provision.Member{MachineID: "old", Replacement: "third"}, 1},
		"trusted":         {provision.Member{MachineID: "old", Replacement: "new"}, 0},
		"joined":          {provision.Member{MachineID: "new"}, 0},
	} {
		changes, err := step.Diff(provision.NewFacts(map[provision.Query]any{liveRecord: recordOf(map[string]provision.Member{"nuc02": tt.member})}))
		if err != nil || len(changes) != tt.want {
			t.Errorf("%s: %+v, %v", name, changes, err)
		}
	}
}

// What is of the old machine goes before the new one joins, and the record says
// that it may join until it has.
func TestReplaced(t *testing.T) {
	site := withReplaced()
	var step replaced
	for _, s := range Steps(site) {
		if r, ok := s.(replaced); ok {
			step = r
		}
		switch s.ID() {
		case "nuc02/kubeadm/join":
			if !slices.Contains(s.Needs(), "nuc02/kubeadm/replaced") {
				t.Errorf("the join needs only %v", s.Needs())
			}
		case "cluster/record":
			if !slices.Contains(s.Needs(), provision.NodeReady("nuc02")) {
				t.Errorf("the record needs only %v", s.Needs())
			}
		}
	}
	if step.node != "nuc02" {
		t.Fatalf("the step is %+v", step)
	}
	pod := func(node string) provision.Object {
		return provision.Object{"metadata": map[string]any{"namespace": "n", "name": "p"}, "spec": map[string]any{"nodeName": node}}
	}
	node := provision.Object{"metadata": map[string]any{"name": "nuc02"}}
	for name, tt := range map[string]struct {
		joined bool
		node   provision.Object
		pods   []provision.Object
		want   int
	}{
		"both are there":      {false, node, []provision.Object{pod("nuc02"), pod("nuc03")}, 2},
		"interrupted between": {false, nil, []provision.Object{pod("nuc02")}, 1},
		"gone":                {false, nil, []provision.Object{pod("nuc03")}, 0},
		"the new one joined":  {true, node, []provision.Object{pod("nuc02")}, 0},
	} {
		changes, err := step.Diff(provision.NewFacts(map[provision.Query]any{
			step.conf(): provision.FileFact{Exists: tt.joined}, liveNode("nuc02"): tt.node, everyPod: tt.pods}))
		if err != nil || len(changes) != tt.want {
			t.Errorf("%s: %+v, %v", name, changes, err)
		}
	}
	if m := members(site)["nuc02"]; m.MachineID != "new" || m.Replacement != "" {
		t.Errorf("it is recorded as %+v", m)
	}
	site.Members["nuc02"] = provision.Member{MachineID: "old", Replacement: "third"}
	for _, s := range Steps(site) {
		if s.ID() == "nuc02/kubeadm/replaced" {
			t.Error("a machine that nobody trusted takes a place")
		}
	}
}
