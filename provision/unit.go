package provision

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Unit is a step: a systemd unit is enabled and running, and was started after
// the last change of the files it reads. It is restarted for no other reason.
type Unit struct {
	Base
	Unit    string   // "containerd.service"
	Files   []string // configuration that it reads only when it starts
	Reloads []string // configuration that it reads again when it is reloaded
	// EnabledOnly leaves out that it runs: it starts at boot, and whether it
	// can now is decided by a later step.
	EnabledOnly bool
}

func (s Unit) query() UnitQuery { return UnitQuery{Node: s.Node, Name: s.Unit} }

func (s Unit) Reads() []Query {
	reads := []Query{s.query()}
	for _, p := range s.Files {
		reads = append(reads, FileQuery{Node: s.Node, Path: p})
	}
	for _, p := range s.Reloads {
		reads = append(reads, FileQuery{Node: s.Node, Path: p}, s.reloaded())
	}
	return reads
}

// reloaded is a file that is as old as the last reload. systemd does not keep
// that time; at a boot the file is gone, and the unit starts anew.
func (s Unit) reloaded() FileQuery {
	return FileQuery{Node: s.Node, Path: "/run/nucspark-reloaded-" + s.Unit}
}

func (s Unit) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	old := fmt.Sprintf("%s (%s), %s", is.Active, is.Sub, is.Enabled)
	if s.EnabledOnly {
		if is.Load == "loaded" && enabled(is.Enabled) {
			return nil, nil
		}
		return []Change{{Kind: "unit", Key: s.Unit, Action: Update, Old: is.Enabled, New: "enabled"}}, nil
	}
	switch {
	case is.Load == "" || is.Load == "not-found":
		return []Change{{Kind: "unit", Key: s.Unit, Action: Start, New: "enabled and running"}}, nil
	case is.Active != "active" || is.Load == "masked" || !enabled(is.Enabled):
		return []Change{{Kind: "unit", Key: s.Unit, Action: Start, Old: old, New: "enabled and running"}}, nil
	case is.NeedReload:
		return []Change{{Kind: "unit", Key: s.Unit, Action: Restart, Old: old, New: "running with its changed unit file"}}, nil
	}
	for _, p := range s.Files {
		if file := (FileQuery{Node: s.Node, Path: p}).In(f); file.Exists && file.Modified.After(is.Since) {
			return []Change{{Kind: "unit", Key: s.Unit, Action: Restart,
				Old: "running since " + is.Since.UTC().Format(time.RFC3339), New: "running with the changed " + p}}, nil
		}
	}
	for _, p := range s.Reloads {
		last := is.Since
		if r := s.reloaded().In(f); r.Exists && r.Modified.After(last) {
			last = r.Modified
		}
		if file := (FileQuery{Node: s.Node, Path: p}).In(f); file.Exists && file.Modified.After(last) {
			return []Change{{Kind: "unit", Key: s.Unit, Action: Update,
				Old: "read its configuration " + last.UTC().Format(time.RFC3339), New: "reloaded with the changed " + p}}, nil
		}
	}
	return nil, nil
}

func (s Unit) Apply(ctx context.Context, env *Env, c []Change) error {
	is := s.query().In(env.Facts())
	before := strings.TrimSpace(is.Load + " " + is.Active + " " + is.Enabled)
	u := Quote(s.Unit)
	if s.EnabledOnly {
		return env.Node(s.Node).Change(ctx, Entry{Kind: "unit", Key: s.Unit, Before: before, After: "enabled"},
			"systemctl daemon-reload && systemctl unmask -- "+u+" && systemctl enable -- "+u)
	}
	if c[0].Action == Update {
		// The time is that before the reload: what is written meanwhile may be
		// read or not.
		stamp := Quote(s.reloaded().Path)
		return env.Node(s.Node).Change(ctx, Entry{Kind: "unit", Key: s.Unit, Before: before, After: "active enabled"},
			"touch -- "+stamp+".new && systemctl reload -- "+u+" && mv -f -- "+stamp+".new "+stamp)
	}
	verb := "start"
	if c[0].Action == Restart {
		verb = "restart"
	}
	script := "systemctl daemon-reload && systemctl unmask -- " + u + " && systemctl enable -- " + u + " && systemctl " + verb + " -- " + u +
		" || { code=$?; journalctl --no-pager -n 20 -u " + u + " >&2; exit $code; }"
	return env.Node(s.Node).Change(ctx, Entry{Kind: "unit", Key: s.Unit, Before: before, After: "active enabled"}, script)
}

// enabled says whether a unit with this state of its file starts at boot;
// static and generated ones are started by others.
func enabled(state string) bool {
	switch state {
	case "enabled", "enabled-runtime", "static", "generated", "alias", "indirect":
		return true
	}
	return false
}
