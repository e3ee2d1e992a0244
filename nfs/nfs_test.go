package nfs

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// site is a cluster of three: nuc02 exports by the kernel, nuc03 has none.
func site() *provision.Site {
	c := &inventory.Cluster{
		Name: "test", NFS: inventory.NFS{Version: "4.2"},
		Nodes: []inventory.Node{
			{Name: "nuc01", Role: inventory.ControlPlane, Address: netip.MustParseAddr("192.168.1.11")},
			{Name: "nuc02", Role: inventory.Worker, Address: netip.MustParseAddr("192.168.1.12"), NFS: &inventory.NodeNFS{Export: "/srv/nfs"}},
			{Name: "nuc03", Role: inventory.Worker, Address: netip.MustParseAddr("192.168.1.13"), NFS: &inventory.NodeNFS{Export: "/srv/nfs"}},
		},
		Volumes: []inventory.Volume{{Name: "shared", Node: "nuc02", Size: 50 * inventory.GiB, UID: 871, GID: 871, Mode: 0o775}},
	}
	return &provision.Site{Cluster: c, Resolved: provision.Resolved{UID: "uid"}, Machines: map[string]provision.Machine{
		"nuc01": {NFSD: true}, "nuc02": {NFSD: true}, "nuc03": {},
	}}
}

func ids(steps []provision.Step) []string {
	var ids []string
	for _, s := range steps {
		ids = append(ids, s.ID()+" <- "+strings.Join(s.Needs(), " "))
	}
	return ids
}

func TestSteps(t *testing.T) {
	golden.Check(t, "steps.txt", []byte(strings.Join(ids(Steps(site())), "\n")+"\n"))

	s := site()
	s.Cluster.NFS.Version = "3"
	if got := strings.Join(ids(Steps(s)), "\n"); !strings.Contains(got, "nuc03/nfs/rpcbind") || strings.Contains(got, "nuc02/nfs/rpcbind") {
		t.Errorf("NFSv3 needs rpcbind before ganesha:\n%s", got)
	}
	delete(s.Machines, "nuc02")
	for _, id := range ids(Steps(s)) {
		if strings.HasPrefix(id, "nuc02/") || strings.Contains(id, "volume/shared") {
			t.Errorf("a step for a machine that does not answer: %s", id)
		}
	}
	for i := range s.Cluster.Nodes {
		s.Cluster.Nodes[i].NFS = nil
	}
	s.Cluster.Volumes = nil
	if got := ids(Steps(s)); len(got) != 1 {
		t.Errorf("nothing is exported, but there are steps: %v", got)
	}
}

func TestExportLists(t *testing.T) {
	c := site().Cluster
	golden.Check(t, "exports", exports(c, &c.Nodes[1]))
	golden.Check(t, "ganesha.conf", ganeshaConfig(c, &c.Nodes[2]))
	golden.Check(t, "ganesha-export.conf", exportConfig(c, &c.Nodes[2]))
	c.NFS.Version = "3"
	golden.Check(t, "ganesha-v3.conf", ganeshaConfig(c, &c.Nodes[2]))
	golden.Check(t, "ganesha-export-v3.conf", exportConfig(c, &c.Nodes[2]))
	golden.Check(t, "nucspark.conf", guard(&c.Nodes[1]))
	c.Nodes[1].NFS.Export = `/srv/50% "all"`
	if got := string(guard(&c.Nodes[1])); !strings.Contains(got, `RequiresMountsFor="/srv/50%% \"all\""`) ||
		!strings.Contains(got, `ConditionPathExists=/srv/50%% "all"/.nucspark-disk`) {
		t.Errorf("a path that systemd would read differently:\n%s", got)
	}
}

func TestObjects(t *testing.T) {
	c := site().Cluster
	var out []byte
	for _, o := range []provision.Object{persistentVolume(c, &c.Nodes[1], c.Volumes[0]), claimOf(c.Volumes[0])} {
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, "---\n"...), b...)
	}
	golden.Check(t, "objects.yaml", out)
}

func TestExported(t *testing.T) {
	c := site().Cluster
	s := exported{Base: provision.Base{Node: "nuc02"}, cluster: c, node: &c.Nodes[1]}
	// As exportfs of nfs-utils 2.6 prints it.
	const is = "(sync,wdelay,hide,no_subtree_check,sec=sys,rw,secure,root_squash,no_all_squash)\n"
	all := "/srv/nfs  192.168.1.11" + is + "/srv/nfs  192.168.1.12" + is + "/srv/nfs  192.168.1.13" + is
	for name, test := range map[string]struct {
		out     string
		changes int
	}{
		"nothing":         {"", 1},
		"all":             {all, 0},
		"beside others'":  {all + "/home  10.0.0.0/8(ro)\n", 0},
		"one is missing":  {strings.Replace(all, "/srv/nfs  192.168.1.13"+is, "", 1), 1},
		"root may all":    {strings.Replace(all, ",root_squash", ",no_root_squash", 1), 1},
		"read only":       {strings.Replace(all, "rw,", "ro,", 1), 1},
		"one is too much": {all + "/srv/nfs  192.168.1.99(rw)\n", 1},
		"everybody may":   {all + "/srv/nfs  <world>(rw)\n", 1},
		"another path's":  {strings.ReplaceAll(all, "/srv/nfs", "/srv/nfs2"), 1},
	} {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): provision.OutputFact{Output: test.out}}))
		if err != nil || len(changes) != test.changes {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}

func TestExportDirectory(t *testing.T) {
	dir := provision.FileFact{Exists: true, Mode: fs.ModeDir | 0o755}
	right := provision.Disk{Cluster: "uid", Node: "nuc02", Path: "/srv/nfs", Filesystem: "11-22"}
	with := func(change func(*provision.Disk)) provision.FileFact {
		d := right
		change(&d)
		return provision.FileFact{Exists: true, Content: d.Encode()}
	}
	for name, test := range map[string]struct {
		dir     provision.FileFact
		entries []string
		file    provision.FileFact
		volume  provision.Object
		changes int
		err     string
	}{
		"absent":                  {changes: 1},
		"empty":                   {dir: dir, entries: []string{"lost+found"}, changes: 1},
		"interrupted":             {dir: dir, entries: []string{".nucspark-1234"}, changes: 1},
		"holds":                   {dir: dir, entries: []string{provision.Sentinel, "shared"}, file: with(func(*provision.Disk) {})},
		"somebody's files":        {dir: dir, entries: []string{"photos"}, err: "is not empty (photos)"},
		"disk is not mounted":     {dir: dir, volume: provision.Object{"kind": "PersistentVolume"}, err: "mount its disk"},
		"disk of another node":    {dir: dir, file: with(func(d *provision.Disk) { d.Node = "nuc03" }), err: "disk of another machine"},
		"disk of another cluster": {dir: dir, file: with(func(d *provision.Disk) { d.Cluster = "other" }), err: "disk of another cluster"},
		"another file system":     {dir: dir, file: with(func(d *provision.Disk) { d.Filesystem = "33" }), err: "replaced or copied"},
		"a file":                  {dir: provision.FileFact{Exists: true, Mode: 0o644}, err: "not a directory"},
	} {
		st := site()
		s := exportStep{Base: provision.Base{Node: "nuc02"}, site: st, node: &st.Cluster.Nodes[1]}
		facts := map[provision.Query]any{
			s.dirQuery(): test.dir, s.sentinelQuery(): test.file,
			s.ownersList(): provision.FileFact{},
			s.diskQuery():  provision.DiskFact{Exists: test.dir.Exists, Entries: test.entries, UUID: "11-22"},
		}
		for _, q := range s.volumes() {
			facts[q] = test.volume
		}
		changes, err := s.Diff(provision.NewFacts(facts))
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		if len(changes) != test.changes {
			t.Errorf("%s: changes %v", name, changes)
		}
	}
}

// What the owner of a machine exports is left alone, and is no second list for
// one directory.
func TestOwnersExports(t *testing.T) {
	for list, want := range map[string]bool{
		"":                             false,
		"# /srv/nfs *(ro)\n":           false,
		"/srv/nfs2 *(ro)\n/home *(ro)": false,
		"/home *(ro)\n/srv/nfs\t*(ro)": true,
		"/srv/nfs/ 10.0.0.0/8(rw)":     true,
		"\"/srv/nfs\" *(ro)":           true,
		`/srv\057 *`:                   false,
	} {
		st := site()
		for _, node := range []int{1, 2} { // the kernel's server, and ganesha, which reads no such list
			s := exportStep{Base: provision.Base{Node: st.Cluster.Nodes[node].Name}, site: st, node: &st.Cluster.Nodes[node]}
			facts := map[provision.Query]any{s.dirQuery(): provision.FileFact{}, s.sentinelQuery(): provision.FileFact{}, s.diskQuery(): provision.DiskFact{},
				s.ownersList(): provision.FileFact{Exists: true, Content: []byte(list)}}
			for _, q := range s.volumes() {
				facts[q] = nil
			}
			_, err := s.Diff(provision.NewFacts(facts))
			if refused := err != nil && strings.Contains(err.Error(), "/etc/exports on nuc02"); refused != (want && node == 1) {
				t.Errorf("%q on %s: %v", list, s.Node, err)
			}
		}
	}
}

// A kernel that learns to serve later does not take over from ganesha.
func TestServerStays(t *testing.T) {
	s := site()
	for _, test := range []struct {
		is   provision.Machine
		want string
	}{{provision.Machine{NFSD: true}, kernel}, {provision.Machine{}, ganesha},
		{provision.Machine{NFSD: true, NFSServer: ganesha}, ganesha}, {provision.Machine{NFSServer: kernel}, kernel}} {
		s.Machines["nuc02"] = test.is
		if got := serverOf(s, &s.Cluster.Nodes[1]); got != test.want {
			t.Errorf("%+v: %s", test.is, got)
		}
	}
}

func TestHealth(t *testing.T) {
	s := site()
	mounted := true
	facts := func(unit, phase string) provision.Facts {
		m := map[provision.Query]any{}
		for _, q := range Queries(s) {
			switch q.(type) {
			case provision.UnitQuery:
				m[q] = provision.UnitFact{Active: unit}
			case provision.DiskQuery:
				m[q] = provision.DiskFact{Exists: true, Free: 1 << 30}
			case provision.FileQuery:
				m[q] = provision.FileFact{Exists: mounted}
			case provision.LiveQuery:
				m[q] = provision.Object{"status": map[string]any{"phase": phase}}
			}
		}
		return provision.NewFacts(m)
	}
	count := func(all []provision.Health) (bad int) {
		for _, h := range all {
			if !h.OK {
				bad++
				if h.Reason == "" {
					b, _ := json.Marshal(h)
					t.Errorf("no reason: %s", b)
				}
			}
		}
		return bad
	}
	if got := Health(s, facts("active", "Bound")); len(got) != 3 || count(got) != 0 {
		t.Errorf("healthy: %+v", got)
	}
	if got := Health(s, facts("failed", "Pending")); count(got) != 3 {
		t.Errorf("not healthy: %+v", got)
	}
	healthy := facts("active", "Bound")
	mounted = false
	got := Health(s, facts("active", "Bound"))
	if count(got) != 2 || !strings.Contains(got[0].Reason, "mounted") {
		t.Errorf("no disk is mounted: %+v", got)
	}
	// The server did not start because of it: up would not help.
	got = Health(s, facts("inactive", "Bound"))
	if count(got) != 2 || !strings.Contains(got[0].Reason, "mounted") {
		t.Errorf("no disk is mounted and nothing is served: %+v", got)
	}
	delete(s.Machines, "nuc03")
	if got := Health(s, healthy); count(got) != 1 {
		t.Errorf("one machine off: %+v", got)
	}
}
