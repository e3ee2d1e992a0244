package spark

import (
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Compute is Spark in numbers: its workers in the order of the inventory, and
// what has not ended. It is made of the answers to [Queries], and nil while the
// master does not answer.
func Compute(site *provision.Site, f provision.Facts) *provision.Compute {
	s, why := readMaster(f)
	if why != "" {
		return nil
	}
	c := &provision.Compute{}
	for _, n := range newLayout(site).workers {
		if w, ok := s.workerOf(n); ok && w.State == "ALIVE" {
			c.Workers = append(c.Workers, provision.ComputeWorker{Name: n.Name, Cores: w.Cores, CoresUsed: w.CoresUsed,
				Memory: w.Memory * int64(inventory.MiB), MemoryUsed: w.MemoryUsed * int64(inventory.MiB)})
		}
	}
	for _, a := range s.ActiveApps {
		c.Applications = append(c.Applications, provision.Application{ID: a.ID, Name: a.Name, Runs: a.State == "RUNNING",
			Cores: a.Cores, Memory: a.Memory * int64(inventory.MiB), Age: time.Duration(a.Duration) * time.Millisecond})
	}
	return c
}
