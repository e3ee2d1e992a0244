package ubuntu

import (
	"slices"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Steps returns what must be true of every reachable node.
func Steps(site *provision.Site) []provision.Step {
	var steps []provision.Step
	for _, n := range site.Reachable() {
		steps = append(steps, node(site, n)...)
	}
	return steps
}

// builder collects the steps of one node.
type builder struct {
	site  *provision.Site
	node  *inventory.Node
	fact  provision.Machine
	now   time.Time
	first []string // what every step of the node needs
	steps []provision.Step
}

// base makes the head of a step: its ID below the node's name, and its needs,
// written without the node's name.
func (b *builder) base(name string, after ...string) provision.Base {
	needs := append([]string(nil), b.first...)
	for _, a := range after {
		needs = append(needs, b.node.Name+"/"+a)
	}
	return provision.Base{Name: b.node.Name + "/" + name, Node: b.node.Name, After: needs}
}

func (b *builder) add(s ...provision.Step) { b.steps = append(b.steps, s...) }

func node(site *provision.Site, n *inventory.Node) []provision.Step {
	b := &builder{site: site, node: n, fact: site.Machines[n.Name], now: time.Now()}
	identity := provision.IdentityStep(site, n.Name)
	b.add(identity)
	b.first = []string{identity.ID()}
	if b.fact.CloudInit == "running" {
		s := b.cloudInit()
		b.add(s)
		b.first = append(b.first, s.ID())
	}
	b.users()
	b.swap()
	b.kernel()
	b.hosts()
	b.repositories()
	b.containerd()
	b.packages()
	b.firewall()
	var all []string
	for _, s := range b.steps {
		all = append(all, s.ID())
	}
	b.add(provision.Milestone{Name: provision.NodeBase(n.Name), After: all})
	b.cache() // nothing needs it
	return b.steps
}

// cloudInit waits for what a fresh image still does at its first boot: it may
// install packages, write /etc/hosts and set the host name.
func (b *builder) cloudInit() provision.Step {
	final := provision.UnitQuery{Node: b.node.Name, Name: "cloud-final.service"}
	return provision.WaitFor{
		Base: b.base("cloud-init"), Key: "cloud-init has finished", Queries: []provision.Query{final},
		Missing: func(f provision.Facts) string {
			switch u := final.In(f); {
			case u.Load != "loaded", u.Active == "active", u.Active == "failed":
				return ""
			}
			return "cloud-init is still at work"
		},
		Bound: 15 * time.Minute,
		Hint:  "see what it is at with cloud-init status --long on the node",
	}
}

func (b *builder) users() {
	b.add(provision.User{Base: b.base("users/" + provision.SparkUser), User: provision.SparkUser, UID: provision.SparkUID})
	if b.site.Cluster.HDFS.Enabled {
		b.add(provision.User{Base: b.base("users/" + provision.HDFSUser), User: provision.HDFSUser, UID: provision.HDFSUID})
	}
}

// packages installs what Kubernetes needs of the system, then Kubernetes.
func (b *builder) packages() {
	// Without certificates no https repository can be read. Most machines have
	// what comes first, so that apt works once.
	b.add(provision.Packages{Base: b.base("packages/system"), Packages: systemPackages})
	version := b.site.Resolved.Kubernetes + "-*"
	kubernetes := b.base("packages/kubernetes", "packages/system", "apt/source", "containerd/config")
	if b.site.Cluster.Cached() {
		kubernetes.Await = []string{b.site.Cluster.ControlPlane().Name + "/cache/service"}
	}
	b.add(
		provision.Packages{
			Base: kubernetes,
			Packages: append(slices.Clone(kubernetesNeeds), []provision.Package{
				{Name: "containerd.io", Version: "2.*", Hold: true},
				{Name: "kubeadm", Version: version, Hold: true},
				{Name: "kubelet", Version: version, Hold: true},
				{Name: "kubectl", Version: version, Hold: true},
			}...),
		},
		provision.Unit{
			Base: b.base("containerd/service", "packages/kubernetes", "modules/overlay", "modules/br_netfilter"),
			Unit: "containerd.service", Files: []string{containerdConfig},
		},
		// Until the node joins, the kubelet has no configuration and restarts
		// itself every ten seconds.
		provision.Unit{Base: b.base("kubelet/enabled", "packages/kubernetes"), Unit: "kubelet.service", EnabledOnly: true},
		b.containerdInEffect(),
	)
	b.registryCredentials()
}

// systemPackages are the certificates of repositories, and the programs that
// the kernel's settings and the firewall are made with.
var systemPackages = []provision.Package{
	{Name: "ca-certificates"}, {Name: "iproute2"}, {Name: "kmod"}, {Name: "mount"}, {Name: "nftables"}, {Name: "util-linux"},
}

// kubernetesNeeds are further programs that kubeadm's preflight, the kubelet
// and kube-proxy call.
var kubernetesNeeds = []provision.Package{{Name: "conntrack"}, {Name: "ethtool"}, {Name: "iptables"}, {Name: "socat"}}
