package inventory

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// standard is what a file means that says nothing: every default that follows
// from nothing else. The decoder starts from it.
var standard = Cluster{
	Cache:   true,
	SSH:     SSH{Port: 22, ConnectTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute},
	Apt:     Apt{LockTimeout: 10 * time.Minute},
	Network: Network{Pods: netip.MustParsePrefix("10.244.0.0/16"), Services: netip.MustParsePrefix("10.96.0.0/16")},
	Images: Images{
		Hadoop:     "docker.io/apache/hadoop:3.5.0",
		Spark:      "docker.io/apache/spark:4.0.5-scala2.13-java17-python3-ubuntu",
		Flannel:    "ghcr.io/flannel-io/flannel:v0.28.4",
		FlannelCNI: "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
	},
	NFS: NFS{Version: "4.2"},
	HDFS: HDFS{
		NamenodeDir:   defaultNamenodeDir,
		CheckpointDir: defaultCheckpointDir,
		Namenode:      Resources{Requests: Amount{250, 1 * GiB}, Limits: Amount{0, 2 * GiB}},
		Datanode:      Resources{Requests: Amount{250, 1 * GiB}, Limits: Amount{0, 1 * GiB}},
	},
	Spark: Spark{
		Master: Resources{Requests: Amount{100, 512 * MiB}, Limits: Amount{0, 1 * GiB}},
		// For a machine with four cores and 16 GiB: what the system, Kubernetes and
		// a datanode leave.
		Worker: Resources{Limits: Amount{3000, 10 * GiB}},
		Driver: Executor{Cores: 1, Memory: 1 * GiB},
	},
}

// The defaults of what a file may have several of.
var (
	standardNode   = Node{Role: Worker}
	standardVolume = Volume{UID: SparkID, GID: SparkID, Mode: 0o775}
)

// shape is what may stand in a block. The decoder takes nothing else and reads
// nothing else, and docs/inventory.md is made from it.
type shape struct {
	name   string // of the block; "" for the file
	label  string // what its label is; "" for a block that has none
	doc    string // in Markdown, as every text here
	attrs  []attr
	blocks []shape
}

// attr is one attribute.
type attr struct {
	name string
	kind string // in the words of docs/inventory.md
	// absent is what holds where it is not written: required, words, nil for
	// nothing, else a value of the decoder's type. A zero of [MilliCPU] or [Size]
	// is nothing, too.
	absent any
	doc    string
}

// required marks an attribute without which a block is refused. It holds an
// example of what to write, in HCL.
type required string

// words describe a default that follows from something else.
type words string

// Kinds of values that have more than one word.
const (
	secretText = "text, may be sensitive"
	truth      = "truth value"
)

// reference is what may stand in an inventory. Its order is that of messages.
var reference = shape{blocks: []shape{
	{name: "variable", label: "name", doc: "A value with a name, used anywhere as `var.NAME`, also inside a text: `\"${var.disk}/hdfs\"`.", attrs: []attr{
		{"default", "text, number or truth value", required(`"…" or default = env("NAME")`), "`env(\"NAME\")` takes it from the environment, and is an error where that is not set. `env` works here and nowhere else."},
		{"sensitive", truth, false, "The value is never printed, logged or put into a process list. It can be used for passwords only."},
	}},
	{name: "cluster", label: "name", doc: "Required, once. NAME is a name.", attrs: []attr{
		{"kubernetes", "text", required(quote(newestMinor)), kubernetesDoc()},
		{"cache", truth, standard.Cache, "Packages and images come from outside once: the control plane keeps them for the other nodes ([how](design.md#once-per-cluster)). `false` lets every node fetch for itself, and removes the cache. Without meaning for a single machine."},
	}},
	{name: "ssh", doc: "Required, once: how the machines are reached.", attrs: []attr{
		{"user", "text", required(`"ubuntu"`), "The account on the machines; it must be allowed to use sudo."},
		{"port", "number", standard.SSH.Port, "Where sshd listens."},
		{"private_key", "file", words("the usual key files"), "The agent is asked first. A passphrase is asked for."},
		{"known_hosts", "file", words("one in the state directory"), "Where host keys are pinned."},
		{"password", secretText, nil, "Tried last."},
		{"sudo_password", secretText, words("that of `password`"), "Only used where sudo asks."},
		{"connect_timeout", "duration", standard.SSH.ConnectTimeout, "A machine that does not answer for so long counts as off."},
		{"idle_timeout", "duration", standard.SSH.IdleTimeout, "A command that prints nothing for so long is given up."},
	}},
	{name: "apt", doc: "The machines' package manager.", attrs: []attr{
		{"lock_timeout", "duration", standard.Apt.LockTimeout, "How long to wait for another apt or dpkg, such as unattended upgrades."},
	}},
	{name: "node", label: "name", doc: "One for each machine. NAME is a name and becomes the machine's name in the cluster.", attrs: []attr{
		{"address", "address", required(`"192.168.1.11"`), "Fixed, on the local network, in neither of the networks of `network`. No two nodes have the same."},
		{"role", "text", standardNode.Role, "`\"control-plane\"` or `\"worker\"`. Exactly one node is the control plane; several are not supported yet."},
		{"port", "number", words("that of `ssh`"), "Where this machine's sshd listens."},
		{"host_key", "text", words("pinned on first use"), "`\"ssh-ed25519 AAAA…\"`, as `/etc/ssh/ssh_host_ed25519_key.pub` on the machine has it."},
		{"mac", "text", nil, "`\"1c:69:7a:01:02:03\"`, of its network card: `nucspark wake` switches the machine on with it, and `nucspark image` gives that card its address."},
		{"labels", "object of texts", nil, "Kubernetes labels. Those that begin with `nucspark.io/` are nucspark's own."},
	}, blocks: []shape{
		{name: "nfs", doc: "The machine exports a directory by NFS.", attrs: []attr{
			{"export", "directory", required(`"/srv/nfs"`), "What it exports. Volumes are directories in it."},
			{"server", "text", words("that of `nfs`"), "`\"kernel\"` or `\"ganesha\"`."},
		}},
		{name: "hdfs", doc: "The machine stores blocks of HDFS.", attrs: []attr{
			{"dirs", "list of directories", required(`["/data/hdfs"]`), "Where it keeps them, one for each disk."},
		}},
	}},
	{name: "volume", label: "name", doc: "An NFS directory that pods can mount. NAME is a name.", attrs: []attr{
		{"node", "text", required(`"nuc02"`), "A node with an `nfs` block."},
		{"size", "size", required(`"50Gi"`), "What pods are told. NFS does not enforce it."},
		{"uid", "number", standardVolume.UID, "Owner of the directory: the user `spark`, as which applications run."},
		{"gid", "number", standardVolume.GID, "Its group."},
		{"mode", "text", standardVolume.Mode, "Octal, in quotes; setgid (`\"2775\"`) and sticky bits are kept."},
	}},
	{name: "network", doc: "The address plan of the cluster.", attrs: []attr{
		{"pods", "network", standard.Network.Pods, "From `/8` to `/24`; each node takes a `/24` of it."},
		{"services", "network", standard.Network.Services, "From `/12` to `/28`."},
	}},
	{name: "access", doc: "Whom the firewall lets in.", attrs: []attr{
		{"allow", "list of networks and addresses", words("nobody"), "Who, besides the machines and the pods, may reach the cluster's ports. Whoever can reach HDFS can read and write everything in it."},
	}},
	{name: "mirror", doc: "Machines fetch packages from pkgs.k8s.io and download.docker.com and images from the registries in `images` and registry.k8s.io. Where they cannot, a mirror serves the same. From either, a cluster fetches once (`cache` of the [cluster](#cluster-name) block).", attrs: []attr{
		{"apt", "URL", words("upstream"), "One flat, signed repository (`deb URL ./`) with all packages that nucspark adds: kubeadm, kubelet, kubectl, kubernetes-cni, cri-tools and containerd.io. The system's own packages still come from the system's own sources."},
		{"registry", "URL", words("upstream"), "Host and port alone. Asked for the images of every registry, in place of upstream. Paths are those of upstream without the registry's name: `docker.io/apache/spark` is `apache/spark`."},
		{"keys", "list of files", nil, "The public keys that sign `apt`, in ASCII armour or binary. Required with it: unsigned repositories are not used."},
	}},
	{name: "registry", label: "host", doc: "Credentials of one image registry. HOST is a name with an optional port, without `https://`: `\"ghcr.io\"`, `\"192.168.1.5:5000\"`.", attrs: []attr{
		{"username", "text", required(`"NAME"`), "The account there."},
		{"password", secretText, required("var.NAME"), "Its password, or a token."},
	}},
	{name: "images", doc: "What the pods run. [design.md](design.md#images) says what each must hold.", attrs: []attr{
		{"hadoop", "image", standard.Images.Hadoop, "Namenode, datanodes and checkpoints."},
		{"spark", "image", standard.Images.Spark, "Master, workers, history server and applications."},
		{"flannel", "image", standard.Images.Flannel, "The pod network."},
		{"flannel_cni", "image", standard.Images.FlannelCNI, "The program by which containerd joins a pod to it."},
	}},
	{name: "patch", label: "target", doc: "For the few settings that nucspark has no attribute for: a machine that is not quite like the others of this world, or a kernel that lacks something.", attrs: []attr{
		{"config", "object", nil, "Merged into the configuration: objects key by key, everything else replaced."},
		{"ignore_preflight_errors", "list of texts", nil, "Only for `kubeadm`: names of checks whose failure is accepted, as kubeadm prints them in brackets. Not `all`."},
	}},
	{name: "nfs", doc: "What is common to all exports and mounts.", attrs: []attr{
		{"version", "text", standard.NFS.Version, "With which version pods mount: `\"3\"`, `\"4\"`, `\"4.0\"`, `\"4.1\"`, `\"4.2\"`."},
		{"server", "text", words("what the machine can do"), "`\"kernel\"` or `\"ganesha\"`. By default the kernel's server, and ganesha where the kernel has none."},
	}},
	{name: "hdfs", doc: "The file system. It is there when a node has an `hdfs` block.", attrs: []attr{
		{"replication", "number", words("see right"), "Copies of each block, at most as many as nodes store blocks. By default one less than there are, so that one can leave, but 3 at most; 2 of two; 1 of one. Fixed at the first `up`: adding a node does not change it."},
		{"reserve", "size", words("15 % of each disk"), "Left free on each disk."},
	}, blocks: []shape{
		{name: "namenode", doc: "Knows which file is where.", attrs: []attr{
			{"dir", "directory", standard.HDFS.NamenodeDir, "Metadata, on the control plane."},
			{"checkpoint_dir", "directory", standard.HDFS.CheckpointDir, "Their second copy, on another machine."},
		}, blocks: resources(standard.HDFS.Namenode)},
		{name: "datanode", doc: "Stores blocks, on each node with an `hdfs` block.", blocks: resources(standard.HDFS.Datanode)},
	}},
	{name: "spark", doc: "The compute platform: a master and a history server on the control plane, a worker on each machine that runs pods.", attrs: []attr{
		{"properties", "object", nil, "Lines of `spark-defaults.conf`, after nucspark's own. Names begin with `spark.`; values are texts, numbers or truth values."},
	}, blocks: []shape{
		{name: "master", doc: "Shares the workers out among applications.", blocks: resources(standard.Spark.Master)},
		{name: "worker", doc: "What one machine gives to Spark. The default is for a machine with four cores and 16 GB.", blocks: []shape{
			requests(words("what the worker itself takes, 100m"), words("what the worker itself takes, "+WorkerSelf.String())),
			limits(standard.Spark.Worker.Limits.CPU, standard.Spark.Worker.Limits.Memory),
		}},
		{name: "executor", doc: "How an application divides a worker.",
			attrs: jvm("How many tasks it runs at a time.", words("the cores of the worker"), words("four fifths of the worker's, less where a worker is small"))},
		{name: "driver", doc: "The part of an application that hands out its tasks.",
			attrs: jvm("For each a quarter of a CPU is kept; it may use more.", standard.Spark.Driver.Cores, standard.Spark.Driver.Memory)},
	}},
}}

// resources are the blocks of one pod's [Resources].
func resources(r Resources) []shape {
	return []shape{requests(r.Requests.CPU, r.Requests.Memory), limits(r.Limits.CPU, r.Limits.Memory)}
}

func requests(cpu, memory any) shape {
	return shape{name: "requests", attrs: []attr{
		{"cpu", "CPUs", cpu, "Kept for it. It does not start on a machine that has less to give."},
		{"memory", "size", memory, "The same of memory."},
	}}
}

func limits(cpu, memory any) shape {
	return shape{name: "limits", attrs: []attr{
		{"cpu", "CPUs", cpu, "It gets no more."},
		{"memory", "size", memory, "The kernel ends what takes more."},
	}}
}

// jvm are the attributes of an [Executor].
func jvm(meaning string, cores, memory any) []attr {
	return []attr{
		{"cores", "number", cores, meaning},
		{"memory", "size", memory, "Its heap, at least `" + quote(minHeap.Spark()) + "`."},
	}
}

func kubernetesDoc() string {
	var known []string
	for _, minor := range KubernetesMinors {
		known = append(known, KubernetesReleases[minor])
	}
	return fmt.Sprintf("One of %s, or one patch release of these, such as `%q`. A minor version means the newest patch release that this nucspark knows: %s. It is fixed at the first `up`. Another version than the cluster runs is refused: there is no upgrade yet.",
		strings.Join(KubernetesMinors, ", "), KubernetesReleases[newestMinor], strings.Join(known, ", "))
}
