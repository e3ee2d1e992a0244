package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// datanodeStopped is a step: a node that leaves has no datanode, nor the label
// that starts one, and no set of pods is left that no node is to run.
type datanodeStopped struct {
	provision.Base
	site    *provision.Site
	leaving provision.Leaving
}

var datanodeSets = provision.ListQuery{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: provision.Namespace, Selector: "app.kubernetes.io/name=" + datanode}

func (s datanodeStopped) Reads() []provision.Query {
	return []provision.Query{nodesQuery, datanodePods, datanodeSets, checkpointQuery}
}

var checkpointQuery = set("StatefulSet", checkpoint)

func (s datanodeStopped) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	if node := s.node(f); node != nil && (label(node, DisksLabel) != "" || recordedDirs(node) != nil) || s.pod(f) != "" {
		changes = append(changes, provision.Change{Kind: "datanode", Key: s.leaving.Name, Action: provision.Delete, Old: blanks(recordedDirs(node)), New: "stopped; its directories stay as they are"})
	}
	for _, name := range s.orphans(f) {
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
		if node, _ := placeOf(p); node == s.leaving.Name && s.leaving.Machine != nil {
			return nameOf(p)
		}
	}
	return ""
}

// orphans are the DaemonSets whose directories no other node has, in the
// inventory or in the cluster.
func (s datanodeStopped) orphans(f provision.Facts) []string {
	used := map[string]bool{}
	for _, n := range s.site.Cluster.Datanodes() {
		used[disksOf(n.HDFS.Dirs)] = true
	}
	for _, o := range nodesQuery.In(f) {
		if nameOf(o) != s.leaving.Name {
			used[label(o, DisksLabel)] = true
		}
	}
	var names []string
	for _, o := range datanodeSets.In(f) {
		if !used[strings.TrimPrefix(nameOf(o), datanode+"-")] {
			names = append(names, nameOf(o))
		}
	}
	return names
}

func (s datanodeStopped) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replaceBound, fmt.Errorf("the datanode on %s did not end within %s; %s", s.leaving.Name, replaceBound, seePods))
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	if s.node(env.Facts()) != nil {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"labels": map[string]any{DisksLabel: nil}, "annotations": map[string]any{DirsAnnotation: nil},
		}})
		if err != nil {
			return err
		}
		if _, err := k.Clientset().CoreV1().Nodes().Patch(ctx, s.leaving.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"}); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		f, err := env.Read(ctx, s.Reads()...)
		if err != nil && !provision.IsTransient(err) {
			return err
		}
		if err == nil && f.Known(datanodePods) && s.pod(f) == "" {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
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
