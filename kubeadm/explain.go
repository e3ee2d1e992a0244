package kubeadm

import "nucspark.io/nucspark/provision"

// Explanations say what the steps of this package do, in the order of a run;
// then those of a machine that leaves, and of undoing.
var Explanations = []provision.Explanation{
	{Step: "kubeadm/directory", Text: `Makes /etc/kubernetes/nucspark on the control plane, which only root can read.
The file that the cluster was made from lies there. down removes it.`},
	{Step: "kubeadm/images", Text: `Downloads the images of Kubernetes itself before they are needed, so that
machines wait for each other less. An image is the archive of a program that
containerd runs. A machine that is a member already downloads what it needs by
itself, and nothing is done. down deletes the images.`},
	{Step: "images", Text: `Holds when a machine has the images of Kubernetes itself. The images of HDFS and
Spark are downloaded after it, because the cluster can do without them longer.
It changes nothing itself.`},
	{Step: "kubeadm/init", Text: `Makes the control plane of the cluster by kubeadm init. That is the API server,
to which every program of the cluster talks, its database etcd, the scheduler,
and the cluster's keys. It is done once; one that was interrupted is taken up
with what is there, and one whose files are gone is never made anew over what
was there. It writes /etc/kubernetes and /var/lib/etcd on the control plane.
down takes both away, and with them all that the cluster knew.`},
	{Step: "kubeadm/kubelet", Text: `Starts the kubelet, which starts and watches a machine's containers as the
cluster asks. Where it had stopped, containers went on, but nobody replaced one
that ended. down stops it.`},
	{Step: "cluster/api", Text: `Waits until the API server answers, for 5 minutes at most. Everything in the
cluster is made by asking it. It changes nothing itself.`},
	{Step: "cluster/kubeadm/tokens", Text: `Deletes tokens for joining the cluster that an earlier run left. With such a
token a machine could join; each join gets its own, which lives for minutes.
Nothing is interrupted.`},
	{Step: "cluster/namespace", Text: `Makes the namespace nucspark, a folder in the cluster for all that nucspark runs
there: HDFS, Spark, and your applications. Nothing is interrupted. It ends with
the cluster.`},
	{Step: "kubeadm/uncordon", Text: `Lets a machine take pods again whose removal was begun and whose block is back
in the file. A pod is a program of the cluster in its container. Pods that run
are not touched.`},
	{Step: "cluster/record", Text: `Writes into the cluster what it knows of itself. These are its members, the
values that were fixed when it was made, and your file without passwords. They
stand in the ConfigMap nucspark/nucspark, so that any computer with the file can
go on. Nothing is interrupted.`},
	{Step: "kubeadm/record", Text: `Keeps a copy of that record as /var/lib/nucspark/record.json on the control
plane. nucspark reads it when the API server does not answer. Nothing is
interrupted, and down removes it.`},
	{Step: "cluster/flannel/*", Text: `Makes an object that flannel needs: its namespace, its account, or what that may
do. flannel connects the containers of all machines to one network. Nothing is
interrupted.`},
	{Step: "cluster/flannel/configmap", Text: `Writes the configuration of flannel, which connects the containers of all
machines to one network. It uses plain routes where all machines are in one
network, else VXLAN where a router lies between them. It counts when the pods of
flannel start anew, by the step after it.`},
	{Step: "cluster/flannel/daemonset", Text: `Runs flannel on each machine, which connects the containers of all machines to
one network. On a machine it writes /etc/cni/net.d, /opt/cni/bin/flannel, routes
and the interface cni0. When it changes, its pods are replaced one after the
other, and connections go on. down removes all of it.`},
	{Step: "kubeadm/join", Text: `Makes a machine a member of the cluster by kubeadm join. It gets a token that
lives for minutes and belongs to it alone, and checks the cluster's key by a
hash that came over SSH. It writes /etc/kubernetes and /var/lib/kubelet; other
members are not touched. Removing the machine or down undoes it.`},
	{Step: "kubeadm/labels", Text: `Puts labels on the machine's entry in the cluster: whether it has HDFS, NFS and
Spark, and those of your file. Pods find their machines by such labels, so a
Spark worker starts where its label appears. Pods that run are not moved.`},
	{Step: "kubeadm/taint", Text: `Says whether pods of HDFS, Spark and your applications may run on the control
plane. They may if its block has hdfs or nfs, or if it is the only machine. Pods
that run there already are not thrown off.`},
	{Step: "ready", Text: `Waits until the cluster calls the machine ready and its containers have a
network, for 15 minutes at most. HDFS and Spark wait for it. It changes nothing
itself.`},
	{Step: "cluster/network", Text: `Waits until containers find each other by name, for 15 minutes at most: CoreDNS,
the name server of the cluster, must run. It changes nothing itself.`},
	{Step: "kubeadm/configuration", Text: `Gives the cluster the changed settings of patch "kubelet" and patch
"kube-proxy", checked by kubeadm before. A changed patch "kubeadm" is refused,
because it counts only when a cluster is made. Pods of kube-proxy, which leads
connections to services, are replaced one after the other. Putting the block
back undoes it.`},
	{Step: "kubeadm/kubelet-configuration", Text: `Gives the kubelets their changed settings, one machine after the other, the
control plane last. The settings go to /var/lib/kubelet/config.yaml, and the
kubelet is restarted; containers go on. A kubelet that does not start gets its
former file back, and the machines after it are not touched.`},
	{Step: "cluster/kubeadm/daemons", Text: `Waits until kube-proxy and flannel run everywhere with their present settings.
It changes nothing itself, and is left out while a machine is off.`},

	{Step: "cluster/kubeadm/leaving", Text: `Writes into the cluster's record which machines leave. From then on a removal
that was interrupted is finished by the next up, from any computer. Nothing
stops by it. Putting the machine's block back into the file gives it up.`},
	{Step: "kubeadm/cordon", Text: `Keeps new pods away from a machine that leaves. Pods that run there go on for
now. The step kubeadm/uncordon undoes it if the machine stays after all.`},
	{Step: "leaving", Text: `Holds when a machine's leaving is recorded and it takes no new pods. Its data is
moved only then. It changes nothing itself.`},
	{Step: "kubeadm/drain", Text: `Moves the pods away from a machine that leaves, after its data and its Spark
worker. A pod that its maker makes anew elsewhere is ended; one that nobody
would make again, such as a Spark driver, is waited for. After 10 minutes
without a pod leaving the step fails and says which are left.`},
	{Step: "drained", Text: `Holds when a machine that leaves runs nothing but what every machine runs. It
changes nothing itself.`},
	{Step: "kubeadm/delete", Text: `Deletes the machine's entry in the cluster. It comes when its data is on other
machines and it was put back as it was. Nothing else is interrupted; the machine
can join again like a new one.`},
	{Step: "cluster/left", Text: `Holds when all machines that were to leave have left. Those that stay learn of
it only then: until it holds they must let the others in. It changes nothing
itself.`},

	{Step: "undo/kubeadm/reset", Text: `Ends all containers on a machine, with 30 seconds to write down what they hold,
and runs kubeadm reset. What Kubernetes keeps in /etc/kubernetes,
/var/lib/kubelet and, on the control plane, /var/lib/etcd is deleted. HDFS, NFS
volumes and the namenode's metadata are not in there and stay. Applications on
it end.`},
	{Step: "undo/kubeadm/network", Text: `Deletes what flannel left: its files, its interfaces cni0 and flannel.1, and the
routes to other machines' containers. The machine's own network stays as it is.`},
	{Step: "undo/kubeadm/rules", Text: `Deletes the packet filter's chains of Kubernetes, flannel and CNI, and what
leads into them. Rules of anybody else stay, and the machine's own connections
go on.`},
	{Step: "undo/kubernetes", Text: `Holds when nothing of Kubernetes runs on a machine any more and its network is
as before. Everything else of it is put back after that. It changes nothing
itself.`},

	// When a machine was replaced.
	{Step: "cluster/kubeadm/trust", Text: `Writes into the cluster's record that one other machine, known by its machine-
id, may take the name of a member. The next up lets that machine join, and no
other one. Nothing else is changed. It is made by nucspark trust.`},
	{Step: "kubeadm/replaced", Text: `Deletes what the cluster knows of the old machine of that name: its entry, and
the pods that were on it. The new machine joins after that. Data of others is
not touched, and what was on the old machine's disks is not there any more.`},
	// It is made by nucspark down, which knows all machines.
	{Step: "cluster/undo/kubernetes", Text: `Holds when pods have ended on all machines. A pod may use what another machine
serves, such as an NFS volume, so nothing below them goes before. It changes
nothing itself.`},
}
