package hdfs

import (
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// The guard of all data: a namenode is formatted when everything is known to
// be empty, and never else.
func TestFormat(t *testing.T) {
	const nameDir, copyDir, disk = "/var/lib/nucspark/namenode", "/var/lib/nucspark/checkpoint", "/data/hdfs"
	version := func(id string) provision.FileFact {
		return provision.FileFact{Exists: true, Content: []byte("#Sat Nov 21\nnamespaceID=1\nclusterID=" + id + "\nstorageType=NAME_NODE\n")}
	}
	ours := clusterID(uid)
	image := []string{"VERSION", "fsimage_0000000000000000000", "fsimage_0000000000000000000.md5", "seen_txid"}
	edits := make([]string, 100)
	for i := range edits {
		edits[i] = "edits_" + strings.Repeat("0", i)
	}
	record := provision.Object{"data": map[string]any{"clusterID": ours}}
	type state struct {
		name, current        []string // entries
		version              provision.FileFact
		disk2, disk3         []string // entries of the datanodes' directories
		blocks2, blocks3     []string
		copy                 []string
		record               provision.Object
		unreachable, foreign string
	}
	for name, tt := range map[string]struct {
		is   state
		want provision.Action
		err  string
	}{
		"all empty":                             {state{}, provision.Execute, ""},
		"fresh disks":                           {state{name: []string{"lost+found"}, disk2: []string{"lost+found", provision.Sentinel}, disk3: []string{provision.Sentinel, "dn"}}, provision.Execute, ""},
		"interrupted format":                    {state{name: []string{workDir}}, provision.Execute, ""},
		"formatted":                             {state{name: []string{"current"}, current: image, version: version(ours), record: record}, "", ""},
		"formatted, not recorded yet":           {state{name: []string{"current"}, current: image, version: version(ours)}, "", ""},
		"formatted, with data":                  {state{name: []string{"current", "in_use.lock"}, current: image, version: version(ours), blocks2: []string{"current"}, record: record}, "", ""},
		"formatted, many edits":                 {state{name: []string{"current"}, current: edits, version: version(ours), record: record}, "", ""},
		"formatted, a node is off":              {state{name: []string{"current"}, current: image, version: version(ours), record: record, unreachable: "nuc03"}, "", ""},
		"another cluster's":                     {state{name: []string{"current"}, current: image, version: version("CID-1")}, "", `holds the file system "CID-1"`},
		"VERSION without an ID":                 {state{name: []string{"current"}, current: image, version: provision.FileFact{Exists: true, Content: []byte("x=y\n")}}, "", "without a cluster ID"},
		"VERSION without an image":              {state{name: []string{"current"}, current: []string{"VERSION", "seen_txid"}, version: version(ours)}, "", "no fsimage"},
		"image without its sum":                 {state{name: []string{"current"}, current: image[:2], version: version(ours)}, "", "no fsimage"},
		"current without VERSION":               {state{name: []string{"current"}, current: image[1:]}, "", "not empty (current)"},
		"formatted between the questions":       {state{name: []string{"current"}, current: image}, provision.Execute, ""},
		"only a lock":                           {state{name: []string{"in_use.lock"}}, "", "not empty (in_use.lock)"},
		"somebody's files":                      {state{name: []string{"photos"}}, "", "not empty (photos)"},
		"lost, recorded":                        {state{record: record}, "", "has had a file system"},
		"lost, recorded, interrupted":           {state{name: []string{workDir}, record: record}, "", "has had a file system"},
		"lost, blocks on the first":             {state{disk2: []string{provision.Sentinel, "dn"}, blocks2: []string{"current"}}, "", "/data/hdfs on nuc02 is not"},
		"lost, blocks on the second":            {state{disk3: []string{provision.Sentinel, "dn"}, blocks3: []string{"in_use.lock"}}, "", "/data/hdfs on nuc03 is not"},
		"lost, something else on a disk":        {state{disk3: []string{provision.Sentinel, "photos"}}, "", "/data/hdfs on nuc03 is not"},
		"lost, copy on the second machine":      {state{copy: []string{"current", "in_use.lock"}}, "", "holds a copy"},
		"empty, a node is off":                  {state{unreachable: "nuc03"}, "", "while nuc03 cannot be asked"},
		"empty, a member is not in the file":    {state{foreign: "nuc09"}, "", "nuc09 belongs to the cluster"},
		"lost, blocks, and another node is off": {state{blocks2: []string{"current"}, unreachable: "nuc03"}, "", "/data/hdfs on nuc02 is not"},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite([]string{disk}, []string{disk})
			if tt.is.unreachable != "" {
				delete(site.Machines, tt.is.unreachable)
			}
			if tt.is.foreign != "" {
				site.Members = map[string]provision.Member{"nuc01": {}, tt.is.foreign: {}}
			}
			s := formatStepOf(newLayout(site), nil)
			answers := map[provision.Query]any{
				s.dirQuery():     provision.DiskFact{Exists: true, Entries: tt.is.name},
				s.currentQuery(): provision.DiskFact{Exists: tt.is.current != nil, Entries: tt.is.current},
				s.versionQuery(): tt.is.version,
				recordQuery:      tt.is.record,
			}
			dirs := func(node string, entries, blocks []string) {
				answers[provision.DiskQuery{Node: node, Path: disk}] = provision.DiskFact{Exists: true, Entries: entries}
				answers[blocksQuery(node, disk)] = provision.DiskFact{Exists: blocks != nil, Entries: blocks}
			}
			dirs("nuc02", tt.is.disk2, tt.is.blocks2)
			answers[provision.DiskQuery{Node: "nuc02", Path: copyDir}] = provision.DiskFact{Exists: true, Entries: tt.is.copy}
			if tt.is.unreachable != "nuc03" {
				dirs("nuc03", tt.is.disk3, tt.is.blocks3)
			}
			for _, q := range s.Reads() {
				if q.On() == tt.is.unreachable && q.On() != "" {
					t.Errorf("asks %s, which does not answer", q.Key())
				}
			}
			check(t, s, provision.NewFacts(answers), tt.want, tt.err)
			if tt.err != "" && strings.Contains(tt.err, "is not") {
				_, err := s.Diff(provision.NewFacts(answers))
				if !strings.Contains(err.Error(), "mount it and run again") {
					t.Errorf("the error does not say what to do: %v", err)
				}
			}
		})
	}
}
