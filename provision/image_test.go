package provision

import (
	"context"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

func TestImageName(t *testing.T) {
	site := &Site{Cluster: &inventory.Cluster{Registries: []inventory.Registry{{Host: "private.example.org"}}}}
	for ref, want := range map[string]struct {
		name     string
		pullable bool
	}{
		"busybox:1":                        {"docker.io/library/busybox:1", true},
		"apache/hadoop:3.5.0":              {"docker.io/apache/hadoop:3.5.0", true},
		"docker.io/apache/hadoop:3.5.0":    {"docker.io/apache/hadoop:3.5.0", true},
		"localhost/x:v1":                   {"localhost/x:v1", true},
		"172.31.77.1:5000/apache/hadoop:3": {"172.31.77.1:5000/apache/hadoop:3", true},
		"registry.k8s.io/pause:3":          {"registry.k8s.io/pause:3", true},
		"private.example.org/a/b/hadoop:3": {"private.example.org/a/b/hadoop:3", false},
	} {
		if got := ImageName(ref); got != want.name {
			t.Errorf("ImageName(%q) = %q, want %q", ref, got, want.name)
		}
		if got := site.Pullable(ref); got != want.pullable {
			t.Errorf("Pullable(%q) = %t", ref, got)
		}
	}
}

// ctr prints nothing until an image is there, so the idle limit must not end
// what a slow line needs an hour for.
func TestImagePullIsNotIdle(t *testing.T) {
	f, site, l := oneNode(t)
	r := &pulling{local: l}
	f.remotes["nuc01"] = r
	s := Image{Base: Base{Name: "nuc01/image", Node: "nuc01"}, Ref: "docker.io/library/x:1"}
	env := &Env{run: &runner{fleet: f, site: site}, step: s}
	if err := s.Apply(context.Background(), env, nil); err != nil {
		t.Fatal(err)
	}
	if r.idle != pullBound {
		t.Errorf("it may be silent for %s, want %s", r.idle, pullBound)
	}
}

// pulling is a machine that fetches every image at once.
type pulling struct {
	*local
	idle time.Duration
}

func (r *pulling) Run(ctx context.Context, c host.Command) (host.Result, error) {
	if strings.HasPrefix(c.Script, QuietCtr) && strings.Contains(c.Script, "ctr -n k8s.io images pull ") {
		r.idle = c.Idle
		return host.Result{}, nil
	}
	return r.local.Run(ctx, c)
}

// The name that a person writes is asked for, and pulled, by the name that
// containerd knows.
func TestImageShortName(t *testing.T) {
	s := Image{Base: Base{Name: "nuc01/spark/image", Node: "nuc01"}, Ref: "apache/spark:4.0.5"}
	want := ImageQuery{Node: "nuc01", Ref: "docker.io/apache/spark:4.0.5"}
	if got := s.Reads(); len(got) != 1 || got[0] != want {
		t.Errorf("asks for %v", got)
	}
	changes, err := s.Diff(NewFacts(map[Query]any{want: ImageFact{}}))
	if err != nil || len(changes) != 1 || changes[0].Key != want.Ref {
		t.Errorf("changes %v, %v", changes, err)
	}
}
