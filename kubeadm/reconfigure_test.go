package kubeadm

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// lines are the changes as "KEY: OLD → NEW".
func lines(changes []provision.Change) []string {
	var list []string
	for _, c := range changes {
		list = append(list, c.Kind+" "+c.Key+": "+c.Old+" → "+c.New)
	}
	return list
}

// What a patch block says after the first up shows in the plan, with what the
// cluster was made with, or is refused.
func TestReconfigured(t *testing.T) {
	for name, test := range map[string]struct {
		state  string
		change func(*provision.Site)
		want   []string
		err    string
	}{
		"as it was made": {"done\n", func(*provision.Site) {}, nil, ""},
		"before init":    {"started\n", func(s *provision.Site) { s.Cluster.Patches = nil }, nil, ""},
		"kubelet": {"done\n", func(s *provision.Site) {
			s.Cluster.Patches["kubelet"] = inventory.Patch{Config: map[string]any{"maxPods": 60, "evictionHard": map[string]any{"memory.available": "200Mi"}, "failCgroupV1": false}}
		}, []string{`kubelet configuration evictionHard.memory.available: the default → "200Mi"`, "kubelet configuration maxPods: 50 → 60"}, ""},
		"taken out": {"done\n", func(s *provision.Site) { delete(s.Cluster.Patches, "kubelet"); delete(s.Cluster.Patches, "kube-proxy") }, []string{
			"kubelet configuration failCgroupV1: false → the default", "kubelet configuration maxPods: 50 → the default",
			"kube-proxy configuration conntrack.maxPerCore: 0 → the default"}, ""},
		"kube-proxy": {"done\n", func(s *provision.Site) {
			s.Cluster.Patches["kube-proxy"] = inventory.Patch{Config: map[string]any{"conntrack": map[string]any{"maxPerCore": 0}, "mode": "nftables"}}
		}, []string{`kube-proxy configuration mode: the default → "nftables"`}, ""},
		"kubeadm": {"done\n", func(s *provision.Site) {
			s.Cluster.Patches["kubeadm"].Config["etcd"] = map[string]any{"local": map[string]any{"dataDir": "/srv/other"}}
		}, nil, `etcd.local.dataDir = "/srv/other": this counts only when a cluster is made`},
		"kubeadm, taken out": {"done\n", func(s *provision.Site) { delete(s.Cluster.Patches, "kubeadm") }, nil, "apiServer.extraArgs"},
		"checks that are passed over count for each join": {"done\n", func(s *provision.Site) {
			p := s.Cluster.Patches["kubeadm"]
			p.IgnorePreflight = nil
			s.Cluster.Patches["kubeadm"] = p
		}, nil, ""},
		"another system of control groups is none of the inventory's": {"done\n", func(s *provision.Site) {
			m := s.Machines["nuc01"]
			m.CgroupV2 = true
			s.Machines["nuc01"] = m
		}, nil, ""},
		"an upgrade is another matter": {"done\n", func(s *provision.Site) { s.Resolved.Kubernetes = "1.36.4" }, nil, ""},
	} {
		made, err := initConfig(patched())
		if err != nil {
			t.Fatal(err)
		}
		site := patched()
		test.change(site)
		s := reconfigured{provision.Base{Name: "nuc01/kubeadm/configuration", Node: "nuc01"}, site}
		got, err := s.Diff(provision.NewFacts(map[provision.Query]any{
			s.file(): provision.FileFact{Exists: true, Content: made}, s.state(): provision.FileFact{Exists: true, Content: []byte(test.state)}}))
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		if d := cmp.Diff(test.want, lines(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if err != nil {
			continue
		}
		// What is written afterwards is what the next plan finds.
		content, _, _, err := s.want(provision.NewFacts(map[provision.Query]any{s.file(): provision.FileFact{Exists: true, Content: made}}))
		if err != nil {
			t.Fatal(err)
		}
		if left, err := s.Diff(provision.NewFacts(map[provision.Query]any{
			s.file(): provision.FileFact{Exists: true, Content: content}, s.state(): provision.FileFact{Exists: true, Content: []byte("done")}})); err != nil || len(left) > 0 {
			t.Errorf("%s: afterwards %v, %v", name, lines(left), err)
		}
	}
}

// A kubelet's file is the cluster's, except for what belongs to the node.
func TestKubeletConfigured(t *testing.T) {
	const cluster = "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"\"\nmaxPods: 60\nclusterDNS:\n- 10.96.0.10\n"
	node := provision.FileFact{Exists: true, Mode: fs.FileMode(0o644)}
	for name, test := range map[string]struct {
		file string
		api  any
		want []string
	}{
		"agrees":    {"kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///x\nresolvConf: /run/resolv.conf\nmaxPods: 60\nclusterDNS:\n- 10.96.0.10\n", cluster, nil},
		"differs":   {"kind: KubeletConfiguration\nmaxPods: 50\nregistryBurst: 3\nclusterDNS:\n- 10.96.0.10\n", cluster, []string{"containerRuntimeEndpoint", "maxPods: 50 → 60", "registryBurst: 3 → the default"}},
		"no member": {"", cluster, nil},
		"no API":    {"kind: KubeletConfiguration\n", nil, nil},
	} {
		s := kubeletConfigured{provision.Base{Name: "nuc02/kubeadm/kubelet-configuration", Node: "nuc02"}, three()}
		file := node
		file.Exists, file.Content = test.file != "", []byte(test.file)
		var live any
		if test.api != nil {
			live = provision.Object{"data": map[string]any{"kubelet": test.api}}
		}
		f := provision.NewFacts(map[provision.Query]any{s.file(): file, kubeletConfig: live})
		got, err := s.Diff(f)
		if err != nil || len(got) != len(test.want) {
			t.Errorf("%s: %v, %v", name, lines(got), err)
			continue
		}
		for i, w := range test.want {
			if !strings.Contains(lines(got)[i], w) {
				t.Errorf("%s: %q does not say %q", name, lines(got)[i], w)
			}
		}
		want, _, err := s.want(f)
		if err != nil || want == nil {
			continue
		}
		if b, _ := yaml.Marshal(want); test.want == nil && (!strings.Contains(string(b), "unix:///x") || !strings.Contains(string(b), "/run/resolv.conf")) {
			t.Errorf("%s: the node's own is lost:\n%s", name, b)
		}
	}
}
