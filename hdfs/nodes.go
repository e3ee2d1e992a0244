package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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
	for _, dir := range recorded {
		if !slices.Contains(s.dirs, dir) {
			return nil, fmt.Errorf("%s on %s holds blocks and is not in the inventory any more; taking directories out is not supported yet: put it back into hdfs { dirs }", dir, s.Node)
		}
	}
	if label(node, DisksLabel) == disksOf(s.dirs) && slices.Equal(recorded, s.dirs) {
		return nil, nil
	}
	if c.Old = blanks(recorded); c.Old != "" {
		c.Detail = "Its datanode starts anew, when those of the other nodes run."
	}
	return []provision.Change{c}, nil
}

func (s labelStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	if len(recordedDirs(nodeQuery(s.Node).In(env.Facts()))) > 0 {
		return s.replace(ctx, env, k)
	}
	return s.label(ctx, k, disksOf(s.dirs), s.dirs)
}

// label writes which list of directories the node has, nil for none, and the
// directories that hold blocks.
func (s labelStep) label(ctx context.Context, k *kube.Client, list any, recorded []string) error {
	dirs, err := json.Marshal(recorded)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{DisksLabel: list},
		"annotations": map[string]string{DirsAnnotation: string(dirs)},
	}})
	if err != nil {
		return err
	}
	_, err = k.Clientset().CoreV1().Nodes().Patch(ctx, s.Node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"})
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
		if len(recordedDirs(o)) == 0 {
			continue
		}
		if n, ok := s.site.Cluster.Node(nameOf(o)); !ok || n.HDFS == nil {
			return nil, fmt.Errorf("%s holds blocks in %s, but has no hdfs block in the inventory any more; its datanode goes on: taking nodes out is not supported yet, put the block back",
				nameOf(o), blanks(recordedDirs(o)))
		}
	}
	return nil, nil
}

func (leavingStep) Apply(context.Context, *provision.Env, []provision.Change) error { return nil }

// nodesStep keeps the ConfigMap from which the namenode learns about machines:
// which addresses belong to one machine, and which machines are to leave. The
// namenode reads it while it runs.
type nodesStep struct {
	provision.Base
	pods string // the pod network
}

func nodesStepOf(l *layout, after []string) nodesStep {
	return nodesStep{Base: provision.Base{Name: nodesName, After: after}, pods: l.site.Cluster.Network.Pods.String()}
}

var nodesMapQuery = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: provision.Namespace, Name: nodesMap}

func (nodesStep) Reads() []provision.Query { return []provision.Query{nodesQuery, nodesMapQuery} }

// racks is the table that topology.sh reads.
func (s nodesStep) racks(nodes []provision.Object) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -\n", s.pods)
	for _, o := range nodes {
		spec, _ := o["spec"].(map[string]any)
		status, _ := o["status"].(map[string]any)
		addresses, _ := status["addresses"].([]any)
		for _, a := range addresses {
			m, _ := a.(map[string]any)
			if m["type"] == "InternalIP" {
				fmt.Fprintf(&b, "%s/32 /%s\n", m["address"], nameOf(o))
			}
		}
		if cidr, _ := spec["podCIDR"].(string); cidr != "" {
			fmt.Fprintf(&b, "%s /%s\n", cidr, nameOf(o))
		}
	}
	return b.String()
}

func (s nodesStep) Diff(f provision.Facts) ([]provision.Change, error) {
	c := provision.Change{Kind: "ConfigMap", Key: provision.Namespace + "/" + nodesMap, Action: provision.Create}
	if !f.Known(nodesQuery) || !f.Known(nodesMapQuery) {
		c.After = provision.ClusterAPI
		return []provision.Change{c}, nil
	}
	live := nodesMapQuery.In(f)
	if live == nil {
		c.New = s.racks(nodesQuery.In(f))
		return []provision.Change{c}, nil
	}
	data, _ := live["data"].(map[string]any)
	is, _ := data["racks"].(string)
	want := s.racks(nodesQuery.In(f))
	if is == want && data["hosts.json"] == noHosts {
		return nil, nil
	}
	c.Action, c.Detail = provision.Update, provision.LineDiff([]byte(is), []byte(want))
	return []provision.Change{c}, nil
}

// noHosts says that every machine may store blocks and none is to leave
// (CombinedHostFileManager's format).
const noHosts = "[]"

func (s nodesStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	o := kube.Object(configMap(nodesMap, namenode, map[string]string{"racks": s.racks(nodesQuery.In(env.Facts())), "hosts.json": noHosts}))
	if _, err := k.Apply(ctx, o); err != nil {
		return err
	}
	return nudge(ctx, k)
}

// nudge makes the namenode's kubelet look at its pod, and so at the ConfigMaps
// in it, at once instead of within a minute. Without a namenode nothing is to
// be done.
func nudge(ctx context.Context, k *kube.Client) error {
	pod, err := k.Get(ctx, "v1", "Pod", provision.Namespace, namenode+"-0")
	if err != nil || pod == nil {
		return err
	}
	meta, _ := pod["metadata"].(map[string]any)
	version, _ := meta["resourceVersion"].(string)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"nucspark.io/looked":%q}}}`, version)
	_, err = k.Clientset().CoreV1().Pods(provision.Namespace).Patch(ctx, namenode+"-0", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"})
	return err
}
