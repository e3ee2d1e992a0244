package inventory

import (
	"maps"
	"slices"
)

// KubernetesReleases has the supported minor versions of Kubernetes, and of
// each the newest patch release that this nucspark was made for.
var KubernetesReleases = map[string]string{"1.34": "1.34.4", "1.35": "1.35.4", "1.36": "1.36.3"}

// KubernetesMinors are the supported minor versions, the oldest first.
var KubernetesMinors = slices.Sorted(maps.Keys(KubernetesReleases))

var newestMinor = KubernetesMinors[len(KubernetesMinors)-1]

// Node finds a node by its name.
func (c *Cluster) Node(name string) (*Node, bool) {
	for i := range c.Nodes {
		if c.Nodes[i].Name == name {
			return &c.Nodes[i], true
		}
	}
	return nil, false
}

// ControlPlane is the machine that carries the control plane. There is exactly
// one in a cluster that Load returned.
func (c *Cluster) ControlPlane() *Node {
	for i := range c.Nodes {
		if c.Nodes[i].Role == ControlPlane {
			return &c.Nodes[i]
		}
	}
	return nil
}

// Cached says whether nodes fetch what they install through the control plane.
// A machine that is alone has nobody to share with.
func (c *Cluster) Cached() bool { return c.Cache && len(c.Nodes) > 1 }

// Workers are the nodes that run workloads, in the order of the file: all
// workers, and the control plane too where it is alone or stores something.
func (c *Cluster) Workers() []*Node {
	return c.nodes(func(n *Node) bool {
		return n.Role == Worker || len(c.Nodes) == 1 || n.NFS != nil || n.HDFS != nil
	})
}

// Exporters are the nodes with an nfs block, in the order of the file.
func (c *Cluster) Exporters() []*Node {
	return c.nodes(func(n *Node) bool { return n.NFS != nil })
}

// Datanodes are the nodes with an hdfs block, in the order of the file.
func (c *Cluster) Datanodes() []*Node {
	return c.nodes(func(n *Node) bool { return n.HDFS != nil })
}

func (c *Cluster) nodes(want func(*Node) bool) []*Node {
	var found []*Node
	for i := range c.Nodes {
		if want(&c.Nodes[i]) {
			found = append(found, &c.Nodes[i])
		}
	}
	return found
}

// DefaultReplication is what HDFS.Replication 0 stands for with the datanodes
// of this inventory: one less than there are, so that one can leave, but 2 of
// two and 3 at most. What a running cluster uses was fixed when it was made.
func (c *Cluster) DefaultReplication() int {
	n := len(c.Datanodes())
	if n <= 2 {
		return n
	}
	return min(3, n-1)
}

// JVMOverhead is the memory a JVM needs beside its heap: 10 % of it and
// at least 384 MiB (spark.executor.memoryOverheadFactor and
// spark.executor.minMemoryOverhead of Spark 4.0).
func JVMOverhead(heap Size) Size { return max(heap/10, 384*MiB) }

// WorkerSelf is the memory of a worker's pod that is not for executors: the
// worker itself, which also serves the shuffle files of executors that have
// ended.
const WorkerSelf = 768 * MiB

// ExecutorRoom is the largest heap of an executor that fits into a worker with
// this limit, beside the worker itself; below 0 when nothing fits.
func ExecutorRoom(limit Size) Size {
	free := limit - WorkerSelf
	return min(free/11*10, free-384*MiB)
}

// DefaultExecutor is the executor of a worker with these limits where the
// inventory says nothing: one fills a worker and leaves a fifth for what is
// beside its heap.
func DefaultExecutor(limit Amount) Executor {
	heap := min(limit.Memory/5*4, ExecutorRoom(limit.Memory)) / (128 * MiB) * (128 * MiB)
	return Executor{Cores: max(1, int(limit.CPU/1000)), Memory: max(heap, minHeap)}
}

// LeastWorker is the smallest memory limit of a worker that has room for an
// executor, in whole 128 MiB.
const LeastWorker = (WorkerSelf + minHeap + 384*MiB + 128*MiB - 1) / (128 * MiB) * (128 * MiB)

// minHeap is the smallest heap with which Spark starts: 1.5 times the 300 MiB
// that its memory manager reserves (UnifiedMemoryManager).
const minHeap = 450 * MiB
