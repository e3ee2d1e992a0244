package ubuntu

import "nucspark.io/nucspark/provision"

// Explanations say what the steps of this package do, in the order of a run.
var Explanations = []provision.Explanation{
	{Step: "identity", Text: `Writes /var/lib/nucspark/identity.json, which says to which cluster the machine
belongs. It comes before everything else, so that the file of another cluster
never changes this machine, and it is never changed itself. Nothing is
interrupted. It goes last when the machine is removed or the cluster taken down.`},
	{Step: "cloud-init", Text: `Waits until cloud-init, which sets up a fresh system at its first boot, is done.
It may still install packages and write /etc/hosts, and would get in the way of
the steps after it. This step changes nothing; it fails after 15 minutes.`},
	{Step: "users/*", Text: `Makes a system user without a shell: spark (number 871), and hdfs (870) where
the cluster has HDFS. Spark and HDFS run under these numbers in their
containers, so that their files belong to nobody who can log in. Nothing is
interrupted. down removes the users; data that stays keeps the numbers.`},
	{Step: "swap/fstab", Text: `Comments out the lines of /etc/fstab that are for swap, each marked with "#
nucspark: ". Without that the machine would swap again after its next boot. No
other line is touched, and nothing is interrupted. down takes the marks off.`},
	{Step: "swap/off", Text: `Switches swap off, and masks the systemd units that would switch it on again.
Kubernetes shares out the memory that there is, and a machine that swaps becomes
slow before anybody notices. Programs go on, but what was swapped out must fit
into memory. With failSwapOn = false in patch "kubelet" swap is left alone. down
switches on again what was on.`},
	{Step: "modules/file", Text: `Writes /etc/modules-load.d/nucspark.conf, by which the kernel modules overlay
and br_netfilter are loaded at each boot. Nothing is interrupted. down removes
the file.`},
	{Step: "modules/*", Text: `Loads a kernel module that containers need. With overlay they share the files of
an image, and with br_netfilter the packet filter sees what they send each
other. Nothing is interrupted. After down a module stays loaded until the next
boot.`},
	{Step: "sysctl/file", Text: `Writes /etc/sysctl.d/nucspark.conf with the kernel settings that the containers'
network needs, so that they hold after each boot. Nothing is interrupted. down
removes the file.`},
	{Step: "sysctl/file-least", Text: `Writes /etc/sysctl.d/60-nucspark.conf, which lets programs watch more files. A
few dozen containers use up what the kernel allows by itself. A file of yours
with a later name can ask for still more. Nothing is interrupted, and down
removes the file.`},
	{Step: "sysctl/*", Text: `Gives a kernel setting its value at once, not only at the next boot. Packets are
forwarded and filtered between containers, which could not reach other machines
else, and more files may be watched. A limit that is higher already stays.
Programs go on, and down puts the former value back.`},
	{Step: "hosts", Text: `Writes the names and addresses of all machines, and of the control plane, into a
marked block of /etc/hosts. The machines find each other by them without a name
server. Lines outside of the block stay as they are, and nothing is interrupted.
down takes the block out.`},
	{Step: "hosts-template", Text: `Writes the same block into cloud-init's template of /etc/hosts. Where cloud-init
writes that file, the next boot would otherwise lose the names. Other machines
have no such template in use, and nothing is done there. down takes it out.`},
	{Step: "apt/keyrings", Text: `Makes the directory /etc/apt/keyrings if it is missing. The keys lie there by
which packages are checked. down removes it if it is empty then.`},
	{Step: "apt/key", Text: `Writes the public key of your mirror to /etc/apt/keyrings/nucspark.gpg. apt then
takes from the mirror only what is signed with it. No package is changed. down
removes the file.`},
	{Step: "apt/key-*", Text: `Fetches the public key of a package source, and takes it only if its fingerprint
is the one that nucspark knows. apt then takes from that source, of Kubernetes
or of Docker, only what is signed with it. No package is changed. down removes
the file, /etc/apt/keyrings/nucspark-kubernetes.asc or nucspark-docker.asc.`},
	{Step: "apt/source", Text: `Writes /etc/apt/sources.list.d/nucspark.list, which says where Kubernetes and
containerd come from: their makers, or your mirror. Your other package sources
stay as they are, and no package is changed. down removes the file.`},
	{Step: "containerd/directory", Text: `Makes /etc/containerd if it is missing. The configuration of containerd, which
runs all containers of a machine, lies there. down removes it if it is empty
then.`},
	{Step: "containerd/config", Text: `Writes the configuration of containerd, which runs the containers of Kubernetes,
HDFS and Spark. In /etc/containerd/config.toml stands what Kubernetes needs, and
what patch "containerd" of your file adds. It is there before containerd is
installed; if it changes later, containerd/service restarts containerd, and
containers go on meanwhile. down puts back what was there.`},
	{Step: "containerd/certs", Text: `Makes /etc/containerd/certs.d, where containerd looks for mirrors of image
registries. down removes it if it is empty then.`},
	{Step: "containerd/certs-default", Text: `Makes /etc/containerd/certs.d/_default, which counts for every image registry.
down removes it if it is empty then.`},
	{Step: "containerd/mirror", Text: `Leads every download of an image to your mirror's registry, by hosts.toml in
/etc/containerd/certs.d/_default. A file without a mirror has it taken away
again. containerd reads it at each download, so nothing is restarted. down
removes it.`},
	{Step: "packages/system", Text: `Installs small programs of the system: certificates, ip, kmod, mount and nft.
Most machines have them all. Nothing is removed for them. down purges those that
were not there before.`},
	{Step: "packages/kubernetes", Text: `Installs containerd and Kubernetes (kubeadm, kubelet, kubectl) in exact
versions, and the programs that they call. They are held, so that an upgrade of
the system does not change them below a running cluster; a version that somebody
changed is put back. Nothing is removed for them. On a member another version
restarts containerd or the kubelet, and containers go on. down purges what was
not there before.`},
	{Step: "containerd/service", Text: `Starts containerd, now and at each boot. It is restarted only if its
configuration is newer than its start, and containers go on meanwhile. down
stops it and has it start no more, unless it ran before.`},
	{Step: "kubelet/enabled", Text: `Has the kubelet start at each boot. It is the program that starts and watches a
machine's containers as the cluster asks. It is not started yet, because it has
no configuration before the machine joins. down undoes it.`},
	{Step: "containerd/in-effect", Text: `Asks containerd whether it uses its configuration. It silently ignores settings
that it does not know, so that a mistake in patch "containerd" would show much
later. Nothing is changed or interrupted.`},
	{Step: "kubelet/directory", Text: `Makes /var/lib/kubelet if it is missing. The passwords of image registries lie
there. down removes it if it is empty then.`},
	{Step: "kubelet/credentials", Text: `Writes the user names and passwords of your registry blocks to
/var/lib/kubelet/config.json, which only root can read. A file without such
blocks has it taken away again. It is read at each download, so nothing is
restarted, and no plan or log shows a password. down removes it.`},
	{Step: "firewall/directory", Text: `Makes /etc/nucspark, where the rules of the firewall lie. down removes it.`},
	{Step: "firewall/rules", Text: `Writes the rules of the firewall to /etc/nucspark/nftables.nft. They close the
cluster's ports, and the networks of its containers, to all but the machines,
the containers, and the networks of access { allow }. SSH and every other port
of the machine stay as they are. They count once firewall/service or
firewall/table has loaded them. down removes the file.`},
	{Step: "firewall/unit", Text: `Writes the systemd unit nucspark-firewall.service, which loads the rules at each
boot before the network is up. Nothing is interrupted. down removes it.`},
	{Step: "firewall/service", Text: `Starts nucspark-firewall.service, now and at each boot, which loads the rules.
Strangers no longer reach the cluster's ports; SSH and your own firewall's
tables are not touched. down stops it, and its rules go with it.`},
	{Step: "firewall/table", Text: `Loads the rules as table inet nucspark where the loaded ones are not those of
the file. The whole table is replaced at once, so that no port is open in
between and no connection of machines or containers ends. Rules that somebody
flushed come back by this step. down deletes this table and no other.`},
	{Step: "firewall/ufw", Text: `Adds rules to ufw that let the cluster's machines and containers through. ufw
would drop their packets. It does nothing where ufw is not active. Each rule has
the comment nucspark, and down deletes those.`},
	{Step: "firewall/firewalld", Text: `Puts the cluster's networks into firewalld's zone trusted. firewalld would
reject their packets. It does nothing where firewalld does not run. down takes
the networks out again.`},
	{Step: "base", Text: `Holds when all of a machine's own preparation does: users, swap, kernel, names,
packages, containerd and firewall. Joining the cluster, NFS and HDFS wait for
it. It changes nothing itself.`},
	{Step: "cache/nginx.d", Text: `Makes /etc/systemd/system/nginx.service.d on the control plane if it is missing.
The file of cache/nginx lies there. down removes it if it is empty then.`},
	{Step: "cache/nginx", Text: `Writes a file by which the web server of the package nginx does not start. The
package is installed for the cache alone, and its own service would show a page
to everybody. Where nginx was on the machine before, it is left as it is, and
nothing is written. down removes the file.`},
	{Step: "cache/directory", Text: `Makes /var/cache/nucspark on the control plane. Packages and images that came
from outside lie there for the other machines, 4 GB at most. With cache = false
the step empties it instead. Nothing is interrupted. down removes it with all
that is in it.`},
	{Step: "cache/config", Text: `Writes the configuration of the cache, which says what it may fetch, and for
whom. It gives out nothing that its user cannot compare with a hash. If it
changes later, as with one more machine, cache/service has the cache read it
again. With cache = false, and when the cluster is taken down, it is removed.`},
	{Step: "cache/package", Text: `Installs nginx on the control plane, which is the program of the cache. Nothing
is removed for it. down purges it if it was not there before.`},
	{Step: "cache/unit", Text: `Writes the systemd unit nucspark-cache.service, which runs nginx without any
right on the control plane. Nothing is interrupted. With cache = false, and when
the cluster is taken down, it is removed.`},
	{Step: "cache/service", Text: `Starts the cache on the control plane, now and at each boot. The other machines
fetch packages and images from it, so that these come from outside once, and
from outside where it does not answer. It starts after the firewall, which lets
the cluster's machines alone to its port. down stops it.`},
	{Step: "cache/stopped", Text: `Stops the cache and has it start no more, because the file says cache = false or
has one machine left. From then on each machine fetches from outside by itself.
Nothing else is interrupted.`},

	{Step: "undo/unit/*", Text: `Stops a systemd unit and has it start no more, if that is how it was before
nucspark. A unit that ran before goes on. It comes when nothing of Kubernetes
runs on the machine any more, so that no application is interrupted by it.`},
	{Step: "undo/firewall/table", Text: `Deletes table inet nucspark if it is still loaded. From then on the machine's
ports are as open as its owner's own firewall leaves them. No other table is
touched.`},
	{Step: "undo/firewall/ufw", Text: `Deletes the rules with the comment nucspark from ufw. All other rules stay, and
ufw stays on or off as it is.`},
	{Step: "undo/firewall/firewalld", Text: `Takes the cluster's networks out of firewalld's zone trusted, those that
nucspark put there. Everything else in firewalld stays.`},
	{Step: "undo/file/*", Text: `Removes a file that nucspark wrote, or puts back the one that was there before
with its owner and mode. If somebody changed it since, their version is kept
beside it as FILE.nucspark-kept.`},
	{Step: "undo/hosts/*", Text: `Takes nucspark's marked block out of /etc/hosts, or out of cloud-init's template
of it. All other lines stay.`},
	{Step: "undo/fstab/*", Text: `Takes the mark "# nucspark: " off the lines of /etc/fstab that carry it. The
machine swaps again from its next boot on, and by undo/swap at once.`},
	{Step: "undo/swap", Text: `Switches on again the swap that was on before nucspark, and unmasks its units.
Swap that is gone meanwhile is left out. Nothing is interrupted.`},
	{Step: "undo/packages", Text: `Purges the packages that were not on the machine before nucspark, with their
configuration. One that another package needs by now stays, and the plan says
which. One that was upgraded stays as it is. Those that stay are no longer held.`},
	{Step: "undo/left/*", Text: `Deletes what containerd leaves when its package is purged: downloaded images and
the files of containers. HDFS, NFS volumes and the namenode's metadata are not
in there. If containerd was on the machine before nucspark, nothing is deleted.`},
	{Step: "undo/scratch/*", Text: `Deletes a directory of what is made again when needed: Spark's shuffle files and
work directories, or what the cache kept. No data of yours is in there: what
Spark left belongs to applications that ended with the cluster.`},
	{Step: "undo/data/*", Text: `Deletes a data directory with all that is in it, because --delete-data named it.
It cannot be brought back. Without that flag down keeps every data directory,
and a later up takes it over.`},
	{Step: "undo/user/*", Text: `Removes the system user spark or hdfs, if nucspark made it. Data that stays
belongs to its number, and a later up makes the user with the same one.`},
	{Step: "undo/sysctl/*", Text: `Gives a kernel setting the value that it had before nucspark. A value that
somebody else set since stays.`},
	{Step: "undo/directory/*", Text: `Removes a directory that nucspark made, if it is empty, or gives one that was
there its former owner and mode. What others put into it keeps it.`},
	{Step: "undo/ledger", Text: `Deletes the record of what nucspark changed on the machine, and its identity. It
comes last: as long as they are there, an interrupted run is finished by the
next one. Data directories below /var/lib/nucspark stay.`},
	{Step: "undo/done", Text: `Holds when a machine is as it was before nucspark. Of a machine that is off
nothing is undone, and it holds without. It changes nothing itself.`},
}
