package hdfs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Ports, Hadoop's defaults (hdfs-default.xml of Hadoop 3.5).
const (
	namenodeRPC    = 8020
	namenodeHTTP   = 9870
	datanodeData   = 9866
	datanodeHTTP   = 9864
	datanodeIPC    = 9867
	checkpointHTTP = 9868
)

// NamenodeHost is the name of the namenode in the pod network. It is a headless
// Service's: behind a cluster address all datanodes would look like one.
const NamenodeHost = "namenode-0.namenode." + provision.Namespace + ".svc.cluster.local"

// DefaultFS is the file system's URL.
var DefaultFS = fmt.Sprintf("hdfs://%s:%d", NamenodeHost, namenodeRPC)

// Where the pods see their directories.
const (
	confMount  = "/etc/hadoop"       // the role's ConfigMap
	nodesMount = "/etc/hadoop-nodes" // the ConfigMap hdfs-nodes, which changes without a restart
	nameMount  = "/hadoop/name"
	copyMount  = "/hadoop/checkpoint"
	diskMounts = "/hadoop/disks" // and the directory's number
)

// classPath is part of what an image must hold: Hadoop in /opt/hadoop, laid out
// as in its binary release.
const classPath = confMount + ":/opt/hadoop/share/hadoop/common/*:/opt/hadoop/share/hadoop/common/lib/*:" +
	"/opt/hadoop/share/hadoop/hdfs:/opt/hadoop/share/hadoop/hdfs/*:/opt/hadoop/share/hadoop/hdfs/lib/*"

var (
	//go:embed scripts/datanode.sh
	datanodeScript string
	//go:embed scripts/topology.sh
	topologyScript string
	//go:embed scripts/ready.sh
	readyScript string
)

// log4j sends everything to the pod's log, but not a line for each question of
// a probe.
const log4j = `log4j.rootLogger=INFO,console
log4j.logger.http.requests=WARN
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
`

// Java looks up its own user; without a line here it is an "invalid UID".
var (
	passwd = fmt.Sprintf("root:x:0:0::/root:/bin/sh\n%[1]s:x:%[2]d:%[2]d::/tmp:/bin/sh\n%[3]s:x:%[4]d:%[4]d::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/false\n",
		provision.HDFSUser, provision.HDFSUID, provision.SparkUser, provision.SparkUID)
	group = fmt.Sprintf("root:x:0:\n%s:x:%d:\n%s:x:%d:\nnogroup:x:65534:\n",
		provision.HDFSUser, provision.HDFSUID, provision.SparkUser, provision.SparkUID)
)

// property is one setting of Hadoop.
type property struct {
	Name  string `xml:"name"`
	Value string `xml:"value"`
}

// siteXML renders settings as Hadoop reads them.
func siteXML(properties []property) (string, error) {
	b, err := xml.MarshalIndent(struct {
		XMLName    xml.Name   `xml:"configuration"`
		Properties []property `xml:"property"`
	}{Properties: properties}, "", "  ")
	if err != nil {
		return "", err
	}
	return xml.Header + string(b) + "\n", nil
}

// coreSite is common to all roles.
func coreSite() []property {
	return []property{
		{"fs.defaultFS", DefaultFS},
		{"hadoop.tmp.dir", "/tmp/hadoop"},
		// Else a process is forked for the groups of each user.
		{"hadoop.user.group.static.mapping.overrides", fmt.Sprintf("dr.who=;%[1]s=%[1]s;%[2]s=%[2]s", provision.HDFSUser, provision.SparkUser)},
		{"hadoop.prometheus.endpoint.enabled", "true"},
		// A restarted namenode has another address: give up the old one soon.
		{"ipc.client.connect.timeout", "5000"},
	}
}

// namenodeAddress is where datanodes and the checkpoint find the namenode.
func namenodeAddress() []property {
	return []property{
		{"dfs.namenode.rpc-address", fmt.Sprintf("%s:%d", NamenodeHost, namenodeRPC)},
		{"dfs.namenode.http-address", fmt.Sprintf("%s:%d", NamenodeHost, namenodeHTTP)},
	}
}

func namenodeSite(replication int) []property {
	return slices.Concat(namenodeAddress(), checkpointTimes(), []property{
		{"dfs.namenode.rpc-bind-host", "0.0.0.0"},
		{"dfs.namenode.http-bind-host", "0.0.0.0"},
		{"dfs.namenode.name.dir", "file://" + nameMount},
		{"dfs.replication", fmt.Sprint(replication)}, // the server's default, which WebHDFS clients ask for
		{"dfs.permissions.superusergroup", provision.HDFSUser},
		// Pods have no reverse DNS that could be relied upon.
		{"dfs.namenode.datanode.registration.ip-hostname-check", "false"},
		{"dfs.namenode.hosts.provider.classname", "org.apache.hadoop.hdfs.server.blockmanagement.CombinedHostFileManager"},
		{"dfs.hosts", nodesMount + "/hosts.json"},
		{"dfs.namenode.reject-unresolved-dn-topology-mapping", "true"},
		// Datanodes of a few machines report within seconds; the default is 30 s.
		{"dfs.namenode.safemode.extension", "5000"},
		{"dfs.namenode.avoid.read.stale.datanode", "true"},
		{"dfs.namenode.avoid.write.stale.datanode", "true"},
	})
}

func datanodeSite(reserve inventory.Size) []property {
	p := append(namenodeAddress(), []property{
		{"dfs.datanode.hostname", "${env.HOST_IP}"}, // a label, which Spark matches
		{"dfs.datanode.use.datanode.hostname", "false"},
		{"dfs.client.use.datanode.hostname", "false"},
		{"dfs.datanode.data.dir", "${env.DATA_DIRS}"}, // by datanode.sh
		{"dfs.datanode.data.dir.perm", "700"},
		{"dfs.datanode.failed.volumes.tolerated", "${env.FAILED_VOLUMES_TOLERATED}"},
		// With few datanodes there may be no other one to go on with.
		{"dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"},
	}...)
	const calculator = "org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.ReservedSpaceCalculator$ReservedSpaceCalculator"
	if reserve > 0 {
		return append(p, property{"dfs.datanode.du.reserved", fmt.Sprint(int64(reserve))})
	}
	// The kubelet evicts pods from a disk with less than 10 % free (15 % where
	// images lie): nodefs.available and imagefs.available of its defaults.
	return append(p, property{"dfs.datanode.du.reserved.calculator", calculator + "Percentage"}, property{"dfs.datanode.du.reserved.pct", "15"})
}

// checkpointPeriod is how often the second copy is made, in seconds.
const checkpointPeriod = 3600

// checkpointTimes are the same on both sides: the namenode declines a new image
// that comes too soon by its own settings.
func checkpointTimes() []property {
	return []property{
		{"dfs.namenode.checkpoint.period", fmt.Sprint(checkpointPeriod)},
		{"dfs.namenode.checkpoint.txns", "100000"},
	}
}

func checkpointSite() []property {
	return slices.Concat(namenodeAddress(), checkpointTimes(), []property{
		{"dfs.namenode.secondary.http-address", fmt.Sprintf("0.0.0.0:%d", checkpointHTTP)},
		{"dfs.namenode.checkpoint.dir", "file://" + copyMount},
		{"dfs.permissions.superusergroup", provision.HDFSUser},
	})
}

// files are those of one role's ConfigMap.
func files(core, hdfs []property, more map[string]string) map[string]string {
	data := map[string]string{"log4j.properties": log4j, "passwd": passwd, "group": group}
	for name, properties := range map[string][]property{"core-site.xml": core, "hdfs-site.xml": hdfs} {
		text, err := siteXML(properties)
		if err != nil {
			panic(err) // strings only
		}
		data[name] = text
	}
	for name, text := range more {
		data[name] = text
	}
	return data
}

func namenodeFiles(replication int) map[string]string {
	core := append(coreSite(), property{"net.topology.script.file.name", confMount + "/topology.sh"})
	return files(core, namenodeSite(replication), map[string]string{"topology.sh": topologyScript, "ready.sh": readyScript})
}

func datanodeFiles(reserve inventory.Size) map[string]string {
	return files(coreSite(), datanodeSite(reserve), map[string]string{"datanode.sh": datanodeScript, "ready.sh": readyScript})
}

func checkpointFiles() map[string]string { return files(coreSite(), checkpointSite(), nil) }

// hashOf tells configurations apart.
func hashOf(v any) string {
	b, err := json.Marshal(v) // maps in the order of their keys
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// sized fills in what the inventory left open.
func sized(r inventory.Resources) inventory.Resources {
	if r.Requests.CPU == 0 {
		r.Requests.CPU = 100
	}
	if r.Requests.Memory == 0 {
		r.Requests.Memory = 256 * inventory.MiB
		if r.Limits.Memory > 0 {
			r.Requests.Memory = min(r.Requests.Memory, r.Limits.Memory)
		}
	}
	if r.Limits.Memory == 0 {
		r.Limits.Memory = max(inventory.GiB, r.Requests.Memory)
	}
	return r
}

// heap is what a limit leaves for Java objects: a quarter of it, and at least
// 384 MiB, is left for threads, classes and network buffers.
func heap(limit inventory.Size) inventory.Size {
	return max(limit-max(limit/4, 384*inventory.MiB), 128*inventory.MiB)
}

// java is the command line of one of Hadoop's processes.
func java(limit inventory.Size, class string) []string {
	return []string{"java",
		fmt.Sprintf("-Xmx%dm", heap(limit)/inventory.MiB),
		"-XX:+ExitOnOutOfMemoryError",
		"-XX:-UsePerfData",
		"-Djava.net.preferIPv4Stack=true",
		// Pods change their addresses; Java would remember one for 30 s.
		"-Dsun.net.inetaddr.ttl=5", "-Dsun.net.inetaddr.negative.ttl=1",
		"-cp", classPath,
		"org.apache.hadoop.hdfs.server." + class,
	}
}

// disksOf identifies a list of directories, in a label's value.
func disksOf(dirs []string) string { return hashOf(dirs)[:10] }

// clusterID is Hadoop's name of the file system. It is known before the
// namenode is formatted.
func clusterID(uid string) string { return "nucspark-" + uid }

func blanks(list []string) string { return strings.Join(list, " ") }
