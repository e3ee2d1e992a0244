package provision

// Health is the state of one thing, as status reports it.
type Health struct {
	Component string            `json:"component"` // "machine", "kubernetes", "nfs", "hdfs", "spark"
	Name      string            `json:"name"`      // "nuc02", "datanode nuc02", "volume shared" …
	Node      string            `json:"node,omitempty"`
	OK        bool              `json:"ok"`
	Reason    string            `json:"reason,omitempty"` // why not, and what to do
	Info      map[string]string `json:"info,omitempty"`   // "capacity": "120 GiB" …
}
