package provision

import (
	"reflect"
	"strings"
	"testing"
)

// TestAgree has the data of a cluster that was taken down, and what may be
// wrong with it.
func TestAgree(t *testing.T) {
	disk := func(node, path string, hdfs bool) adoptedDisk {
		return adoptedDisk{FileQuery{node, path + "/" + Sentinel, true}, DiskQuery{node, path}, hdfs}
	}
	names := []FileQuery{{"nuc01", "/names/current/VERSION", true}, {"nuc02", "/copy/current/VERSION", true}}
	a, b, share := disk("nuc02", "/data", true), disk("nuc03", "/data", true), disk("nuc03", "/srv", false)
	disks := []adoptedDisk{a, b, share}
	type facts = map[Query]any
	file := func(d Disk) FileFact { return FileFact{Exists: true, Content: d.Encode()} }
	version := FileFact{Exists: true, Content: []byte("#Sat\nnamespaceID=1\nclusterID=nucspark-u\nstorageType=NAME_NODE\n")}
	good := func() facts {
		return facts{
			a.file: file(Disk{"u", "nuc02", "/data", "f2", "nucspark-u"}), a.disk: DiskFact{Exists: true, UUID: "f2", Entries: []string{Sentinel, "dn"}},
			b.file: file(Disk{"u", "nuc03", "/data", "", "nucspark-u"}), b.disk: DiskFact{Exists: true, Entries: []string{Sentinel, "dn"}},
			share.file: file(Disk{Cluster: "u", Node: "nuc03", Path: "/srv"}), share.disk: DiskFact{Exists: true, Entries: []string{Sentinel, "v"}},
			names[0]: version, names[1]: version,
		}
	}
	uid, places, reasons := agree(disks, names, NewFacts(good()))
	if uid != "u" || len(reasons) > 0 || !reflect.DeepEqual(places, []string{"nuc02:/data", "nuc03:/data", "nuc03:/srv", "nuc01:/names", "nuc02:/copy"}) {
		t.Errorf("%q %q %q", uid, places, reasons)
	}
	for _, c := range []struct {
		name   string
		change func(f facts)
		want   string // of the reason, "" for none
		uid    string
	}{
		{"nothing at all", func(f facts) {
			for q, v := range f {
				switch v.(type) {
				case FileFact:
					f[q] = FileFact{}
				case DiskFact:
					f[q] = DiskFact{}
				}
			}
		}, "", ""},
		{"only a share", func(f facts) {
			f[a.file], f[b.file], f[names[0]], f[names[1]] = FileFact{}, FileFact{}, FileFact{}, FileFact{}
		}, "", "u"},
		{"one disk is off", func(f facts) { f[b.file], f[b.disk] = FileFact{}, DiskFact{} }, "", "u"},
		{"two clusters", func(f facts) { f[share.file] = file(Disk{Cluster: "v", Node: "nuc03", Path: "/srv"}) }, "not that of two", ""},
		{"two file systems", func(f facts) { f[b.file] = file(Disk{"u", "nuc03", "/data", "", "nucspark-v"}) }, "file system nucspark-u and nuc03", ""},
		{"another machine's disk", func(f facts) { f[b.file] = file(Disk{"u", "nuc09", "/data", "", "nucspark-u"}) }, "another machine", ""},
		{"a copied disk", func(f facts) { f[a.disk] = DiskFact{Exists: true, UUID: "other", Entries: []string{"dn"}} }, "replaced or copied", ""},
		{"a share that is to store blocks", func(f facts) { f[b.file] = file(Disk{Cluster: "u", Node: "nuc03", Path: "/data"}) }, "not made for what hdfs", ""},
		{"damaged", func(f facts) { f[a.file] = FileFact{Exists: true, Content: []byte("{")} }, "is damaged", ""},
		{"other metadata", func(f facts) {
			f[names[0]] = FileFact{Exists: true, Content: []byte("clusterID=nucspark-v\n")}
		}, "bring back those that belong together", ""},
		{"metadata alone", func(f facts) { f[a.file], f[b.file] = FileFact{}, FileFact{} }, "no directory of the inventory holds blocks", ""},
		{"blocks without metadata", func(f facts) { f[names[0]] = FileFact{} }, "its metadata are not in /names on nuc01", ""},
		{"directories that were never used", func(f facts) {
			f[names[0]], f[names[1]] = FileFact{}, FileFact{}
			f[a.disk], f[b.disk] = DiskFact{Exists: true, UUID: "f2", Entries: []string{Sentinel}}, DiskFact{Exists: true, Entries: []string{Sentinel}}
		}, "", "u"},
	} {
		f := good()
		c.change(f)
		uid, _, reasons := agree(disks, names, NewFacts(f))
		text := strings.Join(reasons, "\n")
		if c.want == "" && (len(reasons) > 0 || uid != c.uid) || c.want != "" && !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, %s", c.name, uid, text)
		}
	}
}
