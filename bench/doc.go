// The program bench measures nucspark against what people would do without it,
// and writes docs/performance.md. Run it with make bench, on a machine that
// does nothing else.
//
// Each line compares two commands. They run in pairs, in one go, and the order
// within a pair alternates, so that a machine that becomes slower or warmer
// slows both. The figure is the ratio of the medians. Times are those of whole
// processes, from start to end, as a person would wait for them.
//
//   - up: three bare machines, against up.sh, which makes the same of them by
//     ssh alone. What it needs lies in cluster/: files and manifests as nucspark
//     writes them, rendered once and frozen.
//   - noop: up where nothing differs, against playbook.yml by ansible-core.
//   - words, sort: Spark applications by nucspark submit, against spark-submit
//     to a master, two workers, a namenode and two datanodes that are plain
//     processes on this machine, of the same Hadoop and Spark, with the same
//     cores, memory and replication. All machines of the lab share this one's
//     processors, so that both have the same to work with.
//   - hdfs: writing and reading a file with Hadoop's own client, in a pod, and
//     without one against the plain datanodes.
//   - fleet: up where nothing differs on 300 nodes, against 100, that answer in
//     the process itself.
//   - screen: a run whose machines print 10,000 lines a second, shown on the
//     progress screen, against --progress=quiet.
//
// The lab and what is built for it are those of the lab package. The measured
// values are kept in a file beside the lab, so that a single line can be
// measured again; the document is made from it.
package main
