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
