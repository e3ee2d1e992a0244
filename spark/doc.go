// Package spark makes Spark run on the cluster, and runs applications on it.
//
// What it makes true:
//
//   - A standalone master runs on the control-plane machine. It writes what it
//     knows to that machine's disk, so that applications survive its restart.
//   - One worker runs on each machine that runs pods. It is on the network of
//     its machine, under the machine's address: that is the host name that the
//     datanode of the same machine carries, so that tasks run where their blocks
//     are. Its ports are fixed and lie in the range 7000 to 7999, and 8081 for
//     its page, which the machines' firewall closes to strangers.
//   - Master, workers, executors and drivers prove to each other that they know
//     one secret. It is generated once, kept in a Kubernetes Secret, and put into
//     a configuration file in memory when a pod starts. Spark hands it to
//     executors in their environment and takes it out of its pages and logs.
//   - Finished applications are shown by a history server, which reads their
//     event logs from HDFS. Where no node stores blocks there is neither event
//     log nor history server.
//   - Every reachable worker is registered. That is the milestone cluster/spark.
//
// Each role has its own ConfigMap, whose hash its pods carry: a pod is restarted
// when something changed that it reads itself. The size of executors and all
// that depends on the number of machines is read by drivers alone. Properties of
// the inventory go to drivers, and to those daemons that read their kind (see
// readers).
//
// Before a worker is stopped, also because its node leaves, it is decommissioned: its executors hand over what
// they hold and end.
//
// [Submitter] runs an application: it uploads its files, makes a driver pod,
// follows its log over dropped connections, and returns its exit code.
//
// What the image must hold: Spark in /opt/spark, bash, tini in /usr/bin, python3
// and a Java that spark-class finds. No entrypoint is used.
package spark
