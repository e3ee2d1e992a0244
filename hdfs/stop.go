package hdfs

import (
	"context"
	"slices"

	"nucspark.io/nucspark/provision"
)

// datanodeStopped is a step: a node that leaves has no datanode, nor the label
// that starts one, and no set of pods is left that no node is to run.
type datanodeStopped struct {
	provision.Base
	site    *provision.Site
	leaving provision.Leaving
}

func (s datanodeStopped) Reads() []provision.Query {
	return []provision.Query{nodesQuery, datanodePods, datanodeSets, checkpointQuery}
}

var checkpointQuery = set("StatefulSet", checkpoint)

func (s datanodeStopped) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	if node := s.node(f); node != nil && (label(node, DisksLabel) != "" || recordedDirs(node) != nil) || s.pod(f) != "" {
		changes = append(changes, provision.Change{Kind: "datanode", Key: s.leaving.Name, Action: provision.Delete, Old: blanks(recordedDirs(node)), New: "stopped; its directories stay as they are"})
	}
	others := slices.DeleteFunc(slices.Clone(nodesQuery.In(f)), func(o provision.Object) bool { return nameOf(o) == s.leaving.Name })
	for _, name := range unusedSets(s.site, others, datanodeSets.In(f)) {
		changes = append(changes, provision.Change{Kind: "DaemonSet", Key: name, Action: provision.Delete, Old: "no node has its directories"})
	}
	if l := newLayout(s.site); (l == nil || l.second == nil) && checkpointQuery.In(f) != nil {
		changes = append(changes, provision.Change{Kind: "StatefulSet", Key: checkpoint, Action: provision.Delete, Old: "no machine is left for a second copy of the metadata"})
	}
	return changes, nil
}

func (s datanodeStopped) node(f provision.Facts) provision.Object {
	for _, o := range nodesQuery.In(f) {
		if nameOf(o) == s.leaving.Name {
			return o
		}
	}
	return nil
}

// pod is the node's datanode, "" when it has none. On a machine that is off
// none runs.
func (s datanodeStopped) pod(f provision.Facts) string {
	for _, p := range datanodePods.In(f) {
		if onNode(p, s.leaving.Name) && s.leaving.Machine != nil {
			return nameOf(p)
		}
	}
	return ""
}

func (s datanodeStopped) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	if s.node(env.Facts()) != nil {
		if err := labelNode(ctx, k, s.leaving.Name, nil, nil); err != nil {
			return err
		}
	}
	gone := provision.WaitFor{Base: provision.Base{Name: s.Name, Node: s.leaving.Name}, Key: "the end of the datanode", Queries: []provision.Query{datanodePods}, Bound: replaceBound, Hint: seePods,
		Missing: func(f provision.Facts) string {
			if !f.Known(datanodePods) {
				return "the API server does not answer"
			}
			if pod := s.pod(f); pod != "" {
				return pod + " ends"
			}
			return ""
		}}
	if err := gone.Apply(ctx, env, nil); err != nil {
		return err
	}
	for _, c := range changes {
		if c.Kind == "DaemonSet" || c.Kind == "StatefulSet" {
			if err := k.Delete(ctx, "apps/v1", c.Kind, provision.Namespace, c.Key); err != nil {
				return err
			}
		}
	}
	return nil
}
