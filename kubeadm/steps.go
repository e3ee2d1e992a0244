package kubeadm

import (
	"fmt"
	"strings"
	"time"

	core "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Labels of nodes. Their value is "true".
const (
	labelHDFS  = "nucspark.io/hdfs"
	labelNFS   = "nucspark.io/nfs"
	labelSpark = "nucspark.io/spark"
)

// How long to wait for what starts by itself.
const (
	apiBound     = 5 * time.Minute
	networkBound = 15 * time.Minute // images may still have to be pulled
)

// Steps makes a cluster of the machines that answered. The control plane is
// one of them.
func Steps(site *provision.Site) []provision.Step {
	cp := site.Cluster.ControlPlane()
	dirID, initID, tokensID := cp.Name+"/kubeadm/directory", cp.Name+"/kubeadm/init", "cluster/kubeadm/tokens"
	imagesID := func(node string) string { return node + "/kubeadm/images" }

	kubeSystem := provision.LiveQuery{APIVersion: "v1", Kind: "Namespace", Name: "kube-system"}
	steps := []provision.Step{
		provision.Directory{Base: provision.Base{Name: dirID, Node: cp.Name, After: []string{provision.NodeBase(cp.Name)}}, Path: dir, Mode: 0o700},
		initialised{Base: provision.Base{Name: initID, Node: cp.Name, After: []string{imagesID(cp.Name), dirID}}, site: site},
		provision.WaitFor{
			Base: provision.Base{Name: provision.ClusterAPI, After: []string{cp.Name + "/kubeadm/kubelet"}},
			Key:  "the API server answers", Bound: apiBound, Queries: []provision.Query{kubeSystem},
			Missing: func(f provision.Facts) string {
				if !f.Known(kubeSystem) || kubeSystem.In(f) == nil {
					return "no answer"
				}
				return ""
			},
			Hint: "on " + cp.Name + ", journalctl -u kubelet and crictl or ctr show why",
		},
		noTokens{provision.Base{Name: tokensID, After: []string{provision.ClusterAPI}}},
	}

	// Objects.
	apply := func(id string, o provision.Object, after ...string) {
		steps = append(steps, provision.KubeObject{Base: provision.Base{Name: id, After: after}, Object: o})
	}
	apply(provision.NamespaceReady, kube.Object(core.Namespace(provision.Namespace)), provision.ClusterAPI)
	recordAfter := []string{provision.NamespaceReady}
	for _, n := range site.Reachable() {
		if site.Members[n.Name].Leaving { // its block is back in the file
			s := cordoned{provision.Base{Name: n.Name + "/kubeadm/uncordon", Node: n.Name, After: []string{provision.ClusterAPI}}, n.Name, false}
			recordAfter = append(recordAfter, s.Name)
			steps = append(steps, s)
		}
		if site.Replaced(n.Name) { // until it has joined, the record says that it may
			recordAfter = append(recordAfter, provision.NodeReady(n.Name))
		}
	}
	apply("cluster/record", kube.Object(record(site)), recordAfter...)
	steps = append(steps, provision.File{Base: provision.Base{Name: cp.Name + "/kubeadm/record", Node: cp.Name, After: []string{"cluster/record"}},
		Path: provision.RecordCopyFile, Mode: 0o600, Content: []byte(indented(provision.RecordCopy{Cluster: site.Resolved, Members: members(site)}))})
	// The namespace comes first, and the daemon when all it reads is there.
	objects := flannel(site)
	var network []string
	for i, o := range objects {
		id := "cluster/flannel/" + strings.ToLower(text(o, "kind"))
		switch i {
		case 0:
			apply(id, o, provision.ClusterAPI)
		case len(objects) - 1:
			apply(id, o, network...)
		default:
			apply(id, o, network[0])
		}
		network = append(network, id)
	}
	daemon := network[len(network)-1]
	steps = append(steps, provision.WaitFor{
		Base: provision.Base{Name: provision.ClusterNetwork, After: []string{daemon, provision.NodeReady(cp.Name)}},
		Key:  "pods find each other by name", Bound: networkBound,
		Queries: []provision.Query{coreDNS}, Missing: networkMissing,
		Hint: "nucspark kubectl -- -n kube-system describe pods -l k8s-app=kube-dns shows why",
	})

	// Nodes.
	for _, n := range site.Reachable() {
		steps = append(steps, images{provision.Base{Name: imagesID(n.Name), Node: n.Name, After: []string{provision.NodeBase(n.Name)}}, site, n},
			provision.Milestone{Name: provision.NodeImages(n.Name), After: []string{imagesID(n.Name)}})
		member, kubelet := provision.ClusterAPI, n.Name+"/kubeadm/kubelet"
		if n.Role != inventory.ControlPlane {
			member = n.Name + "/kubeadm/join"
			after := []string{imagesID(n.Name), tokensID}
			if site.Replaced(n.Name) {
				s := replaced{provision.Base{Name: n.Name + "/kubeadm/replaced", Node: n.Name, After: []string{provision.ClusterAPI}}, n.Name}
				after = append(after, s.Name)
				steps = append(steps, s)
			}
			steps = append(steps, joined{provision.Base{Name: member, Node: n.Name, After: after}, site, n})
			steps = append(steps, provision.Unit{Base: provision.Base{Name: kubelet, Node: n.Name, After: []string{member}}, Unit: "kubelet.service"})
		} else {
			// The API server is one of its pods.
			steps = append(steps, provision.Unit{Base: provision.Base{Name: kubelet, Node: n.Name, After: []string{initID}}, Unit: "kubelet.service"})
		}
		labelsID := n.Name + "/kubeadm/labels"
		apply(labelsID, labelled(site.Cluster, n), member)
		ready := []string{labelsID, daemon, kubelet}
		if n.Role == inventory.ControlPlane {
			taintID := n.Name + "/kubeadm/taint"
			steps = append(steps, tainted{provision.Base{Name: taintID, Node: n.Name, After: []string{member}}, n, !runsPods(site.Cluster, n)})
			ready = append(ready, taintID)
		}
		steps = append(steps, provision.WaitFor{
			Base: provision.Base{Name: provision.NodeReady(n.Name), Node: n.Name, After: ready},
			Key:  n.Name + " is ready", Bound: networkBound,
			Queries: []provision.Query{liveNode(n.Name)}, Missing: nodeMissing(n.Name),
			Hint: fmt.Sprintf("nucspark kubectl -- describe node %s, and journalctl -u kubelet on %s, show why", n.Name, n.Name),
		})
	}
	return append(steps, reconfigureSteps(site, initID, daemon)...)
}

// labelled is a node with its labels: what runs on it, and what the inventory
// adds. The node itself is the kubelet's, so it is not marked as ours.
func labelled(c *inventory.Cluster, n *inventory.Node) provision.Object {
	l := map[string]any{}
	for k, v := range n.Labels {
		l[k] = v
	}
	if n.HDFS != nil {
		l[labelHDFS] = "true"
	}
	if n.NFS != nil {
		l[labelNFS] = "true"
	}
	if runsPods(c, n) {
		l[labelSpark] = "true"
	}
	return provision.Object{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": n.Name, "labels": l}}
}
