package provision

import (
	"context"
	"strings"
)

// Step is one thing that should be true of a node or of the cluster.
type Step interface {
	// ID is unique in a plan: "nuc02/containerd/config". The first part is the
	// node's name, or "cluster" for what belongs to no single node.
	ID() string
	// Needs names the steps and milestones that must hold first.
	Needs() []string
	// Reads lists what Diff must know.
	Reads() []Query
	// Diff says what is not as it should be; empty means that the step holds.
	// It is pure: it asks nothing and changes nothing.
	Diff(Facts) ([]Change, error)
	// Apply makes it so. The changes are those of the latest Diff.
	Apply(ctx context.Context, env *Env, changes []Change) error
}

// Lenient is a step that comes after others, too, which it can do without: it
// waits until they have come to an end, well or not.
type Lenient interface {
	Step
	// Awaits names them.
	Awaits() []string
}

// AwaitsOf names the steps that s comes after and can do without.
func AwaitsOf(s Step) []string {
	if l, ok := s.(Lenient); ok {
		return l.Awaits()
	}
	return nil
}

// Curious is a step that must know more where the answers to its Reads say so:
// what costs too much to be asked each time. Its Diff may take these answers out
// of the facts where it would list them.
type Curious interface {
	Step
	Asks(Facts) []Query
}

// Action is what a change does to its object.
type Action string

// The actions, in the words a plan shows.
const (
	Create  Action = "create"
	Update  Action = "update"
	Delete  Action = "delete"
	Install Action = "install"
	Start   Action = "start"
	Restart Action = "restart"
	Execute Action = "run"
	Wait    Action = "wait"
)

// Change is one difference between what is and what should be, as a person
// would read it. It never holds a secret.
type Change struct {
	Kind   string `json:"kind"`             // "file", "package", "unit", "Deployment" …
	Key    string `json:"key"`              // path, package name, namespace/name …
	Action Action `json:"action"`           //
	Old    string `json:"old,omitempty"`    // what is there now, short
	New    string `json:"new,omitempty"`    // what will be there, short
	Detail string `json:"detail,omitempty"` // several lines: a diff, or what it means for the data
	After  string `json:"after,omitempty"`  // the step after which the rest will be known
	Note   string `json:"note,omitempty"`   // several lines: what is so at this moment, such as how full a disk is; no part of what somebody agrees to
}

// Milestones are names that steps of one component may need from another.
// Each is provided by exactly one component as a [Milestone] step.
const (
	ClusterAPI     = "cluster/api"        // kubeadm: the API server answers
	ClusterNetwork = "cluster/network"    // kubeadm: pod network and DNS run
	NFSVolumes     = "cluster/volumes"    // nfs: every claim is bound
	HDFSNames      = "cluster/hdfs/names" // hdfs: the namenode answers, and the directories that users and Spark begin with exist
	HDFSReady      = "cluster/hdfs"       // hdfs: out of safe mode, every datanode registered
	SparkReady     = "cluster/spark"      // spark: master alive, every worker registered
	NamespaceReady = "cluster/namespace"  // kubeadm: the namespace of all objects is there
)

// NodeBase is the milestone of a node whose system, container runtime and
// Kubernetes packages are in place. It is provided by ubuntu.
func NodeBase(node string) string { return node + "/base" }

// NodeImages is the milestone of a node that has the images which Kubernetes
// itself runs. All nodes share one line to the registry: what else is fetched
// comes after these, on which the cluster waits. It is provided by kubeadm.
func NodeImages(node string) string { return node + "/images" }

// NodeReady is the milestone of a node that is a Ready and labelled member of
// the cluster. It is provided by kubeadm.
func NodeReady(node string) string { return node + "/ready" }

// NodeReset is the milestone of a node on which nothing of Kubernetes runs any
// more, and whose network is as it was. It is provided by kubeadm, and is part
// of no up.
func NodeReset(node string) string { return node + "/undo/kubernetes" }

// NodeUndone is the milestone of a node that is as its ledger says it was, and
// has no ledger any more. It is provided by ubuntu, and is part of no up.
func NodeUndone(node string) string { return node + "/undo/done" }

// isUndo says whether a step puts something back: the second part of its ID is
// "undo".
func isUndo(id string) bool {
	_, rest, _ := strings.Cut(id, "/")
	return strings.HasPrefix(rest, "undo/")
}

// Milestone is a step that holds as soon as its needs do.
type Milestone struct {
	Name  string
	After []string
}

func (m Milestone) ID() string                                { return m.Name }
func (m Milestone) Needs() []string                           { return m.After }
func (Milestone) Reads() []Query                              { return nil }
func (Milestone) Diff(Facts) ([]Change, error)                { return nil, nil }
func (Milestone) Apply(context.Context, *Env, []Change) error { return nil }
