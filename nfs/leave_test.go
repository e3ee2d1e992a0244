package nfs

import (
	"errors"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

func pv(name, server, claim string) provision.Object {
	return provision.Object{"metadata": map[string]any{"name": name}, "spec": map[string]any{
		"nfs": map[string]any{"server": server, "path": "/srv/nfs/x"}, "claimRef": map[string]any{"namespace": provision.Namespace, "name": claim}}}
}

func podWith(name, claim, phase string) provision.Object {
	return provision.Object{"metadata": map[string]any{"namespace": provision.Namespace, "name": name}, "status": map[string]any{"phase": phase},
		"spec": map[string]any{"volumes": []any{map[string]any{"name": "tmp"}, map[string]any{"persistentVolumeClaim": map[string]any{"claimName": claim}}}}}
}

// A volume keeps its node from leaving unless it was named, and is not taken
// from under a pod.
func TestVolumesLeave(t *testing.T) {
	here, other := pv("nucspark-old", "192.168.1.13", "old"), pv("nucspark-shared", "192.168.1.12", "shared")
	for name, tt := range map[string]struct {
		lose    []string
		volumes []provision.Object
		pods    []provision.Object
		want    string // keys of the changes
		refused string
	}{
		"none on it":            {volumes: []provision.Object{other}},
		"one on it":             {volumes: []provision.Object{here, other}, refused: "nuc03: the NFS volume old is on it (/srv/nfs/x)"},
		"one that may go":       {lose: []string{"old"}, volumes: []provision.Object{here, other}, want: "old"},
		"somebody else's":       {volumes: []provision.Object{pv("mine", "192.168.1.13", "mine")}, refused: "say --lose-volume mine"},
		"a pod uses it":         {lose: []string{"old"}, volumes: []provision.Object{here}, pods: []provision.Object{podWith("writer", "old", "Running")}, refused: "pods use its NFS volume old: nucspark/writer"},
		"a pod used it":         {lose: []string{"old"}, volumes: []provision.Object{here}, pods: []provision.Object{podWith("writer", "old", "Succeeded"), podWith("x", "shared", "Running")}, want: "old"},
		"one of another node":   {lose: []string{"shared"}, volumes: []provision.Object{other}, refused: "--lose-volume shared: that volume is on no node that leaves"},
		"one forgotten already": {lose: []string{"old"}, volumes: []provision.Object{other}},
	} {
		t.Run(name, func(t *testing.T) {
			site := site()
			site.Cluster.Nodes = site.Cluster.Nodes[:2]
			site.LoseVolumes = tt.lose
			site.Leaving = []provision.Leaving{{Name: "nuc03", Member: provision.Member{Address: "192.168.1.13"}}}
			steps := Leave(site)
			changes, err := steps[0].Diff(provision.NewFacts(map[provision.Query]any{allVolumes: tt.volumes, allPods: tt.pods}))
			var refused *provision.RefusedError
			if tt.refused != "" {
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.refused) {
					t.Fatalf("%v, want a refusal that says %q", err, tt.refused)
				}
				return
			}
			var keys []string
			for _, c := range changes {
				keys = append(keys, c.Key)
			}
			if got := strings.Join(keys, " "); err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if last := steps[len(steps)-1]; last.ID() != provision.NodeUnused("nuc03") || last.Needs()[0] != steps[0].ID() {
				t.Errorf("the last step is %s after %v", last.ID(), last.Needs())
			}
		})
	}
}

// The volumes of a machine that was replaced begin empty only where somebody
// said so, and stay where their disk came along.
func TestForget(t *testing.T) {
	for name, tt := range map[string]struct {
		lose []string
		disk string // node of its sentinel, "" for none
		pods []provision.Object
		want int
		err  string
	}{
		"nobody said so":    {nil, "", nil, 0, "its files are gone with its disk; --lose-volume shared"},
		"said so":           {[]string{"shared"}, "", nil, 1, ""},
		"in use":            {[]string{"shared"}, "", []provision.Object{podWith("app", "shared", "Running")}, 0, "pods use its NFS volume shared: nucspark/app"},
		"its disk is there": {nil, "nuc02", nil, 0, ""},
		"another's disk":    {nil, "nuc03", nil, 0, "it is a disk of another machine"},
		"a volume of nuc03": {[]string{"other"}, "nuc02", nil, 0, ""},
	} {
		s := site()
		s.Members = map[string]provision.Member{"nuc02": {Address: "192.168.1.12"}}
		s.LoseVolumes = tt.lose
		step := Forget(s, "nuc02")[0].(volumesLost)
		file := provision.FileFact{}
		if tt.disk != "" {
			file = provision.FileFact{Exists: true, Content: provision.Disk{Cluster: "uid", Node: tt.disk, Path: "/srv/nfs", Filesystem: "11-22"}.Encode()}
		}
		changes, err := step.Diff(provision.NewFacts(map[provision.Query]any{
			step.export.sentinelQuery(): file, step.export.diskQuery(): provision.DiskFact{UUID: "11-22"},
			allVolumes: []provision.Object{pv("nucspark-shared", "192.168.1.12", "shared")}, allPods: tt.pods}))
		if len(changes) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", name, changes, err)
		}
	}
}
