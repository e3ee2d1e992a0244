package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// blockDir is where Hadoop keeps blocks, inside a data directory: Hadoop's own
// files and ours do not lie side by side.
const blockDir = "dn"

// diskStep is one data directory of one node: it belongs to hdfs and carries
// its sentinel.
type diskStep struct {
	provision.Base
	site *provision.Site
	dir  string

	accept bool   // its disk may be a new one, as somebody said
	was    string // where it was mounted before, "" if nothing says so
}

func (s diskStep) dirQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.dir}
}

func (s diskStep) diskQuery() provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: s.dir}
}

func (s diskStep) fileQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path.Join(s.dir, provision.Sentinel), Content: true}
}

func nodeQuery(node string) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "Node", Name: node}
}

func (s diskStep) Reads() []provision.Query {
	return []provision.Query{s.dirQuery(), s.diskQuery(), s.fileQuery(), nodeQuery(s.Node)}
}

// want is the sentinel as it should be.
func (s diskStep) want(disk provision.DiskFact) provision.Disk {
	return provision.Disk{Cluster: s.site.Resolved.UID, Node: s.Node, Path: s.dir, Filesystem: disk.UUID, HDFS: clusterID(s.site.Resolved.UID)}
}

func (s diskStep) Diff(f provision.Facts) ([]provision.Change, error) {
	dir, disk, file := s.dirQuery().In(f), s.diskQuery().In(f), s.fileQuery().In(f)
	if dir.Exists && !dir.Mode.IsDir() {
		return nil, fmt.Errorf("%s on %s is not a directory (a link is none either); name the directory itself, or move it away", s.dir, s.Node)
	}
	create := provision.Change{Kind: "disk", Key: s.dir, Action: provision.Create,
		New: fmt.Sprintf("for HDFS, on %s (%s, %s free) mounted at %s", disk.Device, disk.Type, inventory.Size(disk.Free>>20<<20), disk.MountPoint)}
	if file.Exists {
		if err := s.want(disk).Match(file.Content); err != nil {
			return nil, err
		}
		if owned(dir) {
			return nil, nil
		}
		return []provision.Change{{Kind: provision.KindData, Key: s.dir, Action: provision.Update,
			Old: describeDir(dir), New: fmt.Sprintf("0700 %[1]s:%[1]s", provision.HDFSUser)}}, nil
	}
	if others := provision.ForeignEntries(disk.Entries); len(others) > 0 {
		return nil, fmt.Errorf("%s on %s has no %s and is not empty (%s): it is not taken over; take an empty directory, or move what is in it away",
			s.dir, s.Node, provision.Sentinel, among(others))
	}
	if !f.Known(nodeQuery(s.Node)) {
		create.After = provision.ClusterAPI
		return []provision.Change{create}, nil
	}
	if s.accept {
		if err := disk.Mounted(s.Node, s.dir, s.was); err != nil {
			return nil, err
		}
		return []provision.Change{create}, nil
	}
	// What a Node that was not this machine says is of a disk that is gone.
	old := s.site.Replaced(s.Node) && !s.site.Machines[s.Node].Joined
	if !old && slices.Contains(recordedDirs(nodeQuery(s.Node).In(f)), s.dir) {
		return nil, fmt.Errorf("%s on %s holds blocks of this cluster, but it is empty and has no %s now: mount its disk there, or a new one in its place (findmnt and lsblk show what is mounted), "+
			"and run nucspark disk accept %[2]s %[1]s",
			s.dir, s.Node, provision.Sentinel)
	}
	return []provision.Change{create}, nil
}

func (s diskStep) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	f := env.Facts()
	if changes[0].Action == provision.Create && !f.Known(nodeQuery(s.Node)) {
		return &provision.StepError{Node: s.Node, Step: s.Name, Transient: true,
			Err: fmt.Errorf("the cluster does not say whether %s held blocks before", s.dir), Hint: "see why the API server does not answer"}
	}
	n := env.Node(s.Node)
	dir := s.dirQuery().In(f)
	before := ""
	if dir.Exists {
		before = describeDir(dir)
	}
	q := provision.Quote(s.dir)
	// Not recursive: what is in the directory stays as it is.
	err := n.Change(ctx, provision.Entry{Kind: provision.KindData, Key: s.dir, Before: before, After: provision.DataAfter(fmt.Sprintf("0700 %[1]s:%[1]s", provision.HDFSUser), s.diskQuery().In(f))},
		fmt.Sprintf("mkdir -p -- %[1]s && chown -- %[2]d:%[2]d %[1]s && chmod -- 0700 %[1]s", q, provision.HDFSUID))
	if err != nil || changes[0].Action != provision.Create {
		return err
	}
	return n.WriteFile(ctx, provision.Written{Path: s.fileQuery().Path, Content: s.want(s.diskQuery().In(f)).Encode(), Mode: 0o444, Owner: "root", Group: "root"})
}

func owned(dir provision.FileFact) bool {
	is := func(name string) bool { return name == provision.HDFSUser || name == fmt.Sprint(provision.HDFSUID) }
	return dir.Mode.Perm() == 0o700 && is(dir.Owner) && is(dir.Group)
}

func describeDir(dir provision.FileFact) string {
	return fmt.Sprintf("%04o %s:%s", dir.Mode.Perm()&fs.ModePerm, dir.Owner, dir.Group)
}

// recordedDirs are the directories that hold blocks on a Node object.
func recordedDirs(node provision.Object) []string {
	meta, _ := node["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	text, _ := annotations[DirsAnnotation].(string)
	var dirs []string
	if json.Unmarshal([]byte(text), &dirs) != nil {
		return nil // no annotation
	}
	return dirs
}
