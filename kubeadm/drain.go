package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// drainBound is how long the drain of a node goes on while no pod leaves it. A
// pod may take some minutes to end by itself.
const drainBound = 10 * time.Minute

// drained is a step: a node runs nothing but the pods that every node has. Pods
// are evicted, so that disruption budgets hold. A pod that nobody would make
// again, such as the driver of an application, is not evicted but waited for.
// On a machine that is off nothing runs.
type drained struct {
	provision.Base
	leaving provision.Leaving
}

var allPods = provision.ListQuery{APIVersion: "v1", Kind: "Pod"}

func (drained) Reads() []provision.Query { return []provision.Query{allPods} }

func (s drained) Diff(f provision.Facts) ([]provision.Change, error) {
	if s.leaving.Machine == nil {
		return nil, nil
	}
	var moved, lonely []string
	for _, o := range allPods.In(f) {
		if text(o, "spec", "nodeName") != s.leaving.Name || keptPod(o) {
			continue
		}
		name := text(o, "metadata", "namespace") + "/" + text(o, "metadata", "name")
		if len(owners(o)) == 0 {
			lonely = append(lonely, name)
		} else {
			moved = append(moved, name)
		}
	}
	if len(moved)+len(lonely) == 0 {
		return nil, nil
	}
	var notes []string
	if len(moved) > 0 {
		notes = append(notes, "evicted, and made again elsewhere: "+names(moved))
	}
	if len(lonely) > 0 {
		notes = append(notes, "waited for, because nobody would make them again: "+names(lonely))
	}
	return []provision.Change{{Kind: "pods", Key: s.leaving.Name, Action: provision.Delete, New: "drained", Note: strings.Join(notes, "\n")}}, nil
}

// owners are the references of who made a pod and would make it again.
func owners(o provision.Object) []any {
	meta, _ := o["metadata"].(map[string]any)
	list, _ := meta["ownerReferences"].([]any)
	return slices.DeleteFunc(slices.Clone(list), func(r any) bool {
		m, _ := r.(map[string]any)
		return m["controller"] != true
	})
}

// keptPod says that a pod does not keep a node from leaving: it ended, or it
// belongs to the node.
func keptPod(o provision.Object) bool {
	phase := text(o, "status", "phase")
	return phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed) ||
		text(o, "metadata", "annotations", corev1.MirrorPodAnnotationKey) != "" ||
		slices.ContainsFunc(owners(o), func(r any) bool { m, _ := r.(map[string]any); return m["kind"] == "DaemonSet" })
}

func (s drained) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	fewest, total := -1, 0
	deadline := time.Now().Add(drainBound)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for said := ""; ; {
		left, blocked, err := evict(ctx, k, s.leaving.Name)
		if err != nil && !kube.IsTransient(err) {
			return err
		}
		if err == nil {
			if left == 0 {
				return nil
			}
			total = max(total, left)
			if fewest < 0 || left < fewest {
				fewest, deadline = left, time.Now().Add(drainBound)
			}
			if now := strings.Join(blocked, "; "); now != said {
				said = now
				env.Log("waiting: " + now)
			}
			env.Progress(int64(total-left), int64(total), "pods", "drained")
		}
		if time.Now().After(deadline) {
			return &provision.StepError{Node: s.leaving.Name, Step: s.Name,
				Err:  fmt.Errorf("%d pods stay on %s, and none left it for %s: %s", fewest, s.leaving.Name, drainBound, said),
				Hint: "end or delete the pods that nobody would make again; where a disruption budget is in the way, give the application another replica; then run nucspark up again"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// evict asks for the eviction of every pod of a node that can be made again,
// and returns how many pods are left, and of each what keeps it.
func evict(ctx context.Context, k *kube.Client, node string) (left int, blocked []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pods, err := k.Clientset().CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return 0, nil, err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		owner := metav1.GetControllerOf(p)
		_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
		if mirror || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || owner != nil && owner.Kind == "DaemonSet" {
			continue
		}
		name := p.Namespace + "/" + p.Name
		left++
		switch {
		case p.DeletionTimestamp != nil:
			blocked = append(blocked, name+" is ending")
			continue
		case owner == nil:
			blocked = append(blocked, name+" runs, and nobody would make it again")
			continue
		}
		err := k.Clientset().CoreV1().Pods(p.Namespace).EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}}})
		var status *apierrors.StatusError
		switch {
		case err == nil:
			blocked = append(blocked, name+" is ending")
		case apierrors.IsNotFound(err), apierrors.IsConflict(err): // it ended, or another has its name
		case apierrors.IsTooManyRequests(err) && errors.As(err, &status):
			why := status.ErrStatus.Message
			if d := status.ErrStatus.Details; d != nil && len(d.Causes) > 0 {
				why = d.Causes[0].Message
			}
			blocked = append(blocked, fmt.Sprintf("%s: %s", name, why))
		default:
			return 0, nil, fmt.Errorf("evicting %s: %w", name, err)
		}
	}
	return left, blocked, nil
}
