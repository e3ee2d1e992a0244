package nfs

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// exportStep is the exported directory of one node: it exists and carries its
// sentinel, so that an unmounted disk is not taken for an empty one. What lies
// in it is never touched.
type exportStep struct {
	provision.Base
	site *provision.Site
	node *inventory.Node

	accept bool     // its disk may be a new one, as somebody said
	was    string   // where it was mounted before, "" if nothing says so
	lose   []string // volumes whose files may be gone with the old one
}

func (s exportStep) dirQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.node.NFS.Export}
}

func (s exportStep) diskQuery() provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: s.node.NFS.Export}
}

func (s exportStep) sentinelQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path.Join(s.node.NFS.Export, provision.Sentinel), Content: true}
}

// volumes are the volumes that the cluster has on this node.
func (s exportStep) volumes() []provision.LiveQuery {
	var queries []provision.LiveQuery
	for _, v := range s.site.Cluster.Volumes {
		if v.Node == s.Node {
			queries = append(queries, provision.LiveQuery{APIVersion: "v1", Kind: "PersistentVolume", Name: volumeName(v)})
		}
	}
	return queries
}

// ownersList asks for what the machine's owner exports.
func (s exportStep) ownersList() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: "/etc/exports", Content: true}
}

func (s exportStep) Reads() []provision.Query {
	reads := []provision.Query{s.dirQuery(), s.diskQuery(), s.sentinelQuery(), s.ownersList()}
	for _, q := range s.volumes() {
		reads = append(reads, q)
	}
	return reads
}

func (s exportStep) sentinel(f provision.Facts) provision.Disk {
	return provision.Disk{Cluster: s.site.Resolved.UID, Node: s.Node, Path: s.node.NFS.Export, Filesystem: s.diskQuery().In(f).UUID}
}

func (s exportStep) Diff(f provision.Facts) ([]provision.Change, error) {
	dir, disk, file := s.dirQuery().In(f), s.diskQuery().In(f), s.sentinelQuery().In(f)
	where := fmt.Sprintf("%s on %s", s.node.NFS.Export, s.Node)
	if dir.Exists && !dir.Mode.IsDir() {
		return nil, fmt.Errorf("%s is not a directory (a link is none either); name the directory itself, or move it away", where)
	}
	if serverOf(s.site, s.node) == kernel && exportedBy(s.ownersList().In(f).Content, s.node.NFS.Export) {
		return nil, fmt.Errorf("/etc/exports on %s has %s already, and one directory cannot be exported by two lists: take it out there, or name another directory",
			s.Node, s.node.NFS.Export)
	}
	if file.Exists {
		return nil, s.sentinel(f).Match(file.Content)
	}
	if others := provision.ForeignEntries(disk.Entries); len(others) > 0 {
		return nil, fmt.Errorf("%s has no %s and is not empty (%s): it is not taken over; take an empty directory, or move what is in it away",
			where, provision.Sentinel, strings.Join(others[:min(len(others), 3)], ", "))
	}
	for _, q := range s.volumes() {
		if !f.Known(q) && s.site.Machines[s.site.Cluster.ControlPlane().Name].Kubeadm {
			return nil, fmt.Errorf("%s is empty, and the cluster does not say whether it held volumes before; see why the API server does not answer", where)
		}
		if name := strings.TrimPrefix(q.Name, volumePrefix); q.In(f) != nil && s.accept {
			if !slices.Contains(s.lose, name) {
				return nil, fmt.Errorf("%s held the volume %s, whose files are not there: mount its old disk, or let it begin empty with --lose-volume %[2]s", where, name)
			}
		} else if q.In(f) != nil {
			return nil, fmt.Errorf("%s holds volumes of this cluster, but it is empty and has no %s now: mount its disk there (findmnt and lsblk show what is mounted) and run again; "+
				"if its disk was replaced, mount the new one and run nucspark disk accept %s %s",
				where, provision.Sentinel, s.Node, s.node.NFS.Export)
		}
	}
	if s.accept {
		if err := disk.Mounted(s.Node, s.node.NFS.Export, s.was); err != nil {
			return nil, err
		}
	}
	return []provision.Change{{Kind: "export directory", Key: s.node.NFS.Export, Action: provision.Create,
		New: fmt.Sprintf("on %s (%s) mounted at %s", disk.Device, disk.Type, disk.MountPoint)}}, nil
}

// exportedBy says whether a list in the form of exports(5) has a directory.
func exportedBy(list []byte, dir string) bool {
	for _, line := range strings.Split(string(list), "\n") {
		line = strings.TrimSpace(line)
		path, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			path, _, _ = strings.Cut(quoted, `"`)
		}
		path = strings.NewReplacer(`\040`, " ", `\042`, `"`, `\043`, "#", `\134`, `\`).Replace(path)
		if len(path) > 1 {
			path = strings.TrimSuffix(path, "/")
		}
		if path == dir {
			return true
		}
	}
	return false
}

func (s exportStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	n := env.Node(s.Node)
	before := ""
	if s.dirQuery().In(env.Facts()).Exists {
		before = "exists"
	}
	err := n.Change(ctx, provision.Entry{Kind: provision.KindData, Key: s.node.NFS.Export, Before: before, After: provision.DataAfter("exists", s.diskQuery().In(env.Facts()))},
		"mkdir -p -- "+provision.Quote(s.node.NFS.Export))
	if err != nil {
		return err
	}
	return n.WriteFile(ctx, provision.Written{Path: s.sentinelQuery().Path, Content: s.sentinel(env.Facts()).Encode(), Mode: 0o444, Owner: "root", Group: "root"})
}
