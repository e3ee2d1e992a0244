package hdfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/provision"
)

// recorded is a page of a real Hadoop 3.5.0, with replacements in pairs.
func recorded(t *testing.T, name string, replacements ...string) provision.PageFact {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "jmx", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(replacements...).Replace(string(b))
	if len(replacements) > 0 && text == string(b) {
		t.Fatalf("%s holds none of %q", name, replacements)
	}
	return provision.PageFact{Status: 200, Body: []byte(text)}
}

func TestHealth(t *testing.T) {
	disks := []string{"/data/hdfs"}
	sentinel := func(node string) provision.FileFact {
		return sentinelFile(func(d *provision.Disk) { d.Node = node })
	}
	for name, tt := range map[string]struct {
		change func(map[provision.Query]any, *provision.Site)
		want   map[string]string // name: part of the reason, for what is not healthy
	}{
		"healthy": {func(map[provision.Query]any, *provision.Site) {}, nil},
		"safe mode": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = recorded(t, "namenode-info", `"Safemode" : ""`, `"Safemode" : "Safe mode is ON. 3 blocks are needed."`)
		}, map[string]string{"namenode": "read-only: Safe mode is ON"}},
		"missing blocks": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = recorded(t, "namenode-info", `"NumberOfMissingBlocks" : 0`, `"NumberOfMissingBlocks" : 7`)
		}, map[string]string{"namenode": "7 blocks are missing"}},
		"namenode is down": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = provision.PageFact{Err: "connection refused"}
		}, map[string]string{"namenode": "connection refused", "datanode nuc02": "cannot be asked", "datanode nuc03": "cannot be asked"}},
		"namenode is starting": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = provision.PageFact{Status: 200, Body: []byte(`{"beans":[]}`)}
		}, map[string]string{"namenode": "it is starting", "datanode nuc02": "cannot be asked", "datanode nuc03": "cannot be asked"}},
		"a datanode is gone": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = recorded(t, "namenode-info", "172.31.77.13:9866", "172.31.77.99:9866")
		}, map[string]string{"datanode nuc03": "not registered"}},
		"a datanode is silent": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = recorded(t, "namenode-info", `\"lastContact\":0`, `\"lastContact\":90`)
		}, map[string]string{"datanode nuc02": "90 s", "datanode nuc03": "90 s"}},
		"a disk failed": {func(a map[provision.Query]any, _ *provision.Site) {
			a[infoQuery] = recorded(t, "namenode-info", `\"volfails\":0`, `\"volfails\":1`)
		}, map[string]string{"datanode nuc02": "1 of its disks failed", "datanode nuc03": "1 of its disks failed"}},
		"a disk is not mounted": {func(a map[provision.Query]any, _ *provision.Site) {
			a[sentinelQuery("nuc02", "/data/hdfs")] = provision.FileFact{}
		}, map[string]string{"datanode nuc02": "is its disk mounted?"}},
		"a foreign disk": {func(a map[provision.Query]any, _ *provision.Site) {
			a[sentinelQuery("nuc02", "/data/hdfs")] = sentinel("nuc03")
		}, map[string]string{"datanode nuc02": "that of /data/hdfs on nuc03"}},
		"a machine is off": {func(_ map[provision.Query]any, s *provision.Site) {
			delete(s.Machines, "nuc03")
		}, map[string]string{"datanode nuc03": "does not answer"}},
		"no checkpoint": {func(a map[provision.Query]any, _ *provision.Site) {
			a[copyQuery] = provision.PageFact{Err: "no route to host"}
		}, map[string]string{"checkpoint": "no route to host"}},
		"old checkpoint": {func(a map[provision.Query]any, _ *provision.Site) {
			a[copyQuery] = recorded(t, "checkpoint-info", "120000", "14400000")
		}, map[string]string{"checkpoint": "no copy of the metadata was made for 4h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite(disks, disks)
			for _, n := range []string{"nuc02", "nuc03"} {
				site.Machines[n] = provision.Machine{Identity: &provision.Identity{UID: uid}}
			}
			answers := map[provision.Query]any{
				infoQuery: recorded(t, "namenode-info"), systemQuery: provision.PageFact{}, copyQuery: recorded(t, "checkpoint-info"),
				sentinelQuery("nuc02", "/data/hdfs"): sentinel("nuc02"), sentinelQuery("nuc03", "/data/hdfs"): sentinel("nuc03"),
			}
			tt.change(answers, site)
			f := provision.NewFacts(answers)
			var names, bad []string
			for _, h := range Health(site, f) {
				names = append(names, h.Name)
				if h.OK {
					if h.Reason != "" || len(h.Info) == 0 {
						t.Errorf("%s is healthy, but says %q, %v", h.Name, h.Reason, h.Info)
					}
					continue
				}
				bad = append(bad, h.Name)
				if want := tt.want[h.Name]; want == "" || !strings.Contains(h.Reason, want) {
					t.Errorf("%s: reason is %q, want %q", h.Name, h.Reason, want)
				}
			}
			if d := cmp.Diff([]string{"namenode", "checkpoint", "datanode nuc02", "datanode nuc03"}, names); d != "" {
				t.Errorf("names:\n%s", d)
			}
			for n := range tt.want {
				if !slices.Contains(bad, n) {
					t.Errorf("%s is healthy", n)
				}
			}
		})
	}
}

// What the run waits for before it goes on.
func TestReady(t *testing.T) {
	disks := []string{"/data/hdfs"}
	daemons := set("DaemonSet", datanode+"-"+disksOf(disks))
	pod := func(node, ip string) provision.Object {
		return provision.Object{"metadata": map[string]any{}, "spec": map[string]any{"nodeName": node}, "status": map[string]any{"podIP": ip}}
	}
	for name, tt := range map[string]struct {
		page        provision.PageFact
		unreachable string
		change      func(pods []provision.Object, daemons provision.Object)
		want        string // part of what is missing, "" when it holds
	}{
		"ready":             {recorded(t, "namenode-info"), "", nil, ""},
		"no namenode":       {provision.PageFact{Err: "no such pod"}, "", nil, "no such pod"},
		"no API":            {provision.PageFact{}, "", nil, "the API server does not answer"},
		"one absent":        {recorded(t, "namenode-info", "172.31.77.13:9866", "172.31.77.99:9866"), "", nil, "not registered yet: nuc03"},
		"one absent, off":   {recorded(t, "namenode-info", "172.31.77.13:9866", "172.31.77.99:9866"), "nuc03", nil, ""},
		"safe mode":         {recorded(t, "namenode-info", `"Safemode" : ""`, `"Safemode" : "Safe mode is ON."`), "", nil, "Safe mode is ON."},
		"missing":           {recorded(t, "namenode-info", `MissingBlocks" : 0`, `MissingBlocks" : 2`), "", nil, "2 blocks are missing"},
		"missing, node off": {recorded(t, "namenode-info", `MissingBlocks" : 0`, `MissingBlocks" : 2`), "nuc03", nil, ""},
		"namenode status":   {provision.PageFact{Status: 503}, "", nil, "503"},
		"one has the configuration before": {recorded(t, "namenode-info"), "", func(_ []provision.Object, d provision.Object) {
			d["status"].(map[string]any)["updatedNumberScheduled"] = int64(1)
		}, "1 of 2 pods"},
		"so it has, and another is off": {recorded(t, "namenode-info"), "nuc03", func(_ []provision.Object, d provision.Object) {
			d["status"].(map[string]any)["updatedNumberScheduled"] = int64(1)
		}, ""},
		"the namenode remembers the pod before": {recorded(t, "namenode-info"), "", func(pods []provision.Object, _ provision.Object) {
			pods[1]["status"].(map[string]any)["podIP"] = "10.244.2.77"
		}, "not registered yet: nuc03"},
		"its pod ends": {recorded(t, "namenode-info"), "", func(pods []provision.Object, _ provision.Object) {
			pods[0]["metadata"].(map[string]any)["deletionTimestamp"] = "2026-11-21T00:00:00Z"
		}, "not registered yet: nuc02"},
	} {
		t.Run(name, func(t *testing.T) {
			site := testSite(disks, disks)
			delete(site.Machines, tt.unreachable)
			info, _ := parseInfo(recorded(t, "namenode-info"))
			address := func(host string) string { ip, _, _ := strings.Cut(info.live[host].Address, ":"); return ip }
			pods := []provision.Object{pod("nuc02", address("172.31.77.12")), pod("nuc03", address("172.31.77.13"))}
			daemon := provision.Object{"kind": "DaemonSet", "metadata": map[string]any{"name": "d"},
				"status": map[string]any{"desiredNumberScheduled": int64(2), "updatedNumberScheduled": int64(2)}}
			if tt.change != nil {
				tt.change(pods, daemon)
			}
			w := newLayout(site).datanodesReady(nil).(provision.WaitFor)
			got := w.Missing(provision.NewFacts(map[provision.Query]any{infoQuery: tt.page, datanodePods: pods, daemons: daemon}))
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("missing is %q, want %q", got, tt.want)
			}
		})
	}
}

// A namenode that is still to be replaced is not taken for the new one.
func TestNamenodeAnswers(t *testing.T) {
	site := testSite([]string{"/data/hdfs"})
	w := newLayout(site).namenodeAnswers().(provision.WaitFor)
	for updated, want := range map[int64]string{0: "0 of 1 pods", 1: ""} {
		statefulSet := provision.Object{"kind": "StatefulSet", "metadata": map[string]any{"name": "namenode"}, "spec": map[string]any{"replicas": int64(1)},
			"status": map[string]any{"updatedReplicas": updated}}
		id := recorded(t, "namenode-info")
		info, _ := parseInfo(id)
		id.Body = []byte(strings.ReplaceAll(string(id.Body), info.ClusterID, clusterID(uid)))
		got := w.Missing(provision.NewFacts(map[provision.Query]any{infoQuery: id, namenodeQuery: statefulSet}))
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%d replaced: missing is %q, want %q", updated, got, want)
		}
	}
}

func TestDirectories(t *testing.T) {
	status := func(permission, owner string) provision.PageFact {
		return provision.PageFact{Status: 200, Body: []byte(`{"FileStatus":{"type":"DIRECTORY","permission":"` + permission + `","owner":"` + owner + `"}}`)}
	}
	good := map[string]provision.PageFact{"/": status("1777", "hdfs"), "/tmp": status("1777", "hdfs"), "/user": status("755", "hdfs"),
		"/user/spark": status("700", "spark"), "/spark-events": status("1777", "hdfs")}
	for name, tt := range map[string]struct {
		change map[string]provision.PageFact
		want   []string
		err    string
	}{
		"holds":          {nil, nil, ""},
		"absent":         {map[string]provision.PageFact{"/tmp": {Status: 404}, "/spark-events": {Status: 404}}, []string{"create /tmp", "create /spark-events"}, ""},
		"other owner":    {map[string]provision.PageFact{"/user/spark": status("755", "hdfs")}, []string{"update /user/spark"}, ""},
		"other mode":     {map[string]provision.PageFact{"/tmp": status("755", "hdfs")}, []string{"update /tmp"}, ""},
		"a file":         {map[string]provision.PageFact{"/tmp": {Status: 200, Body: []byte(`{"FileStatus":{"type":"FILE"}}`)}}, nil, "is a file"},
		"no namenode":    {map[string]provision.PageFact{"/tmp": {}}, []string{"create /tmp"}, ""},
		"cannot be read": {map[string]provision.PageFact{"/tmp": {Status: 200, Body: []byte("<html>")}}, nil, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			answers := map[provision.Query]any{}
			for p, page := range good {
				if other, ok := tt.change[p]; ok {
					page = other
				}
				answers[statusQuery(p)] = page
			}
			changes, err := directoriesStep{}.Diff(provision.NewFacts(answers))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error is %v, want %q", err, tt.err)
				}
				return
			}
			var got []string
			for _, c := range changes {
				got = append(got, string(c.Action)+" "+c.Key)
			}
			if d := cmp.Diff(tt.want, got); d != "" || err != nil {
				t.Errorf("error is %v, changes:\n%s", err, d)
			}
		})
	}
}
