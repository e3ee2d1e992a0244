package kubeadm

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/provision"
)

// Trust writes into the cluster's record that the machine which answers under
// a member's name may take its place. The next up lets it join as new.
func Trust(site *provision.Site, node string) []provision.Step {
	return []provision.Step{trusted{provision.Base{Name: "cluster/kubeadm/trust"}, node, site.Machines[node].MachineID}}
}

// trusted is a step: the record names the one machine that may take a member's
// place.
type trusted struct {
	provision.Base
	node, machineID string
}

func (trusted) Reads() []provision.Query { return []provision.Query{liveRecord} }

func (s trusted) Diff(f provision.Facts) ([]provision.Change, error) {
	members, _, err := recorded(f)
	if err != nil {
		return nil, err
	}
	m, ok := members[s.node]
	if !ok || m.MachineID == s.machineID || m.Replacement == s.machineID {
		return nil, nil
	}
	return []provision.Change{{Kind: "member", Key: s.node, Action: provision.Update, Old: "machine-id " + m.MachineID, New: "machine-id " + s.machineID + ", which joins as new with the next nucspark up",
		Detail: "What the cluster knows of the old machine is deleted then. Blocks of HDFS of which it had one copy are copied again from the other machines;\n" +
			"those of which it had the only one are lost with its disks."}}, nil
}

func (s trusted) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return changeMembers(ctx, env, func(members map[string]provision.Member) {
		m := members[s.node]
		m.Replacement = s.machineID
		members[s.node] = m
	})
}

// replaced is a step: of a machine whose place another one takes, the cluster
// has neither the Node nor pods. The new one has not joined while it has no
// kubelet.conf, so what is there until then is the old one's.
type replaced struct {
	provision.Base
	node string
}

var everyPod = provision.ListQuery{APIVersion: "v1", Kind: "Pod"}

func (s replaced) conf() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: kubeletConf}
}

func (s replaced) Reads() []provision.Query {
	return []provision.Query{s.conf(), liveNode(s.node), everyPod}
}

// pods are those that were bound to the old machine.
func (s replaced) pods(f provision.Facts) []provision.Object {
	var pods []provision.Object
	for _, p := range everyPod.In(f) {
		if text(p, "spec", "nodeName") == s.node {
			pods = append(pods, p)
		}
	}
	return pods
}

func (s replaced) Diff(f provision.Facts) ([]provision.Change, error) {
	if s.conf().In(f).Exists {
		return nil, nil
	}
	var changes []provision.Change
	if liveNode(s.node).In(f) != nil {
		changes = append(changes, provision.Change{Kind: "Node", Key: s.node, Action: provision.Delete, Old: "of the machine that was replaced"})
	}
	if n := len(s.pods(f)); n > 0 {
		changes = append(changes, provision.Change{Kind: "pods", Key: "on " + s.node, Action: provision.Delete, Old: "of the machine that was replaced", Note: fmt.Sprintf("%d pods", n)})
	}
	return changes, nil
}

func (s replaced) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	// The Node first: with it there would be new pods at once.
	if err := k.Delete(ctx, "v1", "Node", "", s.node); err != nil {
		return err
	}
	// No kubelet will ever say that these have ended.
	at := int64(0)
	f, err := env.Read(ctx, s.Reads()...)
	if err != nil {
		return err
	}
	for _, p := range s.pods(f) {
		err := k.Clientset().CoreV1().Pods(text(p, "metadata", "namespace")).Delete(ctx, text(p, "metadata", "name"), metav1.DeleteOptions{GracePeriodSeconds: &at})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
