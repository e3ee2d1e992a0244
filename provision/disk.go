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
