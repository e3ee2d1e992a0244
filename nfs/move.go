package nfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// volumeObject is the step of a PersistentVolume. Its place cannot change, so
// one that is elsewhere is not touched: its files must be moved first.
type volumeObject struct {
	provision.KubeObject
	cluster *inventory.Cluster
	volume  inventory.Volume
	moving  string // the step that takes it from its old place, "" for none
}

func (s volumeObject) Diff(f provision.Facts) ([]provision.Change, error) {
	q := provision.ObjectQuery{Object: s.Object}
	if f.Known(q) && q.In(f).Exists {
		if is, want := placeOf(q.In(f).Live), placeOf(s.Object); is != want && s.moving != "" {
			return []provision.Change{{Kind: "PersistentVolume", Key: volumeName(s.volume), Action: provision.Create, New: "at " + want.of(s.cluster), After: s.moving}}, nil
		} else if is != want {
			return nil, fmt.Errorf("the volume %s is at %s in the cluster and at %s in %s: nucspark volume move %[1]s %[5]s moves its files, or put the old place back",
				s.volume.Name, is.of(s.cluster), want.of(s.cluster), s.cluster.File, s.volume.Node)
		}
	}
	return s.KubeObject.Diff(f)
}

// place is where the files of a volume are.
type place struct{ server, path string }

func placeOf(volume provision.Object) place {
	spec, _ := volume["spec"].(map[string]any)
	source, _ := spec["nfs"].(map[string]any)
	var p place
	p.server, _ = source["server"].(string)
	p.path, _ = source["path"].(string)
	return p
}

// node is that of the inventory which serves the place, nil for none.
func (p place) node(c *inventory.Cluster) *inventory.Node {
	for i := range c.Nodes {
		if c.Nodes[i].Address.String() == p.server {
			return &c.Nodes[i]
		}
	}
	return nil
}

// of is the place in words.
func (p place) of(c *inventory.Cluster) string {
	name := p.server
	if n := p.node(c); n != nil {
		name = n.Name
	}
	return name + ":" + p.path
}

// Move brings the files of a volume to the node that the inventory names for
// it, and lets the cluster have it there under the same name. The old copy
// stays. from is the node where it is now, nil if it is in its place already.
func Move(site *provision.Site, v inventory.Volume, from *inventory.Node) []provision.Step {
	to, _ := site.Cluster.Node(v.Node)
	var after []string
	var steps []provision.Step
	moving := ""
	if from != nil {
		s := moved{Base: provision.Base{Name: "cluster/nfs/move/" + v.Name}, site: site, volume: v, from: from, to: to}
		moving, after = s.Name, []string{s.Name}
		steps = append(steps, s)
	}
	pv, claim := "cluster/nfs/volume/"+v.Name, "cluster/nfs/claim/"+v.Name
	return append(steps,
		volumeObject{provision.KubeObject{Base: provision.Base{Name: pv, After: after}, Object: persistentVolume(site.Cluster, to, v)}, site.Cluster, v, moving},
		provision.KubeObject{Base: provision.Base{Name: claim, After: []string{pv}}, Object: claimOf(v)},
		bound([]provision.Query{claimQuery(v)}, claim))
}

// placeQuery asks where the files of a volume are.
func placeQuery(v inventory.Volume) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "PersistentVolume", Name: volumeName(v)}
}

// Places are what [From] must know.
func Places(c *inventory.Cluster, v inventory.Volume) []provision.Query {
	return []provision.Query{placeQuery(v), targetOf(c, v)}
}

// targetOf asks for the volume's directory on the node of the inventory.
func targetOf(c *inventory.Cluster, v inventory.Volume) provision.DiskQuery {
	n, _ := c.Node(v.Node)
	return provision.DiskQuery{Node: n.Name, Path: path.Join(n.NFS.Export, v.Name)}
}

// From is the node that a volume must be moved from, nil where it is in its
// place. Its error is a refusal.
func From(site *provision.Site, v inventory.Volume, f provision.Facts) (*inventory.Node, error) {
	refuse := func(format string, args ...any) (*inventory.Node, error) {
		return nil, &provision.RefusedError{Reasons: []string{"volume " + v.Name + ": " + fmt.Sprintf(format, args...)}}
	}
	q := placeQuery(v)
	to, _ := site.Cluster.Node(v.Node)
	switch _, here := site.Machines[v.Node]; {
	case !f.Known(q):
		return refuse("the API server does not answer")
	case !here:
		return refuse("%s does not answer", v.Node)
	}
	want := place{to.Address.String(), path.Join(to.NFS.Export, v.Name)}
	if q.In(f) == nil && !targetOf(site.Cluster, v).In(f).Exists {
		return refuse("it is not made yet; nucspark up makes it")
	}
	if q.In(f) == nil || placeOf(q.In(f)) == want { // nowhere: a move was interrupted near its end
		return nil, nil
	}
	is := placeOf(q.In(f))
	from := is.node(site.Cluster)
	if from == nil {
		return refuse("it is at %s, which is no node of %s; put its block back", is.of(site.Cluster), site.Cluster.File)
	}
	if _, here := site.Machines[from.Name]; !here {
		return refuse("it is on %s, which does not answer; its files can be copied only when it does", from.Name)
	}
	if from.NFS == nil || path.Join(from.NFS.Export, v.Name) != is.path {
		return refuse("it is at %s, which is not below the export of %s in %s; put that back", is.of(site.Cluster), from.Name, site.Cluster.File)
	}
	return from, nil
}

// moved is a step: the files of a volume are on another node, and the cluster
// has no volume at the old place.
type moved struct {
	provision.Base
	site     *provision.Site
	volume   inventory.Volume
	from, to *inventory.Node
}

func (s moved) source() string { return path.Join(s.from.NFS.Export, s.volume.Name) }
func (s moved) target() string { return path.Join(s.to.NFS.Export, s.volume.Name) }

// work is where the copy is made, beside its place: a rename ends it.
func (s moved) work() string { return path.Join(s.to.NFS.Export, ".nucspark-move-"+s.volume.Name) }

// Old is what a move leaves beside the old copy of a volume.
type Old struct {
	Volume string `json:"volume"`
	Node   string `json:"node"`   // where it went
	Digest string `json:"digest"` // of the files that went there
}

func oldFile(n *inventory.Node, volume string) string {
	return path.Join(n.NFS.Export, ".nucspark-moved-"+volume)
}

func oldQuery(n *inventory.Node, volume string) provision.FileQuery {
	return provision.FileQuery{Node: n.Name, Path: oldFile(n, volume), Content: true}
}

// old is the note beside an old copy, the zero value where there is none.
func old(n *inventory.Node, volume string, f provision.Facts) (Old, error) {
	var o Old
	file := oldQuery(n, volume).In(f)
	if !file.Exists {
		return o, nil
	}
	if err := json.Unmarshal(file.Content, &o); err != nil {
		return o, fmt.Errorf("%s on %s is damaged (%w); look at the directory beside it, and remove the file", oldFile(n, volume), n.Name, err)
	}
	return o, nil
}

func (s moved) targetDisk() provision.DiskQuery {
	return provision.DiskQuery{Node: s.to.Name, Path: s.target()}
}

func (s moved) export() exportStep {
	return exportStep{Base: provision.Base{Node: s.to.Name}, site: s.site, node: s.to}
}

func (s moved) Reads() []provision.Query {
	e := s.export()
	return []provision.Query{placeQuery(s.volume), allPods, s.targetDisk(), e.sentinelQuery(), e.diskQuery(), oldQuery(s.from, s.volume.Name), oldQuery(s.to, s.volume.Name)}
}

func (s moved) refuse(format string, args ...any) error {
	return &provision.RefusedError{Reasons: []string{"volume " + s.volume.Name + ": " + fmt.Sprintf(format, args...)}}
}

func (s moved) Diff(f provision.Facts) ([]provision.Change, error) {
	live := placeQuery(s.volume).In(f)
	if !f.Known(placeQuery(s.volume)) {
		return nil, s.refuse("the API server does not answer")
	}
	if live == nil || placeOf(live).server != s.from.Address.String() {
		return nil, nil
	}
	if users := s.users(f); len(users) > 0 {
		return nil, s.refuse("pods use it: %s; end them first, and start them again when it was moved", strings.Join(users[:min(len(users), 5)], ", "))
	}
	e := s.export()
	file := e.sentinelQuery().In(f)
	if !file.Exists {
		return nil, s.refuse("%s on %s is not in use yet, or its disk is not mounted; run nucspark up first", s.to.NFS.Export, s.to.Name)
	}
	if err := e.sentinel(f).Match(file.Content); err != nil {
		return nil, s.refuse("%v", err)
	}
	was, err := old(s.from, s.volume.Name, f)
	if err != nil {
		return nil, s.refuse("%v", err)
	}
	if there := s.targetDisk().In(f).Entries; len(there) > 0 && was.Node != s.to.Name {
		if o, err := old(s.to, s.volume.Name, f); err == nil && o.Node != "" {
			return nil, s.refuse("%s on %s holds its old copy; nucspark volume move %s %s --drop-old deletes that, before node is changed in the file", s.target(), s.to.Name, s.volume.Name, s.from.Name)
		}
		return nil, s.refuse("%s on %s is not empty (%s); move what is in it away", s.target(), s.to.Name, strings.Join(there[:min(len(there), 3)], ", "))
	}
	return []provision.Change{{Kind: "volume", Key: s.volume.Name, Action: provision.Execute, Old: s.from.Name + ":" + s.source(), New: s.to.Name + ":" + s.target(),
		Detail: "Its files are copied through this computer and compared by their checksums. Then the claim and the volume are made anew, with the same names.\nThe old copy stays until --drop-old.",
		Note:   fmt.Sprintf("%s are free on %s", inventory.Size(e.diskQuery().In(f).Free).Human(), s.to.Name)}}, nil
}

func (s moved) users(f provision.Facts) []string {
	v := placed{namespace: provision.Namespace, claim: s.volume.Name}
	return v.users(allPods.In(f))
}

// copies bounds how often the files are copied again that change meanwhile.
const copies = 3

func (s moved) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	from, to := env.Node(s.from.Name), env.Node(s.to.Name)
	// An interrupted move may have come to its place already.
	copied, there := "", len(s.targetDisk().In(env.Facts()).Entries) > 0
	for try := 0; ; try++ {
		before, err := state(ctx, from, s.source())
		if err != nil {
			return err
		}
		if copied, err = s.copy(ctx, env, from, to, there); err != nil {
			return err
		}
		if err := s.unused(ctx, env); err != nil {
			return err
		}
		// From here no pod can mount it. One that does keeps the claim.
		gone, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("a pod began to use it"))
		err = k.Delete(gone, "v1", "PersistentVolumeClaim", provision.Namespace, s.volume.Name)
		cancel()
		if err != nil {
			return err
		}
		now, err := state(ctx, from, s.source())
		if err != nil {
			return err
		}
		if now == before {
			break
		}
		if try == copies || there {
			return &provision.StepError{Step: s.Name, Err: fmt.Errorf("the files of %s on %s change while they are copied", s.source(), s.from.Name),
				Hint: "find out who writes there, past the cluster, and end that; then run it again"}
		}
		env.Log("files changed meanwhile, and are copied again")
	}
	note, err := json.Marshal(Old{s.volume.Name, s.to.Name, copied})
	if err != nil {
		return err
	}
	if err := from.WriteFile(ctx, provision.Written{Path: oldFile(s.from, s.volume.Name), Content: append(note, '\n'), Mode: 0o444, Owner: "root", Group: "root"}); err != nil {
		return err
	}
	if !there {
		// Onto an empty directory, which up may have made, and no other.
		err := to.Change(ctx, provision.Entry{Kind: provision.KindData, Key: s.target(), After: provision.DataAfter("moved from "+s.from.Name, s.export().diskQuery().In(env.Facts()))},
			fmt.Sprintf("set -e; sync; if [ -d %[2]s ]; then rmdir -- %[2]s; fi; mv -T -- %[1]s %[2]s; sync", provision.Quote(s.work()), provision.Quote(s.target())))
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return k.Delete(ctx, "v1", "PersistentVolume", "", volumeName(s.volume))
}

// unused is an error that names the pods that use the volume.
func (s moved) unused(ctx context.Context, env *provision.Env) error {
	f, err := env.Read(ctx, allPods)
	if err != nil {
		return err
	}
	if !f.Known(allPods) {
		return s.refuse("the API server does not answer")
	}
	if users := s.users(f); len(users) > 0 {
		return s.refuse("pods began to use it: %s; end them, and run it again", strings.Join(users[:min(len(users), 5)], ", "))
	}
	return nil
}

// looks bounds a script that reads a whole volume and prints nothing meanwhile.
const looks = 12 * time.Hour

// state tells whether anything in a directory was changed, without reading
// files: each change of a file or of its owner or mode changes its ctime.
func state(ctx context.Context, n *provision.Node, dir string) (string, error) {
	return look(ctx, n, dir, `find . -printf '%P %y %s %C@\n' | LC_ALL=C sort | sha256sum`)
}

// digest is the checksum of the names, owners, modes and targets in a directory,
// and of all content.
func digest(ctx context.Context, n *provision.Node, dir string) (string, error) {
	return look(ctx, n, dir, `{ find . -printf '%P %y %m %U %G %l\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum; } | sha256sum`)
}

func look(ctx context.Context, n *provision.Node, dir, script string) (string, error) {
	r, err := n.Remote().Run(ctx, host.Command{Root: true, Idle: looks, Script: "set -e; cd -- " + provision.Quote(dir) + "\n" + script + "\n"})
	return strings.TrimSuffix(strings.TrimSpace(r.Stdout), "  -"), err
}

// copy makes a copy of the volume in the work directory and compares it, and
// gives its digest. Where the copy came to its place it is only compared.
func (s moved) copy(ctx context.Context, env *provision.Env, from, to *provision.Node, there bool) (string, error) {
	dir := s.target()
	if !there {
		dir = s.work()
		if err := s.transfer(ctx, env, from, to); err != nil {
			return "", err
		}
	}
	env.Log("comparing checksums")
	want, err := digest(ctx, from, s.source())
	if err != nil {
		return "", err
	}
	got, err := digest(ctx, to, dir)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", &provision.StepError{Step: s.Name, Err: fmt.Errorf("%s on %s and %s on %s are not the same (%s, %s)", s.source(), s.from.Name, dir, s.to.Name, want, got),
			Hint: "the volume stays where it is; see whether something writes there past the cluster, and whether the disks are healthy; then run it again"}
	}
	return got, nil
}

// transfer streams the files from one machine to the other through this
// computer: neither has a key of the other.
func (s moved) transfer(ctx context.Context, env *provision.Env, from, to *provision.Node) error {
	r, err := from.Remote().Run(ctx, host.Command{Root: true, Idle: looks, Script: "du -s --apparent-size -B1 -- " + provision.Quote(s.source())})
	if err != nil {
		return err
	}
	var total int64
	if _, err := fmt.Sscan(r.Stdout, &total); err != nil {
		return fmt.Errorf("du on %s said %q", s.from.Name, r.Stdout)
	}
	if free := s.export().diskQuery().In(env.Facts()).Free; total > free {
		return s.refuse("it holds %s, and %s are free on %s", inventory.Size(total).Human(), inventory.Size(free).Human(), s.to.Name)
	}
	err = to.Change(ctx, provision.Entry{Kind: provision.KindScratch, Key: s.work(), After: "a copy that is being made"},
		fmt.Sprintf("set -e; rm -rf -- %[1]s; mkdir -m 0700 -- %[1]s", provision.Quote(s.work())))
	if err != nil {
		return err
	}
	read, write := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		counted := &counter{to: write, tell: func(n int64) { env.Progress(min(n, total), total, "bytes", "copied") }}
		_, err := from.Remote().Run(ctx, host.Command{Root: true, Script: "tar -C " + provision.Quote(s.source()) + " --numeric-owner --acls --xattrs --sparse -cf - .", Stdout: counted})
		write.CloseWithError(err)
		sent <- err
	}()
	_, err = to.Remote().Run(ctx, host.Command{Root: true, Script: "tar -C " + provision.Quote(s.work()) + " --numeric-owner --acls --xattrs -xpf -", Stdin: read})
	read.CloseWithError(io.ErrClosedPipe) // what is not read any more
	return errors.Join(<-sent, err)
}

// counter tells how much went through, once for each mebibyte.
type counter struct {
	to   io.Writer
	tell func(int64)
	n    atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	was := c.n.Add(int64(n)) - int64(n)
	if now := was + int64(n); was>>20 != now>>20 {
		c.tell(now)
	}
	return n, err
}

// DropOld deletes the old copies of a volume, on all nodes but its own, that
// are as they were when it was moved.
func DropOld(site *provision.Site, v inventory.Volume) []provision.Step {
	var steps []provision.Step
	for _, n := range site.Reachable() {
		if n.NFS != nil && n.Name != v.Node {
			steps = append(steps, oldDropped{provision.Base{Name: n.Name + "/nfs/drop/" + v.Name, Node: n.Name}, n, v})
		}
	}
	return steps
}

// oldDropped is a step: a node has no old copy of a volume.
type oldDropped struct {
	provision.Base
	node   *inventory.Node
	volume inventory.Volume
}

func (s oldDropped) Reads() []provision.Query {
	return []provision.Query{oldQuery(s.node, s.volume.Name), placeQuery(s.volume)}
}

func (s oldDropped) Diff(f provision.Facts) ([]provision.Change, error) {
	o, err := old(s.node, s.volume.Name, f)
	if err != nil || o.Node == "" {
		return nil, err
	}
	if at := placeOf(placeQuery(s.volume).In(f)); !f.Known(placeQuery(s.volume)) || at.server == "" || at.server == s.node.Address.String() {
		return nil, fmt.Errorf("the cluster does not have the volume %s elsewhere: nothing is deleted; finish its move first", s.volume.Name)
	}
	return []provision.Change{{Kind: "old copy", Key: path.Join(s.node.NFS.Export, s.volume.Name), Action: provision.Delete, Old: "of the volume " + s.volume.Name + ", which is on " + o.Node, New: "DATA: it cannot be brought back"}}, nil
}

func (s oldDropped) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	n, dir := env.Node(s.Node), changes[0].Key
	o, err := old(s.node, s.volume.Name, env.Facts())
	if err != nil {
		return err
	}
	// One that was being deleted is not compared any more.
	trash := path.Join(s.node.NFS.Export, ".nucspark-drop-"+s.volume.Name)
	is, err := n.Run(ctx, "if [ -d "+provision.Quote(dir)+" ]; then echo there; fi")
	if err != nil {
		return err
	}
	if strings.TrimSpace(is.Stdout) == "there" {
		now, err := digest(ctx, n, dir)
		if err != nil {
			return err
		}
		if now != o.Digest {
			return &provision.StepError{Node: s.Node, Step: s.Name, Err: fmt.Errorf("%s is not as it was when the volume was moved: it is not deleted", dir),
				Hint: "see what was written there since; take it away by hand, with " + oldFile(s.node, s.volume.Name)}
		}
	}
	return n.ChangeQuietly(ctx, provision.Entry{Kind: provision.KindScratch, Key: trash, After: "an old copy that is being deleted"},
		fmt.Sprintf("set -e; if [ -d %[1]s ]; then rm -rf --one-file-system -- %[2]s; mv -T -- %[1]s %[2]s; fi; rm -rf --one-file-system -- %[2]s; rm -f -- %[3]s",
			provision.Quote(dir), provision.Quote(trash), provision.Quote(oldFile(s.node, s.volume.Name))), looks)
}
