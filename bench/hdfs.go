package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fileSize is that of the file that is written and read, in MB.
const fileSize = 300

// client is a pod with Hadoop's client on nuc02, which has a datanode.
const client = `apiVersion: v1
kind: Pod
metadata: {name: bench-client, namespace: nucspark}
spec:
  nodeName: nuc02
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: client
    image: docker.io/apache/hadoop:3.5.0
    command: [sleep, "7200"]
    env: [{name: HADOOP_USER_NAME, value: hdfs}]
    securityContext: {runAsUser: 0}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
`

// transfer is the script of one run: it prints the nanoseconds that the client
// took.
const transfer = `set -eu
start=$(date +%%s%%N)
%s >&2
echo TOOK $(($(date +%%s%%N) - start))
`

// hdfs compares the throughput of the datanodes in pods with plain ones.
func (b *bench) hdfs() ([]*Line, error) {
	if err := b.present(); err != nil {
		return nil, err
	}
	bare, err := b.startBare()
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	kubectl := func(stdin string, args ...string) (string, error) {
		argv := append([]string{"kubectl", "-f", b.hcl(), "--"}, args...)
		cmd := b.prepared(b.nucspark, argv...)
		cmd.Stdin = strings.NewReader(stdin)
		var out strings.Builder
		cmd.Stdout = &out
		err := cmd.Run()
		return out.String(), named(err, b.nucspark, argv)
	}
	if _, err := kubectl(client, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	defer func() { _, _ = kubectl("", "-n", "nucspark", "delete", "pod", "bench-client", "--wait=false") }()
	if _, err := kubectl("", "-n", "nucspark", "wait", "--for=condition=Ready", "pod/bench-client", "--timeout=120s"); err != nil {
		return nil, err
	}
	share := "/opt/hadoop/share/hadoop/"
	java := func(conf, home, fs string) string {
		return fmt.Sprintf("java -Xmx256m -XX:-UsePerfData -Djava.net.preferIPv4Stack=true -cp '%[1]s:%[2]scommon/*:%[2]scommon/lib/*:%[2]shdfs/*:%[2]shdfs/lib/*' "+
			"org.apache.hadoop.fs.FsShell -D fs.defaultFS=%[3]s -D dfs.replication=2", conf, home+share, fs)
	}
	inPod := java("/scratch/conf", "", "hdfs://namenode-0.namenode.nucspark.svc.cluster.local:8020")
	plain := java(bare.conf, bare.home, fmt.Sprintf("hdfs://127.0.0.1:%d", barePort))
	fill := fmt.Sprintf("head -c %dM /dev/urandom >", fileSize)
	if _, err := kubectl("mkdir -p /scratch/conf; echo '<configuration/>' | tee /scratch/conf/core-site.xml >/scratch/conf/hdfs-site.xml; "+fill+"/scratch/file", "-n", "nucspark", "exec", "-i", "bench-client", "--", "bash"); err != nil {
		return nil, err
	}
	if err := b.command("bash", "-c", fill+filepath.Join(b.work, "file")); err != nil {
		return nil, err
	}
	took := func(out string, err error) (time.Duration, error) {
		if err != nil {
			return 0, err
		}
		_, text, _ := strings.Cut(out, "TOOK ")
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return time.Duration(n), err
	}
	pod := func(script string) (time.Duration, error) {
		return took(kubectl(script, "-n", "nucspark", "exec", "-i", "bench-client", "--", "bash"))
	}
	local := func(script string) (time.Duration, error) {
		return took(b.output("env", bare.env([]string{"bash", "-c", script})...))
	}
	var all []*Line
	for _, way := range []struct{ id, title, pod, plain string }{
		{"hdfs-write", "writing 300 MB into HDFS, against plain datanodes", "-put -f /scratch/file /tmp/bench-file", "-put -f " + filepath.Join(b.work, "file") + " /bench/file"},
		{"hdfs-read", "reading 300 MB out of HDFS, against plain datanodes", "-cat /tmp/bench-file | tail -c 1", "-cat /bench/file | tail -c 1"},
	} {
		l := &Line{ID: way.id, Title: way.title, Inverse: true,
			A: Side{Name: "in pods", Command: "hdfs dfs " + way.pod}, B: Side{Name: "plain processes", Command: "hdfs dfs " + way.plain}}
		l.A.Command, _, _ = strings.Cut(l.A.Command, " |")
		l.B.Command, _, _ = strings.Cut(strings.ReplaceAll(l.B.Command, b.work+"/", ""), " |")
		err := l.pairs(b.n(5),
			func() (time.Duration, error) { return pod(fmt.Sprintf(transfer, inPod+" "+way.pod)) },
			func() (time.Duration, error) { return local(fmt.Sprintf(transfer, plain+" "+way.plain)) })
		if err != nil {
			return all, err
		}
		l.Notes = []string{fmt.Sprintf("%.0f MB/s in pods, %.0f MB/s plain, by the medians, the start of the client's JVM included on both sides. Replication 2: the client's machine and another.",
			fileSize*1.048576/median(l.A.Seconds), fileSize*1.048576/median(l.B.Seconds))}
		all = append(all, l)
	}
	return all, nil
}
