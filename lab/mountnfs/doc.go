// Mount.nfs mounts an NFS export where the kernel has no NFS client. It speaks
// NFSv3 (RFC 1813) over TCP to the server and FUSE to the kernel, and takes
// the arguments of the mount helper that nfs-common has under this name:
//
//	mount.nfs SERVER:/path DIR [-nrsvw] [-o options]
//
// It is a part of the lab and is never put on a machine that is not: a
// container shares the kernel of the machine it runs on, and some have none.
//
// What holds: the server's permissions with the caller's user and groups,
// close-to-open consistency, names removed while open, data that survives a
// restart of the server (kept until it is committed, sent again if the server
// forgot it), hard mounts that wait and soft mounts that give up. What does
// not: whatever version is asked for, version 3 is spoken; locks stay on one
// machine; the mount is shown as fuse.nfs.
package main
