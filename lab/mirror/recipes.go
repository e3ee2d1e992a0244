package mirror

import (
	"context"
	"time"
)

// mib is the unit of disk sizes.
const mib = 1 << 20

// The versions of what the mirror holds.
const (
	kubernetesVersion = "v1.36.3"
	containerdVersion = "2.3.6"
	cniVersion        = "1.9.1"
	corednsVersion    = "v1.14.2"
	etcdVersion       = "3.6.8"
	pauseVersion      = "3.10.2"
	flannelVersion    = "v0.28.4"
	hadoopVersion     = "3.5.0"
	sparkVersion      = "4.0.5"
)

// The base layers: a Debian for images that work on the node's network, and
// one for what runs on Java.
const (
	baseNet  = "base-net"
	baseJava = "base-java"
)

// recipes are all components, in the order in which a cluster needs them, each
// after those it is built upon. The longest one starts early so that two
// workers end at about the same time.
var recipes = []recipe{
	{
		Component: Component{Name: baseNet, Version: "bookworm"},
		cost:      time.Minute, disk: 500 * mib, build: buildBaseNet,
	},
	{
		Component: Component{
			Name: "containerd", Version: containerdVersion,
			Packages: []Package{{"containerd.io", "2.3.6-1~debian.12~bookworm"}},
		},
		upstream: upstream{apt: dockerApt},
		cost:     2 * time.Minute, disk: 400 * mib, build: buildContainerd,
	},
	{
		Component: Component{
			Name: "kubernetes", Version: kubernetesVersion,
			Packages: []Package{{"kubeadm", "1.36.3-1.1"}, {"kubelet", "1.36.3-1.1"}, {"kubectl", "1.36.3-1.1"}},
			Images: []string{
				"kube-apiserver:" + kubernetesVersion, "kube-controller-manager:" + kubernetesVersion,
				"kube-scheduler:" + kubernetesVersion, "kube-proxy:" + kubernetesVersion,
			},
		},
		needs:    []string{baseNet},
		upstream: upstream{registry: kubernetesRegistry, apt: kubernetesApt},
		cost:     10 * time.Minute, disk: 5000 * mib, build: buildKubernetes,
	},
	{
		Component: Component{
			Name: "kubernetes-cni", Version: cniVersion,
			Packages: []Package{{"kubernetes-cni", "1.9.1-1.1"}},
		},
		upstream: upstream{apt: kubernetesApt},
		cost:     20 * time.Second, disk: 400 * mib, build: buildCNI,
	},
	{
		Component: Component{Name: "pause", Version: pauseVersion, Images: []string{"pause:" + pauseVersion}},
		upstream:  upstream{registry: kubernetesRegistry},
		cost:      time.Second, disk: mib, build: buildPause,
	},
	{
		Component: Component{Name: "etcd", Version: etcdVersion, Images: []string{"etcd:" + etcdVersion + "-0"}},
		upstream:  upstream{registry: kubernetesRegistry},
		cost:      time.Minute, disk: 500 * mib, build: buildEtcd,
	},
	{
		Component: Component{Name: "coredns", Version: corednsVersion, Images: []string{"coredns/coredns:" + corednsVersion}},
		upstream:  upstream{registry: kubernetesRegistry},
		cost:      2 * time.Minute, disk: 800 * mib, build: buildCoreDNS,
	},
	{
		Component: Component{
			Name: "flannel", Version: flannelVersion,
			Images: []string{"flannel-io/flannel:" + flannelVersion, "flannel-io/flannel-cni-plugin:v1.9.1-flannel1"},
		},
		needs:    []string{baseNet},
		upstream: upstream{registry: "ghcr.io"},
		cost:     3 * time.Minute, disk: 800 * mib, build: buildFlannel,
	},
	{
		Component: Component{Name: baseJava, Version: "bookworm"},
		cost:      100 * time.Second, disk: 1000 * mib, build: buildBaseJava,
	},
	{
		Component: Component{Name: "hadoop", Version: hadoopVersion, Images: []string{"apache/hadoop:" + hadoopVersion}},
		needs:     []string{baseJava},
		upstream:  upstream{registry: dockerRegistry},
		cost:      time.Minute, disk: 600 * mib, build: buildHadoop,
	},
	{
		Component: Component{
			Name: "spark", Version: sparkVersion,
			Images: []string{"apache/spark:" + sparkVersion + "-scala2.13-java17-python3-ubuntu"},
		},
		needs:    []string{baseJava},
		upstream: upstream{registry: dockerRegistry},
		cost:     time.Minute, disk: 2000 * mib, build: buildSpark,
	},
}

func buildBaseNet(ctx context.Context, b *bench) error {
	return b.debootstrap(ctx, "ca-certificates", "conntrack", "iproute2", "ipset", "iptables", "kmod", "nftables")
}

func buildBaseJava(ctx context.Context, b *bench) error {
	return b.debootstrap(ctx, "ca-certificates", "openjdk-17-jre-headless", "procps", "python3", "tini")
}
