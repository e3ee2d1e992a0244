package ubuntu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"nucspark.io/nucspark/provision"
)

// UndoSteps put a node back as its ledger says it was, once nothing of
// Kubernetes runs there any more ([provision.NodeReset]) and the steps in
// after hold. Data directories stay; those in erase go with all that is in
// them. The node need not be in the inventory.
//
// The order on a node: units stop; files, swap, names and firewalls are put
// back, while the programs for it are there; packages go; then what they left,
// users and empty directories; the ledger last.
func UndoSteps(site *provision.Site, node string, ledger []provision.Entry, erase, after []string) []provision.Step {
	u := &undo{node: node, origins: provision.Origins(ledger), first: append([]string{provision.NodeReset(node)}, after...)}
	units := u.units()
	firewalls := u.firewalls(units)
	files := append(u.files(site, append(slices.Clone(units), firewalls...)), u.edits()...)
	purged := u.purge(slices.Concat(units, firewalls, files))
	left := append(u.leftovers(purged), u.data(erase, purged)...)
	for _, o := range u.of("user") {
		left = append(left, u.add(provision.UserGone{Base: u.base("user/"+o.Key, purged), Origin: o}))
	}
	for _, o := range u.of("sysctl") {
		left = append(left, u.add(provision.SysctlBack{Base: u.base("sysctl/"+o.Key, files...), Origin: o}))
	}
	left = append(left, u.directories(append(slices.Clone(left), purged))...)
	forgotten := u.add(provision.Forgotten{Base: u.base("ledger", append(left, purged)...)})
	u.steps = append(u.steps, provision.Milestone{Name: provision.NodeUndone(node), After: []string{forgotten}})
	return u.steps
}

// undo collects the steps of one node.
type undo struct {
	node    string
	first   []string // what every step needs
	origins []provision.Origin
	gone    []string // files that will not be there
	steps   []provision.Step
}

func (u *undo) base(name string, after ...string) provision.Base {
	return provision.Base{Name: u.node + "/undo/" + strings.TrimPrefix(name, "/"), Node: u.node, After: append(slices.Clone(u.first), after...)}
}

func (u *undo) add(s provision.Step) (id string) {
	u.steps = append(u.steps, s)
	return s.ID()
}

// of returns what a ledger has of a kind.
func (u *undo) of(kind string) []provision.Origin {
	var some []provision.Origin
	for _, o := range u.origins {
		if o.Kind == kind {
			some = append(some, o)
		}
	}
	return some
}

func (u *undo) units() (ids []string) {
	for _, o := range u.of("unit") {
		ids = append(ids, u.add(provision.UnitBack{Base: u.base("unit/" + o.Key), Origin: o}))
	}
	return ids
}

func (u *undo) firewalls(units []string) (ids []string) {
	if len(u.of("firewall")) > 0 {
		// Its unit deletes it when it is stopped; somebody may have taken that away.
		ids = append(ids, u.add(noTable{u.base("firewall/table", units...)}))
	}
	if len(u.of("ufw")) > 0 {
		ids = append(ids, u.add(ufwGone{u.base("firewall/ufw")}))
	}
	if sources := u.of("firewalld"); len(sources) > 0 {
		s := firewalldGone{Base: u.base("firewall/firewalld")}
		for _, o := range sources {
			s.sources = append(s.sources, o.Key)
		}
		ids = append(ids, u.add(s))
	}
	return ids
}

func (u *undo) files(site *provision.Site, after []string) (ids []string) {
	for _, o := range u.of("file") {
		// What says whose a data directory is stays with it; what says that
		// the node is a member goes last.
		if path.Base(o.Key) == provision.Sentinel || path.Dir(o.Key) == provision.StateDir {
			continue
		}
		s := provision.Restored{Base: u.base("file"+o.Key, after...), UID: site.Resolved.UID, Origin: o}
		if s.Gone() {
			u.gone = append(u.gone, o.Key)
		}
		ids = append(ids, u.add(s))
	}
	return ids
}

// edits take nucspark's lines out of files that are not its own, and switch
// swap on again.
func (u *undo) edits() (ids []string) {
	for _, o := range u.of("hosts") {
		ids = append(ids, u.add(edit{Base: u.base("hosts" + o.Key), path: o.Key, kind: "hosts", text: func(now []byte) []byte {
			was := replaceBlock(now, "")
			// The block began on a line of its own, which the file may not have had.
			if cut := bytes.TrimSuffix(was, []byte("\n")); sum(was) != o.Before && sum(cut) == o.Before {
				return cut
			}
			return was
		}}))
	}
	var tabs []string
	for _, o := range u.of("fstab") {
		tabs = append(tabs, u.add(edit{Base: u.base("fstab" + o.Key), path: o.Key, kind: "fstab", text: uncommentSwap, after: "systemctl daemon-reload"}))
	}
	swap := swapBack{Base: u.base("swap", tabs...)}
	for _, o := range u.of("mask") {
		swap.units = append(swap.units, o.Key)
	}
	for _, o := range u.of("swap") {
		swap.devices = append(swap.devices, o.Key)
	}
	if len(swap.units)+len(swap.devices) > 0 {
		tabs = append(tabs, u.add(swap))
	}
	return append(ids, tabs...)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// uncommentSwap takes nucspark's mark off the lines that carry it.
func uncommentSwap(now []byte) []byte {
	var w strings.Builder
	for _, l := range lines(now) {
		w.WriteString(strings.TrimPrefix(l, fstabMark))
	}
	return []byte(w.String())
}

func (u *undo) purge(after []string) (id string) {
	return u.add(u.purged(after...))
}

func (u *undo) purged(after ...string) provision.Purged {
	return provision.Purged{Base: u.base("packages", after...), Packages: u.of("package"), Holds: u.of("hold")}
}

// left are directories that programs of packages made while they ran. They
// are removed with all that is in them when their package is gone.
var left = map[string][]string{
	"containerd.io": {"/var/lib/containerd", "/opt/containerd"},
}

// emptyDirectories are removed if the kubelet came with nucspark and they are
// empty: it and its pods made them.
var emptyDirectories = []string{
	"/etc/cni", "/etc/cni/net.d", "/etc/kubernetes", "/etc/kubernetes/manifests", "/opt/cni", "/opt/cni/bin",
	"/usr/libexec/kubernetes", "/usr/libexec/kubernetes/kubelet-plugins", "/usr/libexec/kubernetes/kubelet-plugins/volume",
	"/usr/libexec/kubernetes/kubelet-plugins/volume/exec", "/var/lib/cni", "/var/lib/etcd", "/var/lib/kubelet",
	"/var/log/containers", "/var/log/pods",
}

// came says whether a package came with nucspark.
func (u *undo) came(name string) bool {
	return slices.ContainsFunc(u.of("package"), func(o provision.Origin) bool { return o.Key == name && o.Before == "" })
}

func (u *undo) leftovers(purged string) (ids []string) {
	purge := u.purged().Query()
	for name, dirs := range left {
		if !u.came(name) {
			continue
		}
		q := provision.PackageQuery{Node: u.node, Name: name}
		for _, dir := range dirs {
			ids = append(ids, u.add(provision.Emptied{Base: u.base("left"+dir, purged), Path: dir, Kind: "left", Why: "what " + name + " keeps: images and containers",
				Also: []provision.Query{purge, q},
				If: func(f provision.Facts) bool {
					return q.In(f).Version == "" || slices.Contains(purge.In(f).Free, name)
				}}))
		}
	}
	return ids
}

// data are the directories whose content goes: that of scratch directories,
// and that of data directories which somebody named.
func (u *undo) data(erase []string, purged string) (ids []string) {
	for _, o := range u.of(provision.KindScratch) {
		ids = append(ids, u.add(provision.Emptied{Base: u.base("scratch"+o.Key, purged), Path: o.Key, Kind: o.Kind, Before: o.Before, Why: "shuffle files and the like"}))
	}
	before := map[string]string{}
	for _, o := range u.of(provision.KindData) {
		before[o.Key] = o.Before
	}
	for _, dir := range erase {
		was, known := before[dir]
		if !known {
			was = "unknown" // the ledger does not say whether it was there: it stays
		}
		ids = append(ids, u.add(provision.Emptied{Base: u.base("data"+dir, purged), Path: dir, Kind: provision.KindData, Before: was,
			Why: "DATA: it cannot be brought back"}))
	}
	return ids
}

// directories go when they are empty, the innermost first.
func (u *undo) directories(after []string) (ids []string) {
	origins := u.of("directory")
	if u.came("kubelet") {
		for _, dir := range emptyDirectories {
			if !slices.ContainsFunc(origins, func(o provision.Origin) bool { return o.Key == dir }) {
				origins = append(origins, provision.Origin{Kind: "directory", Key: dir, Wrote: []string{""}})
			}
		}
	}
	slices.SortFunc(origins, func(a, b provision.Origin) int { return strings.Compare(b.Key, a.Key) })
	for i, o := range origins {
		s := provision.DirectoryBack{Base: u.base("directory"+o.Key, after...), Origin: o, Files: u.gone}
		for j, below := range origins[:i] {
			if strings.HasPrefix(below.Key, o.Key+"/") {
				s.Below = append(s.Below, below)
				s.After = append(s.After, ids[j])
			}
		}
		ids = append(ids, u.add(s))
	}
	return ids
}

// UndoNotes say what stays on a node, and ask the machine for it: facts must
// hold the answers to UndoQueries.
func UndoNotes(node string, ledger []provision.Entry, erase []string, f provision.Facts) []string {
	u := &undo{node: node, origins: provision.Origins(ledger)}
	var notes []string
	for _, o := range u.of(provision.KindData) {
		if !slices.Contains(erase, o.Key) && u.disk(o.Key).In(f).Exists {
			notes = append(notes, fmt.Sprintf("%s: %s stays, with the data that is in it", node, o.Key))
		}
	}
	return append(notes, u.purged().Notes(f)...)
}

func (u *undo) disk(dir string) provision.DiskQuery {
	return provision.DiskQuery{Node: u.node, Path: dir}
}

// UndoQueries are what UndoNotes must know.
func UndoQueries(node string, ledger []provision.Entry) []provision.Query {
	u := &undo{node: node, origins: provision.Origins(ledger)}
	queries := u.purged().Reads()
	for _, o := range u.of(provision.KindData) {
		queries = append(queries, u.disk(o.Key))
	}
	return queries
}

// noTable is a step: nucspark's table is not loaded.
type noTable struct{ provision.Base }

func (s noTable) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.NftTable}
}

func (s noTable) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s noTable) Diff(f provision.Facts) ([]provision.Change, error) {
	if s.query().In(f).Code != 0 {
		return nil, nil
	}
	return []provision.Change{{Kind: "firewall", Key: "table inet nucspark", Action: provision.Delete}}, nil
}

func (s noTable) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "firewall", Key: "table inet nucspark"}, "nft delete table inet nucspark")
}
