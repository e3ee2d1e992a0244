package ubuntu

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"

	"nucspark.io/nucspark/provision"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	certsDir         = "/etc/containerd/certs.d"
	// kubeletCredentials is read by the kubelet at each pull
	// (https://kubernetes.io/docs/concepts/containers/images/#config-json).
	kubeletCredentials = "/var/lib/kubelet/config.json"
)

// containerdTable is containerd's configuration in version 3, the one that all
// 2.x releases read. A key of another version would be ignored without a word.
// See docs/cri/config.md of containerd.
func (b *builder) containerdTable() map[string]any {
	config := map[string]any{
		"version": int64(3),
		"plugins": map[string]any{
			"io.containerd.cri.v1.images": map[string]any{
				"pinned_images": map[string]any{"sandbox": "registry.k8s.io/pause:" + pauseTag(minorOf(b.site.Resolved.Kubernetes))},
				"registry":      map[string]any{"config_path": certsDir},
			},
			"io.containerd.cri.v1.runtime": map[string]any{
				"containerd": map[string]any{
					"runtimes": map[string]any{
						"runc": map[string]any{
							"runtime_type": "io.containerd.runc.v2",
							// The kubelet finds this out by itself from the runtime.
							"options": map[string]any{"SystemdCgroup": b.fact.CgroupV2},
						},
					},
				},
			},
		},
	}
	return merge(config, b.site.Cluster.Patches["containerd"].Config)
}

// merge returns base with patch in it: maps are merged deeply, null takes a key
// out, everything else is replaced.
func merge(base, patch map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range patch {
		is, both := out[k].(map[string]any)
		if with, ok := v.(map[string]any); ok && both {
			out[k] = merge(is, with)
			continue
		}
		out[k] = v
		if v == nil {
			delete(out, k)
		}
	}
	return out
}

func (b *builder) containerd() {
	b.add(provision.Directory{Base: b.base("containerd/directory"), Path: "/etc/containerd", Mode: 0o755})
	body, err := toml.Marshal(b.containerdTable())
	if err != nil {
		b.add(broken{b.base("containerd/config"), fmt.Errorf("the patch of containerd cannot be written as TOML: %w", err)})
	} else {
		b.add(provision.File{Base: b.base("containerd/config", "containerd/directory"), Path: containerdConfig, Mode: 0o644,
			Content: append([]byte("# "+signature+"; change it with patch \"containerd\" in the inventory.\n"), body...)})
	}
	if mirror := b.site.Cluster.Mirror.Registry; mirror != "" {
		// Read at each pull, so nothing is restarted for it.
		dir := certsDir + "/_default"
		b.add(
			provision.Directory{Base: b.base("containerd/certs", "containerd/directory"), Path: certsDir, Mode: 0o755},
			provision.Directory{Base: b.base("containerd/certs-default", "containerd/certs"), Path: dir, Mode: 0o755},
			provision.File{Base: b.base("containerd/mirror", "containerd/certs-default"), Path: dir + "/hosts.toml", Mode: 0o644,
				Content: mirrorHosts(mirror)},
		)
	} else {
		b.add(withdrawn{provision.Absent{Base: b.base("containerd/mirror"), Path: certsDir + "/_default/hosts.toml"}})
	}
}

// mirrorHosts is the hosts.toml of all registries that have none of their own
// (docs/hosts.md of containerd). Without a host table, the server is the only
// place that is asked.
func mirrorHosts(url string) []byte {
	body, err := toml.Marshal(map[string]any{"server": url})
	if err != nil {
		panic(err) // one string
	}
	return append([]byte("# "+signature+": every image comes from the mirror.\n"), body...)
}

// containerdInEffect checks what containerd made of its configuration.
func (b *builder) containerdInEffect() provision.Step {
	dump := provision.OutputQuery{Node: b.node.Name, What: provision.ContainerdConfig}
	want := b.containerdTable()
	// It prints its own version of the format, whichever it read.
	delete(want, "version")
	return provision.WaitFor{
		Base: b.base("containerd/in-effect", "containerd/service"), Key: "containerd uses its configuration",
		Queries: []provision.Query{dump},
		Missing: func(f provision.Facts) string { return notInEffect(want, dump.In(f)) },
		Bound:   5 * time.Second,
		Hint:    "compare the patch of containerd in the inventory with containerd config dump on the node",
	}
}

// notInEffect says which wanted value containerd does not have.
func notInEffect(want map[string]any, dump provision.OutputFact) string {
	if dump.Code != 0 {
		return "containerd is not installed, or cannot read its configuration"
	}
	var is map[string]any
	if err := toml.Unmarshal([]byte(dump.Output), &is); err != nil {
		return "its answer is no TOML: " + err.Error()
	}
	return missing("", want, is)
}

func missing(at string, want, is map[string]any) string {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		v, ok := is[k]
		path := at + k
		if !ok {
			return path + " is ignored"
		}
		if inner, isMap := want[k].(map[string]any); isMap {
			has, _ := v.(map[string]any)
			if m := missing(path+".", inner, has); m != "" {
				return m
			}
			continue
		}
		if !reflect.DeepEqual(v, want[k]) {
			return fmt.Sprintf("%s is %v, not %v", path, v, want[k])
		}
	}
	return ""
}

// registryCredentials writes the user names and passwords of registries for
// the kubelet, in the form of Docker's config.json.
func (b *builder) registryCredentials() {
	if len(b.site.Cluster.Registries) == 0 {
		b.add(withdrawn{provision.Absent{Base: b.base("kubelet/credentials"), Path: kubeletCredentials}})
		return
	}
	auths := map[string]any{}
	for _, r := range b.site.Cluster.Registries {
		host := r.Host
		if host == "docker.io" {
			host = "https://index.docker.io/v1/" // its name there
		}
		auths[host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.Password.Reveal()))}
	}
	body, err := json.MarshalIndent(map[string]any{"comment": signature, "auths": auths}, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	b.add(provision.File{Base: b.base("kubelet/credentials", "kubelet/directory"), Path: kubeletCredentials,
		Content: append(body, '\n'), Mode: 0o600, Sensitive: true},
		provision.Directory{Base: b.base("kubelet/directory", "packages/kubernetes"), Path: "/var/lib/kubelet", Mode: 0o755})
}
