package hdfs

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

const uid = "6f0c7f0e-2a55-4e0d-9b39-1d5b1c1d0a01"

// testSite is nuc01 with the control plane, and one worker for each list of
// directories. All answered.
func testSite(dirs ...[]string) *provision.Site {
	c := &inventory.Cluster{File: "cluster.hcl", Name: "nucs",
		Nodes: []inventory.Node{{Name: "nuc01", Address: netip.MustParseAddr("172.31.77.11"), Role: inventory.ControlPlane}},
		HDFS:  inventory.HDFS{Enabled: true, NamenodeDir: "/var/lib/nucspark/namenode", CheckpointDir: "/var/lib/nucspark/checkpoint"},
	}
	c.Images.Hadoop = "apache/hadoop:3.5.0"
	c.Network.Pods = netip.MustParsePrefix("10.244.0.0/16")
	for i, d := range dirs {
		c.Nodes = append(c.Nodes, inventory.Node{Name: "nuc0" + string(rune('2'+i)), Role: inventory.Worker,
			Address: netip.AddrFrom4([4]byte{172, 31, 77, byte(12 + i)}), HDFS: &inventory.NodeHDFS{Dirs: d}})
	}
	site := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{}, Resolved: provision.Resolved{UID: uid, Replication: 2}}
	for _, n := range c.Nodes {
		site.Machines[n.Name] = provision.Machine{}
	}
	return site
}

func TestNoHDFS(t *testing.T) {
	site := testSite()
	if s := Steps(site); s != nil {
		t.Errorf("%d steps without a node that stores blocks", len(s))
	}
	if q := Queries(site); q != nil {
		t.Errorf("%d queries without a node that stores blocks", len(q))
	}
	if h := Health(site, provision.NewFacts(nil)); h != nil {
		t.Errorf("%d healths without a node that stores blocks", len(h))
	}
}

func TestObjects(t *testing.T) {
	var b strings.Builder
	for _, s := range Steps(testSite([]string{"/data/hdfs"}, []string{"/data/hdfs"}, []string{"/mnt/a", "/mnt/b"})) {
		o, ok := s.(provision.KubeObject)
		if !ok {
			continue
		}
		y, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n# " + o.Name + "\n")
		b.Write(y)
	}
	golden.Check(t, "objects.yaml", b.String())
}

func TestConfiguration(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"namenode": namenodeFiles(2), "datanode": datanodeFiles(0), "datanode-reserve": datanodeFiles(20 * inventory.GiB), "checkpoint": checkpointFiles(),
	} {
		for _, file := range []string{"core-site.xml", "hdfs-site.xml"} {
			golden.Check(t, filepath.Join(name, file), files[file])
		}
	}
}

// Every need is a step of this package or a milestone that another provides.
func TestNeeds(t *testing.T) {
	for _, site := range []*provision.Site{
		testSite([]string{"/data/hdfs"}, []string{"/data/hdfs"}),
		oneMachine(),
	} {
		known := map[string]bool{provision.ClusterNetwork: true, provision.NamespaceReady: true}
		for _, n := range site.Cluster.Nodes {
			known[provision.NodeBase(n.Name)], known[provision.NodeImages(n.Name)], known[provision.NodeReady(n.Name)] = true, true, true
		}
		steps := Steps(site)
		for _, s := range steps {
			if known[s.ID()] {
				t.Errorf("two steps are called %s", s.ID())
			}
			known[s.ID()] = true
		}
		for _, s := range steps {
			for _, need := range s.Needs() {
				if !known[need] {
					t.Errorf("%s needs %s, which nothing provides", s.ID(), need)
				}
			}
		}
		for _, m := range []string{provision.HDFSNames, provision.HDFSReady} {
			if !known[m] {
				t.Errorf("nothing provides %s", m)
			}
		}
	}
}

func oneMachine() *provision.Site {
	site := testSite()
	site.Cluster.Nodes[0].HDFS = &inventory.NodeHDFS{Dirs: []string{"/data/hdfs"}}
	return site
}

// Adding a node changes no object of the cluster.
func TestAddingANodeRestartsNothing(t *testing.T) {
	objects := func(site *provision.Site) map[string]provision.Object {
		m := map[string]provision.Object{}
		for _, s := range Steps(site) {
			if o, ok := s.(provision.KubeObject); ok {
				m[o.Name] = o.Object
			}
		}
		return m
	}
	disks := []string{"/data/hdfs"}
	before, after := objects(testSite(disks, disks)), objects(testSite(disks, disks, disks))
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("a third datanode changes:\n%s", d)
	}
	// Another list of directories is another DaemonSet; the others stay.
	after = objects(testSite(disks, disks, []string{"/mnt/a"}))
	for name, o := range before {
		if d := cmp.Diff(o, after[name]); d != "" {
			t.Errorf("%s changes:\n%s", name, d)
		}
	}
}

// A setting restarts what reads it and nothing else.
func TestRestarts(t *testing.T) {
	disks := []string{"/data/hdfs"}
	hashes := func(change func(*provision.Site)) map[string]string {
		site := testSite(disks, disks)
		change(site)
		m := map[string]string{}
		for _, s := range Steps(site) {
			o, ok := s.(provision.KubeObject)
			if !ok {
				continue
			}
			spec, _ := o.Object["spec"].(map[string]any)
			if template, ok := spec["template"]; ok {
				m[o.Name[len("cluster/hdfs/"):]] = hashOf(template)
			}
		}
		return m
	}
	base := hashes(func(*provision.Site) {})
	set := "datanode-" + disksOf(disks)
	if len(base) != 3 || base[set] == "" {
		t.Fatalf("templates of %v", base)
	}
	for name, tt := range map[string]struct {
		change func(*provision.Site)
		want   []string
	}{
		"replication": {func(s *provision.Site) { s.Resolved.Replication = 1 }, []string{namenode}},
		"reserve":     {func(s *provision.Site) { s.Cluster.HDFS.Reserve = inventory.GiB }, []string{set}},
		"datanode memory": {func(s *provision.Site) { s.Cluster.HDFS.Datanode.Limits.Memory = 2 * inventory.GiB },
			[]string{set}},
		"namenode memory": {func(s *provision.Site) { s.Cluster.HDFS.Namenode.Limits.Memory = 2 * inventory.GiB },
			[]string{checkpoint, namenode}},
		"image": {func(s *provision.Site) { s.Cluster.Images.Hadoop = "example.org/hadoop:4" }, []string{checkpoint, set, namenode}},
	} {
		t.Run(name, func(t *testing.T) {
			var changed []string
			for app, h := range hashes(tt.change) {
				if h != base[app] {
					changed = append(changed, app)
				}
			}
			slices.Sort(changed)
			if d := cmp.Diff(tt.want, changed); d != "" {
				t.Errorf("restarts:\n%s", d)
			}
		})
	}
}

func TestHeap(t *testing.T) {
	for _, tt := range []struct{ limit, want inventory.Size }{
		{inventory.GiB, 640 * inventory.MiB},
		{4 * inventory.GiB, 3 * inventory.GiB},
		{256 * inventory.MiB, 128 * inventory.MiB},
	} {
		if got := heap(tt.limit); got != tt.want {
			t.Errorf("heap(%s) = %s, want %s", tt.limit, got, tt.want)
		}
	}
}

// Of the nodes that are members, whose datanodes may run, one after the other
// gets other directories; new ones wait for nobody. Sets of datanodes replace
// their pods one after the other, too.
func TestOneAfterTheOther(t *testing.T) {
	needs := func(members ...string) map[string][]string {
		site := testSite([]string{"/a"}, []string{"/a"}, []string{"/b"}, []string{"/a"})
		site.Members = map[string]provision.Member{}
		for _, m := range members {
			site.Members[m] = provision.Member{}
		}
		m := map[string][]string{}
		for _, s := range Steps(site) {
			m[s.ID()] = s.Needs()
		}
		return m
	}
	a, b := "cluster/hdfs/datanode-"+disksOf([]string{"/a"}), "cluster/hdfs/datanode-"+disksOf([]string{"/b"})
	first := needs()
	if slices.Contains(first["nuc03/hdfs/label"], "nuc02/hdfs/label") || slices.Contains(first[b], a+"-ready") {
		t.Errorf("the first up waits: %v, %v", first["nuc03/hdfs/label"], first[b])
	}
	later := needs("nuc01", "nuc02", "nuc03", "nuc04")
	for step, need := range map[string]string{"nuc03/hdfs/label": "nuc02/hdfs/label", "nuc04/hdfs/label": "nuc03/hdfs/label", b: a + "-ready", a + "-ready": a} {
		if !slices.Contains(later[step], need) {
			t.Errorf("%s needs %v and not %s", step, later[step], need)
		}
	}
	if slices.Contains(later["nuc05/hdfs/label"], "nuc04/hdfs/label") {
		t.Errorf("a new node waits: %v", later["nuc05/hdfs/label"])
	}
}

// A datanode that has other directories is back when its new pod is ready and
// registered, and the file system is as well off as before.
func TestReplaced(t *testing.T) {
	site := testSite([]string{"/a", "/b"}, []string{"/a"})
	s := labelStep{Base: provision.Base{Name: "nuc02/hdfs/label", Node: "nuc02"}, layout: newLayout(site), dirs: []string{"/a", "/b"}}
	before := wellBeing{system: systemState{UnderReplicated: 3}}
	for name, tt := range map[string]struct {
		change func(pod, live, system map[string]any)
		want   string
	}{
		"back":      {func(pod, live, system map[string]any) {}, ""},
		"not ready": {func(pod, _, _ map[string]any) { pod["status"].(map[string]any)["conditions"] = nil }, "its pod is not ready"},
		"the old one": {func(pod, _, _ map[string]any) {
			pod["metadata"].(map[string]any)["labels"] = map[string]any{DisksLabel: "x"}
		}, "its pod is not ready"},
		"under its old address":   {func(_, live, _ map[string]any) { live["xferaddr"] = "10.244.1.9:9866" }, "it is not registered with the namenode"},
		"without a directory":     {func(_, live, _ map[string]any) { live["volfails"] = 1 }, "1 of its directories failed"},
		"with fewer copies":       {func(_, _, system map[string]any) { system["UnderReplicatedBlocks"] = 4 }, "4 blocks have not all their copies"},
		"with a block that lacks": {func(_, _, system map[string]any) { system["missing"] = 1 }, "1 blocks are missing"},
	} {
		pod := map[string]any{"metadata": map[string]any{"name": "datanode-x", "labels": map[string]any{DisksLabel: disksOf(s.dirs)}}, "spec": map[string]any{"nodeName": "nuc02"},
			"status": map[string]any{"podIP": "10.244.1.5", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}}
		live := map[string]any{"xferaddr": "10.244.1.5:9866"}
		system := map[string]any{"UnderReplicatedBlocks": 3, "missing": 0}
		tt.change(pod, live, system)
		text, err := json.Marshal(map[string]any{"172.31.77.12:9866": live})
		if err != nil {
			t.Fatal(err)
		}
		answer := func(v map[string]any) provision.PageFact {
			body, err := json.Marshal(map[string]any{"beans": []any{v}})
			if err != nil {
				t.Fatal(err)
			}
			return provision.PageFact{Status: 200, Body: body}
		}
		got := s.missing(provision.NewFacts(map[provision.Query]any{
			datanodePods: []provision.Object{pod}, systemQuery: answer(system),
			infoQuery: answer(map[string]any{"LiveNodes": string(text), "NumberOfMissingBlocks": system["missing"]}),
		}), before)
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
