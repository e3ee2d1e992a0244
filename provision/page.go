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
