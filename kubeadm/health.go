package kubeadm

import (
	"fmt"

	"nucspark.io/nucspark/provision"
)

// Queries are what Health needs to know.
func Queries(site *provision.Site) []provision.Query {
	queries := []provision.Query{coreDNS}
	for _, n := range site.Cluster.Nodes {
		queries = append(queries, liveNode(n.Name))
	}
	return queries
}

// Health says whether the API answers, of each node whether it can run pods,
// and whether pods find each other.
func Health(site *provision.Site, f provision.Facts) []provision.Health {
	cp := site.Cluster.ControlPlane()
	api := provision.Health{Component: "kubernetes", Name: "api", Node: cp.Name, OK: f.Known(coreDNS)}
	if !api.OK {
		api.Reason = fmt.Sprintf("no answer from %s; if it was made, journalctl -u kubelet there says why, else run nucspark up", cp.Name)
		return []provision.Health{api}
	}
	all := []provision.Health{api}
	for _, n := range site.Cluster.Nodes {
		h := provision.Health{Component: "kubernetes", Name: "node " + n.Name, Node: n.Name, Reason: nodeMissing(n.Name)(f)}
		if h.OK = h.Reason == ""; h.OK {
			h.Info = map[string]string{
				"version": text(liveNode(n.Name).In(f), "status", "nodeInfo", "kubeletVersion"),
				"runtime": text(liveNode(n.Name).In(f), "status", "nodeInfo", "containerRuntimeVersion"),
			}
		}
		all = append(all, h)
	}
	dns := provision.Health{Component: "kubernetes", Name: "dns", Reason: networkMissing(f)}
	dns.OK = dns.Reason == ""
	return append(all, dns)
}
