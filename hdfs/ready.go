package hdfs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// page is a bean of a Hadoop process's status page.
func page(pod string, port int, bean string) provision.PageQuery {
	return provision.PageQuery{Namespace: provision.Namespace, Pod: pod, Port: port, Path: "/jmx?qry=Hadoop:service=" + bean}
}

var (
	infoQuery   = page(namenode+"-0", namenodeHTTP, "NameNode,name=NameNodeInfo")
	systemQuery = page(namenode+"-0", namenodeHTTP, "NameNode,name=FSNamesystemState")
	copyQuery   = page(checkpoint+"-0", checkpointHTTP, "SecondaryNameNode,name=SecondaryNameNodeInfo")
)

// namenodeInfo is the bean NameNodeInfo, as far as it is of use here.
type namenodeInfo struct {
	ClusterID     string `json:"ClusterId"`
	Version       string `json:"SoftwareVersion"`
	Safemode      string // "" when it is off, else a sentence
	MissingBlocks int64  `json:"NumberOfMissingBlocks"`
	Total         int64  // bytes
	Used, Free    int64
	LiveText      string `json:"LiveNodes"` // a JSON object in a string
	DeadText      string `json:"DeadNodes"`
	LeavingText   string `json:"DecomNodes"` // those that are being decommissioned

	live    map[string]liveNode    // by host name, without the port
	leaving map[string]leavingNode // the same
	dead    map[string]deadNode    // the same
}

// deadNode is one datanode that the namenode does not hear any more.
type deadNode struct {
	LastContact    int64 `json:"lastContact"` // seconds ago; since 1970 of one that it never heard
	Decommissioned bool  `json:"decommissioned"`
}

// leavingNode is what the namenode, every 30 s, counts of a datanode that is
// being decommissioned (dfs.namenode.decommission.interval).
type leavingNode struct {
	Left     int64 `json:"underReplicatedBlocks"`     // blocks that have not enough copies elsewhere
	OnlyHere int64 `json:"decommissionOnlyReplicas"`  // of these, that have none elsewhere
	Open     int64 `json:"underReplicateInOpenFiles"` // of these, in files that are being written
}

// liveNode is one datanode that the namenode hears from.
type liveNode struct {
	LastContact   int64  `json:"lastContact"` // seconds
	Capacity      int64  `json:"capacity"`    // bytes
	Used          int64  `json:"usedSpace"`
	Remaining     int64  `json:"remaining"`
	Blocks        int64  `json:"numBlocks"`
	FailedVolumes int    `json:"volfails"`
	State         string `json:"adminState"`
	Location      string `json:"location"`
	Address       string `json:"xferaddr"`
	Version       string `json:"version"`
}

// systemState is the bean FSNamesystemState.
type systemState struct {
	UnderReplicated int64 `json:"UnderReplicatedBlocks"`       // those without any copy among them
	Pending         int64 `json:"PendingReconstructionBlocks"` // being copied now
	Files           int64 `json:"FilesTotal"`
	Blocks          int64 `json:"BlocksTotal"`
}

// checkpointInfo is the bean SecondaryNameNodeInfo. Times are milliseconds; the
// delta is -1 before the first copy.
type checkpointInfo struct {
	StartTime int64
	DeltaMs   int64 `json:"LastCheckpointDeltaMs"`
}

// bean takes the one bean out of a page. The error says what is the matter with
// the process, in words for a person.
func bean(p provision.PageFact, v any) error {
	if p.Status == 0 {
		if p.Err == "" {
			return fmt.Errorf("the API server does not answer")
		}
		return fmt.Errorf("it does not answer: %s", p.Err)
	}
	if p.Status != 200 {
		return fmt.Errorf("its status page says %d", p.Status)
	}
	var beans struct{ Beans []json.RawMessage }
	if err := json.Unmarshal(p.Body, &beans); err != nil {
		return fmt.Errorf("its status page cannot be read: %w", err)
	}
	if len(beans.Beans) != 1 {
		return fmt.Errorf("it is starting")
	}
	return json.Unmarshal(beans.Beans[0], v)
}

// byHost reads a list of datanodes, a JSON object in a string; "" has none.
func byHost[T any](text string) (map[string]T, error) {
	if text == "" {
		return nil, nil
	}
	var nodes map[string]T
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		return nil, err
	}
	hosts := map[string]T{}
	for name, n := range nodes {
		host, _, _ := strings.Cut(name, ":")
		hosts[host] = n
	}
	return hosts, nil
}

func parseInfo(p provision.PageFact) (namenodeInfo, error) {
	var info namenodeInfo
	if err := bean(p, &info); err != nil {
		return info, err
	}
	if info.LiveText == "" {
		return info, fmt.Errorf("it is starting")
	}
	var err error
	if info.live, err = byHost[liveNode](info.LiveText); err != nil {
		return info, fmt.Errorf("its list of datanodes cannot be read: %w", err)
	}
	if info.leaving, err = byHost[leavingNode](info.LeavingText); err != nil {
		return info, fmt.Errorf("its list of datanodes that leave cannot be read: %w", err)
	}
	if info.dead, err = byHost[deadNode](info.DeadText); err != nil {
		return info, fmt.Errorf("its list of dead datanodes cannot be read: %w", err)
	}
	return info, nil
}

const seePods = "nucspark kubectl -- -n " + provision.Namespace + " get pods -o wide shows the pods, and nucspark logs POD what one says"

// set asks for a StatefulSet or DaemonSet.
func set(kind, name string) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "apps/v1", Kind: kind, Namespace: provision.Namespace, Name: name}
}

// namenodeAnswers waits for a namenode of the right file system, and with its
// present configuration: the one before goes on answering until it is stopped.
func (l *layout) namenodeAnswers() provision.Step {
	want := clusterID(l.site.Resolved.UID)
	return provision.WaitFor{Base: provision.Base{Name: answersStep, After: []string{"cluster/hdfs/namenode"}}, Key: "the namenode answers",
		Queries: []provision.Query{infoQuery, namenodeQuery}, Bound: 10 * time.Minute, Hint: seePods,
		Missing: func(f provision.Facts) string {
			if why := provision.Rolling(namenodeQuery.In(f)); why != "" {
				return why
			}
			info, err := parseInfo(infoQuery.In(f))
			switch {
			case err != nil:
				return "namenode: " + err.Error()
			case info.ClusterID != want:
				return fmt.Sprintf("the namenode has the file system %q, not %q", info.ClusterID, want)
			}
			return ""
		}}
}

// checkpointReady waits for the keeper of the second copy, with its present
// configuration.
func checkpointReady(after string) provision.Step {
	q := set("StatefulSet", checkpoint)
	return provision.WaitFor{Base: provision.Base{Name: "cluster/hdfs/checkpoint-ready", After: []string{after}}, Key: "the second copy of the metadata is kept",
		Queries: []provision.Query{q}, Bound: 10 * time.Minute, Hint: seePods,
		Missing: func(f provision.Facts) string { return provision.RollingOut(q.In(f)) }}
}

// rolledOut waits until every datanode with these directories has its present
// configuration and is ready.
func (l *layout) rolledOut(dirs []string, after string) provision.Step {
	q := set("DaemonSet", datanode+"-"+disksOf(dirs))
	return provision.WaitFor{Base: provision.Base{Name: "cluster/hdfs/" + q.Name + "-ready", After: []string{after}}, Key: "the datanodes with " + blanks(dirs) + " are ready",
		Queries: []provision.Query{q}, Bound: 10*time.Minute + time.Duration(len(l.stores))*replaceBound, Hint: seePods,
		Missing: func(f provision.Facts) string { return provision.RollingOut(q.In(f)) }}
}

// replaceBound is how long one datanode may take to stop and to come back.
const replaceBound = 3 * time.Minute

// datanodesReady waits until the file system can be used: it left safe mode,
// every datanode that answered over SSH has its present configuration and is
// registered, and no block is missing.
func (l *layout) datanodesReady(after []string) provision.Step {
	queries := []provision.Query{infoQuery, datanodePods}
	var sets []provision.LiveQuery
	// Kubernetes does not end a rolling change while a machine is off, and no
	// waiting brings back the blocks whose only replica is there.
	whole := l.site.Whole()
	// What was only on a machine that was replaced is lost, as somebody knew.
	accepted := slices.ContainsFunc(l.stores, func(n *inventory.Node) bool { return l.site.Replaced(n.Name) }) || slices.ContainsFunc(l.site.Leaving, func(n provision.Leaving) bool { return n.AcceptLoss })
	if whole {
		for _, dirs := range l.diskLists() {
			q := set("DaemonSet", datanode+"-"+disksOf(dirs))
			queries, sets = append(queries, q), append(sets, q)
		}
	}
	return provision.WaitFor{Base: provision.Base{Name: datanodesStep, After: after}, Key: "HDFS is out of safe mode with all datanodes",
		Queries: queries, Bound: 10*time.Minute + time.Duration(len(l.stores))*replaceBound, Hint: seePods,
		Missing: func(f provision.Facts) string {
			info, err := parseInfo(infoQuery.In(f))
			if err != nil {
				return "namenode: " + err.Error()
			}
			for _, q := range sets {
				if why := provision.Rolling(q.In(f)); why != "" {
					return why
				}
			}
			var absent []string
			for _, n := range l.stores {
				if l.reachable(n) && !registered(n, info, datanodePods.In(f)) {
					absent = append(absent, n.Name)
				}
			}
			switch {
			case len(absent) > 0:
				return "datanodes not registered yet: " + among(absent)
			case info.Safemode != "":
				return info.Safemode
			case info.MissingBlocks > 0 && whole && !accepted:
				return fmt.Sprintf("%d blocks are missing", info.MissingBlocks)
			}
			return ""
		}}
}

// oldForgotten waits until the namenode counts the datanode of a machine that
// was replaced as dead. It has another UUID than the new one and the same host
// name, under which only one of them can be looked up.
func (l *layout) oldForgotten(n *inventory.Node) provision.Step {
	return provision.WaitFor{Base: provision.Base{Name: n.Name + "/hdfs/forgotten", Node: n.Name, After: []string{answersStep, provision.NodeReady(n.Name)}},
		Key: "the namenode counts the datanode of the replaced machine as dead", Queries: []provision.Query{infoQuery, datanodePods}, Bound: forgetBound, Hint: seePods,
		Missing: func(f provision.Facts) string {
			info, err := parseInfo(infoQuery.In(f))
			if err != nil {
				return "namenode: " + err.Error()
			}
			if d, ok := info.live[n.Address.String()]; ok && !registered(n, info, datanodePods.In(f)) {
				return fmt.Sprintf("it heard from it %d s ago, and waits 10.5 minutes", d.LastContact)
			}
			return ""
		}}
}

var (
	namenodeQuery = set("StatefulSet", namenode)
	datanodePods  = provision.ListQuery{APIVersion: "v1", Kind: "Pod", Namespace: provision.Namespace, Selector: "app.kubernetes.io/name=" + datanode}
)

// registered says that the namenode knows the datanode that runs on a node
// now. For ten minutes it remembers one that ended; that had another address.
func registered(n *inventory.Node, info namenodeInfo, pods []provision.Object) bool {
	live, ok := info.live[n.Address.String()]
	if !ok {
		return false
	}
	address, _, _ := strings.Cut(live.Address, ":")
	for _, p := range pods {
		if at, is := placeOf(p); at == n.Name && is != "" && is == address && !ending(p) {
			return true
		}
	}
	return false
}
