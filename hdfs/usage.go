package hdfs

import (
	"cmp"
	"slices"

	"nucspark.io/nucspark/provision"
)

// redundancyQuery asks for what the namenode counts of blocks alone.
var redundancyQuery = page(namenode+"-0", namenodeHTTP, "NameNode,name=ReplicatedBlocksState")

// blocksState is the bean ReplicatedBlocksState (ReplicatedBlocksMBean).
type blocksState struct {
	Corrupt int64 `json:"CorruptReplicatedBlocks"`
}

// UsageQueries are what Storage must know. [Queries] asks for the same and more,
// but for one.
func UsageQueries(site *provision.Site) []provision.Query {
	if newLayout(site) == nil {
		return nil
	}
	return []provision.Query{infoQuery, systemQuery, redundancyQuery}
}

// Storage is the file system in numbers, nil while the namenode does not answer
// and where there is none.
func Storage(site *provision.Site, f provision.Facts) *provision.Storage {
	l := newLayout(site)
	if l == nil {
		return nil
	}
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		return nil
	}
	s := &provision.Storage{Capacity: info.Total, Used: info.Used, Free: info.Free, ReadOnly: info.Safemode, Missing: info.MissingBlocks}
	var system systemState
	if bean(systemQuery.In(f), &system) == nil {
		s.Files, s.Blocks = system.Files, system.Blocks
		// The namenode counts those without any copy among them.
		s.UnderReplicated = max(system.UnderReplicated-info.MissingBlocks, 0)
	}
	var blocks blocksState
	if bean(redundancyQuery.In(f), &blocks) == nil {
		s.Corrupt = blocks.Corrupt
	}
	for address, d := range info.live {
		if d.State == hasLeft {
			continue
		}
		s.Live++
		if d.State == isLeaving {
			s.Leaving = append(s.Leaving, provision.StoreLeaving{Name: l.nameAt(address), Left: info.leaving[address].Left})
		}
	}
	for address, d := range info.dead {
		if !d.Decommissioned {
			s.Dead = append(s.Dead, l.nameAt(address))
		}
	}
	slices.Sort(s.Dead)
	slices.SortFunc(s.Leaving, func(a, b provision.StoreLeaving) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// nameAt is the name of the machine with an address, which is the address
// itself where the file has none.
func (l *layout) nameAt(address string) string {
	for _, n := range l.site.Cluster.Nodes {
		if n.Address.String() == address {
			return n.Name
		}
	}
	return address
}
