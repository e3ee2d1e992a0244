package kubeadm

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// three is a control plane and two workers that store data.
func three() *provision.Site {
	node := func(name, address string, role inventory.Role) inventory.Node {
		return inventory.Node{Name: name, Address: netip.MustParseAddr(address), Role: role}
	}
	c := &inventory.Cluster{
		File: "/home/somebody/cluster.hcl", Name: "nucs", Kubernetes: "1.36",
		SSH: inventory.SSH{User: "somebody", PrivateKey: "/home/somebody/.ssh/id_ed25519"},
		Nodes: []inventory.Node{
			node("nuc01", "192.168.1.11", inventory.ControlPlane),
			node("nuc02", "192.168.1.12", inventory.Worker),
			node("nuc03", "192.168.1.13", inventory.Worker),
		},
		Network: inventory.Network{Pods: netip.MustParsePrefix("10.244.0.0/16"), Services: netip.MustParsePrefix("10.96.0.0/16")},
		Images: inventory.Images{
			Flannel: "ghcr.io/flannel-io/flannel:v0.28.4", FlannelCNI: "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
		},
	}
	c.Nodes[1].HDFS = &inventory.NodeHDFS{Dirs: []string{"/data"}}
	c.Nodes[1].NFS = &inventory.NodeNFS{Export: "/srv/nfs"}
	c.Nodes[1].Labels = map[string]string{"example.com/rack": "a"}
	site := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{},
		Resolved: provision.Resolved{UID: "1cf1ae61-3c28-4b32-a2e9-8f0a9a4ac1a5", Kubernetes: "1.36.3", Replication: 1}}
	for _, n := range c.Nodes {
		site.Machines[n.Name] = provision.Machine{CgroupV2: true, MachineID: "id-of-" + n.Name,
			Prefixes: []netip.Prefix{netip.PrefixFrom(n.Address, 24)}}
	}
	return site
}

func patched() *provision.Site {
	site := three()
	site.Cluster.Nodes[0].NFS = &inventory.NodeNFS{Export: "/srv/nfs"}
	site.Machines["nuc01"] = provision.Machine{}
	site.Cluster.Patches = map[string]inventory.Patch{
		"kubelet":    {Config: map[string]any{"failCgroupV1": false, "maxPods": 50}},
		"kube-proxy": {Config: map[string]any{"conntrack": map[string]any{"maxPerCore": 0}}},
		"kubeadm": {IgnorePreflight: []string{"SystemVerification"}, Config: map[string]any{
			"apiServer": map[string]any{"extraArgs": []any{map[string]any{"name": "profiling", "value": "false"}}},
			"etcd":      map[string]any{"local": map[string]any{"dataDir": "/srv/etcd"}},
		}},
	}
	return site
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		file string
		make func() ([]byte, error)
	}{
		{"init.yaml", func() ([]byte, error) { return initConfig(three()) }},
		{"init-patched.yaml", func() ([]byte, error) { return initConfig(patched()) }},
		{"join.yaml", func() ([]byte, error) {
			site := patched()
			return joinConfig(site, &site.Cluster.Nodes[1], "abcdef.0123456789abcdef", "sha256:"+strings.Repeat("0", 64))
		}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			got, err := tt.make()
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, tt.file, got)
		})
	}
}

// The shell must find the script well-formed, and a patched data directory
// must be the one that is looked at.
func TestInitScript(t *testing.T) {
	for _, etcd := range []string{"/var/lib/etcd", "/srv/it's etcd", ""} {
		script := initScript(etcd)
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("etcd %q: %v: %s\n%s", etcd, err, out, script)
		}
		if reset := strings.Contains(script, "kubeadm reset"); reset != (etcd != "") {
			t.Errorf("etcd %q: reset is %t in\n%s", etcd, reset, script)
		}
	}
	golden.Check(t, "init.sh", []byte(initScript("/var/lib/etcd")))
	golden.Check(t, "join.sh", []byte(joinScript(joinFiles+"bootstrap-token-abcdef.yaml")))
}

// A kubeadm that outlived the run that began it is waited for.
func TestKubeadmAlone(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	head := strings.ReplaceAll(kubeadmAlone, "/run/nucspark-kubeadm.lock", lock)
	first := exec.Command("sh", "-c", head+"echo begun; read -r _; echo first >> "+lock)
	end, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	second := exec.Command("sh", "-c", head+"echo second >> "+lock)
	said, err := second.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.Contains(line, "waiting for it") {
		t.Errorf("the second said %q, %v", line, err)
	}
	end.Close()
	if err := errors.Join(first.Wait(), second.Wait()); err != nil {
		t.Fatal(err)
	}
	if order, err := os.ReadFile(lock); string(order) != "first\nsecond\n" {
		t.Errorf("they worked in the order %q, %v", order, err)
	}
}

func TestBusy(t *testing.T) {
	late := &host.CommandError{Node: "nuc01", Code: 1, Tail: []string{
		"[preflight] Some fatal errors occurred:",
		`	[ERROR CRI]: could not connect to the container runtime: failed to create new CRI runtime service: validate service connection: validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = DeadlineExceeded desc = context deadline exceeded`,
		"error: error execution phase preflight: preflight checks failed"}}
	off := &host.CommandError{Node: "nuc01", Code: 1, Tail: []string{
		`	[ERROR CRI]: could not connect to the container runtime: dial unix /run/containerd/containerd.sock: connect: no such file or directory`}}
	api := &host.CommandError{Node: "nuc01", Code: 1, Tail: []string{"error: error execution phase wait-control-plane: context deadline exceeded"}}
	for _, c := range []struct {
		err  error
		want bool
	}{{fmt.Errorf("it failed: %w", late), true}, {off, false}, {api, false}, {errors.New("anything else"), false}} {
		if got := busy(c.err); got != c.want {
			t.Errorf("busy(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestInitialised(t *testing.T) {
	there := provision.FileFact{Exists: true}
	state := func(s string) provision.FileFact { return provision.FileFact{Exists: true, Content: []byte(s + "\n")} }
	s := initialised{Base: provision.Base{Name: "nuc01/kubeadm/init", Node: "nuc01"}, site: three()}
	for _, tt := range []struct {
		name                   string
		state, admin, manifest provision.FileFact
		changes                int
		err                    string
	}{
		{name: "bare", changes: 2},
		{name: "done", state: state("done"), admin: there, manifest: there},
		{name: "interrupted", state: state("started"), admin: there, manifest: there, changes: 2},
		{name: "lost", state: state("done"), admin: there, err: "restore it from a backup"},
		{name: "lost key", state: state("done"), manifest: there, err: provision.AdminConf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{
				s.file(stateFile): tt.state, s.file(provision.AdminConf): tt.admin, s.file(apiManifest): tt.manifest,
				s.file(configFile): provision.FileFact{},
			}))
			if len(changes) != tt.changes || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("changes %v, error %v; want %d changes, error %q", changes, err, tt.changes, tt.err)
			}
		})
	}
}

func TestJoined(t *testing.T) {
	site := three()
	s := joined{site: site, node: &site.Cluster.Nodes[1]}
	file := func(content string) provision.FileFact {
		return provision.FileFact{Exists: content != "", Content: []byte(content)}
	}
	for _, tt := range []struct {
		name           string
		conf, ca, cpCA string
		bootstrap      string
		live           provision.Object
		want           string
		err            bool
	}{
		{name: "new machine", cpCA: "A", want: "kubeadm join"},
		{name: "interrupted join", ca: "A", cpCA: "A", want: "kubeadm join"},
		{name: "member", conf: "x", ca: "A", cpCA: "A\n", live: provision.Object{"kind": "Node"}},
		{name: "unknown to the cluster", conf: "x", ca: "A", cpCA: "A", want: "kubelet registers it again"},
		{name: "interrupted at its end", conf: "x", ca: "A", cpCA: "A", live: provision.Object{"kind": "Node"}, bootstrap: "x"},
		{name: "member elsewhere", conf: "x", ca: "B", cpCA: "A", err: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[provision.Query]any{s.conf(): file(tt.conf), s.bootstrap(): file(tt.bootstrap), ca("nuc02"): file(tt.ca), ca("nuc01"): file(tt.cpCA), liveNode("nuc02"): tt.live}
			changes, err := s.Diff(provision.NewFacts(answers))
			if (err != nil) != tt.err {
				t.Fatalf("error %v", err)
			}
			got := ""
			if len(changes) > 0 {
				got = changes[0].New
			}
			if deletes := len(changes) > 0 && changes[0].Action == provision.Delete; got != tt.want || deletes != (tt.bootstrap != "") {
				t.Errorf("changes %v, want %q", changes, tt.want)
			}
		})
	}
}

func TestImages(t *testing.T) {
	site := three()
	site.Cluster.Images.FlannelCNI = "flannel/cni:1"
	site.Cluster.Registries = []inventory.Registry{{Host: "ghcr.io"}}
	s := images{site: site, node: &site.Cluster.Nodes[1]}
	want := []string{"docker.io/flannel/cni:1", "registry.k8s.io/kube-proxy:v1.36.3"}
	if diff := cmp.Diff(want, s.known()); diff != "" {
		t.Errorf("images of a worker (-want +got):\n%s", diff)
	}
	if got := len(images{site: site, node: &site.Cluster.Nodes[0]}.known()); got != 5 {
		t.Errorf("%d images of the control plane, want 5", got)
	}
	for _, tt := range []struct {
		name    string
		member  bool
		present []string
		changes int
	}{
		{"bare", false, nil, 2},
		{"half", false, want[:1], 1},
		{"all", false, want, 0},
		{"member", true, nil, 0},
	} {
		answers := map[provision.Query]any{s.member(): provision.FileFact{Exists: tt.member}}
		for _, ref := range want {
			answers[provision.ImageQuery{Node: "nuc02", Ref: ref}] = provision.ImageFact{}
		}
		for _, ref := range tt.present {
			answers[provision.ImageQuery{Node: "nuc02", Ref: ref}] = provision.ImageFact{Present: true}
		}
		changes, err := s.Diff(provision.NewFacts(answers))
		if err != nil || len(changes) != tt.changes {
			t.Errorf("%s: changes %v, error %v; want %d", tt.name, changes, err, tt.changes)
		}
	}
}

func TestNoTokens(t *testing.T) {
	secret := func(kind, note string) provision.Object {
		return provision.Object{"type": kind, "metadata": map[string]any{"name": "bootstrap-token-abcdef"},
			"data": map[string]any{"description": base64.StdEncoding.EncodeToString([]byte(note))}}
	}
	s := noTokens{}
	changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): []provision.Object{
		secret(tokenType, "nucspark: init"),
		secret(tokenType, "somebody's own"),
		secret("Opaque", "nucspark: init"),
	}}))
	if err != nil || len(changes) != 1 || changes[0].Key != "kube-system/bootstrap-token-abcdef" || changes[0].Action != provision.Delete {
		t.Errorf("changes %v, error %v; want the first only", changes, err)
	}
}

func TestBackend(t *testing.T) {
	far := three()
	far.Cluster.Nodes[2].Address = netip.MustParseAddr("192.168.2.13")
	delete(far.Machines, "nuc03")
	for _, tt := range []struct {
		name string
		site *provision.Site
		want string
	}{{"one network", three(), "host-gw"}, {"a router between, that machine off", far, "vxlan"}} {
		if got := backend(tt.site)["Type"]; got != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

func TestTainted(t *testing.T) {
	with := provision.Object{"spec": map[string]any{"taints": []any{
		map[string]any{"key": "node.kubernetes.io/not-ready"}, map[string]any{"key": controlPlaneTaint}}}}
	for _, tt := range []struct {
		live provision.Object
		want bool
		does provision.Action
	}{
		{with, true, ""}, {with, false, provision.Delete},
		{provision.Object{}, true, provision.Create}, {provision.Object{}, false, ""}, {nil, true, ""},
	} {
		site := three()
		s := tainted{node: &site.Cluster.Nodes[0], want: tt.want}
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{liveNode("nuc01"): tt.live}))
		var does provision.Action
		if len(changes) > 0 {
			does = changes[0].Action
		}
		if err != nil || does != tt.does {
			t.Errorf("%v, wanted %t: %q, error %v; want %q", tt.live, tt.want, does, err, tt.does)
		}
	}
}

func TestNodeMissing(t *testing.T) {
	node := func(conditions ...any) provision.Object {
		return provision.Object{"status": map[string]any{"conditions": conditions}}
	}
	ready := map[string]any{"type": "Ready", "status": "True"}
	for _, tt := range []struct {
		live provision.Object
		want string
	}{
		{nil, "does not know"},
		{node(), "not reported"},
		{node(map[string]any{"type": "Ready", "status": "False", "message": "cni plugin not initialized"}), "cni plugin"},
		{node(ready, map[string]any{"type": "NetworkUnavailable", "status": "True"}), "no pod network"},
		{node(map[string]any{"type": "NetworkUnavailable", "status": "False"}, ready), ""},
	} {
		got := nodeMissing("nuc02")(provision.NewFacts(map[provision.Query]any{liveNode("nuc02"): tt.live}))
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.live, got, tt.want)
		}
	}
}

// What is recorded must not depend on who runs nucspark, must not hold
// secrets, and must keep members that are off or gone from the inventory.
func TestRecord(t *testing.T) {
	site := three()
	site.Members = map[string]provision.Member{
		"nuc03": {MachineID: "id-of-nuc03", Address: "192.168.1.13"}, "old": {MachineID: "x", Address: "192.168.1.99"},
	}
	delete(site.Machines, "nuc03")
	site.Cluster.Spark.Properties = map[string]string{"spark.ssl.keyPassword": "hunter2", "spark.ui.port": "4040"}
	site.Cluster.Patches = map[string]inventory.Patch{"containerd": {Config: map[string]any{"a": map[string]any{"token": "hunter2"}}}}
	data := record(site).Data
	golden.Check(t, "members.json", []byte(data[provision.RecordMembers]))
	golden.Check(t, "inventory.json", []byte(data[provision.RecordManifest]))
	for _, never := range []string{"hunter2", "somebody"} {
		if strings.Contains(data[provision.RecordManifest], never) {
			t.Errorf("the record holds %q", never)
		}
	}
}

// Every need of a step is a step of this package, or the base of its node; and
// every object has the form the API wants.
func TestSteps(t *testing.T) {
	var lines []string
	ids := map[string]bool{}
	steps := Steps(patched())
	for _, s := range steps {
		if ids[s.ID()] {
			t.Errorf("%s is there twice", s.ID())
		}
		ids[s.ID()] = true
		lines = append(lines, s.ID()+" <- "+strings.Join(s.Needs(), ", "))
	}
	for _, s := range steps {
		for _, need := range s.Needs() {
			if !ids[need] && !strings.HasSuffix(need, "/base") {
				t.Errorf("%s needs %s, which nothing provides", s.ID(), need)
			}
		}
	}
	for _, name := range []string{provision.ClusterAPI, provision.ClusterNetwork, provision.NamespaceReady, provision.NodeReady("nuc03")} {
		if !ids[name] {
			t.Errorf("no step is the milestone %s", name)
		}
	}
	golden.Check(t, "steps.txt", []byte(strings.Join(lines, "\n")+"\n"))
	var objects []map[string]any
	for _, s := range steps {
		if o, ok := s.(provision.KubeObject); ok && !strings.HasSuffix(s.ID(), "/record") {
			objects = append(objects, o.Object)
		}
	}
	y, err := render(objects...)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "objects.yaml", y)
}
