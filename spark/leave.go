package spark

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Leave stops the workers of nodes that leave, when their data is safe. A
// worker is decommissioned before it is stopped, as always: its executors hand
// over what they hold and end.
func Leave(site *provision.Site) []provision.Step {
	var steps []provision.Step
	for _, l := range site.Leaving {
		s := workerLeaves{provision.Base{Name: l.Name + "/spark/stop", After: []string{provision.NodeDataSafe(l.Name)}}, l}
		steps = append(steps, s, provision.Milestone{Name: provision.NodeIdle(l.Name), After: []string{s.Name}})
	}
	return steps
}

// workerLeaves is a step: a node has no worker, nor the label that starts one.
type workerLeaves struct {
	provision.Base
	leaving provision.Leaving
}

func (s workerLeaves) nodeQuery() provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "Node", Name: s.leaving.Name}
}

func (s workerLeaves) Reads() []provision.Query { return []provision.Query{s.nodeQuery(), workerPods} }

// pod is the name of the node's worker, "" when it has none. On a machine that
// is off none runs.
func (s workerLeaves) pod(pods []provision.Object) string {
	if s.leaving.Machine == nil {
		return ""
	}
	for _, p := range pods {
		if object(p, "spec")["nodeName"] == s.leaving.Name {
			return text(object(p, "metadata")["name"])
		}
	}
	return ""
}

func (s workerLeaves) Diff(f provision.Facts) ([]provision.Change, error) {
	node := s.nodeQuery().In(f)
	if node == nil || object(node, "metadata", "labels")[workerLabel] == nil && s.pod(workerPods.In(f)) == "" {
		return nil, nil
	}
	return []provision.Change{{Kind: "Spark worker", Key: s.leaving.Name, Action: provision.Delete, New: "decommissioned, then stopped"}}, nil
}

func (s workerLeaves) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replaceBound,
		fmt.Errorf("the worker on %s did not end within %s; nucspark kubectl -- -n %s get pods -o wide shows it", s.leaving.Name, replaceBound, provision.Namespace))
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, workerLabel)
	if _, err := k.Clientset().CoreV1().Nodes().Patch(ctx, s.leaving.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: kube.Manager + "-leave"}); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := false; ; {
		pods, err := k.List(ctx, workerPods.APIVersion, workerPods.Kind, workerPods.Namespace, workerPods.Selector)
		if err == nil {
			name := s.pod(pods)
			if name == "" {
				return nil
			}
			if !said {
				env.Log("waiting: " + name + " hands over its work and ends")
				said = true
			}
		} else if !kube.IsTransient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
