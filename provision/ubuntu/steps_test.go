package ubuntu

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// testSite is a control plane, two workers and one that does not answer.
func testSite() *provision.Site {
	node := func(name, addr string, role inventory.Role) inventory.Node {
		return inventory.Node{Name: name, Address: netip.MustParseAddr(addr), Role: role, Port: 22}
	}
	c := &inventory.Cluster{
		Name: "nucs", Kubernetes: "1.36",
		Nodes: []inventory.Node{
			node("nuc01", "192.168.1.11", inventory.ControlPlane),
			node("nuc02", "192.168.1.12", inventory.Worker),
			node("nuc03", "192.168.1.13", inventory.Worker),
			node("nuc04", "192.168.1.14", inventory.Worker),
		},
		Network: inventory.Network{Pods: netip.MustParsePrefix("10.244.0.0/16"), Services: netip.MustParsePrefix("10.96.0.0/16")},
		Patches: map[string]inventory.Patch{},
	}
	c.Nodes[1].NFS = &inventory.NodeNFS{Export: "/srv/nfs"}
	c.Nodes[1].Port = 7022
	c.HDFS.Enabled = true
	fact := provision.Machine{OS: "ubuntu", Version: "24.04", Codename: "noble", Arch: "amd64", CgroupV2: true, MachineID: "m"}
	return &provision.Site{
		Cluster:  c,
		Machines: map[string]provision.Machine{"nuc01": fact, "nuc02": fact, "nuc03": fact},
		Resolved: provision.Resolved{UID: "u", Kubernetes: "1.36.3"},
	}
}

func find[S any](t *testing.T, steps []provision.Step, id string) S {
	t.Helper()
	for _, s := range steps {
		if s.ID() == id {
			if found, ok := s.(S); ok {
				return found
			}
			t.Fatalf("%s is a %T", id, s)
		}
	}
	t.Fatalf("there is no step %s", id)
	panic("unreachable")
}

func TestStepsFormAPlan(t *testing.T) {
	site := testSite()
	m := site.Machines["nuc03"]
	m.CloudInit = "running"
	site.Machines["nuc03"] = m
	steps := Steps(site)
	ids := map[string]bool{}
	for _, s := range steps {
		if ids[s.ID()] {
			t.Errorf("two steps are called %s", s.ID())
		}
		ids[s.ID()] = true
		if strings.HasPrefix(s.ID(), "nuc04/") {
			t.Errorf("%s is a step for a node that does not answer", s.ID())
		}
	}
	for _, s := range steps {
		for _, need := range s.Needs() {
			if !ids[need] {
				t.Errorf("%s needs %s, which nothing provides", s.ID(), need)
			}
		}
		node := provision.NodeOf(s.ID())
		if s.ID() != node+"/identity" && !slices.Contains(s.Needs(), node+"/identity") {
			t.Errorf("%s may run before the node's identity is written", s.ID())
		}
	}
	for _, n := range []string{"nuc01", "nuc02", "nuc03"} {
		base := find[provision.Milestone](t, steps, provision.NodeBase(n))
		count := 0
		for id := range ids {
			if strings.HasPrefix(id, n+"/") && !strings.HasPrefix(id, n+"/cache/") { // nothing needs the cache
				count++
			}
		}
		if len(base.After) != count-1 {
			t.Errorf("%s waits for %d of %d steps", base.Name, len(base.After), count-1)
		}
	}
	if ids["nuc01/cloud-init"] || !ids["nuc03/cloud-init"] {
		t.Error("cloud-init is waited for where it runs, and nowhere else")
	}
	if packages := find[provision.Packages](t, steps, "nuc03/packages/system"); !slices.Contains(packages.After, "nuc03/cloud-init") {
		t.Error("packages do not wait for cloud-init")
	}
}

func TestKubernetesPackages(t *testing.T) {
	p := find[provision.Packages](t, Steps(testSite()), "nuc01/packages/kubernetes")
	want := []provision.Package{{Name: "conntrack"}, {Name: "ethtool"}, {Name: "iptables"}, {Name: "socat"},
		{Name: "containerd.io", Version: "2.*", Hold: true}, {Name: "kubeadm", Version: "1.36.3-*", Hold: true},
		{Name: "kubelet", Version: "1.36.3-*", Hold: true}, {Name: "kubectl", Version: "1.36.3-*", Hold: true}}
	if !slices.Equal(p.Packages, want) {
		t.Errorf("got %v", p.Packages)
	}
	// containerd's first start must already find its configuration.
	for _, need := range []string{"nuc01/containerd/config", "nuc01/apt/source", "nuc01/packages/system"} {
		if !slices.Contains(p.After, need) {
			t.Errorf("it does not need %s", need)
		}
	}
}

func TestCloudInitMissing(t *testing.T) {
	site := testSite()
	m := site.Machines["nuc01"]
	m.CloudInit = "running"
	site.Machines["nuc01"] = m
	w := find[provision.WaitFor](t, Steps(site), "nuc01/cloud-init")
	for _, c := range []struct {
		unit provision.UnitFact
		done bool
	}{
		{provision.UnitFact{Load: "loaded", Active: "inactive"}, false},
		{provision.UnitFact{Load: "loaded", Active: "activating"}, false},
		{provision.UnitFact{Load: "loaded", Active: "active"}, true},
		{provision.UnitFact{Load: "loaded", Active: "failed"}, true},
		{provision.UnitFact{Load: "not-found", Active: "inactive"}, true},
	} {
		missing := w.Missing(provision.NewFacts(map[provision.Query]any{w.Queries[0]: c.unit}))
		if (missing == "") != c.done {
			t.Errorf("%+v: missing %q", c.unit, missing)
		}
	}
}

func TestSupported(t *testing.T) {
	for _, c := range []struct {
		id, version, arch string
		ok                bool
	}{
		{"ubuntu", "22.04", "amd64", true}, {"ubuntu", "24.04", "arm64", true}, {"ubuntu", "26.04", "amd64", true},
		{"debian", "12", "amd64", true}, {"debian", "13", "arm64", true},
		{"ubuntu", "20.04", "amd64", false}, {"ubuntu", "25.10", "amd64", false}, {"debian", "11", "amd64", false},
		{"debian", "", "amd64", false}, {"fedora", "42", "amd64", false}, {"", "", "amd64", false},
		{"ubuntu", "24.04", "armhf", false}, {"ubuntu", "24.04", "", false},
	} {
		if err := Supported(c.id, c.version, c.arch); (err == nil) != c.ok {
			t.Errorf("%s %s %s: %v", c.id, c.version, c.arch, err)
		}
	}
}

func TestPauseTagIsOfEveryMinor(t *testing.T) {
	want := map[string]string{"1.34": "3.10.1", "1.35": "3.10.1", "1.36": "3.10.2"}
	for _, minor := range inventory.KubernetesMinors {
		if want[minor] == "" || pauseTag(minor) != want[minor] {
			t.Errorf("pause image of %s is %s, want %s", minor, pauseTag(minor), want[minor])
		}
	}
}

func TestContainerdConfig(t *testing.T) {
	site := testSite()
	golden.Check(t, "containerd-v2.toml", find[provision.File](t, Steps(site), "nuc01/containerd/config").Content)

	m := site.Machines["nuc01"]
	m.CgroupV2 = false
	site.Machines["nuc01"] = m
	site.Cluster.Mirror.Registry = "http://192.168.1.2:5000"
	site.Cluster.Patches["containerd"] = inventory.Patch{Config: map[string]any{
		"oom_score": int64(-999),
		"plugins": map[string]any{"io.containerd.cri.v1.runtime": map[string]any{
			"restrict_oom_score_adj": true,
			"containerd":             map[string]any{"default_runtime_name": "runc"},
		}},
	}}
	steps := Steps(site)
	golden.Check(t, "containerd-v1-patched.toml", find[provision.File](t, steps, "nuc01/containerd/config").Content)
	golden.Check(t, "hosts.toml", find[provision.File](t, steps, "nuc01/containerd/mirror").Content)
}

// dump is what containerd 2.3.6 prints of the first golden file, shortened to
// the parts that matter: another version, more keys, other indentation.
const dump = `version = 4
root = '/var/lib/containerd'
[plugins]
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'
    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = 'registry.k8s.io/pause:3.10.2'
    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = '/etc/containerd/certs.d'
  [plugins.'io.containerd.cri.v1.runtime']
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        SystemdCgroup = true
`

func TestContainerdInEffect(t *testing.T) {
	w := find[provision.WaitFor](t, Steps(testSite()), "nuc01/containerd/in-effect")
	missing := func(code int, out string) string {
		return w.Missing(provision.NewFacts(map[provision.Query]any{w.Queries[0]: provision.OutputFact{Code: code, Output: out}}))
	}
	if m := missing(0, dump); m != "" {
		t.Errorf("the dump of the right configuration: %s", m)
	}
	for _, c := range []struct {
		code       int
		out, wants string
	}{
		{127, "", "not installed"},
		{0, "= nonsense", "no TOML"},
		{0, strings.Replace(dump, "SystemdCgroup = true", "SystemdCgroup = false", 1), "SystemdCgroup is false, not true"},
		{0, strings.Replace(dump, "3.10.2", "3.8", 1), "sandbox is registry.k8s.io/pause:3.8"},
		{0, strings.Replace(dump, "cri.v1.images'.pinned_images", "cri.v1.images'.sandbox_image", 1), "pinned_images is ignored"},
	} {
		if m := missing(c.code, c.out); !strings.Contains(m, c.wants) {
			t.Errorf("got %q, want %q in it", m, c.wants)
		}
	}
}

func TestRegistryCredentials(t *testing.T) {
	site := testSite()
	site.Cluster.Registries = []inventory.Registry{
		{Host: "docker.io", Username: "me", Password: inventory.NewSecret("s3cret")},
		{Host: "registry.example:5000", Username: "you", Password: inventory.NewSecret("a:b")},
	}
	f := find[provision.File](t, Steps(site), "nuc01/kubelet/credentials")
	if !f.Sensitive || f.Mode != 0o600 {
		t.Errorf("it is readable by others or shown: %o, sensitive %t", f.Mode, f.Sensitive)
	}
	golden.Check(t, "config.json", f.Content)
}

func TestWithdrawnLeavesForeignFiles(t *testing.T) {
	s := find[withdrawn](t, Steps(testSite()), "nuc01/containerd/mirror")
	diff := func(content string) []provision.Change {
		fact := provision.FileFact{Exists: content != "", Content: []byte(content), Size: int64(len(content))}
		c, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.content(): fact, s.Absent.Reads()[0]: fact}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if len(diff("")) != 0 || len(diff("server = \"https://mine\"\n")) != 0 {
		t.Error("a file of somebody else is removed")
	}
	if c := diff(string(mirrorHosts("http://m"))); len(c) != 1 || c[0].Action != provision.Delete {
		t.Errorf("its own file stays: %v", c)
	}
}

func TestCommentSwap(t *testing.T) {
	for _, c := range []struct{ name, old, want string }{
		{"ubuntu", "/swap.img\tnone\tswap\tsw\t0\t0\n", "# nucspark: /swap.img\tnone\tswap\tsw\t0\t0\n"},
		{"uuid, no newline at the end", "UUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0", "UUID=1 / ext4 defaults 0 1\n# nucspark: UUID=2 none swap sw 0 0"},
		{"indented", "  /dev/sda2   swap   swap   defaults  0 0\n", "# nucspark:   /dev/sda2   swap   swap   defaults  0 0\n"},
		{"swap in other fields only", "/dev/swap /mnt/swap ext4 swap 0 0\n", "/dev/swap /mnt/swap ext4 swap 0 0\n"},
		{"a subvolume called swap", "/dev/sda1 /swap btrfs subvol=swap 0 0\n", "/dev/sda1 /swap btrfs subvol=swap 0 0\n"},
		{"comments", "# swap was on /dev/sda5\n#/dev/sda5 none swap sw 0 0\n# /dev/sda5 none swap sw 0 0\n", "# swap was on /dev/sda5\n#/dev/sda5 none swap sw 0 0\n# /dev/sda5 none swap sw 0 0\n"},
		{"empty lines and windows ends", "\r\n\n/dev/sda5 none swap sw 0 0\r\n", "\r\n\n# nucspark: /dev/sda5 none swap sw 0 0\r\n"},
		{"too few fields", "/dev/sda5 swap\n", "/dev/sda5 swap\n"},
		{"empty", "", ""},
	} {
		got := string(commentSwap([]byte(c.old)))
		if got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
		if again := string(commentSwap([]byte(got))); again != got {
			t.Errorf("%s: a second time makes %q", c.name, again)
		}
	}
}

func TestSwapIsLeftWhereItIsWanted(t *testing.T) {
	site := testSite()
	site.Cluster.Patches["kubelet"] = inventory.Patch{Config: map[string]any{"failSwapOn": false}}
	for _, s := range Steps(site) {
		if strings.Contains(s.ID(), "/swap/") {
			t.Errorf("%s is made although the kubelet is told to live with swap", s.ID())
		}
	}
}

func TestSwapOff(t *testing.T) {
	s := find[swapOff](t, Steps(testSite()), "nuc01/swap/off")
	is := provision.SwapFact{Active: []string{"/swap.img"}, Units: []string{"swap.img.swap", zramGenerator}}
	changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): is}))
	if err != nil || len(changes) != 3 {
		t.Errorf("got %v, %v", changes, err)
	}
	if changes, _ := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): provision.SwapFact{}})); len(changes) != 0 {
		t.Errorf("a node without swap: %v", changes)
	}
	golden.Check(t, "swapoff.sh", []byte(swapScript(is)))
}

func TestHostsBlock(t *testing.T) {
	block := hostsBlock(testSite())
	golden.Check(t, "hosts", []byte(block))
	const head, tail = "127.0.0.1 localhost\n127.0.1.1\tnuc01\n", "# mine\n10.0.0.1 printer\n"
	old := hostsBegin + "\n192.168.1.99 nuc01\n" + hostsEnd + "\n"
	for _, c := range []struct{ name, old, want string }{
		{"none", "", block},
		{"no block", head, head + block},
		{"no newline at the end", "127.0.0.1 localhost", "127.0.0.1 localhost\n" + block},
		{"an older block keeps its place", head + old + tail, head + block + tail},
		{"two blocks", head + old + tail + old, head + block + tail},
		{"an end that was lost", head + hostsBegin + "\n" + tail, head + tail + block},
		{"a beginning that was lost", head + hostsEnd + "\n" + tail, head + tail + block},
		{"an end that was lost before a whole block", hostsBegin + "\n" + tail + old, tail + block},
	} {
		got := string(replaceBlock([]byte(c.old), block))
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		if again := string(replaceBlock([]byte(got), block)); again != got {
			t.Errorf("%s: a second time makes\n%s", c.name, again)
		}
	}
}

func TestEditDiff(t *testing.T) {
	steps := Steps(testSite())
	hosts, template := find[edit](t, steps, "nuc01/hosts"), find[edit](t, steps, "nuc01/hosts-template")
	fact := func(s string) provision.FileFact {
		return provision.FileFact{Exists: true, Content: []byte(s), Size: int64(len(s))}
	}
	diff := func(s edit, hostsFact, templateFact provision.FileFact) ([]provision.Change, error) {
		return s.Diff(provision.NewFacts(map[provision.Query]any{hosts.query(): hostsFact, template.query(): templateFact}))
	}
	plain, managed := fact("127.0.0.1 localhost\n"), fact("# Your system has configured 'manage_etc_hosts' as True.\n")
	if c, err := diff(hosts, plain, provision.FileFact{}); err != nil || len(c) != 1 || !strings.Contains(c[0].Detail, "+ 192.168.1.14 nuc04") {
		t.Errorf("hosts: %v, %v", c, err)
	}
	if c, err := diff(hosts, provision.FileFact{}, provision.FileFact{}); err != nil || len(c) != 1 || c[0].Action != provision.Create {
		t.Errorf("no hosts: %v, %v", c, err)
	}
	if c, _ := diff(template, plain, fact("127.0.0.1 localhost\n")); len(c) != 0 {
		t.Errorf("the template is edited where cloud-init does not use it: %v", c)
	}
	if c, _ := diff(template, managed, fact("127.0.0.1 localhost\n")); len(c) != 1 {
		t.Errorf("the template is not edited where cloud-init uses it: %v", c)
	}
	if c, _ := diff(template, managed, provision.FileFact{}); len(c) != 0 {
		t.Errorf("a template is made: %v", c)
	}
	link := fact("")
	link.Mode |= os.ModeSymlink
	if _, err := diff(hosts, link, provision.FileFact{}); err == nil {
		t.Error("a link is followed")
	}
	large := fact("127.0.0.1 localhost\n")
	large.Size = 2 << 20
	if _, err := diff(hosts, large, provision.FileFact{}); err == nil {
		t.Error("a file that was read in part is written back")
	}
}

func TestSysctl(t *testing.T) {
	golden.Check(t, "sysctl.conf", sysctlFile(false))
	golden.Check(t, "sysctl-least.conf", sysctlFile(true))
	steps := Steps(testSite())
	for _, c := range []struct {
		key     string
		is      provision.SysctlFact
		changes int
		fails   bool
	}{
		{"net.ipv4.ip_forward", provision.SysctlFact{Exists: true, Value: "1"}, 0, false},
		{"net.ipv4.ip_forward", provision.SysctlFact{Exists: true, Value: "0", Writable: true}, 1, false},
		{"net.ipv4.ip_forward", provision.SysctlFact{Exists: true, Value: "0"}, 0, true},
		{"net.bridge.bridge-nf-call-iptables", provision.SysctlFact{}, 1, false},
		{"net.bridge.bridge-nf-call-ip6tables", provision.SysctlFact{}, 0, false},
		{"fs.inotify.max_user_instances", provision.SysctlFact{Exists: true, Value: "65536"}, 0, false},
		{"fs.inotify.max_user_instances", provision.SysctlFact{Exists: true, Value: "128", Writable: true}, 1, false},
	} {
		s := find[sysctl](t, steps, "nuc01/sysctl/"+c.key)
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{provision.SysctlQuery{Node: "nuc01", Name: c.key}: c.is}))
		if len(changes) != c.changes || (err != nil) != c.fails {
			t.Errorf("%s %+v: %v, %v", c.key, c.is, changes, err)
		}
	}
}

func TestSourceList(t *testing.T) {
	site := testSite()
	golden.Check(t, "nucspark.list", find[provision.File](t, Steps(site), "nuc01/apt/source").Content)
	site.Cluster.Mirror.Apt = "http://192.168.1.2/"
	site.Cluster.Mirror.Keys = []string{"testdata/absent.asc"}
	steps := Steps(site)
	golden.Check(t, "nucspark-mirror.list", find[provision.File](t, steps, "nuc01/apt/source").Content)
	if _, err := find[broken](t, steps, "nuc01/apt/key").Diff(provision.Facts{}); err == nil || !strings.Contains(err.Error(), "testdata/absent.asc") {
		t.Errorf("a key that is not there: %v", err)
	}
}

func TestKubernetesRepositoryIsOfTheMinor(t *testing.T) {
	for _, s := range systems {
		for _, r := range upstream(s, "1.35.9") {
			if r.name == "kubernetes" && !strings.Contains(r.line, "/v1.35/deb/ /") {
				t.Errorf("got %s", r.line)
			}
			if r.name == "docker" && !strings.HasSuffix(r.line, "/linux/"+s.id+" "+s.codename+" stable") {
				t.Errorf("got %s", r.line)
			}
		}
	}
}

var testNow = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
