// Package lab makes throw-away mini PCs on this machine.
//
// After Up there are N machines at fixed addresses that have what a freshly
// installed mini PC has and nothing more: systemd, sshd, apt with its lists
// and a user with sudo. They carry no Kubernetes, no container runtime and no
// NFS packages. Beside them stands a mirror, a signed apt repository and an
// image registry. The file lab.hcl that Up writes is an ordinary inventory:
// host keys, the mirror and the patches that containers need are all in it,
// so nothing about a lab is hidden from whoever reads that file.
//
// The machines are containers. Each has volumes of its own for /var, /data
// and /srv, because container images and NFS exports cannot lie on an overlay
// file system. Kill is a power cut: no process gets to say goodbye, memory and
// /run are gone, the disks stay. Start is the power button.
//
// A second Up takes up what runs, starts what is off and replaces what does
// not answer. All that a lab makes in the container engine carries the label
// io.nucspark.lab=NAME, and Down removes what carries it and nothing else.
// What was built (the node image, the mirror) stays in the cache directory, so
// that the next lab takes seconds.
//
// What a container cannot show, the lab cannot prove: the kernel is that of
// this machine and shared by all nodes. Where it has no NFS client the nodes
// get a stand-in, mountnfs. The root file systems are Debian 12 only.
package lab
