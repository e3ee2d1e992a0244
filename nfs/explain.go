package nfs

import "nucspark.io/nucspark/provision"

// Explanations say what the steps of this package do, in the order of a run.
var Explanations = []provision.Explanation{
	{Step: "nfs/conf.d", Text: `Makes /etc/nfs.conf.d if it is missing. Settings of NFS lie there. down removes
it if it is empty then.`},
	{Step: "nfs/ports", Text: `Writes /etc/nfs.conf.d/nucspark.conf, which gives the programs of NFS fixed
ports. The firewall can close those to strangers only if they do not change. On
a machine that exports, the kernel's NFS server is restarted if the file
changes. down removes it.`},
	{Step: "nfs/directory", Text: `Makes the exported directory, and writes into it .nucspark-disk, which says
whose it is. A directory that is not empty and has no such file is refused, and
so is one that held volumes and is empty now: its disk is not mounted. What lies
in it is never touched. down leaves it as it is.`},
	{Step: "nfs/guard.d", Text: `Makes the directory for the NFS server's drop-in below /etc/systemd/system. down
removes it if it is empty then.`},
	{Step: "nfs/guard", Text: `Keeps the NFS server from starting while the exported directory has no
.nucspark-disk. Otherwise a boot without the disk would serve an empty directory
in its place. It is the file nucspark.conf beside the server's unit; a running
server goes on. down removes it.`},
	{Step: "nfs/packages", Text: `Installs what mounts NFS volumes, and the NFS server where the machine exports
one. That is the kernel's server, or nfs-ganesha where the kernel has none.
Nothing is removed for them, and nothing of yours restarts. down purges what was
not there before.`},
	{Step: "nfs/exports.d", Text: `Makes /etc/exports.d if it is missing, where lists of exports lie beside your
own /etc/exports. down removes it if it is empty then.`},
	{Step: "nfs/exports", Text: `Writes the list of what the kernel's NFS server exports,
/etc/exports.d/nucspark.exports. It has the one directory, for the addresses of
the cluster's machines only, and root of a client counts as nobody. The server
reads it by nfs/server. Your own /etc/exports stays as it is, and down removes
the file.`},
	{Step: "nfs/unit", Text: `Starts the kernel's NFS server, now and at each boot. It is restarted only if
its ports changed since its start; programs that use a volume wait for seconds
then. down stops it, unless it ran before.`},
	{Step: "nfs/rpcbind", Text: `Starts rpcbind, by which clients of NFS version 3 find the server's ports. It
must run before nfs-ganesha does. down stops it, unless it ran before.`},
	{Step: "nfs/export", Text: `Writes the list of what nfs-ganesha exports, /etc/ganesha/nucspark.conf. It has
the one directory, for the addresses of the cluster's machines only, and root of
a client counts as nobody. nfs-ganesha reads it again while it runs, so a
machine more or less interrupts nothing. down removes the file.`},
	{Step: "nfs/config", Text: `Writes the settings of nfs-ganesha, its ports and versions, to
/etc/ganesha/ganesha.conf. If they change, nfs/server restarts it, and programs
that use a volume wait for seconds. down puts back what was there.`},
	{Step: "nfs/server", Text: `Has the NFS server serve the directory to all machines of the cluster and to
nobody else. The kernel's server reads its lists again without a restart;
nfs-ganesha is started, and restarted only if its settings changed, when
programs that use a volume wait for seconds. down ends it.`},
	{Step: "nfs/volume/*", Text: `Makes the directory of a volume below the export, with its owner and mode. What
is in a directory that is there is never touched. down leaves it as it is, with
all files.`},
	{Step: "cluster/nfs/volume/*", Text: `Tells the cluster of a volume: on which machine and in which directory it is. In
Kubernetes that is a PersistentVolume. Its files stay when it is deleted, and
nothing is interrupted.`},
	{Step: "cluster/nfs/claim/*", Text: `Makes the claim by which pods mount a volume; it has the volume's name, in the
namespace nucspark. Any number of pods on any machine may read and write. It
ends with the cluster, and the files stay.`},
	{Step: "cluster/nfs/bound", Text: `Waits until the cluster has tied each claim to its volume, for 2 minutes at
most. Pods that mount it would not start before. It changes nothing itself.`},
	{Step: "cluster/volumes", Text: `Holds when all volumes can be mounted, or when the file has none. It changes
nothing itself.`},
	{Step: "nfs/volumes", Text: `Sees that no volume is on a machine that leaves. One that is keeps the machine
from leaving, unless --lose-volume names it: then the cluster forgets it when
the machine is drained. Its files stay on the machine in any case.`},
	{Step: "unused", Text: `Holds when the cluster has no volume on a machine that leaves any more. It
changes nothing itself.`},

	// When a volume moves, or a disk was replaced.
	{Step: "cluster/nfs/move/*", Text: `Copies the files of a volume to another machine, through your computer. Names,
owners, modes and content are compared by a checksum, and the cluster then
learns the new place. It is refused while pods use the volume. The old copy
stays where it was. It is made by nucspark volume move.`},
	{Step: "nfs/drop/*", Text: `Deletes the old copy of a volume that was moved, if it is still as it was then.
Nothing brings it back. It is made by nucspark volume move --drop-old.`},
	{Step: "nfs/restart", Text: `Starts the NFS server anew, so that it serves the export on a new disk. Programs
that use a volume of it wait for seconds. It is made by nucspark disk accept.`},
}
