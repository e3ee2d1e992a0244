package hdfs

import (
	"context"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Leave moves the blocks of nodes that leave to those that stay: the namenode
// decommissions their datanodes. When it says that one is decommissioned, its
// pod is stopped. The directories stay as they are.
func Leave(site *provision.Site) []provision.Step {
	var steps []provision.Step
	for _, l := range site.Leaving {
		moved := decommissioned{provision.Base{Name: l.Name + "/hdfs/decommission", After: []string{provision.NodeLeaving(l.Name)}}, site, l}
		stop := datanodeStopped{provision.Base{Name: l.Name + "/hdfs/stop", After: []string{moved.Name}}, site, l}
		steps = append(steps, moved, stop, provision.Milestone{Name: provision.NodeDataSafe(l.Name), After: []string{stop.Name}})
	}
	return steps
}

// decommissioned is a step: no block of HDFS depends on a node.
type decommissioned struct {
	provision.Base
	site    *provision.Site
	leaving provision.Leaving
}

// The states of a datanode, as the namenode names them (AdminStates of
// org.apache.hadoop.hdfs.protocol.DatanodeInfo).
const (
	inService = "In Service"
	isLeaving = "Decommission In Progress"
	hasLeft   = "Decommissioned"
)

var (
	namenodeConfig = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: provision.Namespace, Name: "hdfs-namenode"}

	// Two of the namenode's reports on all files (its servlet fsck): each file
	// with its replication, and the files that lack blocks.
	filesQuery = provision.PageQuery{Namespace: provision.Namespace, Pod: namenode + "-0", Port: namenodeHTTP,
		Path: "/fsck?ugi=" + provision.HDFSUser + "&path=%2F&files=1"}
	corruptQuery = provision.PageQuery{Namespace: provision.Namespace, Pod: namenode + "-0", Port: namenodeHTTP,
		Path: "/fsck?ugi=" + provision.HDFSUser + "&path=%2F&listcorruptfileblocks=1"}
)

func (s decommissioned) Reads() []provision.Query {
	return []provision.Query{nodeQuery(s.leaving.Name), infoQuery, systemQuery, namenodeConfig, filesQuery, corruptQuery}
}

func (s decommissioned) label() string { return s.leaving.Member.Address }

func (s decommissioned) refuse(format string, args ...any) error {
	return &provision.RefusedError{Reasons: []string{s.leaving.Name + ": " + fmt.Sprintf(format, args...)}}
}

func (s decommissioned) Diff(f provision.Facts) ([]provision.Change, error) {
	dirs := recordedDirs(nodeQuery(s.leaving.Name).In(f))
	if len(dirs) == 0 {
		return nil, nil // it stores nothing, or has left
	}
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		return nil, s.refuse("it holds blocks in %s, and the namenode cannot be asked about them: %v; nucspark status says more", blanks(dirs), err)
	}
	here, alive := info.live[s.label()]
	if alive && here.State == hasLeft {
		return nil, nil
	}
	if info.Safemode != "" {
		return nil, s.refuse("it holds blocks in %s, and HDFS is read-only: %s", blanks(dirs), info.Safemode)
	}
	if alive && s.leaving.Machine == nil {
		return nil, s.refuse("it does not answer over SSH, but the namenode heard from its datanode %d s ago. Which blocks are lost with a machine that is off is known after %d minutes: run again then; "+
			"if it is on, put SSH right", here.LastContact, countedAfter/60)
	}
	keeps, free, err := s.remaining(info, f)
	if err != nil {
		return nil, err
	}
	c := provision.Change{Kind: "datanode", Key: s.leaving.Name, Action: provision.Execute, New: "decommission"}
	stay := fmt.Sprintf("%s stay on the machine as they are", blanks(dirs))
	if !alive {
		return s.diffDead(info, f, c, stay)
	}
	if need := s.bytes(info); need > free {
		return nil, s.refuse("its datanode holds %s, and those that remain (%s) have %s free: remove files, or add a disk or a machine first",
			inventory.Size(here.Used).Human(), among(keeps), inventory.Size(free).Human())
	}
	c.Note = fmt.Sprintf("%d blocks, %s, get their copies on %s (%s free)\n%s", here.Blocks, inventory.Size(here.Used).Human(), among(keeps), inventory.Size(free).Human(), stay)
	return []provision.Change{c}, nil
}

// bytes is what all datanodes hold that leave.
func (s decommissioned) bytes(info namenodeInfo) int64 {
	var sum int64
	for _, l := range s.site.Leaving {
		if d := info.live[l.Member.Address]; d.State != hasLeft {
			sum += d.Used
		}
	}
	return sum
}

// remaining are the nodes in service that stay, and the bytes free on them. The
// error says why they cannot keep what they must.
func (s decommissioned) remaining(info namenodeInfo, f provision.Facts) (names []string, free int64, err error) {
	for _, n := range s.site.Cluster.Datanodes() {
		if d, ok := info.live[n.Address.String()]; ok && d.State == inService && d.LastContact <= staleAfter {
			names, free = append(names, n.Name), free+d.Remaining
		}
	}
	keep := s.site.Resolved.Replication
	if is := replicationIn(namenodeConfig.In(f)); is != 0 && is != keep {
		return nil, 0, s.refuse("the replication of HDFS is %d and becomes %d by the same run: put the block of %s back, run nucspark up, then remove the node", is, keep, s.leaving.Name)
	}
	remain := "no datanode in service would remain"
	if len(names) > 0 {
		remain = fmt.Sprintf("only %d in service would remain (%s)", len(names), among(names))
	}
	if len(names) < max(keep, 1) {
		return nil, 0, s.refuse("HDFS keeps %d copies of each block, and %s; give another node an hdfs block and run nucspark up first, or lower replication in the hdfs block and run it first",
			max(keep, 1), remain)
	}
	// A file with more copies than datanodes was not kept so before, either.
	var in int
	for _, d := range info.live {
		if d.State == inService {
			in++
		}
	}
	if files := wanting(filesQuery.In(f), len(names)+1, in); len(files) > 0 {
		return nil, 0, s.refuse("%d files are to have more copies of each block than %d, and %s: %s; add a machine that stores blocks, or write them anew with nucspark hdfs put --replication %[2]d",
			len(files), len(names), remain, among(files))
	}
	return names, free, nil
}

var fileLine = regexp.MustCompile(`^(/.*) \d+ bytes, replicated: replication=(\d+), `)

// wanting are the files of a report that are to have least to most copies of
// each block. A file system too large for one page is not looked at: that a
// file is to have more copies than others is rare, and such a file keeps all
// copies for which there are datanodes.
func wanting(report provision.PageFact, least, most int) []string {
	var files []string
	for _, line := range strings.Split(string(report.Body), "\n") {
		if m := fileLine.FindStringSubmatch(line); m != nil {
			if n, err := strconv.Atoi(m[2]); err == nil && n >= least && n <= most {
				files = append(files, m[1])
			}
		}
	}
	return files
}

// replicationIn is what the namenode's ConfigMap says, 0 where it says nothing.
func replicationIn(config provision.Object) int {
	data, _ := config["data"].(map[string]any)
	text, _ := data["hdfs-site.xml"].(string)
	var site struct {
		Properties []property `xml:"property"`
	}
	if xml.Unmarshal([]byte(text), &site) != nil {
		return 0
	}
	for _, p := range site.Properties {
		if p.Name == "dfs.replication" {
			n, _ := strconv.Atoi(p.Value)
			return n
		}
	}
	return 0
}

// countedAfter is how long a datanode must have been silent until the
// namenode's counts of missing blocks, and of those with too few copies, are
// without it, in seconds. It lists it as dead after 2 times
// dfs.namenode.heartbeat.recheck-interval (5 minutes) and 10 heartbeats of 3 s,
// but takes its blocks out of the counts only when it next looks through all
// datanodes, which it does once in such an interval
// (org.apache.hadoop.hdfs.server.blockmanagement.HeartbeatManager).
const countedAfter = 3*300 + 10*3 + 30

// diffDead is the diff for a datanode that the namenode does not hear any more:
// its blocks are those of which there are copies elsewhere.
func (s decommissioned) diffDead(info namenodeInfo, f provision.Facts, c provision.Change, stay string) ([]provision.Change, error) {
	if d, known := info.dead[s.label()]; known && d.LastContact < countedAfter {
		return nil, s.refuse("its datanode is dead since %d minutes, and the namenode has not yet counted which blocks are lost with it: run again in %d minutes",
			d.LastContact/60, (countedAfter-d.LastContact)/60+1)
	}
	if info.MissingBlocks > 0 && !s.leaving.AcceptLoss {
		_, list, _ := strings.Cut(string(corruptQuery.In(f).Body), "\n")
		return nil, s.refuse("its datanode is dead, and %d blocks have no copy on any other, of these files:\n    %s\n  bring its disk back into the machine, or lose them: --accept-loss %s",
			info.MissingBlocks, strings.Join(corruptFiles(list), "\n    "), s.leaving.Name)
	}
	var state systemState
	if err := bean(systemQuery.In(f), &state); err != nil {
		return nil, s.refuse("the namenode cannot be asked how many copies there are: %v", err)
	}
	if state.UnderReplicated <= info.MissingBlocks && state.Pending == 0 {
		return nil, nil
	}
	c.New = "every block gets its copies from the others"
	c.Note = fmt.Sprintf("its datanode is dead; %d blocks have not enough copies yet\n%s", state.UnderReplicated, stay)
	return []provision.Change{c}, nil
}

// corruptFiles are the files of fsck's list of lines "blk_NUMBER\tREPLICAS\tFILE",
// at most 50.
func corruptFiles(list string) []string {
	var files []string
	for _, line := range strings.Split(list, "\n") {
		_, file, ok := strings.Cut(line, "\t/")
		if file = "/" + strings.TrimSpace(file); ok && strings.HasPrefix(line, "blk_") && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	if len(files) > 50 {
		files = append(files[:50], "…; nucspark hdfs fsck names all")
	}
	return files
}

// stillBound is how long nothing may move. The namenode counts every 30 s, and
// copies one block of 128 MiB within seconds.
const stillBound = 15 * time.Minute

func (s decommissioned) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	info, err := parseInfo(infoQuery.In(env.Facts()))
	if err != nil {
		return err
	}
	begin, alive := info.live[s.label()]
	w := &watching{env: env, total: begin.Blocks, bytes: begin.Used, left: -1, began: time.Now(), moved: time.Now()}
	return w.wait(ctx, func() (bool, error) { return s.look(ctx, env, w, alive) }, provision.StepError{Node: s.leaving.Name, Step: s.Name,
		Hint: "nucspark hdfs fsck names blocks that cannot be copied; a file that is being written must be closed; then run nucspark up again, or put the node's block back into the file"})
}

// look asks the namenode once, and tells it again what it may have forgotten:
// a datanode's pod that was made anew has another address, and a namenode that
// was restarted knows only what is written.
func (s decommissioned) look(ctx context.Context, env *provision.Env, w *watching, alive bool) (done bool, err error) {
	nodes := nodesStep{site: s.site, leaving: true}
	f, err := env.Read(ctx, append(nodes.Reads(), infoQuery, systemQuery)...)
	if err != nil {
		return false, err
	}
	if !f.Known(nodesQuery) || !f.Known(nodesMapQuery) || !f.Known(datanodePods) {
		return false, nil // the API server is away
	}
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		w.say("namenode: " + err.Error())
		return false, nil
	}
	if !alive {
		return s.lookDead(info, f, w)
	}
	changes, err := nodes.Diff(f)
	if err != nil {
		return false, err
	}
	here, known := info.live[s.label()]
	if len(changes) > 0 {
		return false, nodes.write(ctx, env, f)
	}
	switch {
	case !known:
		w.say("its datanode is not registered; its pod may be starting")
	case here.State == hasLeft:
		w.progress(0)
		return true, nil
	case here.State == inService:
		// It is listed and registered, so the namenode has not compared yet.
		hosts, _ := nodes.hosts(f)
		return false, readHosts(ctx, env, hosts)
	default:
		count := info.leaving[s.label()]
		if count.Left > 0 || w.left >= 0 { // it is 0 until it was counted
			w.progress(count.Left)
		}
		if count.Open > 0 {
			w.say(fmt.Sprintf("%d blocks are in files that are being written", count.Open))
		}
	}
	return false, nil
}

func (s decommissioned) lookDead(info namenodeInfo, f provision.Facts, w *watching) (bool, error) {
	if info.MissingBlocks > 0 && !s.leaving.AcceptLoss {
		return false, fmt.Errorf("%d blocks have no copy left; run again to see of which files", info.MissingBlocks)
	}
	var state systemState
	if err := bean(systemQuery.In(f), &state); err != nil {
		w.say("namenode: " + err.Error())
		return false, nil
	}
	left := max(0, state.UnderReplicated-info.MissingBlocks) + state.Pending
	w.progress(left)
	return left == 0, nil
}

// watching is how far blocks are that move.
type watching struct {
	env          *provision.Env
	total, bytes int64 // at the beginning
	left         int64 // -1 until it was counted
	began, moved time.Time
	last         string
}

func (w *watching) say(text string) {
	if text != w.last {
		w.last = text
		w.env.Log("waiting: " + text)
	}
}

// wait asks look until that is done. A passing error is asked over; when no
// number of blocks has changed for stillBound, stuck says who waited and what to
// do. Another reason to wait is no movement: two that alternate would be waited
// for without an end.
func (w *watching) wait(ctx context.Context, look func() (done bool, err error), stuck provision.StepError) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		done, err := look()
		if done || err != nil && !provision.IsTransient(err) {
			return err
		}
		if err != nil {
			w.say(err.Error())
		}
		if time.Since(w.moved) > stillBound {
			stuck.Err = fmt.Errorf("nothing has moved for %s: %s", stillBound, w.last)
			return &stuck
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// progress reports the blocks that are left, about how many bytes that is, and
// about how long it takes.
func (w *watching) progress(left int64) {
	if left == w.left {
		return
	}
	w.total, w.left, w.moved = max(w.total, left), left, time.Now()
	w.env.Progress(w.total-left, w.total, "blocks", progressText(left, w.total, w.bytes, time.Since(w.began)))
}

// progressText says what is left of blocks with so many bytes in all, after
// some time.
func progressText(left, total, bytes int64, took time.Duration) string {
	text := fmt.Sprintf("%d blocks left", left)
	if total > 0 && bytes > 0 {
		text += fmt.Sprintf(", about %s", inventory.Size(float64(bytes)*float64(left)/float64(total)).Human())
	}
	if done := total - left; done > 0 && left > 0 {
		text += fmt.Sprintf(", about %s", (time.Duration(float64(took) * float64(left) / float64(done))).Round(time.Minute))
	}
	return text
}
