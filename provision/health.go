package provision

import (
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
)

// Health is the state of one thing, as status reports it.
type Health struct {
	Component string            `json:"component"` // "machine", "kubernetes", "nfs", "hdfs", "spark"
	Name      string            `json:"name"`      // "nuc02", "datanode nuc02", "volume shared" …
	Node      string            `json:"node,omitempty"`
	OK        bool              `json:"ok"`
	Reason    string            `json:"reason,omitempty"` // why not, and what to do
	Info      map[string]string `json:"info,omitempty"`   // "capacity": "120 GiB" …
}

// MachineHealth says of each machine of an inventory whether it answered, and
// is a member of the cluster. failed holds why the others did not answer.
func MachineHealth(c *inventory.Cluster, machines map[string]Machine, failed map[string]error) []Health {
	var all []Health
	for _, n := range c.Nodes {
		h := Health{Component: "machine", Name: n.Name, Node: n.Name}
		if err := failed[n.Name]; err != nil {
			h.Reason = err.Error()
		} else {
			m := machines[n.Name]
			h.OK = true
			h.Info = map[string]string{
				"address": n.Address.String(), "system": strings.TrimSpace(m.OS + " " + m.Version), "arch": m.Arch,
				"cpus": fmt.Sprint(m.CPUs), "memory": inventory.Size(m.Memory).Human(), "var_free": inventory.Size(m.VarFree).Human(),
			}
			if m.Identity == nil {
				h.OK, h.Reason = false, "not set up yet; run nucspark up"
			}
		}
		all = append(all, h)
	}
	return all
}

// Storage is a file system of several machines in numbers.
type Storage struct {
	Capacity        int64          `json:"capacity"` // bytes
	Used            int64          `json:"used"`
	Free            int64          `json:"free"`
	ReadOnly        string         `json:"read_only,omitempty"` // why nothing can be written; "" when it can
	Files           int64          `json:"files"`
	Blocks          int64          `json:"blocks"`
	Missing         int64          `json:"missing"`          // blocks without any copy
	UnderReplicated int64          `json:"under_replicated"` // blocks that have too few
	Corrupt         int64          `json:"corrupt"`          // blocks of which some copy is damaged
	Live            int            `json:"live"`             // machines that store blocks and are heard
	Dead            []string       `json:"dead,omitempty"`   // and that are not, by node name, or address where the file has none
	Leaving         []StoreLeaving `json:"leaving,omitempty"`
}

// StoreLeaving is a machine whose blocks are being copied elsewhere.
type StoreLeaving struct {
	Name string `json:"name"`
	Left int64  `json:"left"` // blocks
}

// Compute is a cluster of workers, and what it runs, in numbers.
type Compute struct {
	Workers      []ComputeWorker `json:"workers"`
	Applications []Application   `json:"applications,omitempty"` // that have not ended
}

// ComputeWorker is one machine's share of it. Memory is in bytes.
type ComputeWorker struct {
	Name       string `json:"name"` // of the node
	Cores      int    `json:"cores"`
	CoresUsed  int    `json:"cores_used"`
	Memory     int64  `json:"memory"`
	MemoryUsed int64  `json:"memory_used"`
}

// Application is one that has not ended.
type Application struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Runs   bool          `json:"runs"`   // false: it waits for cores
	Cores  int           `json:"cores"`  // that it has now
	Memory int64         `json:"memory"` // of each of its executors, bytes
	Age    time.Duration `json:"age_ns"` // since it was submitted
}
