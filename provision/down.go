package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"nucspark.io/nucspark/inventory"
)

// PrepareDown surveys the machines for being put back, and changes nothing.
// The site has those that belong to this cluster, and what the control plane's
// copy of the record says; the map holds the machines that did not answer. A
// machine of no cluster is in neither. One of another cluster is a
// [RefusedError], and so is one that is not the machine it was. Nothing else
// is asked of a machine here: whatever it is by now, it can be put back.
func (f *Fleet) PrepareDown(ctx context.Context) (*Site, map[string]error, error) {
	return f.prepareDown(ctx, f.cluster.Nodes, map[string]error{})
}

// PrepareDownAgain is PrepareDown for the machines of a site, to be asked once
// they are locked.
func (f *Fleet) PrepareDownAgain(ctx context.Context, site *Site, failed map[string]error) (*Site, map[string]error, error) {
	var nodes []inventory.Node
	for _, n := range site.Reachable() {
		nodes = append(nodes, *n)
	}
	return f.prepareDown(ctx, nodes, failed)
}

func (f *Fleet) prepareDown(ctx context.Context, nodes []inventory.Node, missing map[string]error) (*Site, map[string]error, error) {
	machines, failed := f.survey(ctx, nodes, func(string) {})
	maps.Copy(failed, missing)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	site := &Site{Cluster: f.cluster, Machines: map[string]Machine{}}
	var reasons []string
	for _, n := range f.cluster.Nodes {
		if err := failed[n.Name]; err != nil {
			if !Unreachable(err) {
				reasons = append(reasons, err.Error())
			}
			continue
		}
		m, asked := machines[n.Name]
		id := m.Identity
		if !asked || id == nil {
			continue
		}
		if why := foreign(f.cluster, &n, m, uidOf(site.Machines)); why != nil {
			reasons = append(reasons, why.String())
			continue
		}
		site.Machines[n.Name] = m
		if m.Record != nil {
			site.Resolved, site.Members = m.Record.Cluster, m.Record.Members
		}
	}
	if len(reasons) > 0 {
		return nil, failed, &RefusedError{Reasons: reasons}
	}
	site.Resolved.UID = uidOf(site.Machines)
	return site, failed, nil
}

// DataDirectories are those of a node that hold data, by its ledger and by the
// inventory.
func (s *Site) DataDirectories(node string, ledger []Entry) []string {
	var dirs []string
	add := func(dir string) {
		if dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, o := range Origins(ledger) {
		if o.Kind == KindData {
			add(o.Key)
		}
	}
	if n, ok := s.Cluster.Node(node); ok {
		if n.HDFS != nil {
			for _, dir := range n.HDFS.Dirs {
				add(dir)
			}
		}
		if n.NFS != nil {
			add(n.NFS.Export)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// foreign says why a machine is not that node of this cluster, nil where it is.
// uid is that of the machines before it, "" where there was none.
func foreign(c *inventory.Cluster, n *inventory.Node, m Machine, uid string) *Problem {
	id := m.Identity
	why := func(remedy, format string, args ...any) *Problem {
		return &Problem{Check: CheckCluster, Node: n.Name, Text: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	switch {
	case id.Cluster != c.Name:
		return why("use the file of that cluster, or install this machine anew", "it belongs to the cluster %q, not to %q", id.Cluster, c.Name)
	case uid != "" && id.UID != uid:
		return why("name machines of one cluster only", "it belongs to another cluster of the same name (%s, the others to %s)", id.UID, uid)
	case id.Node != n.Name:
		return why("correct name or address in "+c.File, "the machine at %s is %q of this cluster", n.Address, id.Node)
	case id.MachineID != m.MachineID:
		return why("if it was installed anew, remove "+StateDir+" there", "its machine-id changed from %s to %s", id.MachineID, m.MachineID)
	}
	return nil
}
