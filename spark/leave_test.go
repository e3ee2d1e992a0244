package spark

import (
	"testing"

	"nucspark.io/nucspark/provision"
)

// The worker of a node that leaves stops, unless it is gone already or its
// machine is off.
func TestWorkerLeaves(t *testing.T) {
	site := all(t, nil)
	on := &provision.Machine{}
	node := func(labels map[string]any) provision.Object {
		return provision.Object{"metadata": map[string]any{"labels": labels}}
	}
	labelled, bare := node(map[string]any{workerLabel: "true"}), node(map[string]any{"other": "x"})
	here := []provision.Object{{"metadata": map[string]any{"name": "w-1"}, "spec": map[string]any{"nodeName": "nuc09"}}}
	for name, tt := range map[string]struct {
		machine *provision.Machine
		node    provision.Object
		pods    []provision.Object
		want    int
	}{
		"runs":              {on, labelled, here, 1},
		"ends":              {on, bare, here, 1},
		"has ended":         {on, bare, nil, 0},
		"is no member":      {on, nil, nil, 0},
		"machine is off":    {nil, labelled, here, 1},
		"off, label is off": {nil, bare, here, 0},
	} {
		site.Leaving = []provision.Leaving{{Name: "nuc09", Machine: tt.machine}}
		steps := Leave(site)
		s := steps[0].(workerLeaves)
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.nodeQuery(): tt.node, workerPods: tt.pods}))
		if err != nil || len(changes) != tt.want {
			t.Errorf("%s: %+v, %v; want %d", name, changes, err, tt.want)
		}
		if s.Needs()[0] != provision.NodeDataSafe("nuc09") || steps[1].ID() != provision.NodeIdle("nuc09") {
			t.Errorf("steps %s after %v, %s", s.ID(), s.Needs(), steps[1].ID())
		}
	}
}
