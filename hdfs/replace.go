package hdfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// replace gives a node's datanode another list of directories, which is another
// DaemonSet's pod. The old pod is gone before the new one is made: two would
// fight for the directories, and the one that loses would start with the others
// alone, under an identity of its own. It ends when the file system is as well
// off as before; the label of the next node is changed after that.
func (s labelStep) replace(ctx context.Context, env *provision.Env, k *kube.Client) error {
	if !s.layout.site.Whole() {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: errors.New("the directories of a datanode that runs are not changed while a machine is off: blocks that lie on both could not be read meanwhile"),
			Hint: "switch it on and run again"}
	}
	f, err := env.Read(ctx, infoQuery, systemQuery)
	if err != nil {
		return err
	}
	before, err := stateOf(f)
	if err != nil {
		return fmt.Errorf("namenode: %w", err)
	}
	before.fewer = len(s.gone(env.Facts())) > 0
	list := disksOf(s.dirs)
	node := nodeQuery(s.Node).In(env.Facts())
	if label(node, DisksLabel) != list {
		env.Log("stopping the datanode with " + blanks(recordedDirs(node)))
		if err := s.label(ctx, k, nil, recordedDirs(node)); err != nil {
			return err
		}
		gone := provision.WaitFor{Base: s.Base, Key: "the end of the datanode", Queries: []provision.Query{datanodePods}, Bound: replaceBound, Hint: seePods,
			Missing: func(f provision.Facts) string {
				if !f.Known(datanodePods) {
					return "the API server does not answer"
				}
				for _, p := range datanodePods.In(f) {
					if onNode(p, s.Node) && label(p, DisksLabel) != list {
						return nameOf(p) + " ends"
					}
				}
				return ""
			}}
		if err := gone.Apply(ctx, env, nil); err != nil {
			return err
		}
	}
	if err := s.label(ctx, k, list, s.dirs); err != nil {
		return err
	}
	back := provision.WaitFor{Base: s.Base, Key: "the datanode with " + blanks(s.dirs), Queries: []provision.Query{infoQuery, systemQuery, datanodePods},
		Bound: 10 * time.Minute, Hint: seePods, Missing: func(f provision.Facts) string { return s.missing(f, before) }}
	if err := back.Apply(ctx, env, nil); err != nil {
		return err
	}
	return s.sweep(ctx, env, k)
}

// wellBeing is what the namenode says of all blocks.
type wellBeing struct {
	info   namenodeInfo
	system systemState
	fewer  bool // copies of blocks leave with a directory, and are made anew afterwards
}

func stateOf(f provision.Facts) (w wellBeing, err error) {
	if w.info, err = parseInfo(infoQuery.In(f)); err != nil {
		return w, err
	}
	return w, bean(systemQuery.In(f), &w.system)
}

// missing says why the node's datanode is not back, or why the file system is
// not as well off as before.
func (s labelStep) missing(f provision.Facts, before wellBeing) string {
	now, err := stateOf(f)
	if err != nil {
		return "namenode: " + err.Error()
	}
	ready := slices.ContainsFunc(datanodePods.In(f), func(p provision.Object) bool {
		return onNode(p, s.Node) && label(p, DisksLabel) == disksOf(s.dirs) && isReady(p)
	})
	n, _ := s.layout.site.Cluster.Node(s.Node)
	switch {
	case !ready:
		return "its pod is not ready"
	case !registered(n, now.info, datanodePods.In(f)):
		return "it is not registered with the namenode"
	case now.info.live[n.Address.String()].FailedVolumes > 0:
		return fmt.Sprintf("%d of its directories failed", now.info.live[n.Address.String()].FailedVolumes)
	case now.info.Safemode != "":
		return now.info.Safemode
	case now.info.MissingBlocks > before.info.MissingBlocks:
		return fmt.Sprintf("%d blocks are missing", now.info.MissingBlocks)
	case !before.fewer && now.system.UnderReplicated > before.system.UnderReplicated:
		return fmt.Sprintf("%d blocks have not all their copies", now.system.UnderReplicated)
	}
	return ""
}

func onNode(pod provision.Object, node string) bool {
	is, _ := placeOf(pod)
	return is == node
}

// isReady says whether a pod has the condition Ready.
func isReady(pod provision.Object) bool {
	status, _ := pod["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == "Ready" && m["status"] == "True"
	})
}

// sweep deletes the sets of datanodes whose list of directories no node has any
// more, in the inventory or in the cluster, and which run nothing.
func (s labelStep) sweep(ctx context.Context, env *provision.Env, k *kube.Client) error {
	f, err := env.Read(ctx, nodesQuery, datanodePods, datanodeSets)
	if err != nil {
		return err
	}
	if !f.Known(nodesQuery) || !f.Known(datanodePods) || !f.Known(datanodeSets) {
		return nil // the API server is away; an empty set does no harm
	}
	for _, name := range unusedSets(s.layout.site, slices.Concat(nodesQuery.In(f), datanodePods.In(f)), datanodeSets.In(f)) {
		env.Log("no node has the directories of " + name + " any more: it is deleted")
		if err := k.Delete(ctx, "apps/v1", "DaemonSet", provision.Namespace, name); err != nil {
			return err
		}
	}
	return nil
}

var datanodeSets = provision.ListQuery{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: provision.Namespace, Selector: "app.kubernetes.io/name=" + datanode}

// unusedSets are the DaemonSets whose list of directories no node of the
// inventory has, and none of users, which are nodes and pods of the cluster.
func unusedSets(site *provision.Site, users, sets []provision.Object) []string {
	used := map[string]bool{}
	for _, n := range site.Cluster.Datanodes() {
		used[disksOf(n.HDFS.Dirs)] = true
	}
	for _, o := range users {
		used[label(o, DisksLabel)] = true
	}
	var names []string
	for _, o := range sets {
		if list, ours := strings.CutPrefix(nameOf(o), datanode+"-"); ours && !used[list] {
			names = append(names, nameOf(o))
		}
	}
	return names
}
