package inventory

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
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
	root := d.open("", hcl.Range{Filename: d.c.File, Start: hcl.InitialPos, End: hcl.InitialPos}, d.file.Body, &reference)
	d.variables(root)
	d.cluster(root)
	d.ssh(root)
	if b := root.nested("apt"); b != nil {
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
			d.node(root, hb, at)
		case "volume":
			d.volume(root, hb, at)
		case "registry":
			d.registry(root, hb, at)
		case "patch":
			d.patch(root, hb, at)
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
			d.report(Error, root.at(), fmt.Sprintf("Write:\ncluster \"NAME\" {\n  kubernetes = %q\n}", newestMinor), "there is no cluster block")
		}
		return
	}
	d.c.Name = hb.Labels[0]
	at := place{rng: labelRange(hb), in: "cluster " + visible(d.c.Name)}
	d.name(at, "cluster", d.c.Name)
	b := root.labelled(at.in, hb)
	read(b, "kubernetes", &d.c.Kubernetes, kubernetesVersion)
	read(b, "cache", &d.c.Cache, boolean)
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
	b := root.nested("ssh")
	if b == nil {
		if !d.partial {
			d.report(Error, root.at(), "Write, with the account on the machines that may use sudo:\nssh {\n  user = \"NAME\"\n}", "there is no ssh block")
		}
		return
	}
	s := &d.c.SSH
	read(b, "user", &s.User, text(user))
	read(b, "port", &s.Port, integer(1, 65535))
	read(b, "private_key", &s.PrivateKey, d.keyFile(privateKey))
	read(b, "known_hosts", &s.KnownHosts, text(d.localPath))
	readSecret(b, "password", &s.Password)
	s.SudoPassword = s.Password
	readSecret(b, "sudo_password", &s.SudoPassword)
	read(b, "connect_timeout", &s.ConnectTimeout, duration)
	read(b, "idle_timeout", &s.IdleTimeout, duration)
}

func (d *decoder) node(root *block, hb *hcl.Block, at place) {
	n := standardNode
	n.Name, n.Port = hb.Labels[0], d.c.SSH.Port
	p := nodePlaces{name: at}
	if at.ok && n.Name == "localhost" {
		d.report(Error, at, "Give the machine a name of its own.", "node name %q means every machine itself", n.Name)
	} else {
		d.name(at, "node", n.Name)
	}
	b := root.labelled(at.in, hb)
	p.address = read(b, "address", &n.Address, text(address))
	p.role = read(b, "role", &n.Role, oneOf(ControlPlane, Worker))
	read(b, "port", &n.Port, integer(1, 65535))
	p.hostKey = read(b, "host_key", &n.HostKey, text(hostKey))
	p.mac = read(b, "mac", &n.MAC, text(mac))
	read(b, "labels", &n.Labels, table(label))
	if nb := b.nested("nfs"); nb != nil {
		n.NFS = &NodeNFS{Server: d.c.NFS.Server}
		p.export = read(nb, "export", &n.NFS.Export, text(dataDir))
		read(nb, "server", &n.NFS.Server, oneOf("kernel", "ganesha"))
	}
	if nb := b.nested("hdfs"); nb != nil {
		n.HDFS = &NodeHDFS{}
		p.dirs = read(nb, "dirs", &n.HDFS.Dirs, list(func(a arg) (string, bool) {
			dir, ok := text(dataDir)(a)
			a.at.ok = ok
			p.eachDir = append(p.eachDir, a.at)
			return dir, ok
		}))
	}
	d.c.Nodes = append(d.c.Nodes, n)
	d.places.nodes = append(d.places.nodes, p)
}

func (d *decoder) volume(root *block, hb *hcl.Block, at place) {
	v := standardVolume
	v.Name = hb.Labels[0]
	d.name(at, "volume", v.Name)
	b := root.labelled(at.in, hb)
	p := read(b, "node", &v.Node, text(dnsLabel))
	read(b, "size", &v.Size, size)
	// The highest ids are reserved for "nobody" and "no change" (chown(2)).
	read(b, "uid", &v.UID, integer(0, 1<<31-3))
	read(b, "gid", &v.GID, integer(0, 1<<31-3))
	read(b, "mode", &v.Mode, fileMode)
	d.c.Volumes = append(d.c.Volumes, v)
	d.places.volumes = append(d.places.volumes, p)
}

func (d *decoder) network(root *block) {
	n := &d.c.Network
	d.places.pods.ok, d.places.services.ok = true, true // the defaults
	if b := root.nested("network"); b != nil {
		d.places.pods = orDefault(read(b, "pods", &n.Pods, text(prefix)))
		d.places.services = orDefault(read(b, "services", &n.Services, text(prefix)))
	}
	if b := root.nested("access"); b != nil {
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
	b := root.nested("mirror")
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

func (d *decoder) registry(root *block, hb *hcl.Block, at place) {
	r := Registry{Host: hb.Labels[0]}
	if err := registryHost(r.Host); err != nil {
		d.report(Error, at, err.(problem).detail, "%v", err)
	}
	b := root.labelled(at.in, hb)
	read(b, "username", &r.Username, text(func(s string) (string, error) { return s, nil }))
	readSecret(b, "password", &r.Password)
	d.c.Registries = append(d.c.Registries, r)
}

func (d *decoder) images(root *block) {
	i := &d.c.Images
	if b := root.nested("images"); b != nil {
		read(b, "hadoop", &i.Hadoop, text(image))
		read(b, "spark", &i.Spark, text(image))
		read(b, "flannel", &i.Flannel, text(image))
		read(b, "flannel_cni", &i.FlannelCNI, text(image))
	}
}

func (d *decoder) patch(root *block, hb *hcl.Block, at place) {
	target := hb.Labels[0]
	if _, ok := oneOf(patchTargets...)(d.labelArg(target, at)); !ok {
		return
	}
	var p Patch
	b := root.labelled(at.in, hb)
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
	if b := root.nested("nfs"); b != nil {
		read(b, "version", &n.Version, oneOf("3", "4", "4.0", "4.1", "4.2"))
		read(b, "server", &n.Server, oneOf("kernel", "ganesha"))
	}
}

func (d *decoder) hdfs(root *block) {
	h := &d.c.HDFS
	for _, n := range d.c.Nodes {
		h.Enabled = h.Enabled || n.HDFS != nil
	}
	d.places.namenode.ok, d.places.checkpoint.ok = true, true
	b := root.nested("hdfs")
	var namenode, datanode *block
	if b != nil {
		// 512 is dfs.replication.max of hdfs-default.xml.
		d.places.replication = read(b, "replication", &h.Replication, integer(1, 512))
		read(b, "reserve", &h.Reserve, size)
		if namenode = b.nested("namenode"); namenode != nil {
			d.places.namenode = orDefault(read(namenode, "dir", &h.NamenodeDir, text(dataDir)))
			d.places.checkpoint = orDefault(read(namenode, "checkpoint_dir", &h.CheckpointDir, text(dataDir)))
		}
		datanode = b.nested("datanode")
	}
	d.resources(namenode, &h.Namenode)
	d.resources(datanode, &h.Datanode)
}

func (d *decoder) spark(root *block) {
	s := &d.c.Spark
	b := root.nested("spark")
	var master, worker, executor, driver *block
	if b != nil {
		master, worker = b.nested("master"), b.nested("worker")
		executor, driver = b.nested("executor"), b.nested("driver")
		read(b, "properties", &s.Properties, table(property))
	}
	d.resources(master, &s.Master)
	d.places.worker = d.resources(worker, &s.Worker)
	s.Executor = DefaultExecutor(s.Worker.Limits)
	d.places.executor = d.executor(executor, &s.Executor)
	d.executor(driver, &s.Driver)
}

// resources reads requests and limits. A default request that is above a
// written limit gives way to it.
func (d *decoder) resources(b *block, r *Resources) (p resourcePlaces) {
	if b == nil {
		return p
	}
	p.limits = amount(b.nested("limits"), &r.Limits)
	p.requests = amount(b.nested("requests"), &r.Requests)
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
