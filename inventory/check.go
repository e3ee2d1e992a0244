package inventory

import (
	"fmt"
	"net/netip"
	"strings"
)

// check looks at what only the whole file shows. It compares values that could
// be read and stays silent about the others, which are reported already.
func (d *decoder) check() {
	d.checkRoles()
	d.checkMachines()
	d.checkNetworks()
	d.checkDirectories()
	d.checkVolumes()
	d.checkReplication()
	d.checkExecutor()
}

func (d *decoder) checkRoles() {
	var first place
	found, unsure := 0, d.partial
	for i, n := range d.c.Nodes {
		at := d.places.nodes[i].role
		unsure = unsure || at.given && !at.ok
		if n.Role != ControlPlane {
			if n.NFS == nil && n.HDFS == nil && at.ok == at.given && !d.partial {
				d.report(Warning, d.places.nodes[i].name, "That is fine for a machine that only computes. Otherwise write hdfs { dirs = [\"/data/hdfs\"] } or nfs { export = \"/srv/nfs\" }.",
					"node %q stores nothing", n.Name)
			}
			continue
		}
		if found++; found == 1 {
			first = at
			continue
		}
		d.report(Error, at, fmt.Sprintf("One control plane is supported now, and %s has it. Make this node a worker.", first.line()), "there are several control planes")
	}
	switch {
	case unsure:
	case len(d.c.Nodes) == 0:
		d.report(Error, d.top(), "Write one for each machine, the first like this:\nnode \"nuc01\" {\n  address = \"192.168.1.11\"\n  role    = \"control-plane\"\n}", "there is no node")
	case found == 0:
		d.report(Error, d.places.nodes[0].name, fmt.Sprintf("Write role = %q into the node that shall carry it, for example into this one.", ControlPlane), "no node is the control plane")
	}
}

// top is the place of the file as a whole.
func (d *decoder) top() place {
	p := place{}
	p.rng.Filename, p.rng.Start.Line, p.rng.Start.Column = d.c.File, 1, 1
	return p
}

// checkMachines finds addresses and MACs that two nodes claim.
func (d *decoder) checkMachines() {
	addresses, macs, keys := map[string]place{}, map[string]place{}, map[string]place{}
	for i, n := range d.c.Nodes {
		p := d.places.nodes[i]
		if p.address.ok {
			// Two nodes behind one address may differ in the port, but Kubernetes
			// and HDFS know machines by their address.
			d.unique(addresses, n.Address.String(), "address", p.address)
		}
		if p.mac.ok {
			d.unique(macs, n.MAC, "mac", p.mac)
		}
		if first, twice := keys[n.HostKey]; p.hostKey.ok && twice {
			d.report(Warning, p.hostKey, fmt.Sprintf("%s has the same. Machines cloned from one image should make new keys: sudo rm /etc/ssh/ssh_host_* && sudo dpkg-reconfigure openssh-server", upperFirst(first.line())),
				"two machines have one host key")
		} else if p.hostKey.ok {
			keys[n.HostKey] = p.hostKey
		}
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (d *decoder) checkNetworks() {
	n := d.c.Network
	pods, services := d.places.pods, d.places.services
	if pods.ok && services.ok && n.Pods.Overlaps(n.Services) {
		at := services
		if !at.given {
			at = pods
		}
		d.report(Error, at, "The two need networks of their own, unused elsewhere.", "pods %s and services %s overlap", n.Pods, n.Services)
	}
	// kube-controller-manager hands each node a /24 and refuses to split a
	// network into more than 2^16 of them.
	if pods.given && pods.ok {
		if bits := n.Pods.Bits(); bits < 8 || bits > 24 || 1<<(24-bits) < len(d.c.Nodes) {
			d.report(Error, pods, "Each node takes a /24 of it; 10.244.0.0/16 is enough for 256 nodes.", "pods %s has the wrong size for %d nodes", n.Pods, len(d.c.Nodes))
		}
	}
	// kube-apiserver allows at most 20 bits for IPv4; the tenth address is the
	// name server's.
	if bits := n.Services.Bits(); services.given && services.ok && (bits < 12 || bits > 28) {
		d.report(Error, services, "Its prefix length must be from 12 to 28; 10.96.0.0/16 is usual.", "services %s has the wrong size", n.Services)
	}
	for i, node := range d.c.Nodes {
		at := d.places.nodes[i].address
		for _, net := range []struct {
			name string
			at   place
			p    netip.Prefix
		}{{"pods", pods, n.Pods}, {"services", services, n.Services}} {
			if at.ok && net.at.ok && net.p.Contains(node.Address) {
				d.report(Error, at, fmt.Sprintf("Write network { %s = \"…\" } with a network that no machine is in.", net.name), "address %s lies in the network of the %s, %s", node.Address, net.name, net.p)
			}
		}
	}
}

// dirUse is one directory that one node uses for one thing.
type dirUse struct {
	dir, what string
	at        place
}

// checkDirectories finds directories of one node that are equal or nested.
func (d *decoder) checkDirectories() {
	namenode := dirUse{d.c.HDFS.NamenodeDir, "the namenode's dir", d.places.namenode}
	checkpoint := dirUse{d.c.HDFS.CheckpointDir, "the namenode's checkpoint_dir", d.places.checkpoint}
	d.apart(namenode, checkpoint)
	for i, n := range d.c.Nodes {
		p := d.places.nodes[i]
		var uses []dirUse
		if n.NFS != nil && p.export.ok {
			uses = append(uses, dirUse{n.NFS.Export, "the nfs export", p.export})
		}
		if n.HDFS != nil && p.dirs.ok {
			for j, dir := range n.HDFS.Dirs {
				uses = append(uses, dirUse{dir, "an hdfs directory", p.eachDir[j]})
			}
		}
		for j, use := range uses {
			for _, earlier := range uses[:j] {
				d.apart(earlier, use)
			}
			if n.Role == ControlPlane {
				d.apart(use, namenode)
			}
			// Any node may be the one that keeps the checkpoints.
			d.apart(use, checkpoint)
		}
	}
}

// apart reports two directories that are equal or nested, at the later of the
// places where they are written.
func (d *decoder) apart(a, b dirUse) {
	if !a.at.ok || !b.at.ok || !within(a.dir, b.dir) && !within(b.dir, a.dir) {
		return
	}
	if !b.at.given || a.at.given && b.at.rng.Start.Byte < a.at.rng.Start.Byte {
		a, b = b, a
	}
	where := "by default"
	if a.at.given {
		where = "at " + a.at.line()
	}
	how := "are the same"
	if a.dir != b.dir {
		how = "lie inside each other"
	}
	d.report(Error, b.at, "Give each a directory of its own, so that none can fill or empty the other.",
		"%s %q and %s %q (%s) %s", b.what, b.dir, a.what, a.dir, where, how)
}

func (d *decoder) checkVolumes() {
	for i, v := range d.c.Volumes {
		at := d.places.volumes[i]
		if !at.ok {
			continue
		}
		n, known := d.c.Node(v.Node)
		switch {
		case !known && d.partial:
		case !known:
			names := make([]string, len(d.c.Nodes))
			for i, n := range d.c.Nodes {
				names[i] = n.Name
			}
			d.report(Error, at, suggest(v.Node, names, nil), "there is no node %q", v.Node)
		case n.NFS == nil && !d.partial:
			d.report(Error, at, fmt.Sprintf("Write nfs { export = \"/srv/nfs\" } into node %q, or use a node that has one.", v.Node), "node %q exports nothing", v.Node)
		}
	}
}

func (d *decoder) checkReplication() {
	at, storing := d.places.replication, len(d.c.Datanodes())
	switch r := d.c.HDFS.Replication; {
	case !at.ok || d.partial:
	case r > storing:
		d.report(Error, at, "Each copy of a block lies on a node of its own: give more nodes an hdfs block, or write less.", "replication %d is more than the number of nodes that store blocks, %d", r, storing)
	case r == 1 && storing > 1:
		d.report(Warning, at, "With 2 or more, one disk may fail.", "every block has one copy only")
	}
}

func (d *decoder) checkExecutor() {
	limit, e := d.c.Spark.Worker.Limits, d.c.Spark.Executor
	limits, at := d.places.worker.limits, d.places.executor
	readable := func(p, q place) bool { return orDefault(p).ok && orDefault(q).ok }
	// Where the executor is not written it follows from the worker.
	pick := func(p, q place) place {
		if p.given {
			return p
		}
		return q
	}
	if need := e.Memory + JVMOverhead(e.Memory) + WorkerSelf; readable(at.memory, limits.memory) && need > limit.Memory {
		if at.memory.given {
			d.report(Error, at.memory, fmt.Sprintf("The heap, what a JVM needs beside it (10 %% and at least 384m) and the worker itself (768m) are %s.", roundUp(need).Spark()),
				"an executor with memory %s does not fit into a worker of %s", e.Memory.Spark(), limit.Memory)
		} else {
			d.report(Error, pick(limits.memory, at.memory), fmt.Sprintf("The smallest executor and the worker itself take %s.", roundUp(need)), "a worker of %s has no room for an executor", limit.Memory)
		}
	}
	if readable(at.cores, limits.cpu) && e.Cores*1000 > int(limit.CPU) && at.cores.given {
		d.report(Error, at.cores, "", "an executor with %d cores does not fit into a worker of %s CPUs", e.Cores, limit.CPU)
	}
}

// roundUp gives whole MiB, which read better.
func roundUp(s Size) Size { return (s + MiB - 1) / MiB * MiB }
