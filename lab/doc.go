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
// The machines are containers or virtual machines, as the lab was asked for.
// Each container has volumes of its own for /var, /data and /srv, because
// container images and NFS exports cannot lie on an overlay file system. Each
// virtual machine is one process of QEMU with a disk for /, one for /data and
// one with the mirror's images, unpacked, Debian's cloud kernel, and a port on
// the bridge of the lab's network. Kill is a power cut: no process gets to say
// goodbye, memory and /run are gone, the disks stay as they were in that
// instant. Start is the power button.
//
// A second Up takes up what runs, starts what is off and replaces what does
// not answer. All that a lab makes in the container engine carries the label
// io.nucspark.lab=NAME, and Down removes what carries it and nothing else.
// Virtual machines have their files in the lab's state directory; a process is
// ended only if it was started with a pid file from there. What was
// built (the node image, the mirror) stays in the cache directory, so that the
// next lab takes seconds.
//
// The kernel of containers is that of this machine and shared by all nodes.
// Where it has no NFS client the nodes get a stand-in, mountnfs. What that
// cannot show, virtual machines do, slowly where KVM does not work. The root file systems are Debian 12 only.
package lab
