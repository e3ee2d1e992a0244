package hdfs

import (
	"context"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"nucspark.io/nucspark/provision"
)

// fullRef is a reference as containerd names it: with registry and all.
func fullRef(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ref // the inventory checked it
	}
	return strings.Replace(r.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// imageStep pulls an image while other things are installed.
type imageStep struct {
	provision.Base
	ref string
}

func (s imageStep) query() provision.ImageQuery {
	return provision.ImageQuery{Node: s.Node, Ref: s.ref}
}

func (s imageStep) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s imageStep) Diff(f provision.Facts) ([]provision.Change, error) {
	if s.query().In(f).Present {
		return nil, nil
	}
	return []provision.Change{{Kind: "image", Key: s.ref, Action: provision.Install}}, nil
}

// pullBound is how long the image of one node may take, over a slow line.
const pullBound = 60 * time.Minute

func (s imageStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, pullBound)
	defer cancel()
	err := env.Node(s.Node).Change(ctx, provision.Entry{Kind: "image", Key: s.ref, After: "pulled"},
		"ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d "+provision.Quote(s.ref)+" >/dev/null")
	if err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: err, Transient: true,
			Hint: "look whether the node reaches the image registry, or the mirror of the inventory"}
	}
	return nil
}
