// Package kubeadm makes Kubernetes of machines that have its packages: a
// control plane, workers that joined it, a pod network, and the record of what
// the cluster is.
//
// The control plane is made once by kubeadm init from one configuration file
// that stays at /etc/kubernetes/nucspark/kubeadm.yaml. The file beside it,
// init.state, says how far that came. An init that was interrupted is taken
// up again with the keys and the data that are there; it starts over only
// where etcd never held anything. A control plane that was finished and whose
// files are gone stops the run: it is never made anew over what was there.
//
// A worker joins by a token of its own that lives for minutes, knows the
// control plane by the hash of its certificate authority, which is read over
// SSH, and gives the token back. Tokens that an interrupted run left are
// deleted before the next join.
//
// A member leaves ([Leave]) in this order: the record says so, it takes no new
// pods, its pods are evicted when its data is safe, the machine is put back,
// and its Node is deleted. The record forgets it when all have left. Pods that
// nobody would make again are waited for, with a bound.
//
// Pods talk through flannel: by routes where all machines are in one network,
// else through VXLAN where there is a router between them.
//
// Everything in the cluster is applied server-side, and the labels of the
// nodes say what runs where: nucspark.io/hdfs, nucspark.io/nfs and
// nucspark.io/spark.
//
// Undone ([UndoSteps]), a machine is a member of no cluster: its containers were
// told to end, kubeadm reset ran, and what that leaves is gone, too: flannel's
// files, interfaces and routes, and the packet filter's chains of Kubernetes,
// flannel and CNI. Rules of anybody else stay. Nothing is deleted in a directory
// below which something is mounted.
package kubeadm
