package hdfs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

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

	live map[string]liveNode // by host name, without the port
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
	UnderReplicated int64 `json:"UnderReplicatedBlocks"`
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

func parseInfo(p provision.PageFact) (namenodeInfo, error) {
	var info namenodeInfo
	if err := bean(p, &info); err != nil {
		return info, err
	}
	if info.LiveText == "" {
		return info, fmt.Errorf("it is starting")
	}
	var live map[string]liveNode
	if err := json.Unmarshal([]byte(info.LiveText), &live); err != nil {
		return info, fmt.Errorf("its list of datanodes cannot be read: %w", err)
	}
	info.live = map[string]liveNode{}
	for host, n := range live {
		host, _, _ = strings.Cut(host, ":")
		info.live[host] = n
	}
	return info, nil
}

const seePods = "nucspark kubectl -- -n " + provision.Namespace + " get pods -o wide shows the pods, and logs POD what one says"

// namenodeAnswers waits for a namenode of the right file system.
func (l *layout) namenodeAnswers() provision.Step {
	want := clusterID(l.site.Resolved.UID)
	return provision.WaitFor{Base: provision.Base{Name: answersStep, After: []string{"cluster/hdfs/namenode"}}, Key: "the namenode answers",
		Queries: []provision.Query{infoQuery}, Bound: 10 * time.Minute, Hint: seePods,
		Missing: func(f provision.Facts) string {
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

// datanodesReady waits until the file system can be used: it left safe mode,
// every datanode that answered over SSH is registered, and no block is missing.
func (l *layout) datanodesReady(after []string) provision.Step {
	complete := true
	for _, n := range l.stores {
		complete = complete && l.reachable(n)
	}
	return provision.WaitFor{Base: provision.Base{Name: datanodesStep, After: after}, Key: "HDFS is out of safe mode with all datanodes",
		Queries: []provision.Query{infoQuery}, Bound: 10 * time.Minute, Hint: seePods,
		Missing: func(f provision.Facts) string {
			info, err := parseInfo(infoQuery.In(f))
			if err != nil {
				return "namenode: " + err.Error()
			}
			var absent []string
			for _, n := range l.stores {
				if _, ok := info.live[n.Address.String()]; !ok && l.reachable(n) {
					absent = append(absent, n.Name)
				}
			}
			switch {
			case len(absent) > 0:
				return "datanodes not registered yet: " + among(absent)
			case info.Safemode != "":
				return info.Safemode
			// A block whose only replica is on a machine that is off is missing
			// for a reason that waiting does not change.
			case info.MissingBlocks > 0 && complete:
				return fmt.Sprintf("%d blocks are missing", info.MissingBlocks)
			}
			return ""
		}}
}
