package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"nucspark.io/nucspark/inventory"
)

// adopt finds the cluster whose data lies on machines that belong to none: it
// was taken down, and its data directories stayed. A cluster that is made of
// them takes over its UID, and with it the data. It is "" where there is no
// such data. The places are those of the data, as NODE:PATH.
//
// All that is there must agree, else it is a [RefusedError]: each file
// .nucspark-disk with its own node, path and file system, all of them in the
// UID and in the ID of the file system, and the namenode's metadata and their
// copy in the latter. What that metadata describes must be there, and what
// lies in the directories must be described.
func (f *Fleet) adopt(ctx context.Context, machines map[string]Machine) (uid string, places []string, err error) {
	var disks []adoptedDisk
	var queries []Query
	names := adoptedNames(f.cluster, machines)
	for _, q := range names {
		queries = append(queries, q)
	}
	for _, n := range f.cluster.Nodes {
		if _, ok := machines[n.Name]; !ok {
			continue
		}
		add := func(dir string, hdfs bool) {
			d := adoptedDisk{FileQuery{n.Name, path.Join(dir, Sentinel), true}, DiskQuery{n.Name, dir}, hdfs}
			disks = append(disks, d)
			queries = append(queries, d.file, d.disk)
		}
		if n.HDFS != nil {
			for _, dir := range n.HDFS.Dirs {
				add(dir, true)
			}
		}
		if n.NFS != nil {
			add(n.NFS.Export, false)
		}
	}
	if len(queries) == 0 {
		return "", nil, nil
	}
	facts, err := f.Read(ctx, queries)
	if err != nil {
		return "", nil, err
	}
	uid, places, reasons := agree(disks, names, facts)
	if len(reasons) > 0 {
		return "", nil, &RefusedError{Reasons: reasons}
	}
	return uid, places, nil
}

// adoptedDisk is a data directory that may be one of a cluster that was taken
// down.
type adoptedDisk struct {
	file FileQuery // of its sentinel
	disk DiskQuery
	hdfs bool
}

// adoptedNames ask for the namenode's metadata, and for their copy.
func adoptedNames(c *inventory.Cluster, machines map[string]Machine) []FileQuery {
	var names []FileQuery
	add := func(node, dir string) {
		if _, ok := machines[node]; ok {
			names = append(names, FileQuery{node, path.Join(dir, "current", "VERSION"), true})
		}
	}
	stores := c.Datanodes()
	if len(stores) == 0 {
		return nil
	}
	add(c.ControlPlane().Name, c.HDFS.NamenodeDir)
	for _, n := range stores {
		if n.Name != c.ControlPlane().Name {
			add(n.Name, c.HDFS.CheckpointDir)
			break
		}
	}
	return names
}

// agree compares what is there.
func agree(disks []adoptedDisk, names []FileQuery, f Facts) (uid string, places, reasons []string) {
	refuse := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	hdfs, first, firstHDFS, blocks := "", "", "", ""
	for _, d := range disks {
		file := d.file.In(f)
		if !file.Exists {
			continue
		}
		place := d.disk.Node + ":" + d.disk.Path
		var is Disk
		if err := json.Unmarshal(file.Content, &is); err != nil {
			refuse("%s/%s on %s is damaged (%v); restore it, or take another directory", d.disk.Path, Sentinel, d.disk.Node, err)
			continue
		}
		want := Disk{Cluster: is.Cluster, Node: d.disk.Node, Path: d.disk.Path, Filesystem: d.disk.In(f).UUID, HDFS: is.HDFS}
		if err := want.Match(file.Content); err != nil {
			refuse("%v", err)
			continue
		}
		if d.hdfs != (is.HDFS != "") {
			refuse("%s on %s was not made for what %s is in the inventory: take another directory", d.disk.Path, d.disk.Node, map[bool]string{true: "hdfs", false: "nfs"}[d.hdfs])
			continue
		}
		places = append(places, place)
		switch {
		case uid == "":
			uid, first = is.Cluster, place
		case uid != is.Cluster:
			refuse("%s belongs to the cluster %s and %s to %s: the data of one cluster can be taken over, not that of two; take another directory for one of them", first, uid, place, is.Cluster)
		}
		if !d.hdfs {
			continue
		}
		if others := ForeignEntries(d.disk.In(f).Entries); len(others) > 0 && blocks == "" {
			blocks = place
		}
		switch {
		case hdfs == "":
			hdfs, firstHDFS = is.HDFS, place
		case hdfs != is.HDFS:
			refuse("%s belongs to the file system %s and %s to %s; take another directory for one of them", firstHDFS, hdfs, place, is.HDFS)
		}
	}
	described := false
	for i, q := range names {
		file := q.In(f)
		if !file.Exists {
			continue
		}
		dir := path.Dir(path.Dir(q.Path))
		described = described || i == 0
		switch is := clusterIn(file.Content); {
		case hdfs == "":
			refuse("%s on %s holds the metadata of the file system %q, but no directory of the inventory holds blocks of it: mount their disks, or move that directory away if the data is not needed any more", dir, q.Node, is)
		case is != hdfs:
			refuse("%s on %s holds the metadata of the file system %q, and %s blocks of %q: bring back those that belong together", dir, q.Node, is, firstHDFS, hdfs)
		default:
			places = append(places, q.Node+":"+dir)
		}
	}
	if blocks != "" && !described && len(names) > 0 {
		refuse("%s holds blocks of the file system %q, but its metadata are not in %s on %s: mount the disk they are on, or restore them from the checkpoint directory of the second machine; nothing was changed",
			blocks, hdfs, path.Dir(path.Dir(names[0].Path)), names[0].Node)
	}
	return uid, places, reasons
}

// clusterIn is the ID of the file system in Hadoop's VERSION file.
func clusterIn(version []byte) string {
	for line := range strings.Lines(string(version)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "clusterID="); ok {
			return id
		}
	}
	return ""
}
