package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Sentinel is the name of the file that says what a data directory is. It is
// written once, into an empty directory only, and tells an unmounted disk from
// an empty one.
const Sentinel = ".nucspark-disk"

// Disk is the content of [Sentinel].
type Disk struct {
	Cluster    string `json:"cluster"` // UID
	Node       string `json:"node"`
	Path       string `json:"path"`
	Filesystem string `json:"filesystem"`     // UUID, "" where the file system has none
	HDFS       string `json:"hdfs,omitempty"` // Hadoop's cluster ID, of a directory for blocks
}

// Encode is the text of the file. Scripts compare it byte by byte.
func (d Disk) Encode() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		panic(err) // strings only
	}
	return b.Bytes()
}

// Match says why the file that is there is not that of this place.
func (d Disk) Match(content []byte) error {
	var is Disk
	if err := json.Unmarshal(content, &is); err != nil {
		return fmt.Errorf("%s/%s on %s is damaged (%w); the directory is left alone: restore the file, or take another directory", d.Path, Sentinel, d.Node, err)
	}
	for _, field := range []struct{ what, is, want, remedy string }{
		{"cluster", is.Cluster, d.Cluster, "it is a disk of another cluster: take another directory, or empty this one if nothing on it is needed"},
		{"node", is.Node, d.Node, "it is a disk of another machine: put it back there"},
		{"path", is.Path, d.Path, "it was mounted elsewhere: mount it there again, or correct the inventory"},
		{"file system", is.Filesystem, d.Filesystem, "the disk was replaced or copied: mount the right one"},
		{"HDFS", is.HDFS, d.HDFS, "it belongs to another file system: take another directory"},
	} {
		if field.is != field.want {
			return fmt.Errorf("%s on %s: its %s says %s %q, not %q; %s", d.Path, d.Node, Sentinel, field.what, field.is, field.want, field.remedy)
		}
	}
	return nil
}

// onMount stands in the ledger's entry of a data directory, before the mount
// point of the file system that it lay on.
const onMount = ", on the file system mounted at "

// DataAfter is what the ledger says of a data directory: what was done to it,
// and where it lies. When its disk is gone, nothing else says so.
func DataAfter(what string, disk DiskFact) string { return what + onMount + disk.MountPoint }

// LastMount is the mount point of the file system that a data directory lay on
// when it was last put right, "" where the ledger does not say.
func LastMount(ledger []Entry, dir string) string {
	mount := ""
	for _, e := range ledger {
		if e.Kind != KindData || e.Key != dir || e.Phase != Done {
			continue
		}
		if _, at, ok := strings.Cut(e.After, onMount); ok {
			mount = at
		}
	}
	return mount
}

// Mounted says why a directory that has no [Sentinel] is not one below which a
// new disk was mounted. was is its [LastMount].
func (d DiskFact) Mounted(node, dir, was string) error {
	switch {
	case was != "" && d.MountPoint != was:
		return fmt.Errorf("%s on %s lay on a file system mounted at %s and lies on that of %s (%s) now; nothing is written there: mount the new disk at %[3]s first", dir, node, was, d.MountPoint, d.Device)
	case was == "" && d.MountPoint == "/":
		return fmt.Errorf("%s on %s lies on the system's own disk, and nothing says that it did before; nothing is written there: mount the new disk first", dir, node)
	}
	return nil
}

// ForeignEntries leaves out what a fresh file system and an interrupted write
// of ours leave in a directory.
func ForeignEntries(entries []string) []string {
	var others []string
	for _, e := range entries {
		if e != "lost+found" && e != Sentinel && !strings.HasPrefix(e, ".nucspark-") {
			others = append(others, e)
		}
	}
	return others
}
