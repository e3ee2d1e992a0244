package hdfs

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// sentinelFile is a .nucspark-disk with some fields changed.
func sentinelFile(change func(*provision.Disk)) provision.FileFact {
	d := provision.Disk{Cluster: uid, Node: "nuc02", Path: "/data/hdfs", Filesystem: "11-22", HDFS: clusterID(uid)}
	change(&d)
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic(err)
	}
	return provision.FileFact{Exists: true, Mode: 0o444, Owner: "root", Group: "root", Content: b}
}

func nodeObject(name string, dirs ...string) provision.Object {
	o := provision.Object{"metadata": map[string]any{"name": name, "labels": map[string]any{}, "annotations": map[string]any{}}}
	if len(dirs) > 0 {
		b, err := json.Marshal(dirs)
		if err != nil {
			panic(err)
		}
		meta := o["metadata"].(map[string]any)
		meta["labels"] = map[string]any{DisksLabel: disksOf(dirs)}
		meta["annotations"] = map[string]any{DirsAnnotation: string(b)}
	}
	return o
}

func TestDisk(t *testing.T) {
	ours := provision.FileFact{Exists: true, Mode: fs.ModeDir | 0o700, Owner: "hdfs", Group: "hdfs"}
	roots := provision.FileFact{Exists: true, Mode: fs.ModeDir | 0o755, Owner: "root", Group: "root"}
	right := sentinelFile(func(*provision.Disk) {})
	none := provision.FileFact{}
	holds := func(entries ...string) []string { return entries }
	for name, tt := range map[string]struct {
		dir     provision.FileFact
		entries []string
		file    provision.FileFact
		node    any
		want    provision.Action // "" for none
		err     string
	}{
		"not there":                   {dir: provision.FileFact{}, want: provision.Create},
		"empty":                       {dir: roots, want: provision.Create},
		"fresh file system":           {dir: roots, entries: holds("lost+found"), want: provision.Create},
		"interrupted before":          {dir: ours, entries: holds(".nucspark-1f2e3d"), want: provision.Create},
		"holds":                       {dir: ours, entries: holds(provision.Sentinel, "dn"), file: right, node: nodeObject("nuc02", "/data/hdfs")},
		"owner changed":               {dir: roots, entries: holds(provision.Sentinel, "dn"), file: right, want: provision.Update},
		"somebody's files":            {dir: roots, entries: holds("photos"), err: "not empty (photos)"},
		"somebody's files, many":      {dir: roots, entries: holds("a", "b", "c", "d", "e", "f", "g"), err: "and 2 more"},
		"blocks without sentinel":     {dir: ours, entries: holds("dn"), err: "not empty (dn)"},
		"unmounted":                   {dir: roots, node: nodeObject("nuc02", "/data/hdfs"), err: "mount its disk"},
		"unmounted, not even there":   {dir: none, node: nodeObject("nuc02", "/data/hdfs"), err: "mount its disk"},
		"new beside an old one":       {dir: roots, node: nodeObject("nuc02", "/data/other"), want: provision.Create},
		"a file":                      {dir: provision.FileFact{Exists: true, Mode: 0o644}, err: "not a directory"},
		"a link":                      {dir: provision.FileFact{Exists: true, Mode: fs.ModeSymlink | 0o777}, err: "not a directory"},
		"disk of another cluster":     {dir: ours, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.Cluster = "other" }), err: "disk of another cluster"},
		"disk of another node":        {dir: ours, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.Node = "nuc03" }), err: "disk of another machine"},
		"mounted elsewhere":           {dir: ours, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.Path = "/mnt/a" }), err: "mounted elsewhere"},
		"another file system":         {dir: ours, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.Filesystem = "33-44" }), err: "replaced or copied"},
		"another HDFS":                {dir: ours, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.HDFS = "CID-1" }), err: "another file system"},
		"damaged sentinel":            {dir: ours, entries: holds(provision.Sentinel), file: provision.FileFact{Exists: true, Content: []byte(`{"clus`)}, err: "damaged"},
		"foreign sentinel, empty dir": {dir: roots, entries: holds(provision.Sentinel), file: sentinelFile(func(d *provision.Disk) { d.Cluster = "other" }), err: "disk of another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			s := diskStep{Base: provision.Base{Name: "nuc02/hdfs/disk/data/hdfs", Node: "nuc02"}, site: testSite([]string{"/data/hdfs"}), dir: "/data/hdfs"}
			node, _ := tt.node.(provision.Object)
			f := provision.NewFacts(map[provision.Query]any{
				s.dirQuery():       tt.dir,
				s.fileQuery():      tt.file,
				s.diskQuery():      provision.DiskFact{Exists: tt.dir.Exists, Entries: tt.entries, UUID: "11-22", Device: "/dev/sda1", Type: "ext4", MountPoint: "/data", Free: 1 << 40},
				nodeQuery("nuc02"): node,
			})
			check(t, s, f, tt.want, tt.err)
		})
	}
}

// check diffs a step and compares the first change or the error.
func check(t *testing.T, s provision.Step, f provision.Facts, want provision.Action, wantErr string) {
	t.Helper()
	changes, err := s.Diff(f)
	switch {
	case wantErr != "":
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("error is %v, want one with %q; changes %v", err, wantErr, changes)
		}
	case err != nil:
		t.Errorf("error is %v", err)
	case want == "" && len(changes) > 0:
		t.Errorf("changes %v, want none", changes)
	case want != "" && (len(changes) != 1 || changes[0].Action != want):
		t.Errorf("changes %v, want one to %s", changes, want)
	}
}

func TestLabel(t *testing.T) {
	for name, tt := range map[string]struct {
		node provision.Object
		want provision.Action
		err  string
	}{
		"new":      {node: nodeObject("nuc02"), want: provision.Update},
		"holds":    {node: nodeObject("nuc02", "/data/a", "/data/b")},
		"one more": {node: nodeObject("nuc02", "/data/a"), want: provision.Update},
	} {
		t.Run(name, func(t *testing.T) {
			s := labelStep{Base: provision.Base{Name: "nuc02/hdfs/label", Node: "nuc02"}, dirs: []string{"/data/a", "/data/b"}}
			check(t, s, provision.NewFacts(map[provision.Query]any{nodeQuery("nuc02"): tt.node}), tt.want, tt.err)
		})
	}
}

func TestLeaving(t *testing.T) {
	for name, tt := range map[string]struct {
		nodes []provision.Object
		err   string
	}{
		"holds":         {nodes: []provision.Object{nodeObject("nuc01"), nodeObject("nuc02", "/data/hdfs")}},
		"block removed": {nodes: []provision.Object{nodeObject("nuc01", "/data/hdfs")}, err: "nuc01 holds blocks"},
		"node removed":  {nodes: []provision.Object{nodeObject("nuc09", "/data/hdfs")}, err: "nuc09 holds blocks"},
	} {
		t.Run(name, func(t *testing.T) {
			s := leavingStep{Base: provision.Base{Name: "cluster/hdfs/leaving"}, site: testSite([]string{"/data/hdfs"})}
			check(t, s, provision.NewFacts(map[provision.Query]any{nodesQuery: tt.nodes}), "", tt.err)
		})
	}
}

// shells are those that images may have as /bin/sh.
func shells(t *testing.T) []string {
	var found []string
	for _, name := range []string{"dash", "bash"} {
		if p, err := exec.LookPath(name); err == nil {
			found = append(found, p)
		} else {
			t.Logf("%s is not installed: not tested with it", name)
		}
	}
	return found
}

// The datanode's start takes what the engine wrote, and nothing else.
func TestDatanodeScript(t *testing.T) {
	for _, sh := range shells(t) {
		for name, tt := range map[string]struct {
			disks []func(*provision.Disk) // nil: no sentinel
			want  string                  // what the command sees; "" when it does not start
		}{
			"both":          {[]func(*provision.Disk){func(*provision.Disk) {}, func(d *provision.Disk) { d.Path = "/mnt/b" }}, "file://0/dn,file://1/dn tolerates 1"},
			"one unmounted": {[]func(*provision.Disk){nil, func(d *provision.Disk) { d.Path = "/mnt/b" }}, "file://1/dn tolerates 0"},
			"one foreign":   {[]func(*provision.Disk){func(*provision.Disk) {}, func(d *provision.Disk) { d.Path, d.Cluster = "/mnt/b", "other" }}, "file://0/dn tolerates 0"},
			"swapped":       {[]func(*provision.Disk){func(d *provision.Disk) { d.Path = "/mnt/b" }, func(*provision.Disk) {}}, ""},
			"another node":  {[]func(*provision.Disk){func(d *provision.Disk) { d.Node = "nuc03" }, nil}, ""},
			"none":          {[]func(*provision.Disk){nil, nil}, ""},
		} {
			t.Run(filepath.Base(sh)+" "+name, func(t *testing.T) {
				root := t.TempDir()
				for i, change := range tt.disks {
					dir := filepath.Join(root, string(rune('0'+i)))
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					if change != nil {
						if err := os.WriteFile(filepath.Join(dir, provision.Sentinel), sentinelFile(change).Content, 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				script := strings.ReplaceAll(datanodeScript, diskMounts, root)
				cmd := exec.Command(sh, "-c", script, "datanode.sh", sh, "-c", `echo "$DATA_DIRS tolerates $FAILED_VOLUMES_TOLERATED"`)
				cmd.Env = append(os.Environ(), "DIRS=/data/hdfs /mnt/b", "CLUSTER_UID="+uid, "NODE_NAME=nuc02")
				out, err := cmd.Output()
				got := strings.ReplaceAll(strings.TrimSpace(string(out)), root+"/", "")
				if got != tt.want || (err == nil) != (tt.want != "") {
					t.Errorf("got %q (%v), want %q", got, err, tt.want)
				}
			})
		}
	}
}

func TestTopologyScript(t *testing.T) {
	node := func(name, address, cidr string) provision.Object {
		return provision.Object{
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"podCIDR": cidr},
			"status": map[string]any{"addresses": []any{
				map[string]any{"type": "Hostname", "address": name}, map[string]any{"type": "InternalIP", "address": address}}},
		}
	}
	s := nodesStepOf(newLayout(testSite([]string{"/data/hdfs"})), nil)
	table := filepath.Join(t.TempDir(), "racks")
	racks := s.racks([]provision.Object{node("nuc01", "172.31.77.11", "10.244.0.0/24"), node("nuc02", "172.31.77.12", "10.244.1.0/25")})
	if err := os.WriteFile(table, []byte(racks), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, sh := range shells(t) {
		for args, want := range map[string]string{
			"172.31.77.12":              "/nuc02",
			"10.244.0.255":              "/nuc01",
			"10.244.1.127 172.31.77.11": "/nuc02\n/nuc01",
			"10.244.1.128":              "", // in the pod network, of no machine yet
			"10.244.1.1 10.244.9.9":     "/nuc02",
			"172.31.77.13":              "/default-rack",
			"10.245.0.1":                "/default-rack",
			"nuc02":                     "/default-rack",
			"1.2.3":                     "/default-rack",
			"1.2.3.4.5":                 "/default-rack",
		} {
			cmd := exec.Command(sh, append([]string{"-c", strings.ReplaceAll(topologyScript, nodesMount+"/racks", table), "topology.sh"}, strings.Fields(args)...)...)
			out, err := cmd.Output()
			count := len(strings.Fields(string(out)))
			if got := strings.TrimSpace(string(out)); got != want || (err == nil) != (count == len(strings.Fields(args))) {
				t.Errorf("%s: %s gives %q (%v), want %q", sh, args, got, err, want)
			}
		}
	}
}
