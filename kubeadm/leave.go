package kubeadm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// leavingAnnotation is on a Node that nucspark cordoned because it leaves.
const leavingAnnotation = "nucspark.io/leaving"

// Leave takes members out of the cluster: that they leave is recorded, no pods
// come to them any more, and when their data is safe they are drained. When
// the machine is undone the Node is deleted. Of the record they are taken by
// Steps, when all of them have left.
func Leave(site *provision.Site) []provision.Step {
	if len(site.Leaving) == 0 {
		return nil
	}
	recordID := "cluster/kubeadm/leaving"
	steps := []provision.Step{leavingRecorded{provision.Base{Name: recordID}, site}}
	var last []string
	for _, l := range site.Leaving {
		id := func(name string) string { return l.Name + "/kubeadm/" + name }
		steps = append(steps,
			cordoned{provision.Base{Name: id("cordon"), After: []string{recordID}}, l.Name, true},
			provision.Milestone{Name: provision.NodeLeaving(l.Name), After: []string{id("cordon")}},
			drained{provision.Base{Name: id("drain"), After: []string{provision.NodeDataSafe(l.Name), provision.NodeIdle(l.Name)}}, l},
			provision.Milestone{Name: provision.NodeDrained(l.Name), After: []string{id("drain")}},
			nodeDeleted{provision.Base{Name: id("delete"), After: []string{provision.NodeDrained(l.Name), provision.NodeUnused(l.Name), provision.NodeUndone(l.Name)}}, l.Name})
		last = append(last, id("delete"))
	}
	return append(steps, provision.Milestone{Name: provision.Left, After: last})
}

// leavingRecorded is a step: the cluster's record says who leaves, so that an
// interrupted removal is taken up by the next run.
type leavingRecorded struct {
	provision.Base
	site *provision.Site
}

var liveRecord = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: provision.Namespace, Name: provision.Record}

func (leavingRecorded) Reads() []provision.Query { return []provision.Query{liveRecord} }

// recorded are the members, and the record's version.
func recorded(f provision.Facts) (members map[string]provision.Member, version string, err error) {
	live := liveRecord.In(f)
	if live == nil {
		return nil, "", &provision.RefusedError{Reasons: []string{"the API server does not answer, and without it nobody can leave the cluster or be replaced; see why with systemctl status kubelet and crictl on the control plane"}}
	}
	if err := json.Unmarshal([]byte(text(live, "data", provision.RecordMembers)), &members); err != nil {
		return nil, "", fmt.Errorf("the cluster's record %s/%s is damaged (%s): %w", provision.Namespace, provision.Record, provision.RecordMembers, err)
	}
	return members, text(live, "metadata", "resourceVersion"), nil
}

func (s leavingRecorded) Diff(f provision.Facts) ([]provision.Change, error) {
	members, _, err := recorded(f)
	if err != nil {
		return nil, err
	}
	var changes []provision.Change
	for _, l := range s.site.Leaving {
		if m, ok := members[l.Name]; ok && !m.Leaving {
			changes = append(changes, provision.Change{Kind: "member", Key: l.Name, Action: provision.Delete, Old: m.Address,
				New: "leaves the cluster; what is begun is finished by the next run, also without --remove"})
		}
	}
	return changes, nil
}

func (s leavingRecorded) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	return changeMembers(ctx, env, func(members map[string]provision.Member) {
		for _, c := range changes {
			m := members[c.Key]
			m.Leaving = true
			members[c.Key] = m
		}
	})
}

// changeMembers changes the members in the cluster's record as the facts of a
// step that reads liveRecord have them.
func changeMembers(ctx context.Context, env *provision.Env, change func(map[string]provision.Member)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	members, version, err := recorded(env.Facts())
	if err != nil {
		return err
	}
	change(members)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": version}, // nobody else wrote meanwhile
		"data":     map[string]string{provision.RecordMembers: indented(members)},
	})
	if err != nil {
		return err
	}
	_, err = k.Clientset().CoreV1().ConfigMaps(provision.Namespace).Patch(ctx, provision.Record, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager})
	return err
}

// cordoned is a step: a node that leaves takes no new pods, and one that was to
// leave and stays takes them again. What somebody else cordoned stays so.
type cordoned struct {
	provision.Base
	node string
	want bool
}

func (s cordoned) Reads() []provision.Query { return []provision.Query{liveNode(s.node)} }

func (s cordoned) Diff(f provision.Facts) ([]provision.Change, error) {
	node := liveNode(s.node).In(f)
	if node == nil {
		return nil, nil // it left, or joins with this run
	}
	has := text(node, "metadata", "annotations", leavingAnnotation) != ""
	switch {
	case has == s.want:
		return nil, nil
	case s.want:
		return []provision.Change{{Kind: "Node", Key: s.node, Action: provision.Update, New: "takes no new pods"}}, nil
	}
	return []provision.Change{{Kind: "Node", Key: s.node, Action: provision.Update, Old: "was to leave", New: "takes pods again"}}, nil
}

func (s cordoned) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	var note any // null takes it away
	if s.want {
		note = "true"
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{leavingAnnotation: note}},
		"spec":     map[string]any{"unschedulable": s.want},
	})
	if err != nil {
		return err
	}
	_, err = k.Clientset().CoreV1().Nodes().Patch(ctx, s.node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager + "-leave"})
	return err
}

// nodeDeleted is a step: the cluster does not know the node.
type nodeDeleted struct {
	provision.Base
	node string
}

func (s nodeDeleted) Reads() []provision.Query { return []provision.Query{liveNode(s.node)} }

func (s nodeDeleted) Diff(f provision.Facts) ([]provision.Change, error) {
	if liveNode(s.node).In(f) == nil {
		return nil, nil
	}
	return []provision.Change{{Kind: "Node", Key: s.node, Action: provision.Delete}}, nil
}

func (s nodeDeleted) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	return k.Delete(ctx, "v1", "Node", "", s.node)
}

// names lists pods for a sentence, at most five.
func names(pods []string) string {
	slices.Sort(pods)
	if len(pods) > 5 {
		return strings.Join(pods[:5], ", ") + fmt.Sprintf(" and %d more", len(pods)-5)
	}
	return strings.Join(pods, ", ")
}
