package hdfs

import (
	"io/fs"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

// A new disk is taken into use where the old one was, and nowhere else.
func TestAcceptDisk(t *testing.T) {
	roots := provision.FileFact{Exists: true, Mode: fs.ModeDir | 0o755, Owner: "root", Group: "root"}
	held := nodeObject("nuc02", "/data/hdfs")
	for name, tt := range map[string]struct {
		was, mount string
		entries    []string
		file       provision.FileFact
		node       provision.Object
		want       provision.Action
		err        string
	}{
		"mounted":                     {was: "/data", mount: "/data", entries: []string{"lost+found"}, node: held, want: provision.Create},
		"added":                       {mount: "/data", node: nodeObject("nuc02"), want: provision.Create},
		"not mounted":                 {was: "/data", mount: "/", node: held, err: "lay on a file system mounted at /data and lies on that of / (/dev/sdb1) now"},
		"mounted elsewhere":           {was: "/data/hdfs", mount: "/data", node: held, err: "mount the new disk at /data/hdfs first"},
		"nobody knows, and no mount":  {mount: "/", node: held, err: "lies on the system's own disk"},
		"always on the system's disk": {was: "/", mount: "/", node: held, want: provision.Create},
		"holds files":                 {was: "/data", mount: "/data", entries: []string{"photos"}, node: held, err: "not empty (photos)"},
		"holds blocks":                {was: "/data", mount: "/data", entries: []string{"dn"}, node: held, err: "not empty (dn)"},
		"of another cluster": {was: "/data", mount: "/data", entries: []string{provision.Sentinel}, node: held,
			file: sentinelFile(func(d *provision.Disk) { d.Cluster = "other" }), err: "disk of another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite([]string{"/data/hdfs"})
			n, _ := site.Cluster.Node("nuc02")
			s := Accept(site, n, "/data/hdfs", tt.was)[0].(diskStep)
			check(t, s, provision.NewFacts(map[provision.Query]any{
				s.dirQuery(): roots, s.fileQuery(): tt.file, nodeQuery("nuc02"): tt.node,
				s.diskQuery(): provision.DiskFact{Exists: true, Entries: tt.entries, UUID: "11-22", Device: "/dev/sdb1", Type: "ext4", MountPoint: tt.mount},
			}), tt.want, tt.err)
		})
	}
}

func TestLastMount(t *testing.T) {
	entry := func(phase provision.Phase, mount string) provision.Entry {
		return provision.Entry{Phase: phase, Kind: provision.KindData, Key: "/data/hdfs", After: provision.DataAfter("0700 hdfs:hdfs", provision.DiskFact{MountPoint: mount})}
	}
	ledger := []provision.Entry{entry(provision.Done, "/mnt"), entry(provision.Done, "/data, at"), entry(provision.Intent, "/"),
		{Phase: provision.Done, Kind: provision.KindData, Key: "/data/other", After: "exists"}}
	if got := provision.LastMount(ledger, "/data/hdfs"); got != "/data, at" {
		t.Errorf("it was mounted at %q", got)
	}
	if got := provision.LastMount(ledger, "/data/other"); got != "" {
		t.Errorf("the ledger does not say where, and %q came out", got)
	}
}

// The datanode starts anew unless it started after the sentinel was written.
func TestDatanodeAnew(t *testing.T) {
	written := time.Date(2026, 11, 22, 6, 0, 0, 5e8, time.UTC)
	pod := func(node, made, started string) provision.Object {
		o := provision.Object{"metadata": map[string]any{"name": "datanode-" + node, "creationTimestamp": made}, "spec": map[string]any{"nodeName": node}}
		state := map[string]any{"waiting": map[string]any{}}
		if started != "" {
			state = map[string]any{"running": map[string]any{"startedAt": started}}
		}
		o["status"] = map[string]any{"containerStatuses": []any{map[string]any{"state": state}}}
		return o
	}
	for name, tt := range map[string]struct {
		file bool
		pod  provision.Object
		want provision.Action
		has  string // the directory that the datanode says it has; "" while it says nothing
	}{
		"without the directory":           {true, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T06:00:02Z"), provision.Restart, "/hadoop/disks/1/dn"},
		"with the directory":              {true, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T06:00:02Z"), "", "/hadoop/disks/0/dn"},
		"before the sentinel":             {false, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T05:00:01Z"), provision.Restart, ""},
		"started before":                  {true, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T05:00:01Z"), provision.Restart, ""},
		"in the same second":              {true, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T06:00:00Z"), provision.Restart, ""},
		"started after":                   {true, pod("nuc02", "2026-11-22T05:00:00Z", "2026-11-22T06:00:02Z"), "", ""},
		"starting again and again before": {true, pod("nuc02", "2026-11-22T05:00:00Z", ""), provision.Restart, ""},
		"starting":                        {true, pod("nuc02", "2026-11-22T06:00:01Z", ""), "", ""},
		"on another node":                 {true, pod("nuc03", "2026-11-22T05:00:00Z", "2026-11-22T05:00:01Z"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite([]string{"/data/hdfs"})
			n, _ := site.Cluster.Node("nuc02")
			s := Accept(site, n, "/data/hdfs", "")[1].(datanodeAnew)
			facts := map[provision.Query]any{
				sentinelQuery("nuc02", "/data/hdfs"): provision.FileFact{Exists: tt.file, Modified: written}, datanodePods: []provision.Object{tt.pod}}
			for _, q := range s.Asks(provision.NewFacts(facts)) {
				facts[q] = provision.PageFact{}
				if tt.has != "" {
					facts[q] = beanPage(map[string]any{"VolumeInfo": `{"` + tt.has + `":{"numBlocks":3}}`})
				}
			}
			check(t, s, provision.NewFacts(facts), tt.want, "")
		})
	}
}
