package hdfs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Accept takes a directory of a node into the file system whose disk was
// replaced or added: its sentinel is written, and the node's datanode starts
// anew, since it looks at its directories when it starts. was is where the
// directory was mounted before, "" where nothing says so.
func Accept(site *provision.Site, n *inventory.Node, dir, was string) []provision.Step {
	disk := diskStep{Base: provision.Base{Name: n.Name + "/hdfs/disk" + dir, Node: n.Name}, site: site, dir: dir, accept: true, was: was}
	anew := datanodeAnew{provision.Base{Name: n.Name + "/hdfs/restart", Node: n.Name, After: []string{disk.Name}}, n, dir}
	return []provision.Step{disk, anew, provision.WaitFor{Base: provision.Base{Name: n.Name + "/hdfs/registered", Node: n.Name, After: []string{anew.Name}},
		Key: "the namenode knows the datanode of " + n.Name, Queries: []provision.Query{infoQuery, datanodePods}, Bound: 2 * replaceBound, Hint: seePods,
		Missing: func(f provision.Facts) string {
			if len(podsOn(n.Name, datanodePods.In(f))) == 0 {
				return "" // up starts the first one
			}
			info, err := parseInfo(infoQuery.In(f))
			switch {
			case err != nil:
				return "namenode: " + err.Error()
			case !registered(n, info, datanodePods.In(f)):
				return "it is not registered yet"
			}
			return ""
		}}}
}

// datanodeAnew is a step: the node's datanode started after the directory's
// sentinel was written, and has the directory: it may have started while the
// disk was not mounted.
type datanodeAnew struct {
	provision.Base
	node *inventory.Node
	dir  string
}

func (s datanodeAnew) Reads() []provision.Query {
	return []provision.Query{sentinelQuery(s.Node, s.dir), datanodePods}
}

// Asks is what the datanodes themselves say of their directories.
func (s datanodeAnew) Asks(f provision.Facts) []provision.Query {
	var queries []provision.Query
	for _, p := range podsOn(s.Node, datanodePods.In(f)) {
		queries = append(queries, ownPage(p))
	}
	return queries
}

func ownPage(pod provision.Object) provision.PageQuery {
	return page(nameOf(pod), datanodeHTTP, "DataNode,name=DataNodeInfo")
}

// leftOut says that a datanode runs without the directory.
func (s datanodeAnew) leftOut(p provision.PageFact) bool {
	volumes, err := volumesOf(p)
	if err != nil {
		return false // it is starting
	}
	mount := fmt.Sprintf("%s/%d/", diskMounts, slices.Index(s.node.HDFS.Dirs, s.dir))
	for path := range volumes {
		if strings.HasPrefix(path, mount) {
			return false
		}
	}
	return true
}

// podsOn are those on a node.
func podsOn(node string, pods []provision.Object) []provision.Object {
	var here []provision.Object
	for _, p := range pods {
		if onNode(p, node) {
			here = append(here, p)
		}
	}
	return here
}

// startedAt is when the pod's process started, and while none runs when the pod
// was made. Kubernetes tells whole seconds.
func startedAt(pod provision.Object) time.Time {
	parse := func(v any) time.Time {
		s, _ := v.(string)
		t, _ := time.Parse(time.RFC3339, s)
		return t
	}
	status, _ := pod["status"].(map[string]any)
	containers, _ := status["containerStatuses"].([]any)
	for _, c := range containers {
		m, _ := c.(map[string]any)
		state, _ := m["state"].(map[string]any)
		if running, ok := state["running"].(map[string]any); ok {
			return parse(running["startedAt"])
		}
	}
	meta, _ := pod["metadata"].(map[string]any)
	return parse(meta["creationTimestamp"])
}

// stale are the pods that did not see the directory when they started.
func (s datanodeAnew) stale(f provision.Facts) []provision.Object {
	file := sentinelQuery(s.Node, s.dir).In(f)
	var stale []provision.Object
	for _, p := range podsOn(s.Node, datanodePods.In(f)) {
		if !file.Exists || !startedAt(p).After(file.Modified) || s.leftOut(ownPage(p).In(f)) {
			stale = append(stale, p)
		}
	}
	return stale
}

func (s datanodeAnew) Diff(f provision.Facts) ([]provision.Change, error) {
	if len(s.stale(f)) == 0 {
		return nil, nil
	}
	return []provision.Change{{Kind: "datanode", Key: s.Node, Action: provision.Restart, New: "starts anew, with " + s.dir}}, nil
}

func (s datanodeAnew) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, replaceBound)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	for _, p := range s.stale(env.Facts()) {
		if err := k.Delete(ctx, "v1", "Pod", provision.Namespace, nameOf(p)); err != nil {
			return err
		}
	}
	return nil
}
