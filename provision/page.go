package provision

// Page is a web page of the cluster, under the address that links of other
// pages name.
type Page struct {
	Name  string // by which people ask for it: "spark"; "" when it is known by its node only
	Node  string // the machine that it is about
	Shows string // what is to be seen there, a few words
	Host  string // an address, or a name in the pod network
	Port  int
	Path  string // where to begin; "" for "/"
}

// Part is something that a component runs in pods and that prints a log.
type Part struct {
	Name  string // by which people ask for its log: "namenode", "nuc02/datanode"
	Node  string // the machine that it is on; "" when there is one of it in the cluster
	App   string // label app.kubernetes.io/name of its pods
	Shows string // what it is, a few words
}
