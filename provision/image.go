package provision

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"nucspark.io/nucspark/inventory"
)

// pullBound is how long one image may take: 700 MB over a slow line.
const pullBound = 60 * time.Minute

// QuietCtr keeps ctr from printing what containerd will drop one day before
// everything it does; the fact is the system's, and nobody can do a thing about
// it in a pull (containerd, cmd/ctr/commands/client.go). A line that begins with
// set is not the one by which a failure names its command.
const QuietCtr = "set -a; CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1; set +a\n"

// Image is a step: a container image is on a node before a pod asks for it, so
// that it is fetched while other things are installed.
type Image struct {
	Base
	Ref string // as the inventory has it; ctr, unlike a kubelet, takes full names only
}

func (s Image) query() ImageQuery { return ImageQuery{Node: s.Node, Ref: ImageName(s.Ref)} }
func (s Image) Reads() []Query    { return []Query{s.query()} }

func (s Image) Diff(f Facts) ([]Change, error) {
	if s.query().In(f).Present {
		return nil, nil
	}
	return []Change{{Kind: "image", Key: ImageName(s.Ref), Action: Install, New: "pulled"}}, nil
}

func (s Image) Apply(ctx context.Context, env *Env, _ []Change) error {
	ctx, cancel := context.WithTimeout(ctx, pullBound)
	defer cancel()
	ref, began := ImageName(s.Ref), time.Now()
	err := env.Node(s.Node).ChangeQuietly(ctx, Entry{Kind: "image", Key: ref, After: "pulled"},
		QuietCtr+env.Site().Pull(Quote(ref)), pullBound)
	if err != nil {
		return PullError(s.Node, s.Name, "pulling "+ref, err)
	}
	env.SayPast(ctx, s.Node, began)
	return nil
}

// ImageName is a reference as containerd names it: with its registry.
func ImageName(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ref // the inventory refuses such a name
	}
	return strings.Replace(r.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// Pullable says whether a node can pull an image by itself. A registry that
// wants a password is left to the kubelet, which has it.
func (s *Site) Pullable(ref string) bool {
	host, _, _ := strings.Cut(ImageName(ref), "/")
	return !slices.ContainsFunc(s.Cluster.Registries, func(r inventory.Registry) bool { return r.Host == host })
}
