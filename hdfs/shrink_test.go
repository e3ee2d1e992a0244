package hdfs

import (
	"errors"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// A directory leaves where each block has a copy elsewhere, and is refused
// before any change where it has not.
func TestDirectoryLeaves(t *testing.T) {
	const n2, n3 = "172.31.77.12:9866", "172.31.77.13:9866"
	both := map[string]liveNode{n2: serving("10.244.1.2", 1000, 5000), n3: serving("10.244.2.2", 900, 5000)}
	whole := strings.NewReplacer("replication=10", "replication=2").Replace(fsckFiles) + "Status: HEALTHY\n\n" + wholeReport + "HEALTHY\n"
	node := nodeObject("nuc02", "/data/a", "/data/b")
	for name, tt := range map[string]struct {
		node    provision.Object
		copies  int    // of the inventory
		config  string // of the namenode
		live    map[string]liveNode
		missing int
		report  string
		disk    provision.DiskFact
		want    provision.Action
		err     string
	}{
		"every block is elsewhere":    {config: "2", live: both, report: whole, want: provision.Update},
		"nothing leaves":              {node: nodeObject("nuc02", "/data/a")},
		"one copy":                    {copies: 1, config: "2", live: both, report: whole, err: "keeps one copy of each block"},
		"one copy until now":          {config: "1", live: both, report: whole, err: "keeps one copy of each block"},
		"a file has one copy":         {config: "2", live: both, report: strings.Replace(whole, "replication=3", "replication=1", 1), err: "1 files have one copy of each block only, which may be there: /a b/three;"},
		"a block is missing":          {config: "2", live: both, missing: 1, report: whole, err: "1 blocks have no copy at all now"},
		"the report is cut off":       {config: "2", live: both, report: fsckFiles, err: "cannot be read whole"},
		"one datanode is dead":        {config: "2", live: map[string]liveNode{n2: both[n2]}, report: whole, err: "1 datanodes are in service, and 2 copies"},
		"too little room":             {config: "2", live: both, report: whole, disk: provision.DiskFact{Total: 14000, Free: 9500}, err: "up to 1.0 KiB may be in it, and elsewhere 0.5 KiB are free"},
		"room, for little is used":    {config: "2", live: both, report: whole, disk: provision.DiskFact{Total: 9900, Free: 9500}, want: provision.Update},
		"the namenode does not reply": {config: "2", report: whole, err: "the namenode cannot be asked"},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite([]string{"/data/a"}, []string{"/data/a"})
			if tt.copies != 0 {
				site.Resolved.Replication = tt.copies
			}
			var s labelStep
			for _, step := range Steps(site) {
				if l, ok := step.(labelStep); ok && l.Node == "nuc02" {
					s = l
				}
			}
			if tt.node == nil {
				tt.node = node
			}
			facts := map[provision.Query]any{nodeQuery("nuc02"): tt.node}
			asks := s.Asks(provision.NewFacts(facts))
			if len(asks) > 0 != (len(recordedDirs(tt.node)) > 1) {
				t.Errorf("it asks for %d things", len(asks))
			}
			for _, q := range asks {
				switch q := q.(type) {
				case provision.DiskQuery:
					if q.Path != "/data/b" {
						t.Errorf("it asks for %s", q.Path)
					}
					facts[q] = tt.disk
				case provision.LiveQuery:
					facts[q] = namenodeMap(tt.config)
				case provision.PageQuery:
					if q == filesQuery {
						facts[q] = provision.PageFact{Status: 200, Body: []byte(tt.report)}
						continue
					}
					facts[q] = provision.PageFact{}
					if tt.live != nil {
						facts[q] = infoPage(tt.missing, tt.live)
					}
				}
			}
			f := provision.NewFacts(facts)
			check(t, s, f, tt.want, tt.err)
			changes, err := s.Diff(f)
			var refused *provision.RefusedError
			if tt.err != "" && !errors.As(err, &refused) {
				t.Errorf("that is no refusal: %v", err)
			}
			if tt.want != "" && (!strings.Contains(changes[0].Detail, "/data/b leaves") || !strings.Contains(changes[0].Note, "are copied")) {
				t.Errorf("it says %+v", changes[0])
			}
		})
	}
}

func TestBlocksOf(t *testing.T) {
	p := beanPage(map[string]any{"VolumeInfo": `{"/hadoop/disks/0/dn":{"freeSpace":1,"usedSpace":2,"numBlocks":3,"storageType":"DISK"},"/hadoop/disks/1/dn":{"numBlocks":4}}`})
	if n, err := blocksOf(p); err != nil || n != 7 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := blocksOf(beanPage(map[string]any{})); err == nil {
		t.Error("no list, and no error")
	}
}
