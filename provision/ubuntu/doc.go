// Package ubuntu makes true what every node needs below Kubernetes, on Ubuntu
// and Debian.
//
// cloud-init has finished. The node knows to which cluster it belongs and has
// the system users of the data platform. It swaps to nothing, now and after a
// reboot: only lines of /etc/fstab whose type is swap are commented out, and
// marked, so that they can be put back. Where the inventory's patch "kubelet"
// says failSwapOn = false, swap is wanted and left alone. The modules overlay
// and br_netfilter are loaded; packets are forwarded and seen by the packet
// filter on bridges; there are enough inotify watches, and never fewer than
// there were. /etc/hosts knows every node and the name of the control plane,
// in a block of its own between two marker lines.
//
// Packages come from the upstream repositories of Kubernetes and Docker, whose
// keys are fetched by the node and taken only if their fingerprints are those
// of systems.go, or from the one mirror of the inventory. kubeadm, kubelet,
// kubectl and containerd have exactly the wanted version and are held.
//
// containerd's configuration is in place before the package is, so that its
// first start is its only one. It names the pause image that belongs to this
// version of Kubernetes and the control group driver that fits the kernel.
// That these are in effect is read from containerd itself, because it silently
// ignores keys of another version of its configuration. With a mirror,
// certs.d/_default leads every pull to it. Credentials of registries are
// written for the kubelet (/var/lib/kubelet/config.json, which it reads at
// each pull), not for containerd, whose own setting for them is deprecated.
//
// The table inet nucspark keeps strangers away from the ports that a cluster
// opens on a node, and from the pod and service networks. It touches no other
// table, no other port, not SSH and not ICMP. Its name carries the hash of its
// rules, so that a table somebody flushed is seen and loaded again. Where ufw
// or firewalld is active, rules that let the cluster through are added there.
//
// With several nodes the control plane keeps what they download (cache.go): an
// nginx of its own gives out packages and images by their hashes, to nodes
// alone. The others install Kubernetes' packages once it runs.
//
// The milestone [provision.NodeBase] of a node stands for all of this.
//
// Undone ([UndoSteps]), a node is as its ledger says it was: files, units, swap,
// names, firewalls and users. Packages that were not there are purged, unless
// something else needs them. A file that somebody changed since is kept beside
// its old place. Data directories stay, but for those that somebody named. A
// loaded module stays loaded until the next boot.
package ubuntu
