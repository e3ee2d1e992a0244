package provision

import (
	"testing"

	"nucspark.io/nucspark/inventory"
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
