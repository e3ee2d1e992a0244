package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// gone are the directories that hold blocks and are not in the inventory any
// more.
func (s labelStep) gone(f provision.Facts) []string {
	q := nodeQuery(s.Node)
	if !f.Known(q) {
		return nil
	}
	return slices.DeleteFunc(recordedDirs(q.In(f)), func(dir string) bool { return slices.Contains(s.dirs, dir) })
}

// Asks is what must be known before a directory leaves.
func (s labelStep) Asks(f provision.Facts) []provision.Query {
	gone := s.gone(f)
	if len(gone) == 0 {
		return nil
	}
	queries := []provision.Query{infoQuery, namenodeConfig, filesQuery}
	for _, dir := range gone {
		queries = append(queries, provision.DiskQuery{Node: s.Node, Path: dir})
	}
	return queries
}

// wholeReport ends fsck's report on all files.
const wholeReport = "The filesystem under path '/' is "

// mayGo says why directories cannot leave, and else what is so at this moment.
// Each block must have another copy on another machine. That those copies are
// there now is waited for before anything is done.
func (s labelStep) mayGo(f provision.Facts, gone []string) (note string, err error) {
	where := fmt.Sprintf("%s on %s", blanks(gone), s.Node)
	refuse := func(format string, args ...any) (string, error) {
		return "", &provision.RefusedError{Reasons: []string{where + " cannot leave HDFS: " + fmt.Sprintf(format, args...)}}
	}
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		return refuse("the namenode cannot be asked about its blocks: %v; nucspark status says more", err)
	}
	if info.Safemode != "" {
		return refuse("HDFS is read-only: %s", info.Safemode)
	}
	copies := s.layout.site.Resolved.Replication
	if is := replicationIn(namenodeConfig.In(f)); is != 0 {
		copies = min(copies, is)
	}
	if copies < 2 {
		return refuse("HDFS keeps one copy of each block, and the blocks in it are nowhere else; put it back, write the files anew with nucspark hdfs put --replication 2 and replication = 2 into the hdfs block, "+
			"or take the whole node out with nucspark up --remove %s, which copies its blocks, and add it again", s.Node)
	}
	if info.MissingBlocks > 0 {
		return refuse("%d blocks have no copy at all now; nucspark hdfs fsck names their files: bring back the disk they are on, or remove the files", info.MissingBlocks)
	}
	report := string(filesQuery.In(f).Body)
	if !strings.Contains(report, wholeReport) {
		return refuse("the namenode's report on all files cannot be read whole, so that a file with one copy might be missed; take the whole node out with nucspark up --remove %s and add it again", s.Node)
	}
	if files := wanting(filesQuery.In(f), 1, 1); len(files) > 0 {
		return refuse("%d files have one copy of each block only, which may be there: %s; write them anew with nucspark hdfs put --replication 2, or remove them", len(files), among(files))
	}
	serving, free := 0, int64(0)
	for _, d := range info.live {
		if d.State == inService && d.LastContact <= staleAfter {
			serving, free = serving+1, free+d.Remaining
		}
	}
	if serving < copies {
		return refuse("%d datanodes are in service, and %d copies of each block are kept; bring the others back first", serving, copies)
	}
	// At most what is used on their disks, and at most what the datanode holds.
	var used int64
	for _, dir := range gone {
		disk := provision.DiskQuery{Node: s.Node, Path: dir}.In(f)
		used, free = used+disk.Total-disk.Free, free-disk.Free
	}
	if n, ok := s.layout.site.Cluster.Node(s.Node); ok {
		if here, alive := info.live[n.Address.String()]; alive {
			used = min(used, here.Used)
		}
	}
	if used > free {
		return refuse("up to %s may be in it, and elsewhere %s are free: remove files, or add a disk or a machine first", inventory.Size(used).Human(), inventory.Size(max(free, 0)).Human())
	}
	return fmt.Sprintf("up to %s are copied; elsewhere %s are free", inventory.Size(used).Human(), inventory.Size(free).Human()), nil
}

// shrink lets the datanode start without directories that leave, when every
// block has all its copies, and waits until that is so again.
func (s labelStep) shrink(ctx context.Context, env *provision.Env, k *kube.Client) error {
	if err := s.settle(ctx, env, false); err != nil {
		return err
	}
	if err := s.replace(ctx, env, k); err != nil {
		return err
	}
	return s.settle(ctx, env, true)
}

// settle waits until every block has all its copies.
func (s labelStep) settle(ctx context.Context, env *provision.Env, after bool) error {
	w := &watching{env: env, left: -1, began: time.Now(), moved: time.Now()}
	return w.wait(ctx, func() (bool, error) {
		missing, err := s.unsettled(ctx, env, w, after)
		if err == nil && missing != "" {
			w.say(missing)
		}
		return err == nil && missing == "", err
	}, provision.StepError{Node: s.Node, Step: s.Name,
		Hint: "nucspark status and nucspark hdfs fsck say more; run nucspark up again when it is put right, or put the directory back into the file"})
}

// unsettled says what keeps the file system from being whole, "" if nothing
// does. A datanode that came back without a directory counts for the namenode
// with the blocks in it for some 30 s (its heartbeat check), so the numbers of
// both are compared. Before the change, the step's own datanode may be down.
func (s labelStep) unsettled(ctx context.Context, env *provision.Env, w *watching, after bool) (string, error) {
	f, err := env.Read(ctx, infoQuery, systemQuery, datanodePods)
	if err != nil {
		return "", err
	}
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		return "namenode: " + err.Error(), nil
	}
	if info.Safemode != "" {
		return info.Safemode, nil
	}
	pods := map[string]provision.PageQuery{}
	var queries []provision.Query
	for _, n := range s.layout.stores {
		if !s.layout.reachable(n) {
			continue
		}
		here := slices.DeleteFunc(podsOn(n.Name, datanodePods.In(f)), ending)
		if len(here) != 1 || !registered(n, info, datanodePods.In(f)) || after && n.Name == s.Node && label(here[0], DisksLabel) != disksOf(s.dirs) {
			if !after && n.Name == s.Node {
				continue
			}
			return "the datanode of " + n.Name + " is not registered yet", nil
		}
		pods[n.Name] = ownPage(here[0])
		queries = append(queries, pods[n.Name])
	}
	own, err := env.Read(ctx, queries...)
	if err != nil {
		return "", err
	}
	for _, n := range s.layout.stores {
		q, asked := pods[n.Name]
		if !asked {
			continue
		}
		holds, err := blocksOf(q.In(own))
		if err != nil {
			return fmt.Sprintf("datanode of %s: %v", n.Name, err), nil
		}
		if counted := info.live[n.Address.String()].Blocks; counted > holds {
			return "the namenode counts blocks on " + n.Name + " that are not there any more", nil
		}
	}
	var state systemState
	if err := bean(systemQuery.In(f), &state); err != nil {
		return "namenode: " + err.Error(), nil
	}
	if left := state.UnderReplicated + state.Pending; left > 0 {
		w.progress(left)
		return "blocks get their copies", nil
	}
	if info.MissingBlocks > 0 {
		return fmt.Sprintf("%d blocks are missing", info.MissingBlocks), nil
	}
	return "", nil
}

// ending says that a pod is being deleted.
func ending(pod provision.Object) bool {
	meta, _ := pod["metadata"].(map[string]any)
	return meta["deletionTimestamp"] != nil
}

// volume is what a datanode says of one of its directories.
type volume struct {
	Blocks int64 `json:"numBlocks"`
}

// volumesOf are the directories of a datanode, by their path in its pod.
func volumesOf(p provision.PageFact) (map[string]volume, error) {
	var info struct{ VolumeInfo string } // a JSON object in a string
	if err := bean(p, &info); err != nil {
		return nil, err
	}
	var volumes map[string]volume
	if err := json.Unmarshal([]byte(info.VolumeInfo), &volumes); err != nil {
		return nil, fmt.Errorf("its list of directories cannot be read: %w", err)
	}
	return volumes, nil
}

// blocksOf is the number of blocks that a datanode says it has, in all its
// directories.
func blocksOf(p provision.PageFact) (int64, error) {
	volumes, err := volumesOf(p)
	var sum int64
	for _, v := range volumes {
		sum += v.Blocks
	}
	return sum, err
}
