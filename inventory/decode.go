package inventory

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// What may stand where. docs/inventory.md describes every name; a test compares.
var (
	rootShape = shape{blocks: []hcl.BlockHeaderSchema{
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "cluster", LabelNames: []string{"name"}},
		{Type: "ssh"}, {Type: "apt"},
		{Type: "node", LabelNames: []string{"name"}},
		{Type: "volume", LabelNames: []string{"name"}},
		{Type: "network"}, {Type: "access"}, {Type: "mirror"},
		{Type: "registry", LabelNames: []string{"host"}},
		{Type: "images"},
		{Type: "patch", LabelNames: []string{"target"}},
		{Type: "nfs"}, {Type: "hdfs"}, {Type: "spark"},
	}}
	variableShape = shape{attrs: []string{"default", "sensitive"}}
	clusterShape  = shape{attrs: []string{"kubernetes"}}
	sshShape      = shape{attrs: []string{"user", "port", "private_key", "known_hosts", "password", "sudo_password",
		"connect_timeout", "idle_timeout"}}
	aptShape  = shape{attrs: []string{"lock_timeout"}}
	nodeShape = shape{attrs: []string{"address", "role", "port", "host_key", "mac", "labels"},
		blocks: []hcl.BlockHeaderSchema{{Type: "nfs"}, {Type: "hdfs"}}}
	nodeNFSShape   = shape{attrs: []string{"export", "server"}}
	nodeHDFSShape  = shape{attrs: []string{"dirs"}}
	volumeShape    = shape{attrs: []string{"node", "size", "uid", "gid", "mode"}}
	networkShape   = shape{attrs: []string{"pods", "services"}}
	accessShape    = shape{attrs: []string{"allow"}}
	mirrorShape    = shape{attrs: []string{"apt", "registry", "keys"}}
	registryShape  = shape{attrs: []string{"username", "password"}}
	imagesShape    = shape{attrs: []string{"hadoop", "spark", "flannel", "flannel_cni"}}
	patchShape     = shape{attrs: []string{"config", "ignore_preflight_errors"}}
	nfsShape       = shape{attrs: []string{"version", "server"}}
	hdfsShape      = shape{attrs: []string{"replication", "reserve"}, blocks: []hcl.BlockHeaderSchema{{Type: "namenode"}, {Type: "datanode"}}}
	namenodeShape  = shape{attrs: []string{"dir", "checkpoint_dir"}, blocks: resourcesShape.blocks}
	resourcesShape = shape{blocks: []hcl.BlockHeaderSchema{{Type: "requests"}, {Type: "limits"}}}
	amountShape    = shape{attrs: []string{"cpu", "memory"}}
	sparkShape     = shape{attrs: []string{"properties"}, blocks: []hcl.BlockHeaderSchema{{Type: "master"}, {Type: "worker"}, {Type: "executor"}, {Type: "driver"}}}
	executorShape  = shape{attrs: []string{"cores", "memory"}}
)

// patchTargets are the components whose configuration can be patched.
var patchTargets = []string{"kubelet", "kubeadm", "kube-proxy", "containerd"}

// places are where the values were written that check compares.
type places struct {
	nodes                []nodePlaces
	volumes              []place // of the node attribute
	pods, services       place
	replication          place
	namenode, checkpoint place // directories
	worker               resourcePlaces
	executor             executorPlaces
}

type nodePlaces struct {
	name, address, role, mac, hostKey place
	export, dirs                      place
	eachDir                           []place
}

type resourcePlaces struct{ requests, limits amountPlaces }
type amountPlaces struct{ cpu, memory place }
type executorPlaces struct{ cores, memory place }

// decode fills the cluster with defaults and with what is written.
func (d *decoder) decode() {
	root := d.open("", hcl.Range{Filename: d.c.File, Start: hcl.InitialPos, End: hcl.InitialPos}, d.file.Body, rootShape)
	d.variables(root.blocks)
	d.cluster(root)
	d.ssh(root)
	if b := root.nested("apt", aptShape); b != nil {
		read(b, "lock_timeout", &d.c.Apt.LockTimeout, duration)
	}
	d.nfs(root) // its server is the default of the nodes'
	seen := map[string]map[string]place{"node": {}, "volume": {}, "registry": {}, "patch": {}}
	for _, hb := range root.blocks {
		of, repeated := seen[hb.Type]
		if !repeated {
			continue
		}
		name := hb.Labels[0]
		at := place{rng: labelRange(hb), in: hb.Type + " " + visible(name), given: true}
		at.ok = d.unique(of, name, hb.Type, at)
		switch hb.Type {
		case "node":
			d.node(hb, at)
		case "volume":
			d.volume(hb, at)
		case "registry":
			d.registry(hb, at)
		case "patch":
			d.patch(hb, at)
		}
	}
	d.network(root)
	d.mirror(root)
	d.images(root)
	d.hdfs(root)
	d.spark(root)
}

func (d *decoder) cluster(root *block) {
	hb := root.one("cluster")
	if hb == nil {
		if !d.partial {
			latest := KubernetesMinors[len(KubernetesMinors)-1]
			d.report(Error, root.at(), fmt.Sprintf("Write:\ncluster \"NAME\" {\n  kubernetes = %q\n}", latest), "there is no cluster block")
		}
		return
	}
	d.c.Name = hb.Labels[0]
	at := place{rng: labelRange(hb), in: "cluster " + visible(d.c.Name)}
	d.name(at, "cluster", d.c.Name)
	b := d.open(at.in, hb.DefRange, hb.Body, clusterShape)
	b.need(read(b, "kubernetes", &d.c.Kubernetes, kubernetesVersion), "kubernetes", quote(KubernetesMinors[len(KubernetesMinors)-1]))
}

// name reports a label that cannot be a host name and a Kubernetes name.
func (d *decoder) name(at place, what, s string) bool {
	if _, err := dnsLabel(s); err != nil {
		d.report(Error, at, err.(problem).detail, "%s name %v", what, err)
		return false
	}
	return true
}

func (d *decoder) ssh(root *block) {
	d.c.SSH = SSH{Port: 22, ConnectTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute}
	d.c.Apt = Apt{LockTimeout: 10 * time.Minute}
	b := root.nested("ssh", sshShape)
	if b == nil {
		if !d.partial {
			d.report(Error, root.at(), "Write, with the account on the machines that may use sudo:\nssh {\n  user = \"NAME\"\n}", "there is no ssh block")
		}
		return
	}
	s := &d.c.SSH
	b.need(read(b, "user", &s.User, text(user)), "user", `"ubuntu"`)
	read(b, "port", &s.Port, integer(1, 65535))
	read(b, "private_key", &s.PrivateKey, d.keyFile(privateKey))
	read(b, "known_hosts", &s.KnownHosts, text(d.localPath))
	readSecret(b, "password", &s.Password)
	s.SudoPassword = s.Password
	readSecret(b, "sudo_password", &s.SudoPassword)
	read(b, "connect_timeout", &s.ConnectTimeout, duration)
	read(b, "idle_timeout", &s.IdleTimeout, duration)
}

func (d *decoder) node(hb *hcl.Block, at place) {
	n := Node{Name: hb.Labels[0], Role: Worker, Port: d.c.SSH.Port}
	p := nodePlaces{name: at}
	if at.ok && n.Name == "localhost" {
		d.report(Error, at, "Give the machine a name of its own.", "node name %q means every machine itself", n.Name)
	} else {
		d.name(at, "node", n.Name)
	}
	b := d.open(at.in, hb.DefRange, hb.Body, nodeShape)
	p.address = read(b, "address", &n.Address, text(address))
	b.need(p.address, "address", `"192.168.1.11"`)
	p.role = read(b, "role", &n.Role, oneOf(ControlPlane, Worker))
	read(b, "port", &n.Port, integer(1, 65535))
	p.hostKey = read(b, "host_key", &n.HostKey, text(hostKey))
	p.mac = read(b, "mac", &n.MAC, text(mac))
	read(b, "labels", &n.Labels, table(label))
	if nb := b.nested("nfs", nodeNFSShape); nb != nil {
		n.NFS = &NodeNFS{Server: d.c.NFS.Server}
		p.export = read(nb, "export", &n.NFS.Export, text(dataDir))
		nb.need(p.export, "export", `"/srv/nfs"`)
		read(nb, "server", &n.NFS.Server, oneOf("kernel", "ganesha"))
	}
	if nb := b.nested("hdfs", nodeHDFSShape); nb != nil {
		n.HDFS = &NodeHDFS{}
		p.dirs = read(nb, "dirs", &n.HDFS.Dirs, list(func(a arg) (string, bool) {
			dir, ok := text(dataDir)(a)
			a.at.ok = ok
			p.eachDir = append(p.eachDir, a.at)
			return dir, ok
		}))
		nb.need(p.dirs, "dirs", `["/data/hdfs"]`)
	}
	d.c.Nodes = append(d.c.Nodes, n)
	d.places.nodes = append(d.places.nodes, p)
}

func (d *decoder) volume(hb *hcl.Block, at place) {
	v := Volume{Name: hb.Labels[0], UID: SparkID, GID: SparkID, Mode: 0o775}
	d.name(at, "volume", v.Name)
	b := d.open(at.in, hb.DefRange, hb.Body, volumeShape)
	p := read(b, "node", &v.Node, text(dnsLabel))
	b.need(p, "node", `"nuc02"`)
	b.need(read(b, "size", &v.Size, size), "size", `"50Gi"`)
	// The highest ids are reserved for "nobody" and "no change" (chown(2)).
	read(b, "uid", &v.UID, integer(0, 1<<31-3))
	read(b, "gid", &v.GID, integer(0, 1<<31-3))
	read(b, "mode", &v.Mode, fileMode)
	d.c.Volumes = append(d.c.Volumes, v)
	d.places.volumes = append(d.places.volumes, p)
}

func (d *decoder) network(root *block) {
	n := &d.c.Network
	n.Pods, n.Services = netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/16")
	d.places.pods.ok, d.places.services.ok = true, true // the defaults
	if b := root.nested("network", networkShape); b != nil {
		d.places.pods = orDefault(read(b, "pods", &n.Pods, text(prefix)))
		d.places.services = orDefault(read(b, "services", &n.Services, text(prefix)))
	}
	if b := root.nested("access", accessShape); b != nil {
		at := read(b, "allow", &d.c.Access.Allow, list(text(allowed)))
		for _, p := range d.c.Access.Allow {
			if p.Bits() == 0 {
				d.report(Warning, at, "Name the network of the people who use the cluster.", "everybody who reaches the machines may reach the cluster")
			}
		}
	}
}

// orDefault marks what is not written as good: its default is.
func orDefault(p place) place {
	p.ok = p.ok || !p.given
	return p
}

func (d *decoder) mirror(root *block) {
	b := root.nested("mirror", mirrorShape)
	if b == nil {
		return
	}
	m := &d.c.Mirror
	apt := read(b, "apt", &m.Apt, text(httpURL(true)))
	read(b, "registry", &m.Registry, text(httpURL(false)))
	keys := read(b, "keys", &m.Keys, list(d.keyFile(publicKey)))
	if apt.given && !keys.given {
		d.report(Error, apt, `Write keys = ["FILE"]: the public keys that sign it. Unsigned repositories are not used.`, "apt has no keys")
	}
	if keys.given && !apt.given {
		d.report(Error, keys, "Write apt = \"http://…\", or leave the keys out.", "keys are for apt, which is missing")
	}
}

func (d *decoder) registry(hb *hcl.Block, at place) {
	r := Registry{Host: hb.Labels[0]}
	if err := registryHost(r.Host); err != nil {
		d.report(Error, at, err.(problem).detail, "%v", err)
	}
	b := d.open(at.in, hb.DefRange, hb.Body, registryShape)
	b.need(read(b, "username", &r.Username, text(func(s string) (string, error) { return s, nil })), "username", `"NAME"`)
	b.need(readSecret(b, "password", &r.Password), "password", "var.NAME")
	d.c.Registries = append(d.c.Registries, r)
}

func (d *decoder) images(root *block) {
	i := &d.c.Images
	*i = Images{
		Hadoop:     "docker.io/apache/hadoop:3.5.0",
		Spark:      "docker.io/apache/spark:4.0.5-scala2.13-java17-python3-ubuntu",
		Flannel:    "ghcr.io/flannel-io/flannel:v0.28.4",
		FlannelCNI: "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
	}
	if b := root.nested("images", imagesShape); b != nil {
		read(b, "hadoop", &i.Hadoop, text(image))
		read(b, "spark", &i.Spark, text(image))
		read(b, "flannel", &i.Flannel, text(image))
		read(b, "flannel_cni", &i.FlannelCNI, text(image))
	}
}

func (d *decoder) patch(hb *hcl.Block, at place) {
	target := hb.Labels[0]
	if _, ok := oneOf(patchTargets...)(d.labelArg(target, at)); !ok {
		return
	}
	var p Patch
	b := d.open(at.in, hb.DefRange, hb.Body, patchShape)
	config := read(b, "config", &p.Config, object)
	checks := read(b, "ignore_preflight_errors", &p.IgnorePreflight, list(text(preflightCheck)))
	if checks.given && target != "kubeadm" {
		d.report(Error, checks, `Write it into patch "kubeadm".`, "only kubeadm has preflight checks")
	}
	if !config.given && !checks.given {
		d.report(Error, b.at(), "Write config = { … }.", "the patch changes nothing")
	}
	if d.c.Patches == nil {
		d.c.Patches = map[string]Patch{}
	}
	if at.ok {
		d.c.Patches[target] = p
	}
}

func (d *decoder) nfs(root *block) {
	n := &d.c.NFS
	n.Version = "4.2"
	if b := root.nested("nfs", nfsShape); b != nil {
		read(b, "version", &n.Version, oneOf("3", "4", "4.0", "4.1", "4.2"))
		read(b, "server", &n.Server, oneOf("kernel", "ganesha"))
	}
}

func (d *decoder) hdfs(root *block) {
	h := &d.c.HDFS
	for _, n := range d.c.Nodes {
		h.Enabled = h.Enabled || n.HDFS != nil
	}
	h.NamenodeDir, h.CheckpointDir = defaultNamenodeDir, defaultCheckpointDir
	d.places.namenode.ok, d.places.checkpoint.ok = true, true
	b := root.nested("hdfs", hdfsShape)
	var namenode, datanode *block
	if b != nil {
		// 512 is dfs.replication.max of hdfs-default.xml.
		d.places.replication = read(b, "replication", &h.Replication, integer(1, 512))
		read(b, "reserve", &h.Reserve, size)
		if namenode = b.nested("namenode", namenodeShape); namenode != nil {
			d.places.namenode = orDefault(read(namenode, "dir", &h.NamenodeDir, text(dataDir)))
			d.places.checkpoint = orDefault(read(namenode, "checkpoint_dir", &h.CheckpointDir, text(dataDir)))
		}
		datanode = b.nested("datanode", resourcesShape)
	}
	d.resources(namenode, &h.Namenode, Resources{Requests: Amount{250, 1 * GiB}, Limits: Amount{0, 2 * GiB}})
	d.resources(datanode, &h.Datanode, Resources{Requests: Amount{250, 1 * GiB}, Limits: Amount{0, 1 * GiB}})
}

func (d *decoder) spark(root *block) {
	s := &d.c.Spark
	b := root.nested("spark", sparkShape)
	var master, worker, executor, driver *block
	if b != nil {
		master, worker = b.nested("master", resourcesShape), b.nested("worker", resourcesShape)
		executor, driver = b.nested("executor", executorShape), b.nested("driver", executorShape)
		read(b, "properties", &s.Properties, table(property))
	}
	d.resources(master, &s.Master, Resources{Requests: Amount{100, 512 * MiB}, Limits: Amount{0, 1 * GiB}})
	// For a machine with four cores and 16 GiB: what the system, Kubernetes and
	// a datanode leave.
	d.places.worker = d.resources(worker, &s.Worker, Resources{Limits: Amount{3000, 10 * GiB}})
	s.Executor = DefaultExecutor(s.Worker.Limits)
	d.places.executor = d.executor(executor, &s.Executor)
	s.Driver = Executor{Cores: 1, Memory: 1 * GiB}
	d.executor(driver, &s.Driver)
}

// resources reads requests and limits. A default request that is above a
// written limit gives way to it.
func (d *decoder) resources(b *block, r *Resources, standard Resources) (p resourcePlaces) {
	*r = standard
	if b == nil {
		return p
	}
	p.limits = amount(b.nested("limits", amountShape), &r.Limits)
	p.requests = amount(b.nested("requests", amountShape), &r.Requests)
	if r.Limits.CPU > 0 && r.Requests.CPU > r.Limits.CPU {
		if p.requests.cpu.ok && p.limits.cpu.ok {
			d.report(Error, p.requests.cpu, "", "cpu %s is more than the limit of %s at %s", r.Requests.CPU, r.Limits.CPU, p.limits.cpu.line())
		} else if p.requests.cpu.ok && !p.limits.cpu.given {
			d.report(Error, p.requests.cpu, "Write a limit too.", "cpu %s is more than the default limit of %s", r.Requests.CPU, r.Limits.CPU)
		}
		r.Requests.CPU = r.Limits.CPU
	}
	if r.Limits.Memory > 0 && r.Requests.Memory > r.Limits.Memory {
		if p.requests.memory.ok && p.limits.memory.ok {
			d.report(Error, p.requests.memory, "", "memory %s is more than the limit of %s at %s", r.Requests.Memory, r.Limits.Memory, p.limits.memory.line())
		} else if p.requests.memory.ok && !p.limits.memory.given {
			d.report(Error, p.requests.memory, "Write a limit too.", "memory %s is more than the default limit of %s", r.Requests.Memory, r.Limits.Memory)
		}
		r.Requests.Memory = r.Limits.Memory
	}
	return p
}

func amount(b *block, a *Amount) (p amountPlaces) {
	if b != nil {
		p.cpu, p.memory = read(b, "cpu", &a.CPU, cpu), read(b, "memory", &a.Memory, size)
	}
	return p
}

func (d *decoder) executor(b *block, e *Executor) (p executorPlaces) {
	if b == nil {
		return p
	}
	p.cores = read(b, "cores", &e.Cores, integer(1, 1024))
	p.memory = read(b, "memory", &e.Memory, size)
	if p.memory.ok && e.Memory < minHeap {
		d.report(Error, p.memory, fmt.Sprintf("Spark needs at least %s.", minHeap.Spark()), "memory %s is too little", e.Memory.Spark())
		p.memory.ok = false
	}
	return p
}
