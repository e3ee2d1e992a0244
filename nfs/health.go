package nfs

import (
	"fmt"
	"path"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Queries are what Health needs to know.
func Queries(site *provision.Site) []provision.Query {
	var queries []provision.Query
	for _, n := range site.Reachable() {
		if n.NFS != nil {
			queries = append(queries, unitQuery(site, n), diskQuery(n), sentinelQuery(n))
		}
	}
	for _, v := range site.Cluster.Volumes {
		queries = append(queries, claimQuery(v))
	}
	return queries
}

func unitQuery(site *provision.Site, n *inventory.Node) provision.UnitQuery {
	unit := "nfs-server.service"
	if serverOf(site, n) == ganesha {
		unit = "nfs-ganesha.service"
	}
	return provision.UnitQuery{Node: n.Name, Name: unit}
}

func diskQuery(n *inventory.Node) provision.DiskQuery {
	return provision.DiskQuery{Node: n.Name, Path: n.NFS.Export}
}

func sentinelQuery(n *inventory.Node) provision.FileQuery {
	return provision.FileQuery{Node: n.Name, Path: path.Join(n.NFS.Export, provision.Sentinel)}
}

// Health says of each server whether it runs, and of each volume whether pods
// can have it.
func Health(site *provision.Site, f provision.Facts) []provision.Health {
	var all []provision.Health
	for _, n := range site.Cluster.Exporters() {
		h := provision.Health{Component: "nfs", Name: "server " + n.Name, Node: n.Name}
		if _, ok := site.Machines[n.Name]; !ok {
			h.Reason = "the machine does not answer"
			all = append(all, h)
			continue
		}
		unit, disk := unitQuery(site, n).In(f), diskQuery(n).In(f)
		switch {
		case !disk.Exists:
			h.Reason = fmt.Sprintf("%s does not exist; is its disk mounted?", n.NFS.Export)
		case !sentinelQuery(n).In(f).Exists && unit.Active == "active":
			h.Reason = fmt.Sprintf("%s has no %s; is its disk mounted? What pods write now goes elsewhere", n.NFS.Export, provision.Sentinel)
		case !sentinelQuery(n).In(f).Exists:
			h.Reason = fmt.Sprintf("%s has no %s, so nothing is served; is its disk mounted?", n.NFS.Export, provision.Sentinel)
		case unit.Active != "active":
			h.Reason = fmt.Sprintf("%s is %s; nucspark up starts it", unitQuery(site, n).Name, orAbsent(unit.Active))
		default:
			h.OK = true
			h.Info = map[string]string{"export": n.NFS.Export, "server": serverOf(site, n), "free": inventory.Size(disk.Free).Human()}
		}
		all = append(all, h)
	}
	for _, v := range site.Cluster.Volumes {
		h := provision.Health{Component: "nfs", Name: "volume " + v.Name, Node: v.Node}
		q := claimQuery(v)
		switch phase := phaseOf(q.In(f)); {
		case !f.Known(q):
			h.Reason = "the Kubernetes API does not answer"
		case phase != "Bound":
			h.Reason = fmt.Sprintf("its claim is %s; nucspark kubectl -- -n %s describe pvc %s says why", phase, provision.Namespace, v.Name)
		default:
			h.OK, h.Info = true, map[string]string{"claim": v.Name, "size": v.Size.String()}
		}
		all = append(all, h)
	}
	return all
}

func orAbsent(s string) string {
	if s == "" {
		return "absent"
	}
	return s
}
