package hdfs

import (
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Pages are the web pages of the file system, none when no node stores blocks.
// The namenode's page names datanodes by the addresses of their machines.
func Pages(c *inventory.Cluster) []provision.Page {
	l := newLayout(&provision.Site{Cluster: c})
	if l == nil {
		return nil
	}
	pages := []provision.Page{{
		Name: "hdfs", Node: l.control.Name, Host: NamenodeHost, Port: namenodeHTTP,
		Shows: "HDFS: capacity, datanodes, and the files under Utilities",
	}}
	for _, n := range l.stores {
		pages = append(pages, provision.Page{
			Node: n.Name, Host: n.Address.String(), Port: datanodeHTTP,
			Shows: "HDFS on " + n.Name + ": its datanode's disks and blocks",
		})
	}
	return pages
}

// Parts are what prints logs, none when no node stores blocks.
func Parts(c *inventory.Cluster) []provision.Part {
	l := newLayout(&provision.Site{Cluster: c})
	if l == nil {
		return nil
	}
	parts := []provision.Part{{Name: namenode, App: namenode, Shows: "the namenode of HDFS"}}
	if l.second != nil {
		parts = append(parts, provision.Part{Name: checkpoint, App: checkpoint, Shows: "the second copy of the namenode's metadata"})
	}
	for _, n := range l.stores {
		parts = append(parts, provision.Part{Name: n.Name + "/" + datanode, Node: n.Name, App: datanode, Shows: "the datanode of " + n.Name})
	}
	return parts
}
