package hdfs

import (
	"encoding/json"
	"fmt"
	"path"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Queries are what Health must know.
func Queries(site *provision.Site) []provision.Query {
	l := newLayout(site)
	if l == nil {
		return nil
	}
	queries := []provision.Query{infoQuery, systemQuery}
	if l.second != nil {
		queries = append(queries, copyQuery)
	}
	for _, n := range l.stores {
		if !l.reachable(n) {
			continue
		}
		for _, dir := range n.HDFS.Dirs {
			queries = append(queries, sentinelQuery(n.Name, dir))
		}
	}
	return queries
}

func sentinelQuery(node, dir string) provision.FileQuery {
	return provision.FileQuery{Node: node, Path: path.Join(dir, provision.Sentinel), Content: true}
}

// staleAfter is how long a datanode may be silent: the namenode then calls it
// stale (dfs.namenode.stale.datanode.interval is 30 s), though not yet dead.
const staleAfter = 60 // seconds

// Health says of each part of the file system whether it is healthy.
func Health(site *provision.Site, f provision.Facts) []provision.Health {
	l := newLayout(site)
	if l == nil {
		return nil
	}
	info, infoErr := parseInfo(infoQuery.In(f))
	all := []provision.Health{l.namenodeHealth(info, infoErr, f)}
	if l.second != nil {
		all = append(all, l.checkpointHealth(f))
	}
	for _, n := range l.stores {
		all = append(all, l.datanodeHealth(n, info, infoErr, f))
	}
	return all
}

func (l *layout) namenodeHealth(info namenodeInfo, err error, f provision.Facts) provision.Health {
	h := provision.Health{Component: "hdfs", Name: "namenode", Node: l.control.Name}
	if err != nil {
		h.Reason = err.Error() + "; " + seePods
		return h
	}
	h.Info = map[string]string{"capacity": inventory.Size(info.Total).Human(), "used": inventory.Size(info.Used).Human(), "free": inventory.Size(info.Free).Human(),
		"datanodes": fmt.Sprintf("%d of %d", l.registered(info), len(l.stores)), "version": info.Version}
	var state systemState
	if bean(systemQuery.In(f), &state) == nil {
		h.Info["files"], h.Info["blocks"] = fmt.Sprint(state.Files), fmt.Sprint(state.Blocks)
		h.Info["under_replicated"] = fmt.Sprint(state.UnderReplicated)
	}
	switch {
	case info.Safemode != "":
		h.Reason = "read-only: " + info.Safemode
	case info.MissingBlocks > 0:
		h.Reason = fmt.Sprintf("%d blocks are missing: bring their machines back; nucspark hdfs fsck names the files", info.MissingBlocks)
	default:
		h.OK = true
	}
	return h
}

// registered counts the datanodes of the inventory that the namenode hears. For
// ten minutes it also remembers one that left.
func (l *layout) registered(info namenodeInfo) int {
	n := 0
	for _, s := range l.stores {
		if _, ok := info.live[s.Address.String()]; ok {
			n++
		}
	}
	return n
}

func (l *layout) checkpointHealth(f provision.Facts) provision.Health {
	h := provision.Health{Component: "hdfs", Name: "checkpoint", Node: l.second.Name}
	var c checkpointInfo
	if err := bean(copyQuery.In(f), &c); err != nil {
		h.Reason = "the second copy of the metadata is not kept: " + err.Error() + "; " + seePods
		return h
	}
	// The first copy is made within a period, as is every other.
	age := time.Duration(c.DeltaMs) * time.Millisecond
	made := "the first is made within an hour"
	if c.DeltaMs >= 0 {
		made = age.Round(time.Minute).String() + " ago"
	} else {
		age = time.Since(time.UnixMilli(c.StartTime))
	}
	h.Info = map[string]string{"copy": made}
	if h.OK = age < 3*checkpointPeriod*time.Second; !h.OK {
		h.Reason = fmt.Sprintf("no copy of the metadata was made for %s; nucspark logs %s says why", age.Round(time.Minute), checkpoint)
	}
	return h
}

func (l *layout) datanodeHealth(n *inventory.Node, info namenodeInfo, infoErr error, f provision.Facts) provision.Health {
	h := provision.Health{Component: "hdfs", Name: "datanode " + n.Name, Node: n.Name}
	if !l.reachable(n) {
		h.Reason = "the machine does not answer"
		return h
	}
	for _, dir := range n.HDFS.Dirs {
		if reason := sentinelReason(l.site.Machines[n.Name].Identity, n.Name, dir, sentinelQuery(n.Name, dir).In(f)); reason != "" {
			h.Reason = reason
			return h
		}
	}
	if infoErr != nil {
		h.Reason = "the namenode cannot be asked"
		return h
	}
	d, ok := info.live[n.Address.String()]
	if !ok {
		h.Reason = "not registered with the namenode; " + seePods
		return h
	}
	h.Info = map[string]string{"capacity": inventory.Size(d.Capacity).Human(), "used": inventory.Size(d.Used).Human(), "free": inventory.Size(d.Remaining).Human(),
		"blocks": fmt.Sprint(d.Blocks), "state": d.State, "rack": d.Location}
	switch {
	case d.LastContact > staleAfter:
		h.Reason = fmt.Sprintf("the namenode has heard nothing from it for %d s; %s", d.LastContact, seePods)
	case d.FailedVolumes > 0:
		h.Reason = fmt.Sprintf("%d of its disks failed; its log names them", d.FailedVolumes)
	default:
		h.OK = true
	}
	return h
}

// sentinelReason says why a directory is left out by its datanode, "" when it
// is not.
func sentinelReason(id *provision.Identity, node, dir string, file provision.FileFact) string {
	if !file.Exists {
		return dir + " has no " + provision.Sentinel + " and is left out: is its disk mounted?"
	}
	var is provision.Disk
	if err := json.Unmarshal(file.Content, &is); err != nil {
		return fmt.Sprintf("%s/%s is damaged, so that the directory is left out", dir, provision.Sentinel)
	}
	if id != nil && (is.Cluster != id.UID || is.Node != node || is.Path != dir) {
		return fmt.Sprintf("%s is left out: its %s is that of %s on %s", dir, provision.Sentinel, is.Path, is.Node)
	}
	return ""
}
