package hdfs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/provision"
)

func TestStorage(t *testing.T) {
	disks := []string{"/data/hdfs"}
	system := beanPage(map[string]any{"UnderReplicatedBlocks": 9, "FilesTotal": 20, "BlocksTotal": 40})
	blocks := beanPage(map[string]any{"CorruptReplicatedBlocks": 2})
	for name, test := range map[string]struct {
		info, system, blocks provision.PageFact
		want                 *provision.Storage
	}{
		"well": {recorded(t, "namenode-info"), system, blocks,
			&provision.Storage{Capacity: 459940395828, Used: 581193728, Free: 101790228352, Files: 20, Blocks: 40, UnderReplicated: 9, Corrupt: 2, Live: 2}},
		"read-only, and blocks are missing": {recorded(t, "namenode-info", `"Safemode" : ""`, `"Safemode" : "Safe mode is ON."`, `MissingBlocks" : 0`, `MissingBlocks" : 7`), system, blocks,
			&provision.Storage{Capacity: 459940395828, Used: 581193728, Free: 101790228352, Files: 20, Blocks: 40, UnderReplicated: 2, Missing: 7, Corrupt: 2, Live: 2, ReadOnly: "Safe mode is ON."}},
		"one leaves, one is dead": {beanPage(map[string]any{
			"LiveNodes":  `{"172.31.77.12:9866":{"adminState":"Decommission In Progress"},"172.31.77.99:9866":{"adminState":"Decommissioned"}}`,
			"DeadNodes":  `{"172.31.77.13:9866":{"lastContact":900,"decommissioned":false},"172.31.77.98:9866":{"decommissioned":true}}`,
			"DecomNodes": `{"172.31.77.12:9866":{"underReplicatedBlocks":120}}`,
		}), provision.PageFact{}, provision.PageFact{Status: 500},
			&provision.Storage{Live: 1, Dead: []string{"nuc03"}, Leaving: []provision.StoreLeaving{{Name: "nuc02", Left: 120}}}},
		"it starts":   {provision.PageFact{Status: 200, Body: []byte(`{"beans":[]}`)}, system, blocks, nil},
		"it is down":  {provision.PageFact{Err: "refused"}, system, blocks, nil},
		"no API":      {provision.PageFact{}, provision.PageFact{}, provision.PageFact{}, nil},
		"no namenode": {provision.PageFact{Status: 200, Body: []byte("<html>")}, system, blocks, nil},
	} {
		f := provision.NewFacts(map[provision.Query]any{infoQuery: test.info, systemQuery: test.system, redundancyQuery: test.blocks})
		if diff := cmp.Diff(test.want, Storage(testSite(disks, disks), f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(UsageQueries(testSite())) > 0 || Storage(testSite(), provision.NewFacts(nil)) != nil {
		t.Error("without a node that stores blocks there are numbers")
	}
}
