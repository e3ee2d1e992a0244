package inventory

import (
	"net/netip"
	"time"
)

// Cluster is one inventory file, decoded, with every default filled in: those
// that are a value of their own are in reference.go, with what each name of the
// file means.
// A Cluster that Load returned without error holds every rule that this
// package checks; the other packages do not check them again.
type Cluster struct {
	File       string // path of the file it came from
	Name       string // label of the cluster block, an RFC 1123 label
	Kubernetes string // "1.36" or an exact "1.36.3"
	Cache      bool   // the control plane keeps what nodes download for the others; default true
	SSH        SSH
	Apt        Apt
	Nodes      []Node // in the order of the file
	Volumes    []Volume
	Network    Network
	Mirror     Mirror
	Registries []Registry
	Images     Images
	Access     Access
	Patches    map[string]Patch // by target: kubelet, kubeadm, kube-proxy, containerd
	NFS        NFS
	HDFS       HDFS
	Spark      Spark
	Warnings   Diagnostics // what is allowed but worth a word, in the order of the file
}

// SSH says how the machines are reached.
type SSH struct {
	User           string
	Port           int
	PrivateKey     string // absolute path, or "" for the agent and the usual key files
	KnownHosts     string // absolute path, or "" for the one in the state directory
	Password       Secret // tried last
	SudoPassword   Secret // defaults to Password
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration // a command that prints nothing for so long is given up
}

// Apt holds what concerns the package manager of the nodes.
type Apt struct {
	LockTimeout time.Duration // how long to wait for another apt or dpkg
}

// Role is what a node does for Kubernetes.
type Role string

const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
)

// Node is one machine.
type Node struct {
	Name    string
	Address netip.Addr
	Role    Role
	Port    int    // of sshd; default SSH.Port
	HostKey string // "ssh-ed25519 AAAA…", or "" when it is pinned in known_hosts
	MAC     string // of its network card, in lower case with colons, or ""; for nucspark wake
	Labels  map[string]string
	NFS     *NodeNFS  // nil: exports nothing
	HDFS    *NodeHDFS // nil: stores no blocks
}

// NodeNFS is what a node exports.
type NodeNFS struct {
	Export string // absolute directory
	Server string // "kernel", "ganesha", or "" for kernel where there is one; default NFS.Server
}

// NodeHDFS is what a node stores.
type NodeHDFS struct {
	Dirs []string // absolute directories, one a disk
}

// Volume is one NFS directory, ready to be mounted by pods.
type Volume struct {
	Name string
	Node string // a node with an nfs block
	Size Size   // not enforced by NFS
	UID  int
	GID  int
	Mode uint32
}

// SparkID is the id of the system user and group "spark" on every node and in
// the pods. It lies in the range of system users that Debian's adduser hands
// out last (it counts down from 999), so that it is free on an ordinary
// machine.
const SparkID = 871

// Network is the address plan of the cluster.
type Network struct {
	Pods     netip.Prefix
	Services netip.Prefix
}

// Mirror replaces the upstream package repositories and image registries.
type Mirror struct {
	Apt      string   // URL of one flat signed repository ("deb URL ./") that holds all packages nucspark adds; "" for upstream
	Registry string   // "http://HOST:PORT" or "https://HOST[:PORT]", tried for every image registry in place of upstream; "" for upstream
	Keys     []string // absolute paths of the public keys (ASCII armour or binary) that sign Apt
}

// Registry holds the credentials of one image registry.
type Registry struct {
	Host     string
	Username string
	Password Secret
}

// Images names what the pods run.
type Images struct {
	Hadoop     string
	Spark      string
	Flannel    string
	FlannelCNI string
}

// Access says who, besides the nodes and the pods, may reach the cluster's ports.
type Access struct {
	Allow []netip.Prefix
}

// Patch changes the configuration of one component after nucspark's own values.
type Patch struct {
	Config          map[string]any // merged into its configuration, maps deeply, everything else replaced
	IgnorePreflight []string       // kubeadm only: checks whose failure is accepted
}

// NFS holds what is common to all exports and mounts.
type NFS struct {
	Version string // mount option vers=
	Server  string // "kernel", "ganesha" or ""
}

// HDFS holds what is common to the file system.
type HDFS struct {
	Enabled       bool   // some node has an hdfs block
	Replication   int    // as given, 0 for "choose": min(3, N-1), 2 for two datanodes, 1 for one
	Reserve       Size   // bytes left free on each disk; 0 for 15 % of it
	NamenodeDir   string // absolute directory on the control plane
	CheckpointDir string // on the machine that keeps the second copy
	Namenode      Resources
	Datanode      Resources
}

// Resources are requests and limits of one pod. Zero means that it is not set.
type Resources struct {
	Requests, Limits Amount
}

// Amount is a share of one machine.
type Amount struct {
	CPU    MilliCPU
	Memory Size
}

// MilliCPU is a number of CPUs in thousandths: "3" is 3000, "500m" is 500.
type MilliCPU int64

// Size is a number of bytes, written "50Gi" or, as Spark does, "8g".
type Size int64

// Spark holds the compute platform.
type Spark struct {
	Master     Resources
	Worker     Resources
	Executor   Executor
	Driver     Executor
	Properties map[string]string // spark-defaults.conf, after nucspark's own
}

// Executor is the size of one JVM of an application.
type Executor struct {
	Cores  int
	Memory Size
}

// Secret is a string that never shows itself: it prints as "(sensitive)" by
// every verb and encoding. Reveal gives the value. It is kept behind a pointer
// because package fmt looks into unexported fields without asking.
type Secret struct{ value *string }
