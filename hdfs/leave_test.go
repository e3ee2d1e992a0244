package hdfs

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// leavingSite is a cluster of which nuc03 leaves, with nuc02 and as many more
// datanodes.
func leavingSite(more int, change func(*provision.Leaving)) (*provision.Site, decommissioned) {
	disks := []string{"/data/hdfs"}
	lists := [][]string{disks, disks}
	for range more {
		lists = append(lists, disks)
	}
	site := testSite(lists...)
	site.Cluster.Nodes = slices.DeleteFunc(site.Cluster.Nodes, func(n inventory.Node) bool { return n.Name == "nuc03" })
	l := provision.Leaving{Name: "nuc03", Member: provision.Member{Address: "172.31.77.13"}, Machine: &provision.Machine{}}
	if change != nil {
		change(&l)
	}
	site.Leaving = []provision.Leaving{l}
	for _, s := range Leave(site) {
		if d, ok := s.(decommissioned); ok {
			return site, d
		}
	}
	panic("no step decommissions")
}

func beanPage(v map[string]any) provision.PageFact {
	b, err := json.Marshal(map[string]any{"beans": []any{v}})
	if err != nil {
		panic(err)
	}
	return provision.PageFact{Status: 200, Body: b}
}

// infoPage is the namenode's page about some datanodes.
func infoPage(missing int, nodes map[string]liveNode) provision.PageFact {
	return deadPage(missing, nodes, nil)
}

// deadPage is the same with some that it does not hear any more.
func deadPage(missing int, nodes map[string]liveNode, silent map[string]deadNode) provision.PageFact {
	live, err := json.Marshal(nodes)
	if err != nil {
		panic(err)
	}
	dead, err := json.Marshal(silent)
	if err != nil {
		panic(err)
	}
	return beanPage(map[string]any{"ClusterId": clusterID(uid), "LiveNodes": string(live), "DeadNodes": string(dead), "NumberOfMissingBlocks": missing})
}

func serving(address string, used, free int64) liveNode {
	return liveNode{State: inService, Used: used, Remaining: free, Blocks: used / 100, Address: address + ":9866"}
}

func namenodeMap(replication string) provision.Object {
	return provision.Object{"data": map[string]any{"hdfs-site.xml": strings.ReplaceAll(namenodeFiles(7)["hdfs-site.xml"], "<value>7</value>", "<value>"+replication+"</value>")}}
}

const fsckFiles = `FSCK started by hdfs (auth:SIMPLE) from /10.244.0.3 for path / at Sun Nov 22 04:00:00 UTC 2026

/ <dir>
/a b <dir>
/a b/job.jar 10 bytes, replicated: replication=10, 1 block(s):  OK
/a b/three 1234 bytes, replicated: replication=3, 1 block(s):  OK
/two 5 bytes, replicated: replication=2, 1 block(s):  OK
`

func TestDecommissionDiff(t *testing.T) {
	const n2, n3, n4 = "172.31.77.12:9866", "172.31.77.13:9866", "172.31.77.14:9866"
	all := map[string]liveNode{n2: serving("10.244.1.2", 1000, 5000), n3: serving("10.244.2.2", 900, 5000), n4: serving("10.244.3.2", 0, 300)}
	without := func(name string) map[string]liveNode {
		m := map[string]liveNode{}
		for k, v := range all {
			if k != name {
				m[k] = v
			}
		}
		return m
	}
	with := func(name string, change func(*liveNode)) map[string]liveNode {
		m := without("")
		d := m[name]
		change(&d)
		m[name] = d
		return m
	}
	off := func(l *provision.Leaving) { l.Machine = nil }
	for name, tt := range map[string]struct {
		more        int
		change      func(*provision.Leaving)
		node        provision.Object
		info        provision.PageFact
		state       map[string]any
		replication string
		files       string
		corrupt     string
		want        string // part of the change's note
		refused     string
	}{
		"moves its blocks":            {more: 1, info: infoPage(0, all), want: "9 blocks, 0.9 KiB, get their copies on nuc02, nuc04 (5.2 KiB free)"},
		"stores nothing":              {more: 1, node: nodeObject("nuc03"), info: provision.PageFact{Err: "refused"}},
		"has left":                    {more: 1, info: infoPage(0, with(n3, func(d *liveNode) { d.State = hasLeft }))},
		"no namenode":                 {more: 1, info: provision.PageFact{Err: "connection refused"}, refused: "connection refused"},
		"safe mode":                   {more: 1, info: beanPage(map[string]any{"LiveNodes": "{}", "Safemode": "Safe mode is ON"}), refused: "read-only: Safe mode is ON"},
		"too few remain":              {info: infoPage(0, without(n4)), refused: "HDFS keeps 2 copies of each block, and only 1 in service would remain (nuc02); give another node an hdfs block"},
		"one copy is enough":          {info: infoPage(0, without(n4)), replication: "1", want: "on nuc02"},
		"replication changes as well": {info: infoPage(0, all), more: 1, replication: "1→2", refused: "the replication of HDFS is 1 and becomes 2 by the same run"},
		"one of those is silent":      {more: 1, info: infoPage(0, with(n4, func(d *liveNode) { d.LastContact = 61 })), refused: "only 1 in service would remain (nuc02)"},
		"one of those leaves too":     {more: 1, info: infoPage(0, with(n4, func(d *liveNode) { d.State = "Decommission In Progress" })), refused: "only 1 in service"},
		"too little room":             {more: 1, info: infoPage(0, with(n3, func(d *liveNode) { d.Used = 5301 })), refused: "have 5.2 KiB free: remove files, or add a disk"},
		"a file wants more copies":    {more: 1, info: infoPage(0, all), files: fsckFiles, refused: "1 files are to have more copies of each block than 2, and only 2 in service would remain (nuc02, nuc04): /a b/three;"},
		"alive without SSH":           {more: 1, change: off, info: infoPage(0, all), refused: "is known after 16 minutes"},
		"dead, not counted yet": {more: 1, change: off, info: deadPage(0, without(n3), map[string]deadNode{n3: {LastContact: 700}}), state: map[string]any{"UnderReplicatedBlocks": 0},
			refused: "dead since 11 minutes, and the namenode has not yet counted which blocks are lost with it: run again in 5 minutes"},
		"dead, not counted yet, the loss is accepted": {more: 1, change: func(l *provision.Leaving) { l.Machine, l.AcceptLoss = nil, true },
			info: deadPage(0, without(n3), map[string]deadNode{n3: {LastContact: 959}}), state: map[string]any{"UnderReplicatedBlocks": 0}, refused: "has not yet counted"},
		"dead, counted":              {more: 1, change: off, info: deadPage(2, without(n3), map[string]deadNode{n3: {LastContact: 961}}), state: map[string]any{"UnderReplicatedBlocks": 2}, refused: "2 blocks have no copy on any other"},
		"dead, all copied":           {more: 1, change: off, info: infoPage(0, without(n3)), state: map[string]any{"UnderReplicatedBlocks": 0}},
		"dead, being copied":         {more: 1, change: off, info: infoPage(0, without(n3)), state: map[string]any{"UnderReplicatedBlocks": 4}, want: "4 blocks have not enough copies yet"},
		"dead, last ones under way":  {more: 1, change: off, info: infoPage(0, without(n3)), state: map[string]any{"PendingReconstructionBlocks": 1}, want: "not enough copies yet"},
		"dead, the namenode is dumb": {more: 1, change: off, info: infoPage(0, without(n3)), refused: "how many copies there are"},
		"dead, blocks are lost": {more: 1, change: off, info: infoPage(2, without(n3)), state: map[string]any{"UnderReplicatedBlocks": 2},
			corrupt: "The list of corrupt files under path '/' are:\nblk_1\t1\t/data/x\nblk_2\t1\t/data/x\nblk_3\t1\t/data/y\nThe filesystem under path '/' has 3 CORRUPT files\n",
			refused: "2 blocks have no copy on any other, of these files:\n    /data/x\n    /data/y\n  bring its disk back into the machine, or lose them: --accept-loss nuc03"},
		"dead, the loss is accepted": {more: 1, change: func(l *provision.Leaving) { l.Machine, l.AcceptLoss = nil, true }, info: infoPage(2, without(n3)),
			state: map[string]any{"UnderReplicatedBlocks": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			site, s := leavingSite(tt.more, tt.change)
			is, becomes, both := strings.Cut(tt.replication, "→")
			switch {
			case both:
				site.Resolved.Replication = int(becomes[0] - '0')
			case is != "":
				site.Resolved.Replication = int(is[0] - '0')
			default:
				is = "2"
			}
			if tt.node == nil {
				tt.node = nodeObject("nuc03", "/data/hdfs")
			}
			state := provision.PageFact{}
			if tt.state != nil {
				state = beanPage(tt.state)
			}
			changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{
				nodeQuery("nuc03"): tt.node, infoQuery: tt.info, systemQuery: state, namenodeConfig: namenodeMap(is),
				filesQuery: provision.PageFact{Status: 200, Body: []byte(tt.files)}, corruptQuery: provision.PageFact{Status: 200, Body: []byte(tt.corrupt)},
			}))
			var refused *provision.RefusedError
			if tt.refused != "" {
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "nuc03: ") {
					t.Fatalf("%v, want a refusal that says %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if len(changes) > 0 {
					t.Errorf("changes %+v", changes)
				}
				return
			}
			if len(changes) != 1 || !strings.Contains(changes[0].Note, tt.want) || !strings.Contains(changes[0].Note, "/data/hdfs stay on the machine") {
				t.Errorf("changes %+v, want one that says %q", changes, tt.want)
			}
		})
	}
}

// The last datanode of all cannot leave.
func TestLastDatanode(t *testing.T) {
	site, s := leavingSite(0, nil)
	site.Cluster.Nodes = site.Cluster.Nodes[:1]
	site.Resolved.Replication = 1
	_, err := s.Diff(provision.NewFacts(map[provision.Query]any{
		nodeQuery("nuc03"): nodeObject("nuc03", "/data/hdfs"), infoQuery: infoPage(0, map[string]liveNode{"172.31.77.13:9866": serving("10.244.2.2", 1, 1)}),
		systemQuery: provision.PageFact{}, namenodeConfig: namenodeMap("1"), filesQuery: provision.PageFact{}, corruptQuery: provision.PageFact{},
	}))
	if err == nil || !strings.Contains(err.Error(), "no datanode in service would remain") {
		t.Error(err)
	}
}

func placed(name, cidr string) provision.Object {
	o := nodeObject(name)
	o["spec"] = map[string]any{"podCIDR": cidr}
	return o
}

func podAt(node, address string) provision.Object {
	return provision.Object{"metadata": map[string]any{"name": "datanode-x-" + node}, "spec": map[string]any{"nodeName": node}, "status": map[string]any{"podIP": address}}
}

// A datanode's pod that is made anew has another address: what was listed stays
// so, until the address belongs to a node that stays.
func TestHosts(t *testing.T) {
	site, _ := leavingSite(1, nil)
	moving, after := nodesStep{site: site, leaving: true}, nodesStep{site: site}
	listed := func(hosts, read string) provision.Object {
		data := map[string]any{"hosts.json": hosts}
		if read != "" {
			data[hostsRead] = read
		}
		return provision.Object{"data": data}
	}
	line := func(addresses ...string) string {
		var lines []string
		for _, a := range addresses {
			lines = append(lines, `{"hostName":"`+a+`","adminState":"DECOMMISSIONED"}`)
		}
		return "[" + strings.Join(lines, ",") + "]"
	}
	nodes := []provision.Object{placed("nuc02", "10.244.1.0/24"), placed("nuc03", "10.244.2.0/24"), placed("nuc04", "10.244.3.0/24")}
	pods := []provision.Object{podAt("nuc02", "10.244.1.2"), podAt("nuc03", "10.244.2.7"), podAt("nuc04", "10.244.3.2")}
	for name, tt := range map[string]struct {
		step    nodesStep
		is      string
		nodes   []provision.Object
		want    string
		dropped []string
	}{
		"none leaves yet":           {after, noHosts, nodes, noHosts, nil},
		"one leaves":                {moving, noHosts, nodes, line("10.244.2.7"), nil},
		"its pod was made anew":     {moving, line("10.244.2.2"), nodes, line("10.244.2.2", "10.244.2.7"), nil},
		"it left":                   {after, line("10.244.2.2", "10.244.2.7"), nodes[:1], line("10.244.2.2", "10.244.2.7"), nil},
		"its network is given anew": {after, line("10.244.2.2"), []provision.Object{placed("nuc05", "10.244.2.0/24")}, noHosts, []string{"10.244.2.2"}},
		"damaged":                   {after, "{", nodes, noHosts, nil},
	} {
		f := provision.NewFacts(map[provision.Query]any{nodesQuery: tt.nodes, nodesMapQuery: listed(tt.is, ""), datanodePods: pods})
		if got, dropped := tt.step.hosts(f); got != tt.want || !slices.Equal(dropped, tt.dropped) {
			t.Errorf("%s: %s, dropped %v; want %s, %v", name, got, dropped, tt.want, tt.dropped)
		}
	}
	// A run that ended before the namenode was told is finished by the next.
	diff := func(hosts, read string) int {
		live := listed(hosts, read)
		live["data"].(map[string]any)["racks"] = after.racks(nodes)
		changes, err := after.Diff(provision.NewFacts(map[provision.Query]any{nodesQuery: nodes, nodesMapQuery: live}))
		if err != nil {
			t.Fatal(err)
		}
		return len(changes)
	}
	if diff(noHosts, "") != 0 || diff(line("10.244.2.2"), line("10.244.2.2")) != 0 || diff(line("10.244.2.2"), "") != 1 || diff(noHosts, line("10.244.1.9")) != 1 {
		t.Error("what the namenode has read is not compared with what it should")
	}
	// Racks of who leaves are kept as long as its datanode may register.
	if with, without := moving.racks(nodes), after.racks(nodes); !strings.Contains(with, "/nuc03") || strings.Contains(without, "/nuc03") {
		t.Errorf("racks while it leaves:\n%s\nand after:\n%s", with, without)
	}
}

func TestDatanodeStopped(t *testing.T) {
	site, _ := leavingSite(0, nil)
	s := datanodeStopped{site: site, leaving: site.Leaving[0]}
	daemons := func(lists ...[]string) []provision.Object {
		var sets []provision.Object
		for _, dirs := range lists {
			sets = append(sets, provision.Object{"metadata": map[string]any{"name": datanode + "-" + disksOf(dirs)}})
		}
		return sets
	}
	same, own := []string{"/data/hdfs"}, []string{"/mnt/a"}
	diff := func(node provision.Object, pods, sets []provision.Object) string {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{nodesQuery: []provision.Object{nodeObject("nuc02", same...), node},
			datanodePods: pods, datanodeSets: sets, checkpointQuery: provision.Object{"kind": "StatefulSet"}}))
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, c := range changes {
			kinds = append(kinds, c.Kind)
		}
		return strings.Join(kinds, " ")
	}
	for name, got := range map[string][2]string{
		"like another": {diff(nodeObject("nuc03", same...), nil, daemons(same)), "datanode"},
		"its own":      {diff(nodeObject("nuc03", own...), nil, daemons(same, own)), "datanode DaemonSet"},
		"pod is there": {diff(nodeObject("nuc03"), []provision.Object{podAt("nuc03", "10.244.2.2")}, daemons(same)), "datanode"},
		"gone":         {diff(nodeObject("nuc03"), []provision.Object{podAt("nuc02", "10.244.1.2")}, daemons(same)), ""},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %q, want %q", name, got[0], got[1])
		}
	}
	// With one machine left there is no second copy of the metadata.
	site.Cluster.Nodes = site.Cluster.Nodes[:1]
	if got := diff(nodeObject("nuc03"), nil, daemons(same)); got != "StatefulSet" {
		t.Errorf("the last one: %q", got)
	}
}

// One that left and is back is taken into service again.
func TestInService(t *testing.T) {
	s := serviceStep{layout: newLayout(testSite([]string{"/data/hdfs"}, []string{"/data/hdfs"}))}
	for state, want := range map[string]int{inService: 0, isLeaving: 1, hasLeft: 1, "Entering Maintenance": 0} {
		d := serving("10.244.2.2", 1, 1)
		d.State = state
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{nodesMapQuery: provision.Object(nil),
			infoQuery: infoPage(0, map[string]liveNode{"172.31.77.13:9866": d, "172.31.77.99:9866": d})}))
		if err != nil || len(changes) != want {
			t.Errorf("%s: %+v, %v", state, changes, err)
		}
	}
}

func TestProgressText(t *testing.T) {
	for want, got := range map[string]string{
		"10 blocks left, about 1.0 KiB":            progressText(10, 10, 1000, time.Minute),
		"5 blocks left, about 0.5 KiB, about 2m0s": progressText(5, 10, 1000, 2*time.Minute),
		"0 blocks left, about 0.0 KiB":             progressText(0, 10, 1000, time.Minute),
		"3 blocks left":                            progressText(3, 3, 0, time.Minute),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Steps of who leaves need no step of what is made for the others.
func TestLeaveNeeds(t *testing.T) {
	site, _ := leavingSite(1, nil)
	known := map[string]bool{provision.NodeLeaving("nuc03"): true}
	for _, s := range Leave(site) {
		known[s.ID()] = true
		for _, need := range s.Needs() {
			if !known[need] {
				t.Errorf("%s needs %s", s.ID(), need)
			}
		}
	}
	if !known[provision.NodeDataSafe("nuc03")] {
		t.Error("nothing provides " + provision.NodeDataSafe("nuc03"))
	}
}
