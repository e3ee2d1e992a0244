package nfs

import (
	"fmt"

	"nucspark.io/nucspark/provision"
)

// Forget takes out of the cluster the volumes of a node whose machine was
// replaced, where somebody said so by their names: the next up makes them anew.
// Where the export's disk came along, they stay.
func Forget(site *provision.Site, node string) []provision.Step {
	n, ok := site.Cluster.Node(node)
	if !ok || n.NFS == nil {
		return nil
	}
	old := *site
	old.Leaving = []provision.Leaving{{Name: node, Member: site.Members[node]}}
	base := provision.Base{Name: node + "/nfs/volumes", Node: node}
	return []provision.Step{volumesLost{
		volumesLeave{Base: base, site: &old, leaving: old.Leaving[0], first: true, gone: true},
		exportStep{Base: base, site: site, node: n}}}
}

// volumesLost is a step: no volume of the cluster is on a machine that was
// replaced, or its disk is there.
type volumesLost struct {
	volumesLeave
	export exportStep
}

func (s volumesLost) Reads() []provision.Query {
	return append(s.volumesLeave.Reads(), s.export.sentinelQuery(), s.export.diskQuery())
}

func (s volumesLost) Diff(f provision.Facts) ([]provision.Change, error) {
	if file := s.export.sentinelQuery().In(f); file.Exists {
		if err := s.export.sentinel(f).Match(file.Content); err != nil {
			return nil, &provision.RefusedError{Reasons: []string{fmt.Sprintf("%s: %v", s.leaving.Name, err)}}
		}
		return nil, nil
	}
	return s.volumesLeave.Diff(f)
}
