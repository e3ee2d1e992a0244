package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Backends: what the nodes of a lab are made of.
const (
	Containers = "container"
	VMs        = "vm"
)

// backend makes, lists and switches the nodes of one lab. Network and mirror
// are the engine's with either.
type backend interface {
	prepare(ctx context.Context) error // builds what all nodes start from
	// nodes lists what there is, in the order of their names, with addresses
	// and power.
	nodes(ctx context.Context) ([]NodeState, error)
	create(ctx context.Context, m machine, userKey string) error // with its disks, off
	start(ctx context.Context, node string) error                // nothing for one that is on
	kill(ctx context.Context, node string) error                 // nothing for one that is off
	remove(ctx context.Context, node string) error               // with its disks; nothing for one that is not there
	running(ctx context.Context, node string) bool
	patience() time.Duration // how long a node may take until it answers
	log(node string) string  // where its boot can be read
}

// backend is what the lab is made of, or, for one that is not there, what it
// was asked to be made of.
func (o Options) backend() (backend, error) {
	switch o.Backend {
	case "", Containers, VMs:
	default:
		return nil, fmt.Errorf("there is no backend %q: use %s or %s", o.Backend, Containers, VMs)
	}
	is, made := "", []string{o.vmDir(), o.hostKeyFile("nuc01")}
	for i, name := range made {
		if _, err := os.Stat(name); err == nil {
			is = []string{VMs, Containers}[i]
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if is != "" && o.Backend != "" && is != o.Backend {
		return nil, fmt.Errorf("the nodes of the lab %q are of the kind %q: take it off with `nucspark lab down --name %s`, or give the other one another name", o.Name, is, o.Name)
	}
	if is == VMs || is == "" && o.Backend == VMs {
		return &vms{o: o}, nil
	}
	return &containers{o: o, host: probeHost()}, nil
}
