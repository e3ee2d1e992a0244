package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// labelStep lets a node's datanode run: the node carries the label of its list
// of directories. The patch touches nothing else of the Node.
type labelStep struct {
	provision.Base
	layout *layout
	dirs   []string
}

func (s labelStep) Reads() []provision.Query { return []provision.Query{nodeQuery(s.Node)} }

func (s labelStep) Diff(f provision.Facts) ([]provision.Change, error) {
	q := nodeQuery(s.Node)
	c := provision.Change{Kind: "Node", Key: s.Node, Action: provision.Update, New: "stores blocks in " + blanks(s.dirs)}
	if !f.Known(q) || q.In(f) == nil {
		c.After = provision.NodeReady(s.Node)
		return []provision.Change{c}, nil
	}
	node := q.In(f)
	recorded := recordedDirs(node)
	if gone := s.gone(f); len(gone) > 0 {
		note, err := s.mayGo(f, gone)
		if err != nil {
			return nil, err
		}
		c.Note = note
		c.Detail = fmt.Sprintf("%s leaves: the datanode starts anew without it, and the blocks in it get their copies from the other machines. What is in it stays as it is.", blanks(gone))
	}
	if label(node, DisksLabel) == disksOf(s.dirs) && slices.Equal(recorded, s.dirs) {
		return nil, nil
	}
	if c.Old = blanks(recorded); c.Old != "" && c.Detail == "" {
		c.Detail = "Its datanode starts anew, when those of the other nodes run."
	}
	return []provision.Change{c}, nil
}

func (s labelStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	switch {
	case len(recordedDirs(nodeQuery(s.Node).In(env.Facts()))) == 0:
		return s.label(ctx, k, disksOf(s.dirs), s.dirs)
	case len(s.gone(env.Facts())) > 0:
		return s.shrink(ctx, env, k)
	}
	return s.replace(ctx, env, k)
}

// label writes which list of directories the node has, nil for none, and the
// directories that hold blocks.
func (s labelStep) label(ctx context.Context, k *kube.Client, list any, recorded []string) error {
	dirs, err := json.Marshal(recorded)
	if err != nil {
		return err
	}
	return labelNode(ctx, k, s.Node, list, string(dirs))
}

// labelNode writes the label and the annotation of a node; nil takes one away.
func labelNode(ctx context.Context, k *kube.Client, node string, list, dirs any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{DisksLabel: list},
		"annotations": map[string]any{DirsAnnotation: dirs},
	}})
	if err != nil {
		return err
	}
	_, err = k.Clientset().CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"})
	return err
}

func label(o provision.Object, name string) string {
	meta, _ := o["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	s, _ := labels[name].(string)
	return s
}

func nameOf(o provision.Object) string {
	meta, _ := o["metadata"].(map[string]any)
	s, _ := meta["name"].(string)
	return s
}

// nodesQuery asks for all members of the cluster.
var nodesQuery = provision.ListQuery{APIVersion: "v1", Kind: "Node"}

// leavingStep refuses to go on as if a node that holds blocks were out of the
// file system because the inventory does not say so any more.
type leavingStep struct {
	provision.Base
	site *provision.Site
}

func (leavingStep) Reads() []provision.Query { return []provision.Query{nodesQuery} }

func (s leavingStep) Diff(f provision.Facts) ([]provision.Change, error) {
	for _, o := range nodesQuery.In(f) {
		if len(recordedDirs(o)) == 0 || s.site.Leaves(nameOf(o)) {
			continue
		}
		if n, ok := s.site.Cluster.Node(nameOf(o)); !ok || n.HDFS == nil {
			if ok {
				return nil, fmt.Errorf("%s holds blocks in %s, but has no hdfs block in the inventory any more; its datanode goes on: put the block back, or take the node out of the file and run nucspark up --remove %[1]s",
					nameOf(o), blanks(recordedDirs(o)))
			}
			return nil, fmt.Errorf("%s holds blocks in %s and is not in the inventory any more; its datanode goes on: nucspark up --remove %[1]s moves them and takes it out; else put its block back",
				nameOf(o), blanks(recordedDirs(o)))
		}
	}
	return nil, nil
}

func (leavingStep) Apply(context.Context, *provision.Env, []provision.Change) error { return nil }
