package spark

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Ports. Those on the network of a machine lie in 7000 to 7999, and 8081.
const (
	masterPort   = 7077
	masterUI     = 8080
	workerPort   = 7078
	workerUI     = 8081
	shufflePort  = 7337
	blockPort    = 7100 // first of executors' block managers
	blockPorts   = 64   // tries above it: as many executors fit on one machine
	historyUI    = 18080
	namenodePort = 8020
)

// MasterHost is the name of the master in the pod network.
const MasterHost = master + "-0." + master + "." + provision.Namespace + ".svc.cluster.local"

// defaultFS is the URL of the file system that the hdfs component makes.
var defaultFS = fmt.Sprintf("hdfs://namenode-0.namenode.%s.svc.cluster.local:%d", provision.Namespace, namenodePort)

// eventLog is the directory of the applications' event logs, in HDFS.
const eventLog = "/spark-events"

var masterURL = fmt.Sprintf("spark://%s:%d", MasterHost, masterPort)

var (
	//go:embed scripts/start.sh
	startScript string
	//go:embed scripts/decommission.sh
	decommissionScript string
	//go:embed log4j2.properties
	log4j string
)

// Java looks up its own user; without a line here it is an "invalid UID".
var (
	passwd = fmt.Sprintf("root:x:0:0::/root:/bin/sh\n%[1]s:x:%[2]d:%[2]d::/tmp:/bin/sh\n%[3]s:x:%[4]d:%[4]d::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/false\n",
		provision.HDFSUser, provision.HDFSUID, provision.SparkUser, provision.SparkUID)
	group = fmt.Sprintf("root:x:0:\n%s:x:%d:\n%s:x:%d:\nnogroup:x:65534:\n",
		provision.HDFSUser, provision.HDFSUID, provision.SparkUser, provision.SparkUID)
)

// readers says which daemons read a property of the inventory, by the longest
// prefix that fits. Drivers read all.
var readers = map[string][]string{
	"spark.authenticate": {master, worker, history},
	"spark.deploy.":      {master},
	"spark.history.":     {history},
	"spark.master.":      {master},
	"spark.network.":     {master, worker},
	"spark.rpc.":         {master, worker},
	"spark.shuffle.":     {worker},
	"spark.ssl.":         {master, worker, history},
	"spark.ui.":          {master, worker, history},
	"spark.worker.":      {worker},
	"spark.acls.":        {master, worker, history},
	"spark.admin.acls":   {master, worker, history},
}

// settings are nucspark's own properties of a role, then those of the inventory
// that the role reads.
func (l *layout) settings(role string) map[string]string {
	p := map[string]string{"spark.authenticate": "true"}
	set := func(more map[string]string) { maps.Copy(p, more) }
	shuffle := map[string]string{
		"spark.shuffle.service.enabled": "true",
		"spark.shuffle.service.port":    fmt.Sprint(shufflePort),
		"spark.decommission.enabled":    "true",
	}
	switch role {
	case master:
		set(map[string]string{
			"spark.master.rest.enabled":      "false", // it knows no authentication
			"spark.deploy.recoveryMode":      "FILESYSTEM",
			"spark.deploy.recoveryDirectory": stateMount,
			// For an application that asks for nothing: else it takes every core.
			// Those of nucspark submit ask for spark.cores.max.
			"spark.deploy.defaultCores": fmt.Sprint(l.spark.Executor.Cores),
		})
	case worker:
		set(shuffle)
		set(map[string]string{
			"spark.worker.cleanup.enabled":    "true",
			"spark.worker.cleanup.appDataTtl": "259200", // three days, in seconds
		})
	case history:
		set(map[string]string{
			"spark.history.fs.logDirectory":    defaultFS + eventLog,
			"spark.history.fs.cleaner.enabled": "true",
			"spark.history.fs.cleaner.maxAge":  "30d",
			"spark.history.ui.port":            fmt.Sprint(historyUI),
		})
		delete(p, "spark.authenticate") // it talks to nobody
	case driver:
		set(shuffle)
		set(map[string]string{
			"spark.master":                                     masterURL,
			"spark.driver.memory":                              l.spark.Driver.Memory.Spark(),
			"spark.driver.cores":                               fmt.Sprint(l.spark.Driver.Cores),
			"spark.executor.memory":                            l.spark.Executor.Memory.Spark(),
			"spark.executor.cores":                             fmt.Sprint(l.spark.Executor.Cores),
			"spark.cores.max":                                  fmt.Sprint(l.slots() * l.spark.Executor.Cores),
			"spark.blockManager.port":                          fmt.Sprint(blockPort),
			"spark.port.maxRetries":                            fmt.Sprint(blockPorts),
			"spark.storage.decommission.enabled":               "true",
			"spark.storage.decommission.rddBlocks.enabled":     "true",
			"spark.storage.decommission.shuffleBlocks.enabled": "true",
		})
		if l.hdfs {
			set(map[string]string{
				"spark.eventLog.enabled":         "true",
				"spark.eventLog.dir":             defaultFS + eventLog,
				"spark.eventLog.rolling.enabled": "true",
				"spark.sql.warehouse.dir":        defaultFS + "/user/" + provision.SparkUser + "/warehouse",
			})
		}
	}
	for key, value := range l.spark.Properties {
		if role == driver || slices.Contains(readersOf(key), role) {
			p[key] = value
		}
	}
	return p
}

func readersOf(key string) []string {
	longest := ""
	for prefix := range readers {
		if strings.HasPrefix(key, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return readers[longest]
}

// defaultsFile renders properties as java.util.Properties reads them.
func defaultsFile(p map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		b.WriteString(escapeProperty(key, true) + "=" + escapeProperty(p[key], false) + "\n")
	}
	return b.String()
}

// escapeProperty escapes what java.util.Properties.load would take for
// something else. Characters beyond ASCII need no escape: Spark reads UTF-8.
func escapeProperty(s string, key bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == ' ' && (key || i == 0), key && strings.ContainsRune("=:#!", r):
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// property is one setting of Hadoop.
type property struct {
	Name  string `xml:"name"`
	Value string `xml:"value"`
}

func siteXML(properties ...property) string {
	b, err := xml.MarshalIndent(struct {
		XMLName    xml.Name   `xml:"configuration"`
		Properties []property `xml:"property"`
	}{Properties: properties}, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	return xml.Header + string(b) + "\n"
}

// files are those of a role's ConfigMap.
func (l *layout) files(role string) map[string]string {
	data := map[string]string{
		"start.sh": startScript, "passwd": passwd, "group": group,
		"log4j2.properties":   log4j,
		"spark-defaults.conf": defaultsFile(l.settings(role)),
	}
	if role == worker {
		data["decommission.sh"] = decommissionScript
	}
	if l.hdfs && role != master {
		data["core-site.xml"] = siteXML(property{"fs.defaultFS", defaultFS},
			// A restarted namenode has another address: give up the old one soon.
			property{"ipc.client.connect.timeout", "5000"})
		client := []property{
			{"dfs.client.use.datanode.hostname", "false"},
			// With few datanodes there may be no other one to go on with.
			{"dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"},
		}
		if role == driver {
			// Drivers send their settings to executors. The workers do not need
			// this one, so that another replication restarts none of them.
			client = append(client, property{"dfs.replication", fmt.Sprint(l.site.Resolved.Replication)})
		}
		data["hdfs-site.xml"] = siteXML(client...)
	}
	return data
}

// hashOf tells configurations apart.
func hashOf(v any) string {
	b, err := json.Marshal(v) // maps in the order of their keys
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// workerHeap is the heap of the worker itself, which has inventory.WorkerSelf
// in all.
const workerHeap = 384 * inventory.MiB

// offered is the memory that a worker gives to executors' heaps. It does not
// depend on the size of executors, so that another size restarts no worker. A
// standalone worker reckons heaps only: what a JVM needs beside its heap is
// taken off here.
func (l *layout) offered() inventory.Size {
	return inventory.ExecutorRoom(l.spark.Worker.Limits.Memory) / inventory.MiB * inventory.MiB
}

// workerCores are the tasks that a worker runs at a time.
func (l *layout) workerCores() int { return max(1, int(l.spark.Worker.Limits.CPU/1000)) }

// slots is the number of executors that all workers run at a time.
func (l *layout) slots() int {
	e := l.spark.Executor
	return len(l.workers) * max(1, min(l.workerCores()/max(1, e.Cores), int(l.offered()/max(1, e.Memory))))
}
