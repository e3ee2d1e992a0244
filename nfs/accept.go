package nfs

import (
	"context"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Accept makes an export of a new disk: its sentinel is written, and a server
// that ran on without it starts anew. was is where the export was mounted
// before, "" where nothing says so; lose names the volumes that may begin empty.
func Accept(site *provision.Site, n *inventory.Node, was string, lose []string) []provision.Step {
	dir := exportStep{Base: provision.Base{Name: n.Name + "/nfs/directory", Node: n.Name}, site: site, node: n, accept: true, was: was, lose: lose}
	return []provision.Step{dir, serverAnew{provision.Base{Name: n.Name + "/nfs/restart", Node: n.Name, After: []string{dir.Name}}, dir, unitQuery(site, n)}}
}

// serverAnew is a step: a server that runs started after the export's sentinel
// was written. One that does not run is started by up.
type serverAnew struct {
	provision.Base
	dir  exportStep
	unit provision.UnitQuery
}

func (s serverAnew) Reads() []provision.Query {
	return []provision.Query{s.unit, s.dir.sentinelQuery()}
}

func (s serverAnew) Diff(f provision.Facts) ([]provision.Change, error) {
	unit, file := s.unit.In(f), s.dir.sentinelQuery().In(f)
	if unit.Active != "active" || file.Exists && !unit.Since.Before(file.Modified) {
		return nil, nil
	}
	return []provision.Change{{Kind: "unit", Key: s.unit.Name, Action: provision.Restart, New: "starts anew, with " + s.dir.node.NFS.Export}}, nil
}

func (s serverAnew) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "unit", Key: s.unit.Name, After: "restarted"}, "systemctl restart "+provision.Quote(s.unit.Name))
}
