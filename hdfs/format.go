package hdfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// workDir is where the namenode's directory is formatted before it is renamed
// into place, inside that directory, so that an interrupted format leaves
// nothing that looks like a file system.
const workDir = ".nucspark-format"

// formatted is the step: the namenode's directory holds the metadata of this
// cluster's file system. It is the guard of all data: see the package's
// documentation for when it formats.
type formatted struct {
	provision.Base
	l *layout
}

func formatStepOf(l *layout, after []string) formatted {
	return formatted{Base: provision.Base{Name: l.control.Name + formatStep, Node: l.control.Name, After: after}, l: l}
}

func (s formatted) current() string { return path.Join(s.l.hdfs.NamenodeDir, "current") }

func (s formatted) dirQuery() provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: s.l.hdfs.NamenodeDir}
}

func (s formatted) currentQuery() provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: s.current()}
}

func (s formatted) versionQuery() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path.Join(s.current(), "VERSION"), Content: true}
}

var recordQuery = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: provision.Namespace, Name: recordMap}

func blocksQuery(node, dir string) provision.DiskQuery {
	return provision.DiskQuery{Node: node, Path: path.Join(dir, blockDir)}
}

// stores are the nodes whose directories can be asked.
func (s formatted) stores() []*inventory.Node {
	return slices.DeleteFunc(slices.Clone(s.l.stores), func(n *inventory.Node) bool { return !s.l.reachable(n) })
}

func (s formatted) copyQuery() (provision.DiskQuery, bool) {
	if s.l.second == nil || !s.l.reachable(s.l.second) {
		return provision.DiskQuery{}, false
	}
	return provision.DiskQuery{Node: s.l.second.Name, Path: s.l.hdfs.CheckpointDir}, true
}

func (s formatted) Reads() []provision.Query {
	reads := []provision.Query{s.dirQuery(), s.currentQuery(), s.versionQuery(), recordQuery}
	for _, n := range s.stores() {
		for _, dir := range n.HDFS.Dirs {
			reads = append(reads, provision.DiskQuery{Node: n.Name, Path: dir}, blocksQuery(n.Name, dir))
		}
	}
	if q, ok := s.copyQuery(); ok {
		reads = append(reads, q)
	}
	return reads
}

// recovery is what to do when the namenode's metadata is gone and the data is
// not.
const recovery = "nothing was changed. If the namenode's disk is not mounted, mount it and run again. If its metadata is lost, stop here: " +
	"the blocks are intact, and the copy in the checkpoint directory of the second machine can be imported (hdfs namenode -importCheckpoint)"

func (s formatted) Diff(f provision.Facts) ([]provision.Change, error) {
	dir, current, version := s.dirQuery().In(f), s.currentQuery().In(f), s.versionQuery().In(f)
	where := fmt.Sprintf("the namenode's directory %s on %s", s.l.hdfs.NamenodeDir, s.Node)
	id := clusterID(s.l.site.Resolved.UID)
	if version.Exists {
		switch is := versionField(version.Content, "clusterID"); {
		case is == "":
			return nil, fmt.Errorf("%s holds a VERSION without a cluster ID; it is damaged: restore it from the checkpoint of the second machine; nothing was changed", where)
		case is != id:
			return nil, fmt.Errorf("%s holds the file system %q, not %q of this cluster; it is left alone: take another directory (hdfs { namenode { dir } }), or bring back the cluster it belongs to", where, is, id)
		case !hasImage(current.Entries):
			return nil, fmt.Errorf("%s holds VERSION but no fsimage; it is damaged: restore it from the checkpoint of the second machine; nothing was changed", where)
		}
		return nil, nil
	}
	if slices.Contains(current.Entries, "VERSION") {
		// It came between the questions: the format of a run that was killed
		// has just ended. Apply asks again, before it does anything.
		return []provision.Change{{Kind: "HDFS", Key: s.l.hdfs.NamenodeDir, Action: provision.Execute, New: "formatted as " + id, Detail: "An earlier run's format has just ended."}}, nil
	}
	if others := slices.DeleteFunc(slices.Clone(dir.Entries), func(e string) bool { return e == "lost+found" || e == workDir }); len(others) > 0 {
		return nil, fmt.Errorf("%s has no current/VERSION and is not empty (%s); it is neither formatted nor started: %s", where, among(others), recovery)
	}
	// It is empty. Everything else must be, too.
	if recordQuery.In(f) != nil {
		return nil, fmt.Errorf("%s is empty, but this cluster has had a file system; it is not formatted again: %s", where, recovery)
	}
	for _, n := range s.stores() {
		for _, d := range n.HDFS.Dirs {
			whole, blocks := provision.DiskQuery{Node: n.Name, Path: d}.In(f), blocksQuery(n.Name, d).In(f)
			others := slices.DeleteFunc(provision.ForeignEntries(whole.Entries), func(e string) bool { return e == blockDir })
			if len(others) > 0 || len(blocks.Entries) > 0 {
				return nil, fmt.Errorf("%s is empty, but %s on %s is not; it is not formatted, because that would make what is there useless: %s", where, d, n.Name, recovery)
			}
		}
	}
	if q, ok := s.copyQuery(); ok {
		if slices.Contains(q.In(f).Entries, "current") {
			return nil, fmt.Errorf("%s is empty, but %s on %s holds a copy of a namenode's metadata; it is not formatted: %s", where, q.Path, q.Node, recovery)
		}
	}
	if missing := s.l.site.Missing(); len(missing) > 0 {
		var names []string
		for _, n := range missing {
			names = append(names, n.Name)
		}
		return nil, fmt.Errorf("%s is not formatted while %s cannot be asked whether there is data: what is unknown counts as not empty; switch it on, or take it out of the inventory", where, among(names))
	}
	if names := s.l.site.Foreign(); len(names) > 0 {
		return nil, fmt.Errorf("%s is not formatted, because %s belongs to the cluster and is not in the inventory, so that it cannot be asked whether there is data; put it back into the inventory", where, among(names))
	}
	c := provision.Change{Kind: "HDFS", Key: s.l.hdfs.NamenodeDir, Action: provision.Execute, New: "formatted as " + id,
		Detail: "A new, empty file system. Every directory of every node answered that it is empty."}
	if !f.Known(recordQuery) {
		c.After = provision.NamespaceReady
		c.Detail = "A new, empty file system, if the cluster has no record of one."
	}
	return []provision.Change{c}, nil
}

// versionField reads a field of Hadoop's VERSION file.
func versionField(content []byte, name string) string {
	for _, line := range strings.Split(string(content), "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return v
		}
	}
	return ""
}

// hasImage looks for an fsimage and its checksum among the entries of current.
// The list ends after 100 names and edits come first: then there has been more
// than a format, and the namenode itself checks.
func hasImage(entries []string) bool {
	return len(entries) >= 100 || slices.ContainsFunc(entries, func(e string) bool {
		return strings.HasPrefix(e, "fsimage_") && slices.Contains(entries, e+".md5")
	})
}

// Apply looks once more, at everything, before it formats.
func (s formatted) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	f, err := env.Read(ctx, s.Reads()...)
	if err != nil {
		return err
	}
	if !f.Known(recordQuery) {
		return &provision.StepError{Node: s.Node, Step: s.Name, Transient: true,
			Err: errors.New("the cluster does not say whether it has had a file system"), Hint: "see why the API server does not answer"}
	}
	changes, err := s.Diff(f)
	if err != nil || len(changes) == 0 {
		return err
	}
	script, err := s.script()
	if err != nil {
		return err
	}
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "hdfs-format", Key: s.l.hdfs.NamenodeDir, After: clusterID(s.l.site.Resolved.UID)}, script)
}

// script formats in a container of its own, which no kubelet knows or starts
// again.
func (s formatted) script() (string, error) {
	core, err := siteXML(coreSite())
	if err != nil {
		return "", err
	}
	hdfs, err := siteXML(append(namenodeAddress(), property{"dfs.namenode.name.dir", "file://" + nameMount + "/" + workDir},
		property{"dfs.permissions.superusergroup", provision.HDFSUser}))
	if err != nil {
		return "", err
	}
	q := provision.Quote
	var b strings.Builder
	fmt.Fprintf(&b, `set -eu
dir=%s id=%s uid=%d image=%s work=%s
`, q(s.l.hdfs.NamenodeDir), q(clusterID(s.l.site.Resolved.UID)), provision.HDFSUID, q(s.l.image), workDir)
	b.WriteString(`name=nucspark-hdfs-format
[ ! -e "$dir/current" ] || { echo "there is a file system already" >&2; exit 1; }
gone() { # what an interrupted run left
	ctr -n k8s.io tasks kill -s KILL $name; ctr -n k8s.io tasks delete -f $name; ctr -n k8s.io containers delete $name
}
gone >/dev/null 2>&1 || true
rm -rf -- "$dir/$work"
conf=$(mktemp -d)
trap 'rm -rf -- "$conf"' EXIT
trap 'exit 143' HUP INT TERM
chmod 0755 "$conf"
`)
	for name, text := range map[string]string{"core-site.xml": core, "hdfs-site.xml": hdfs, "log4j.properties": log4j, "passwd": passwd, "group": group} {
		fmt.Fprintf(&b, "printf '%%s' %s > \"$conf/\"%s\n", q(text), name)
	}
	b.WriteString(`chmod 0644 "$conf"/*
mount() { echo "type=bind,src=$1,dst=$2,options=rbind:$3"; }
ctr -n k8s.io run --rm --user $uid:$uid --cwd / \
	--mount "$(mount "$dir" ` + nameMount + ` rw)" --mount "$(mount "$conf" ` + confMount + ` ro)" \
	--mount "$(mount "$conf/passwd" /etc/passwd ro)" --mount "$(mount "$conf/group" /etc/group ro)" \
	"$image" $name ` + quoteAll(append(java(inventoryHeap, "namenode.NameNode"), "-format", "-nonInteractive", "-clusterid")) + ` "$id"
grep -qx "clusterID=$id" "$dir/$work/current/VERSION"
ls "$dir/$work/current"/fsimage_*.md5 >/dev/null
sync
mv -T -- "$dir/$work/current" "$dir/current"
rmdir -- "$dir/$work"
sync
`)
	return b.String(), nil
}

// inventoryHeap is a limit for a process that holds an empty tree.
const inventoryHeap = 640 * inventory.MiB

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = provision.Quote(w)
	}
	return strings.Join(quoted, " ")
}
