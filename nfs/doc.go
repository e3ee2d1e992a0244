// Package nfs makes directories on the workers into volumes for pods.
//
// On each node with an nfs block an NFS server runs and exports one directory,
// to the addresses of the cluster's nodes only and with root squashed. The
// server is the kernel's where the kernel has one, nfs-ganesha where it has
// none or where the inventory asks for it. Every node gets the client's
// programs, since kubelet mounts volumes there.
//
// Each volume of the inventory is a directory below an export, with its owner
// and mode, a PersistentVolume, and a claim in the namespace nucspark that any
// number of pods on any node may mount for reading and writing. The size of a
// volume is not enforced by NFS: it is what the claim says, no more.
//
// A node does not leave the cluster while a volume is on it, unless somebody
// said by the volume's name that it may go. The cluster forgets it then; its
// files stay.
//
// What lies in a volume is never touched: directories are made, never emptied,
// and the owner of a directory is set, never that of its content. An export
// directory carries a file that says what it is, written once, into an empty
// directory only: without it nothing is exported, since it may be the mount
// point of a disk that is not mounted. The server's unit looks for that file,
// too, so that it does not start without it at a boot.
package nfs
