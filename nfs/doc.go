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
// A volume comes to another node by [Move]: its files are streamed from one
// machine to the other through this computer, since neither has a key of the
// other, and compared by checksum while no pod can mount it. A PersistentVolume
// cannot change its place, so it and its claim are deleted and made anew with
// the same names. Until then steps refuse a volume whose node in the inventory
// is not the one it is on. The old copy stays, with a note beside it, until
// [DropOld] deletes it as it was.
//
// An export whose disk was replaced is taken into use by [Accept], and the
// volumes of a machine that was replaced are let go by [Forget], each where
// somebody said of every volume by its name that its files are gone.
//
// What lies in a volume is never touched: directories are made, never emptied,
// and the owner of a directory is set, never that of its content. An export
// directory carries a file that says what it is, written once, into an empty
// directory only: without it nothing is exported, since it may be the mount
// point of a disk that is not mounted. The server's unit looks for that file,
// too, so that it does not start without it at a boot.
package nfs
