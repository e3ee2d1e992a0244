package provision

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
)

// Removal is what somebody said, in so many words, about members whose block
// left the inventory.
type Removal struct {
	Nodes       []string // that leave the cluster
	LoseVolumes []string // NFS volumes that may go with them
	AcceptLoss  []string // nodes whose blocks of HDFS may be lost with them
}

// Leaving is one member that is taken out of the cluster.
type Leaving struct {
	Name       string
	Member     Member
	Machine    *Machine // nil while it does not answer
	AcceptLoss bool
}

// Milestones of a node that leaves. Each is provided by exactly one component.
// All that up makes besides comes after Left: until then the other nodes know
// a leaving one as before.
const Left = "cluster/left" // kubeadm: no node that was to leave is a member any more

// NodeLeaving is the milestone of a node that is recorded as leaving and takes
// no new pods. It is provided by kubeadm.
func NodeLeaving(node string) string { return node + "/leaving" }

// NodeDataSafe is the milestone of a node whose blocks are on others. It is
// provided by hdfs.
func NodeDataSafe(node string) string { return node + "/data-safe" }

// NodeIdle is the milestone of a node without a Spark worker. It is provided
// by spark.
func NodeIdle(node string) string { return node + "/idle" }

// NodeDrained is the milestone of a node that runs nothing but what every node
// runs. It is provided by kubeadm.
func NodeDrained(node string) string { return node + "/drained" }

// NodeUnused is the milestone of a node that no volume is on. It is provided
// by nfs.
func NodeUnused(node string) string { return node + "/unused" }

// Leaves says whether a member is being taken out.
func (s *Site) Leaves(name string) bool {
	return slices.ContainsFunc(s.Leaving, func(l Leaving) bool { return l.Name == name })
}

// Leave adds to a site the members that are to leave: those that somebody
// named, and those whose removal began in an earlier run. It connects to them
// and compares them with what was recorded when they joined. It changes
// nothing. The notes are for a person. A [RefusedError] says what must be put
// right first.
//
// A member whose block is in the inventory never leaves, and one that nobody
// named stays a member.
func (f *Fleet) Leave(ctx context.Context, site *Site, r Removal) (notes []string, err error) {
	var reasons []string
	refuse := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	site.Leaving, site.LoseVolumes = nil, r.LoseVolumes
	absent := site.Foreign()
	for _, name := range r.Nodes {
		n, inFile := f.cluster.Node(name)
		switch {
		case inFile && n.Role == inventory.ControlPlane:
			refuse("%s is the control plane, without which there is no cluster: it cannot be removed", name)
		case inFile:
			refuse("%s is in %s: take its block out of the file first, then run with --remove %[1]s", name, f.cluster.File)
		case slices.Contains(absent, name):
		case len(absent) > 0:
			refuse("%s is no member of the cluster; members that are not in %s: %s", name, f.cluster.File, strings.Join(absent, ", "))
		default:
			notes = append(notes, name+" is no member of the cluster: there is nothing to remove")
		}
	}
	var nodes []inventory.Node
	for _, name := range absent {
		m := site.Members[name]
		if !m.Leaving && !slices.Contains(r.Nodes, name) {
			continue
		}
		address, err := netip.ParseAddr(m.Address)
		if err != nil {
			return nil, fmt.Errorf("the cluster's record has no address of %s: %w", name, err)
		}
		n := inventory.Node{Name: name, Address: address, Role: inventory.Worker, Port: m.Port, HostKey: m.HostKey}
		if n.Port == 0 {
			n.Port = f.cluster.SSH.Port
		}
		nodes = append(nodes, n)
		site.Leaving = append(site.Leaving, Leaving{Name: name, Member: m, AcceptLoss: slices.Contains(r.AcceptLoss, name)})
	}
	for _, name := range r.AcceptLoss {
		if !site.Leaves(name) {
			refuse("--accept-loss %s: no such node is being removed", name)
		}
	}
	if len(r.LoseVolumes) > 0 && len(site.Leaving) == 0 {
		refuse("--lose-volume %s: no node is being removed", strings.Join(r.LoseVolumes, ", "))
	}
	if len(reasons) > 0 {
		return nil, &RefusedError{Reasons: reasons}
	}
	f.mu.Lock()
	f.leaving = nodes
	f.mu.Unlock()
	machines, failed := f.surveyEach(ctx, nodes, func(string) {})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range site.Leaving {
		l := &site.Leaving[i]
		if err := failed[l.Name]; err != nil {
			if !Unreachable(err) {
				refuse("%v", err)
				continue
			}
			notes = append(notes, fmt.Sprintf("%s is taken out without being reached: %v. What is on it stays there; when it is switched on again, "+
				"run kubeadm reset on it", l.Name, err))
			continue
		}
		m := machines[l.Name]
		l.Machine = &m
		id := m.Identity
		switch {
		case m.MachineID != l.Member.MachineID:
			refuse("%s: another machine answers at %s than the one that joined (machine-id %s, now %s); it is not touched: give it another address, or switch it off",
				l.Name, l.Member.Address, l.Member.MachineID, m.MachineID)
		case m.Kubeadm:
			refuse("%s carries a control plane: it cannot be removed", l.Name)
		case id != nil && (id.UID != site.Resolved.UID || id.Node != l.Name):
			refuse("%s: the machine at %s belongs to the cluster %q (%s) as %s by now; it is not touched", l.Name, l.Member.Address, id.Cluster, id.UID, id.Node)
		}
	}
	if len(reasons) > 0 {
		return nil, &RefusedError{Reasons: reasons}
	}
	return notes, nil
}
