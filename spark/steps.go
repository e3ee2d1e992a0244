package spark

import (
	"slices"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// workerLabel is on the nodes that run a worker; the kubeadm component sets it.
const workerLabel = "nucspark.io/spark"

// layout is where the parts of Spark are.
type layout struct {
	site    *provision.Site
	spark   *inventory.Spark
	image   string
	control *inventory.Node   // carries master and history server
	workers []*inventory.Node // answering or not
	hdfs    bool              // some node stores blocks
}

func newLayout(site *provision.Site) *layout {
	c := site.Cluster
	return &layout{site: site, spark: &c.Spark, image: c.Images.Spark, control: c.ControlPlane(), workers: c.Workers(), hdfs: c.HDFS.Enabled}
}

// reachable are the workers' nodes that answered.
func (l *layout) reachable() []*inventory.Node {
	return slices.DeleteFunc(slices.Clone(l.workers), func(n *inventory.Node) bool {
		_, ok := l.site.Machines[n.Name]
		return !ok
	})
}

// registeredBound is how long the wait for the workers may take once their pods
// are made: the image may have to be fetched first.
const registeredBound = 30 * time.Minute

// replaceBound is how long one worker may take to stop and to come back. It
// hands over its shuffle files first.
const replaceBound = 4 * time.Minute

// Steps returns the steps of Spark. Master and workers do not wait for HDFS;
// the history server waits for its directory.
func Steps(site *provision.Site) []provision.Step {
	l := newLayout(site)
	var steps []provision.Step
	add := func(s ...provision.Step) { steps = append(steps, s...) }

	// On the machines.
	var ready []string
	directory := func(node, name, path string) string {
		s := provision.Directory{Base: provision.Base{Name: node + "/spark/" + name, Node: node, After: []string{provision.NodeBase(node)}},
			Path: path, Kind: provision.KindScratch, Mode: 0o700, Owner: provision.SparkUser, Group: provision.SparkUser}
		add(s)
		return s.Name
	}
	nodes := l.reachable()
	if !slices.Contains(nodes, l.control) {
		nodes = append(nodes, l.control)
	}
	for _, n := range nodes {
		if site.Pullable(l.image) {
			add(provision.Image{Base: provision.Base{Name: n.Name + "/spark/image", Node: n.Name,
				After: []string{provision.NodeImages(n.Name), provision.NodeImages(l.control.Name)}}, Ref: l.image})
		}
	}
	for _, n := range l.reachable() {
		ready = append(ready, provision.NodeReady(n.Name), directory(n.Name, "local-directory", localDir))
	}
	recovery := directory(l.control.Name, "master-directory", masterDir)

	// In the cluster.
	object := func(name string, config any, after ...string) string {
		s := provision.KubeObject{Base: provision.Base{Name: "cluster/spark/" + name, After: append([]string{provision.NamespaceReady}, after...)},
			Object: kube.Object(config)}
		add(s)
		return s.Name
	}
	key := "cluster/spark/secret"
	add(provision.KubeObject{Base: provision.Base{Name: key, After: []string{provision.NamespaceReady}},
		Object: kube.Object(secret()), Sensitive: true, IfAbsent: true})
	set := object("master", l.masterSet(), key, recovery, provision.NodeReady(l.control.Name),
		object("config-master", configMap(master, l.files(master))),
		object("service-master", service(master, map[string]int32{"rpc": masterPort, "http": masterUI})))
	workers := object("workers", l.workerSet(), slices.Concat(ready, []string{key,
		object("config-worker", configMap(worker, l.files(worker)))})...)
	last := []string{object("config-driver", configMap(driver, l.files(driver)))}
	wait := provision.WaitFor{
		Base: provision.Base{Name: "cluster/spark/registered", After: append(ready, set, workers, provision.ClusterNetwork)},
		Key:  "Spark's workers registered", Queries: append(workerQueries(), masterSet, workerSet),
		Missing: func(f provision.Facts) string {
			if why := l.rolling(f); why != "" {
				return why
			}
			return l.missing(f, l.reachable())
		},
		Bound: registeredBound + time.Duration(len(l.workers))*replaceBound, Hint: "nucspark kubectl -- -n nucspark get pods shows what runs",
	}
	add(wait)
	last = append(last, wait.Name)
	if l.hdfs {
		server := object("history", l.historySet(), provision.HDFSNames, provision.NodeReady(l.control.Name),
			object("config-history", configMap(history, l.files(history))),
			object("service-history", service(history, map[string]int32{"http": historyUI})))
		wait := provision.WaitFor{
			Base: provision.Base{Name: "cluster/spark/history-answers", After: []string{server}},
			Key:  "Spark's history server answers", Queries: []provision.Query{historyPage, pod(history), historySet},
			Missing: func(f provision.Facts) string {
				if why := provision.Rolling(historySet.In(f)); why != "" {
					return why
				}
				return historyMissing(f)
			}, Bound: registeredBound,
			Hint: "nucspark logs history shows what it says",
		}
		add(wait)
		last = append(last, wait.Name)
	}
	add(provision.Milestone{Name: provision.SparkReady, After: last})
	return steps
}
