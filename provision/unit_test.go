package provision

import (
	"testing"
	"time"
)

// A unit is restarted for what it reads when it starts, and reloaded for what
// it reads again, each once.
func TestUnitReload(t *testing.T) {
	began := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	at := func(minute int) FileFact {
		return FileFact{Exists: true, Modified: began.Add(time.Duration(minute) * time.Minute)}
	}
	s := Unit{Base: Base{Name: "nuc01/server", Node: "nuc01"}, Unit: "server.service", Files: []string{"/etc/main"}, Reloads: []string{"/etc/list"}}
	for name, tt := range map[string]struct {
		main, list, last FileFact
		want             Action
	}{
		"started after both":     {at(-2), at(-1), FileFact{}, ""},
		"the list is new":        {at(-2), at(1), FileFact{}, Update},
		"reloaded since":         {at(-2), at(1), at(2), ""},
		"new since the reload":   {at(-2), at(3), at(2), Update},
		"reloaded before it ran": {at(-2), at(1), at(-5), Update},
		"both are new":           {at(1), at(1), at(2), Restart},
	} {
		changes, err := s.Diff(NewFacts(map[Query]any{
			s.query(): UnitFact{Load: "loaded", Active: "active", Enabled: "enabled", Since: began},
			FileQuery{Node: "nuc01", Path: "/etc/main"}: tt.main, FileQuery{Node: "nuc01", Path: "/etc/list"}: tt.list, s.reloaded(): tt.last,
		}))
		if err != nil {
			t.Fatal(err)
		}
		var got Action
		if len(changes) > 0 {
			got = changes[0].Action
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
