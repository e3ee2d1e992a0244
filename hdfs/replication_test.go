package hdfs

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/provision"
)

func TestReplicationDiff(t *testing.T) {
	s := replicationStep{Base: provision.Base{Name: "cluster/hdfs/replication"}, want: 2}
	record := func(text string) provision.Object {
		return provision.Object{"data": map[string]any{"clusterID": "nucspark-x", replicationKey: text}}
	}
	for name, tt := range map[string]struct {
		facts map[provision.Query]any
		want  []provision.Change
	}{
		"no API yet":        {map[provision.Query]any{recordQuery: nil}, []provision.Change{{Kind: "HDFS", Key: "replication", Action: provision.Create, New: "2 copies of each block", After: recordStep}}},
		"a new file system": {map[provision.Query]any{recordQuery: provision.Object{}}, []provision.Change{{Kind: "HDFS", Key: "replication", Action: provision.Create, New: "2 copies of each block"}}},
		"the same":          {map[provision.Query]any{recordQuery: record("2")}, nil},
		"another": {map[provision.Query]any{recordQuery: record("1")}, []provision.Change{{Kind: "HDFS", Key: "replication", Action: provision.Update,
			Old: "1 copy of each block", New: "2 copies of each block", Detail: "Files that are there get it, too; those that were written with another number keep theirs."}}},
		"half done": {map[provision.Query]any{recordQuery: record("1 2")}, []provision.Change{{Kind: "HDFS", Key: "replication", Action: provision.Update,
			Old: "1 copy of each block or 2 copies of each block", New: "2 copies of each block", Detail: "Files that are there get it, too; those that were written with another number keep theirs."}}},
	} {
		got, err := s.Diff(provision.NewFacts(tt.facts))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestReplicate(t *testing.T) {
	f, c := newFake(t)
	f.dirs["/a"], f.dirs["/a/b"], f.dirs["/gone"] = true, true, true
	f.copies = map[string]int{}
	var want []string
	for _, dir := range []string{"", "/a", "/a/b"} {
		for _, name := range []string{"one", "two", "three", "four", "five"} {
			f.files[dir+"/"+name] = []byte("x")
			f.copies[dir+"/"+name] = 2
			want = append(want, dir+"/"+name)
		}
		f.files[dir+"/own"], f.copies[dir+"/own"] = []byte("x"), 3
	}
	f.files["/gone/x"], f.copies["/gone/x"] = []byte("x"), 2
	f.vanish = "/gone/x" // after it was listed
	var looked int64
	changed, err := c.As("hdfs").Replicate(t.Context(), []int{2}, 1, func(n int64) { looked = n })
	if err != nil || changed != int64(len(want)) || looked != 22 {
		t.Errorf("%d files changed of %d, %d looked at, %v", changed, len(want), looked, err)
	}
	for name, n := range f.copies {
		if is := slices.Contains(want, name); is != (n == 1) {
			t.Errorf("%s has %d copies", name, n)
		}
	}
	f.files["/forbidden"], f.copies["/forbidden"] = []byte("x"), 2
	if _, err := c.Replicate(t.Context(), []int{2}, 1, func(int64) {}); err == nil {
		t.Error("a file that may not be changed is no error")
	}
}
