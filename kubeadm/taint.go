package kubeadm

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// tainted is a step: the machine of the control plane takes pods of others if
// the inventory lets it, and only then. Other taints are not touched: several
// parts of Kubernetes set them in the same list.
type tainted struct {
	provision.Base
	node *inventory.Node
	want bool
}

func (s tainted) Reads() []provision.Query { return []provision.Query{liveNode(s.node.Name)} }

func (s tainted) Diff(f provision.Facts) ([]provision.Change, error) {
	q := liveNode(s.node.Name)
	if !f.Known(q) || q.In(f) == nil {
		return nil, nil // kubeadm registers the node with what is wanted
	}
	spec, _ := q.In(f)["spec"].(map[string]any)
	list, _ := spec["taints"].([]any)
	has := slices.ContainsFunc(list, func(t any) bool {
		m, _ := t.(map[string]any)
		return text(m, "key") == controlPlaneTaint
	})
	switch {
	case has == s.want:
		return nil, nil
	case s.want:
		return []provision.Change{{Kind: "taint", Key: s.node.Name, Action: provision.Create, New: "only the control plane's own pods"}}, nil
	}
	return []provision.Change{{Kind: "taint", Key: s.node.Name, Action: provision.Delete, Old: "only the control plane's own pods", New: "pods may run here"}}, nil
}

func (s tainted) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	nodes := k.Clientset().CoreV1().Nodes()
	n, err := nodes.Get(ctx, s.node.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == controlPlaneTaint })
	if s.want {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: controlPlaneTaint, Effect: corev1.TaintEffectNoSchedule})
	}
	_, err = nodes.Update(ctx, n, metav1.UpdateOptions{FieldManager: kube.Manager})
	return err
}
