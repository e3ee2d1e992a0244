package provision

import "nucspark.io/nucspark/inventory"

// Namespace holds every Kubernetes object that nucspark makes, unless it must
// live elsewhere.
const Namespace = "nucspark"

// Directory of nucspark on every node, owned by root, 0700.
const StateDir = "/var/lib/nucspark"

// System users of the data platform. The ids lie in the range of system users
// that Debian's adduser hands out last (it counts down from 999), so that they
// are free on an ordinary machine; a node on which another name holds one of
// them is refused. The same ids run in the pods.
const (
	HDFSUser  = "hdfs"
	HDFSUID   = 870
	SparkUser = "spark"
	SparkUID  = inventory.SparkID
)

// Site is all that steps are made from.
type Site struct {
	Cluster  *inventory.Cluster
	Machines map[string]Machine // by node name; only nodes that answered
	Resolved Resolved
	Members  map[string]Member // as recorded in the cluster, by node name; empty before the first up
	Adopted  []string          // places of the data that a new cluster takes over, as NODE:PATH

	Leaving     []Leaving // members that are being taken out, see [Fleet.Leave]; by name
	LoseVolumes []string  // NFS volumes that may go with them
}

// Resolved holds the values that were computed at the first up and stay as
// they are until the inventory changes them: adding a node changes nothing on
// the others.
type Resolved struct {
	UID         string `json:"uid"`         // of the cluster, a UUID
	Kubernetes  string `json:"kubernetes"`  // "1.36.3"
	Replication int    `json:"replication"` // of HDFS
	Pods        string `json:"pods"`        // network of the pods
	Services    string `json:"services"`    // network of the services
}

// Replaced says that the machine of a node is not the one that joined, and that
// somebody agreed that it takes its place: what the cluster knows of the old
// one is of no use any more.
func (s *Site) Replaced(node string) bool {
	m, here := s.Machines[node]
	was := s.Members[node]
	return here && was.Replacement != "" && m.MachineID == was.Replacement && m.MachineID != was.MachineID
}

// Reachable returns the nodes that answered, in the order of the inventory.
// Steps are made for these only.
func (s *Site) Reachable() []*inventory.Node {
	var nodes []*inventory.Node
	for i := range s.Cluster.Nodes {
		if _, ok := s.Machines[s.Cluster.Nodes[i].Name]; ok {
			nodes = append(nodes, &s.Cluster.Nodes[i])
		}
	}
	return nodes
}

// Missing returns the nodes that did not answer.
func (s *Site) Missing() []*inventory.Node {
	var nodes []*inventory.Node
	for i := range s.Cluster.Nodes {
		if _, ok := s.Machines[s.Cluster.Nodes[i].Name]; !ok {
			nodes = append(nodes, &s.Cluster.Nodes[i])
		}
	}
	return nodes
}

// Locked is a *LockedError where another run was at work on a machine when it
// was surveyed, nil where there was none.
func (s *Site) Locked() error {
	for _, n := range s.Reachable() {
		if h := s.Machines[n.Name].Holder; h != nil {
			return &LockedError{Node: n.Name, Holder: *h}
		}
	}
	return nil
}

// Ports of NFS on the nodes. Those of statd and lockd change with each start
// where nobody pins them: lockd's is that of Solaris, statd's the one of Red
// Hat's guides. Neither lies where the kernel takes ports for connections.
const (
	PortmapPort = 111
	StatdPort   = 662
	NFSPort     = 2049
	MountdPort  = 20048
	LockdPort   = 4045
)

// NFSPorts are all of them, TCP and UDP.
var NFSPorts = []int{PortmapPort, StatdPort, NFSPort, MountdPort, LockdPort}

// ControlPlaneEndpoint is the host name under which every node knows the
// control plane. It stays the same whatever machine that is; each node finds it
// in its /etc/hosts.
func ControlPlaneEndpoint(cluster string) string {
	return "control-plane." + cluster + ".nucspark.internal"
}
