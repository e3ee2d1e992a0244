package provision

import (
	"errors"
	"strings"

	"nucspark.io/nucspark/inventory"
)

// Problem is one reason to refuse a run before any change.
type Problem struct {
	Check  string // what was looked at: one of the names below
	Node   string // "" for what belongs to no single node
	Text   string // what is wrong; holds no "; "
	Remedy string // what to do
}

func (p Problem) String() string {
	s := p.Text
	if p.Node != "" {
		s = p.Node + ": " + s
	}
	if p.Remedy != "" {
		s += "; " + p.Remedy
	}
	return s
}

// Names of what the survey of a machine is judged by.
const (
	CheckSystem    = "system" // distribution, version, architecture, systemd
	CheckMachineID = "machine-id"
	CheckAddress   = "address"
	CheckMemory    = "memory"
	CheckCPUs      = "cpus"
	CheckClock     = "clock"
	CheckCluster   = "cluster" // it belongs to this cluster or to none; the control plane is where it was

	// Of a machine that belongs to no cluster yet.
	CheckDisk     = "disk"
	CheckMirror   = "mirror"
	CheckRuntime  = "runtime" // of containers
	CheckResolver = "resolver"
	CheckPorts    = "ports"
)

// Checked are the names of what [Check] judges of a machine.
func Checked(m Machine) []string {
	names := []string{CheckSystem, CheckMachineID, CheckAddress, CheckMemory, CheckCPUs, CheckClock, CheckCluster}
	if m.Identity == nil {
		names = append(names, CheckDisk, CheckMirror, CheckRuntime, CheckResolver, CheckPorts)
	}
	return names
}

// Names of what all machines and the cluster's record are judged by together.
const (
	CheckData   = "data"   // of a cluster that was taken down, which a new one takes over
	CheckRecord = "record" // what a cluster cannot change agrees with the inventory
)

// Reason makes a problem of a text of the form "NODE: WHAT IS WRONG; WHAT TO
// DO", in which the node and what to do may be missing.
func Reason(c *inventory.Cluster, check, text string) Problem {
	p := Problem{Check: check}
	if name, rest, ok := strings.Cut(text, ": "); ok {
		if _, ok := c.Node(name); ok {
			p.Node, text = name, rest
		}
	}
	p.Text, p.Remedy, _ = strings.Cut(text, "; ")
	return p
}

// Reasons are those of a refusal, nil where an error is none.
func Reasons(err error) []string {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return nil
	}
	return refused.Reasons
}
