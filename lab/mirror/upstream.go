package mirror

import "context"

// upstream says where a component is published.
type upstream struct {
	registry string // host of its images
	apt      *aptSource
}

// aptSource is an apt repository and the key that signs it.
type aptSource struct{ url string }

const kubernetesRegistry = "registry.k8s.io"

var (
	kubernetesApt = upstream{registry: kubernetesRegistry}
	dockerApt     = upstream{}
)

// fetch.
func (b *bench) fetch(ctx context.Context) (bool, error) { return false, nil }
