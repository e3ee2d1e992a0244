package kubeadm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// pullBound is how long the images of one node may take: 300 MB over a slow
// line.
const pullBound = 30 * time.Minute

// images is a step: what a node runs first is there before it is asked for, so
// that it is fetched while other nodes are still busy. A node that belongs to
// the cluster fetches what it needs by itself.
type images struct {
	provision.Base
	site *provision.Site
	node *inventory.Node
}

// repository is where Kubernetes' own images come from.
func (s images) repository() string {
	config := s.site.Cluster.Patches["kubeadm"].Config
	if r := text(config, "imageRepository"); r != "" {
		return r
	}
	return "registry.k8s.io"
}

// known are the images whose tags follow from the inventory. kubeadm knows
// those of the others; they are pulled with these.
func (s images) known() []string {
	names := []string{"kube-proxy"}
	if s.node.Role == inventory.ControlPlane {
		names = append(names, "kube-apiserver", "kube-controller-manager", "kube-scheduler")
	}
	refs := s.flannel()
	for _, name := range names {
		refs = append(refs, s.repository()+"/"+name+":v"+s.site.Resolved.Kubernetes)
	}
	return refs
}

// flannel are the images of the pod network, without those of a registry that
// wants a password: the kubelet has it, containerd by itself has not.
func (s images) flannel() []string {
	var refs []string
	for _, image := range []string{s.site.Cluster.Images.Flannel, s.site.Cluster.Images.FlannelCNI} {
		if s.site.Pullable(image) {
			refs = append(refs, provision.ImageName(image))
		}
	}
	return refs
}

// member is the file that says that the node belongs to the cluster.
func (s images) member() provision.FileQuery {
	return provision.FileQuery{Node: s.node.Name, Path: kubeletConf}
}

func (s images) Reads() []provision.Query {
	reads := []provision.Query{s.member()}
	for _, ref := range s.known() {
		reads = append(reads, provision.ImageQuery{Node: s.node.Name, Ref: ref})
	}
	return reads
}

func (s images) Diff(f provision.Facts) ([]provision.Change, error) {
	if s.member().In(f).Exists {
		return nil, nil
	}
	var changes []provision.Change
	for _, ref := range s.known() {
		if !(provision.ImageQuery{Node: s.node.Name, Ref: ref}).In(f).Present {
			changes = append(changes, provision.Change{Kind: "image", Key: ref, Action: provision.Install, New: "pulled"})
		}
	}
	return changes, nil
}

func (s images) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, pullBound)
	defer cancel()
	filter, began := "cat", time.Now()
	if s.node.Role != inventory.ControlPlane {
		filter = "grep -E '/(kube-proxy|pause):'"
	}
	// ctr puts them where the kubelet looks, through the same mirrors.
	script := provision.QuietCtr + fmt.Sprintf(`set -e
refs=$(kubeadm config images list --kubernetes-version %s --image-repository %s 2>/dev/null | %s)
have=$(ctr -n k8s.io images ls -q)
missing=$(printf '%%s\n' $refs %s | while read -r ref; do
  printf '%%s\n' "$have" | grep -qxF -- "$ref" || printf '%%s\n' "$ref"
done)
`, provision.Quote("v"+s.site.Resolved.Kubernetes), provision.Quote(s.repository()), filter, quoted(s.flannel())) + s.site.Pull("$missing")
	err := env.Node(s.node.Name).ChangeQuietly(ctx, provision.Entry{Kind: "images", Key: "v" + s.site.Resolved.Kubernetes}, script, pullBound)
	if err != nil {
		return provision.PullError(s.node.Name, s.Name, "pulling the images of Kubernetes "+s.site.Resolved.Kubernetes, err)
	}
	env.SayPast(ctx, s.node.Name, began)
	return nil
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = provision.Quote(w)
	}
	return strings.Join(q, " ")
}
