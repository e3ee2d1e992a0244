package hdfs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Sentinel is the name of the file that says what a data directory is.
const Sentinel = ".nucspark-disk"

// Disk is the content of [Sentinel].
type Disk struct {
	Cluster    string `json:"cluster"` // UID
	Node       string `json:"node"`
	Path       string `json:"path"`
	Filesystem string `json:"filesystem"` // UUID, "" where the file system has none
	HDFS       string `json:"hdfs"`       // Hadoop's cluster ID
}

// blockDir is where Hadoop keeps blocks, inside a data directory: Hadoop's own
// files and ours do not lie side by side.
const blockDir = "dn"

// diskStep is one data directory of one node: it belongs to hdfs and carries
// its sentinel.
type diskStep struct {
	provision.Base
	site *provision.Site
	dir  string
}

func (s diskStep) dirQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.dir}
}

func (s diskStep) diskQuery() provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: s.dir}
}

func (s diskStep) fileQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path.Join(s.dir, Sentinel), Content: true}
}

func nodeQuery(node string) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "Node", Name: node}
}

func (s diskStep) Reads() []provision.Query {
	return []provision.Query{s.dirQuery(), s.diskQuery(), s.fileQuery(), nodeQuery(s.Node)}
}

// want is the sentinel as it should be.
func (s diskStep) want(disk provision.DiskFact) Disk {
	return Disk{Cluster: s.site.Resolved.UID, Node: s.Node, Path: s.dir, Filesystem: disk.UUID, HDFS: clusterID(s.site.Resolved.UID)}
}

func (s diskStep) Diff(f provision.Facts) ([]provision.Change, error) {
	dir, disk, file := s.dirQuery().In(f), s.diskQuery().In(f), s.fileQuery().In(f)
	if dir.Exists && !dir.Mode.IsDir() {
		return nil, fmt.Errorf("%s on %s is not a directory (a link is none either); name the directory itself, or move it away", s.dir, s.Node)
	}
	create := provision.Change{Kind: "disk", Key: s.dir, Action: provision.Create,
		New: fmt.Sprintf("for HDFS, on %s (%s, %s free) mounted at %s", disk.Device, disk.Type, inventory.Size(disk.Free>>20<<20), disk.MountPoint)}
	if file.Exists {
		if err := s.matches(file.Content, disk); err != nil {
			return nil, err
		}
		if owned(dir) {
			return nil, nil
		}
		return []provision.Change{{Kind: "directory", Key: s.dir, Action: provision.Update,
			Old: describeDir(dir), New: fmt.Sprintf("0700 %[1]s:%[1]s", provision.HDFSUser)}}, nil
	}
	if others := foreign(disk.Entries); len(others) > 0 {
		return nil, fmt.Errorf("%s on %s has no %s and is not empty (%s): it is not taken over; take an empty directory, or move what is in it away",
			s.dir, s.Node, Sentinel, among(others))
	}
	if !f.Known(nodeQuery(s.Node)) {
		create.After = provision.ClusterAPI
		return []provision.Change{create}, nil
	}
	if slices.Contains(recordedDirs(nodeQuery(s.Node).In(f)), s.dir) {
		return nil, fmt.Errorf("%s on %s holds blocks of this cluster, but it is empty and has no %s now: mount its disk there (findmnt and lsblk show what is mounted) and run again",
			s.dir, s.Node, Sentinel)
	}
	return []provision.Change{create}, nil
}

// matches says why a sentinel is not that of this place.
func (s diskStep) matches(content []byte, disk provision.DiskFact) error {
	var is Disk
	if err := json.Unmarshal(content, &is); err != nil {
		return fmt.Errorf("%s/%s on %s is damaged (%w); the directory is left alone: restore the file, or take another directory", s.dir, Sentinel, s.Node, err)
	}
	want := s.want(disk)
	for _, field := range []struct{ what, is, want, remedy string }{
		{"cluster", is.Cluster, want.Cluster, "it is a disk of another cluster: take another directory, or empty this one if nothing on it is needed"},
		{"node", is.Node, want.Node, "it is a disk of another machine: put it back there"},
		{"path", is.Path, want.Path, "it was mounted elsewhere: mount it there again, or correct the inventory"},
		{"file system", is.Filesystem, want.Filesystem, "the disk was replaced or copied: mount the right one"},
		{"HDFS", is.HDFS, want.HDFS, "it belongs to another file system: take another directory"},
	} {
		if field.is != field.want {
			return fmt.Errorf("%s on %s: its %s says %s %q, not %q; %s", s.dir, s.Node, Sentinel, field.what, field.is, field.want, field.remedy)
		}
	}
	return nil
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
	err := n.Change(ctx, provision.Entry{Kind: "directory", Key: s.dir, Before: before, After: fmt.Sprintf("0700 %[1]s:%[1]s", provision.HDFSUser)},
		fmt.Sprintf("mkdir -p -- %[1]s && chown -- %[2]d:%[2]d %[1]s && chmod -- 0700 %[1]s", q, provision.HDFSUID))
	if err != nil || changes[0].Action != provision.Create {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // datanode.sh compares the text
	enc.SetIndent("", "  ")
	if err := enc.Encode(s.want(s.diskQuery().In(f))); err != nil {
		return err
	}
	return n.WriteFile(ctx, provision.Written{Path: s.fileQuery().Path, Content: b.Bytes(), Mode: 0o444, Owner: "root", Group: "root"})
}

func owned(dir provision.FileFact) bool {
	is := func(name string) bool { return name == provision.HDFSUser || name == fmt.Sprint(provision.HDFSUID) }
	return dir.Mode.Perm() == 0o700 && is(dir.Owner) && is(dir.Group)
}

func describeDir(dir provision.FileFact) string {
	return fmt.Sprintf("%04o %s:%s", dir.Mode.Perm()&fs.ModePerm, dir.Owner, dir.Group)
}

// foreign leaves out what a fresh file system and an interrupted write of ours
// leave in a directory.
func foreign(entries []string) []string {
	var others []string
	for _, e := range entries {
		if e != "lost+found" && e != Sentinel && !strings.HasPrefix(e, ".nucspark-") {
			others = append(others, e)
		}
	}
	return others
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
