package hdfs

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// layout is where the parts of the file system are.
type layout struct {
	site    *provision.Site
	hdfs    *inventory.HDFS
	image   string
	control *inventory.Node   // carries the namenode
	second  *inventory.Node   // carries the second copy; nil with one machine
	stores  []*inventory.Node // nodes with an hdfs block
}

// newLayout returns nil when no node stores blocks.
func newLayout(site *provision.Site) *layout {
	c := site.Cluster
	l := &layout{site: site, hdfs: &c.HDFS, image: provision.ImageName(c.Images.Hadoop), control: c.ControlPlane(), stores: c.Datanodes()}
	if len(l.stores) == 0 {
		return nil
	}
	for _, n := range l.stores {
		if n != l.control {
			l.second = n
			break
		}
	}
	return l
}

// reachable says whether a node answered, so that steps can be made for it.
func (l *layout) reachable(n *inventory.Node) bool {
	_, ok := l.site.Machines[n.Name]
	return ok
}

// diskLists are the distinct lists of directories, in the order of the nodes.
func (l *layout) diskLists() [][]string {
	var lists [][]string
	for _, n := range l.stores {
		if !slices.ContainsFunc(lists, func(dirs []string) bool { return slices.Equal(dirs, n.HDFS.Dirs) }) {
			lists = append(lists, n.HDFS.Dirs)
		}
	}
	return lists
}

// Step names that others in this package need.
const (
	formatStep    = "/hdfs/format" // after the node's name
	recordStep    = "cluster/hdfs/record"
	nodesName     = "cluster/hdfs/nodes"
	answersStep   = "cluster/hdfs/namenode-answers"
	datanodesStep = "cluster/hdfs/datanodes"
)

// Steps returns the steps of the file system, none when no node stores blocks.
func Steps(site *provision.Site) []provision.Step {
	l := newLayout(site)
	if l == nil {
		return nil
	}
	var steps []provision.Step
	add := func(s ...provision.Step) { steps = append(steps, s...) }

	// On the machines.
	users := []*inventory.Node{l.control}
	for _, n := range l.stores {
		if n != l.control && l.reachable(n) {
			users = append(users, n)
		}
	}
	for _, n := range users {
		add(provision.Image{Base: provision.Base{Name: n.Name + "/hdfs/image", Node: n.Name,
			After: []string{provision.NodeImages(n.Name), provision.NodeImages(l.control.Name)}}, Ref: l.image})
	}
	var ready, disks []string // every reachable node; every directory
	for _, n := range site.Reachable() {
		ready = append(ready, provision.NodeReady(n.Name))
	}
	for _, n := range users {
		if n.HDFS == nil {
			continue
		}
		for _, dir := range n.HDFS.Dirs {
			s := diskStep{Base: provision.Base{Name: n.Name + "/hdfs/disk" + dir, Node: n.Name,
				After: []string{provision.NodeBase(n.Name), provision.NodeReady(n.Name)}}, site: site, dir: dir}
			disks = append(disks, s.Name)
			add(s)
		}
	}
	nameDir := provision.Directory{Base: provision.Base{Name: l.control.Name + "/hdfs/namenode-directory", Node: l.control.Name,
		After: []string{provision.NodeBase(l.control.Name)}}, Path: l.hdfs.NamenodeDir, Kind: provision.KindData, Mode: 0o700, Owner: provision.HDFSUser, Group: provision.HDFSUser}
	add(nameDir)
	var copyDir []string
	if l.second != nil && l.reachable(l.second) {
		s := provision.Directory{Base: provision.Base{Name: l.second.Name + "/hdfs/checkpoint-directory", Node: l.second.Name,
			After: []string{provision.NodeBase(l.second.Name)}}, Path: l.hdfs.CheckpointDir, Kind: provision.KindData, Mode: 0o700, Owner: provision.HDFSUser, Group: provision.HDFSUser}
		copyDir = []string{s.Name}
		add(s)
	}
	format := formatStepOf(l, append(append([]string{nameDir.Name, l.control.Name + "/hdfs/image", provision.NamespaceReady}, disks...), copyDir...))
	add(format)

	// In the cluster.
	add(object("record", configMap(recordMap, namenode, map[string]string{"clusterID": clusterID(site.Resolved.UID)}), format.Name))
	add(nodesStepOf(l, append([]string{provision.NamespaceReady}, ready...)))
	add(object("config-namenode", configMap("hdfs-namenode", namenode, namenodeFiles(site.Resolved.Replication))))
	add(object("config-datanode", configMap("hdfs-datanode", datanode, datanodeFiles(l.hdfs.Reserve))))
	add(object("service-namenode", service(namenode, map[string]int32{"rpc": namenodeRPC, "http": namenodeHTTP})))
	add(object("service-datanode", service(datanode, map[string]int32{"data": datanodeData, "http": datanodeHTTP, "ipc": datanodeIPC})))
	add(object("namenode", l.namenodeSet(), recordStep, nodesName, "cluster/hdfs/config-namenode", "cluster/hdfs/service-namenode",
		provision.NodeReady(l.control.Name), provision.ClusterNetwork))
	add(l.namenodeAnswers())
	if l.second != nil {
		add(object("config-checkpoint", configMap("hdfs-checkpoint", checkpoint, checkpointFiles())))
		add(object("service-checkpoint", service(checkpoint, map[string]int32{"http": checkpointHTTP})))
		copies := object("checkpoint", l.checkpointSet(), append(copyDir, "cluster/hdfs/config-checkpoint", "cluster/hdfs/service-checkpoint", answersStep)...)
		add(copies)
		if l.reachable(l.second) {
			add(checkpointReady(copies.ID()))
		}
	}
	var sets []string
	for _, dirs := range l.diskLists() {
		name := datanode + "-" + disksOf(dirs)
		after := []string{"cluster/hdfs/config-datanode", "cluster/hdfs/service-datanode", answersStep}
		// Each set replaces its pods one by one. So that there is one at a time
		// in all, a set waits for the one before it.
		if len(sets) > 0 && len(site.Members) > 0 && site.Whole() {
			before := l.diskLists()[len(sets)-1]
			wait := l.rolledOut(before, sets[len(sets)-1])
			after = append(after, wait.ID())
			add(wait)
		}
		sets = append(sets, "cluster/hdfs/"+name)
		add(object(name, l.datanodeSet(dirs), after...))
	}
	var labelled []string
	one := "" // the last node whose datanode may run already: their directories change one after the other
	for _, n := range users {
		if n.HDFS == nil {
			continue
		}
		s := labelStep{Base: provision.Base{Name: n.Name + "/hdfs/label", Node: n.Name, After: []string{recordStep, nodesName, n.Name + "/hdfs/image"}}, layout: l, dirs: n.HDFS.Dirs}
		for _, dir := range n.HDFS.Dirs {
			s.After = append(s.After, n.Name+"/hdfs/disk"+dir)
		}
		if _, member := site.Members[n.Name]; member {
			s.After = append(s.After, "cluster/hdfs/"+datanode+"-"+disksOf(n.HDFS.Dirs))
			if one != "" {
				s.After = append(s.After, one)
			}
			one = s.Name
		}
		if site.Replaced(n.Name) {
			forgotten := l.oldForgotten(n)
			s.After = append(s.After, forgotten.ID())
			add(forgotten)
		}
		labelled = append(labelled, s.Name)
		add(s)
	}
	add(leavingStep{Base: provision.Base{Name: "cluster/hdfs/leaving", After: []string{provision.NamespaceReady}}, site: site})
	add(l.datanodesReady(slices.Concat(labelled, sets)))
	add(replicationStep{Base: provision.Base{Name: "cluster/hdfs/replication", After: []string{datanodesStep, recordStep}}, want: site.Resolved.Replication, whole: site.Whole()})
	add(directoriesStep{Base: provision.Base{Name: "cluster/hdfs/directories", After: []string{answersStep}}})
	add(provision.Milestone{Name: provision.HDFSNames, After: []string{"cluster/hdfs/directories"}})
	service := serviceStep{provision.Base{Name: "cluster/hdfs/in-service", After: []string{datanodesStep, nodesName}}, l}
	add(service)
	last := []string{provision.HDFSNames, service.Name, "cluster/hdfs/leaving"}
	if l.second != nil {
		last = append(last, "cluster/hdfs/checkpoint")
	}
	add(provision.Milestone{Name: provision.HDFSReady, After: last})
	return steps
}

func sorted(seq iter.Seq[string]) []string { return slices.Sorted(seq) }

// among lists names for a sentence, at most five.
func among(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}
