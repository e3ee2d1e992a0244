package spark

import (
	"context"
	"fmt"

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
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, workerLabel)
	if _, err := k.Clientset().CoreV1().Nodes().Patch(ctx, s.leaving.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: kube.Manager + "-leave"}); err != nil {
		return err
	}
	return provision.WaitFor{Base: provision.Base{Name: s.Name, Node: s.leaving.Name}, Key: "the end of the worker", Queries: []provision.Query{workerPods}, Bound: replaceBound,
		Hint: "nucspark kubectl -- -n " + provision.Namespace + " get pods -o wide shows it",
		Missing: func(f provision.Facts) string {
			if !f.Known(workerPods) {
				return "the API server does not answer"
			}
			if pod := s.pod(workerPods.In(f)); pod != "" {
				return pod + " hands over its work and ends"
			}
			return ""
		}}.Apply(ctx, env, nil)
}
