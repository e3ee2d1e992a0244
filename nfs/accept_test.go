package nfs

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/provision"
)

func TestAcceptExport(t *testing.T) {
	held := provision.Object{"kind": "PersistentVolume"}
	for name, tt := range map[string]struct {
		was, mount string
		entries    []string
		volume     provision.Object
		lose       []string
		err        string
	}{
		"new and empty":       {was: "/srv", mount: "/srv"},
		"volumes may go":      {was: "/srv", mount: "/srv", volume: held, lose: []string{"shared"}},
		"volumes may not go":  {was: "/srv", mount: "/srv", volume: held, lose: []string{"other"}, err: "held the volume shared, whose files are not there"},
		"not mounted":         {was: "/srv", mount: "/", volume: held, lose: []string{"shared"}, err: "mount the new disk at /srv first"},
		"somebody's files":    {was: "/srv", mount: "/srv", entries: []string{"photos"}, volume: held, lose: []string{"shared"}, err: "is not empty (photos)"},
		"on the system's own": {mount: "/", err: "lies on the system's own disk"},
	} {
		st := site()
		s := Accept(st, &st.Cluster.Nodes[1], tt.was, tt.lose)[0].(exportStep)
		facts := map[provision.Query]any{
			s.dirQuery(): provision.FileFact{Exists: true, Mode: fs.ModeDir | 0o755}, s.sentinelQuery(): provision.FileFact{}, s.ownersList(): provision.FileFact{},
			s.diskQuery(): provision.DiskFact{Exists: true, Entries: tt.entries, MountPoint: tt.mount},
		}
		for _, q := range s.volumes() {
			facts[q] = tt.volume
		}
		changes, err := s.Diff(provision.NewFacts(facts))
		if tt.err == "" && (err != nil || len(changes) != 1) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}

func TestServerAnew(t *testing.T) {
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		active string
		since  time.Time
		file   bool
		want   int
	}{
		"ran on without the disk": {"active", at.Add(-time.Hour), true, 1},
		"no sentinel yet":         {"active", at.Add(-time.Hour), false, 1},
		"started after":           {"active", at.Add(time.Second), true, 0},
		"does not run":            {"inactive", time.Time{}, true, 0},
	} {
		st := site()
		s := Accept(st, &st.Cluster.Nodes[1], "", nil)[1].(serverAnew)
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{
			s.unit: provision.UnitFact{Active: tt.active, Since: tt.since}, s.dir.sentinelQuery(): provision.FileFact{Exists: tt.file, Modified: at}}))
		if err != nil || len(changes) != tt.want {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}
