package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/lab"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/watch"
)

// TestLab goes from bare machines to a word count, as the README does, with
// the basic faults on the way. Its parts build on each other: where one fails
// that later parts stand on, the test ends.
func TestLab(t *testing.T) {
	binary := os.Getenv("NUCSPARK")
	if os.Getenv("NUCSPARK_LAB") != "1" || binary == "" {
		t.Skip("the lab is not asked for: make lab-test runs this")
	}
	b := &bench{binary: binary, dir: t.TempDir()}
	b.start(t)
	part := func(name string, f func(*testing.T)) {
		t.Helper()
		began := time.Now()
		if !t.Run(name, f) && (strings.HasPrefix(name, "up")) {
			t.FailNow()
		}
		t.Logf("%s: %.0f s", name, time.Since(began).Seconds())
	}
	part("refused before any change", b.testRefused)
	part("faults before any change", b.testFaultsBefore)
	part("faults during a run", b.testFaultsDuring)
	part("up with planted secrets", b.plantSecrets)
	part("up with a machine off and no name server", b.testMachineOff)
	part("up completes", b.testUpCompletes)
	part("faults are mended", b.testFaultsMended)
	part("up again changes nothing", b.testUpAgain)
	part("up is over", b.harvest)
	part("status", b.testStatus)
	part("word count", b.testWordCount)
	part("exit code", b.testExitCode)
	part("locality", b.testLocality)
	part("pages", b.testPages)
	part("detached", b.testDetached)
	part("volume", b.testVolume)
	part("kubectl", b.testKubectl)
	part("everyday", b.testEveryday)
	part("secrets", b.testSecrets)
	part("strangers", b.testStrangers)
	part("drift", b.testDrift)
	part("lock", b.testLock)
	part("power cut", b.testPowerCut)
	part("no terminal", b.testNoTerminal)
}

// start makes the lab from nothing, with further flags, and takes it down at
// the end of the test.
func (b *bench) start(t *testing.T, flags ...string) {
	t.Helper()
	args := append([]string{"lab", "up", "--name", labName, "--subnet", labSubnet, "--dir", b.dir}, flags...)
	// Where an engine runs, packages may be missing all the same.
	if consent() {
		args = append(args, "--start-engine")
		if err := lab.StartEngine(t.Context(), lab.Options{Progress: func(line string) { t.Log(line) }}); err != nil {
			t.Fatal(err)
		}
	} else if exec.Command("docker", "info").Run() != nil {
		t.Fatal("no container engine runs; start Docker's, or run with YES=1 to have it installed and started")
	}
	b.ok(t, "lab", "down", "--name", labName) // what a run that was killed left
	up := watched(t, 40*time.Minute, nil, os.Stderr, b.binary, args...)
	if up.code != 0 {
		t.Fatalf("lab up: exit code %d\n%s", up.code, up)
	}
	if os.Getenv(keepLab) != "1" {
		t.Cleanup(func() { b.ok(t, "lab", "down", "--name", labName) })
	}
}

// consent says that packages may be installed and an engine started.
func consent() bool { return os.Getenv("CI") == "true" || os.Getenv("YES") == "1" }

// testRefused: what can be known to be wrong before any change is told before
// any change.
func (b *bench) testRefused(t *testing.T) {
	f := b.inventory()
	hcl, err := os.ReadFile(f)
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`private_key\s*=\s*"([^"]+)"`).FindStringSubmatch(string(hcl))[1]
	hostKeys := regexp.MustCompile(`ssh-ed25519 \S+`).FindAllString(string(hcl), -1)

	t.Run("unreachable address", func(t *testing.T) {
		b.refused(t, 1, []string{"nuc01", b.address(t, "nobody")}, "up", "--yes", "-f", b.edited(t, b.address(t, "nuc01"), b.address(t, "nobody")))
	})
	t.Run("wrong key", func(t *testing.T) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "another")
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(other, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		b.refused(t, 2, []string{"nuc01", "nuc"}, "up", "--yes", "-f", b.edited(t, key, other))
	})
	t.Run("wrong sudo password", func(t *testing.T) {
		b.on(t, "nuc02", "mkdir -p /tmp/keep; mv /etc/sudoers.d/* /tmp/keep/; echo 'nuc ALL=(ALL) ALL' > /etc/sudoers.d/nuc; echo nuc:right | chpasswd")
		defer b.on(t, "nuc02", "rm /etc/sudoers.d/nuc; mv /tmp/keep/* /etc/sudoers.d/")
		b.refused(t, 2, []string{"nuc02", "sudo"}, "up", "--yes", "-f", b.edited(t, "ssh {", "ssh {\n  sudo_password = \"wrong\"\n"))
		out := b.run(t, "plan", "-f", b.edited(t, "ssh {", "ssh {\n  sudo_password = \"right\"\n"))
		if out.code != 0 {
			t.Errorf("the right password is refused:\n%s", out)
		}
	})
	t.Run("changed host key", func(t *testing.T) {
		b.refused(t, 2, []string{"nuc02", "host key"}, "up", "--yes", "-f", b.edited(t, hostKeys[1], hostKeys[0]))
	})
	t.Run("unsupported system", func(t *testing.T) {
		b.on(t, "nuc03", "cp -P /etc/os-release /tmp/os-release; rm /etc/os-release; printf 'ID=fedora\\nVERSION_ID=44\\n' > /etc/os-release")
		defer b.on(t, "nuc03", "rm /etc/os-release; mv /tmp/os-release /etc/os-release")
		b.refused(t, 2, []string{"nuc03", "fedora"}, "up", "--yes", "-f", f)
	})
	t.Run("two nodes with one machine-id", func(t *testing.T) {
		id := b.on(t, "nuc03", "cat /etc/machine-id")
		b.on(t, "nuc03", "echo "+b.on(t, "nuc02", "cat /etc/machine-id")+" > /etc/machine-id")
		defer b.on(t, "nuc03", "echo "+id+" > /etc/machine-id")
		b.refused(t, 2, []string{"nuc02", "nuc03", "machine-id"}, "up", "--yes", "-f", f)
	})
	t.Run("another container runtime", func(t *testing.T) {
		b.on(t, "nuc02", "touch /usr/local/bin/k3s && chmod +x /usr/local/bin/k3s")
		defer b.on(t, "nuc02", "rm /usr/local/bin/k3s")
		b.refused(t, 2, []string{"nuc02", "k3s"}, "up", "--yes", "-f", f)
	})
	t.Run("a mirror that is down", func(t *testing.T) {
		execute(t, time.Minute, nil, "docker", "stop", "-t", "1", container("mirror"))
		defer execute(t, time.Minute, nil, "docker", "start", container("mirror"))
		b.refused(t, 2, []string{"nuc01", "mirror"}, "up", "--yes", "-f", f)
	})
	t.Run("a bad inventory", func(t *testing.T) {
		b.refused(t, 2, []string{"edited.hcl:", "replicaton"}, "up", "--yes", "-f", b.edited(t, "replication", "replicaton"))
	})
	for _, node := range []string{"nuc01", "nuc02", "nuc03"} {
		if got := b.on(t, node, "ls -d /var/lib/nucspark /etc/kubernetes 2>/dev/null; dpkg -l containerd.io kubelet 2>/dev/null | grep ^.i || true"); got != "" {
			t.Errorf("%s was changed: %s", node, got)
		}
	}
	b.refused(t, 3, nil, "plan", "--exit-code", "-f", f)
}

// testMachineOff: work on the others goes on, and the run says that it is not
// complete. Nor is an image that nobody has the end of what does not need it.
func (b *bench) testMachineOff(t *testing.T) {
	b.ok(t, "lab", "kill", "--name", labName, "nuc03")
	b.on(t, "nuc02", "cp /etc/resolv.conf /var/tmp; printf 'nameserver "+b.address(t, "nobody")+"\\noptions timeout:1 attempts:1\\n' > /etc/resolv.conf")
	out := b.refused(t, 1, []string{"nuc03", "✗ nuc02/packages/kubernetes failed", "nuc02 cannot resolve the name ", "resolvectl",
		"✗ nuc01/spark/image failed", "pulling docker.io/apache/spark:nobody-has-this: the registry does not have it", "correct the name in the images block"},
		"up", "--yes", "-f", b.edited(t, "mirror {", "images {\n  spark = \"apache/spark:nobody-has-this\"\n}\n\nmirror {"))
	b.on(t, "nuc02", "cat /var/tmp/resolv.conf > /etc/resolv.conf")
	if got := b.on(t, "nuc01", "systemctl is-active containerd kubelet | sort -u"); got != "active" {
		t.Errorf("nuc01: containerd and kubelet are %q\n%s", got, out)
	}
	if got := b.on(t, "nuc01", "find /var/lib/nucspark/namenode -name VERSION 2>/dev/null | head -n 1"); got != "" {
		t.Errorf("the namenode was formatted while a machine had not answered: %s", got)
	}
	b.ok(t, "lab", "start", "--name", labName, "nuc03")
}

func (b *bench) testUpCompletes(t *testing.T) {
	out := b.ok(t, "up", "--yes", "-f", b.inventory(), "--progress=json")
	var started, done bool
	for _, line := range strings.Split(strings.TrimSpace(out.stdout), "\n") {
		var e provision.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in event %q", err, line)
		}
		started = started || e.Kind == provision.RunStarted
		done = done || e.Kind == provision.RunDone && e.Error == nil
	}
	if !started || !done {
		t.Errorf("the events do not tell a whole run:\n%s", out)
	}
}

// processes lists what must not be restarted, with its PID, on one node.
func (b *bench) processes(t *testing.T, node string) string {
	return b.on(t, node, `systemctl show -p Id,MainPID containerd kubelet sshd | paste -s; pgrep -a 'java|kube|etcd|flanneld|coredns|ganesha' | cut -c1-150 | sort`)
}

func (b *bench) testUpAgain(t *testing.T) {
	before := map[string]string{}
	for _, n := range []string{"nuc01", "nuc02", "nuc03"} {
		before[n] = b.processes(t, n)
	}
	b.ok(t, "plan", "--exit-code", "-f", b.inventory())
	out := b.ok(t, "up", "--yes", "-f", b.inventory())
	if !strings.Contains(out.stdout, "Nothing to change") {
		t.Errorf("a second up does something:\n%s", out)
	}
	for n, was := range before {
		if is := b.processes(t, n); is != was {
			t.Errorf("%s: processes were\n%s\nand are\n%s", n, was, is)
		}
	}
}

func (b *bench) status(t *testing.T) []provision.Health {
	t.Helper()
	out := b.run(t, "status", "--json", "-f", b.inventory())
	var all []provision.Health
	if err := json.Unmarshal([]byte(out.stdout), &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	healthy := true
	for _, h := range all {
		healthy = healthy && h.OK
		if !h.OK && h.Reason == "" {
			t.Errorf("%s %s is not healthy and does not say why", h.Component, h.Name)
		}
	}
	if want := map[bool]int{true: 0, false: 1}[healthy]; out.code != want {
		t.Errorf("exit code %d, want %d", out.code, want)
	}
	return all
}

func (b *bench) testStatus(t *testing.T) {
	seen := map[string]int{}
	for _, h := range b.status(t) {
		seen[h.Component]++
		if !h.OK {
			t.Errorf("%s %s: %s", h.Component, h.Name, h.Reason)
		}
	}
	for _, c := range []string{"machine", "kubernetes", "nfs", "hdfs", "spark"} {
		if seen[c] == 0 {
			t.Errorf("status says nothing of %s", c)
		}
	}
	b.diagnosed(t, b.inventory())
}

// text is real text of some size: the package descriptions of this system.
func text(t *testing.T) (path string, words int) {
	t.Helper()
	data, err := exec.Command("apt-cache", "dumpavail").Output()
	if err == nil && len(data) < 1<<20 && consent() { // images of systems come without lists
		if out := execute(t, 10*time.Minute, nil, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update"); out.code != 0 {
			t.Fatalf("apt-get update: %s", out)
		}
		data, err = exec.Command("apt-cache", "dumpavail").Output()
	}
	if err != nil || len(data) < 1<<20 {
		t.Fatalf("apt-cache dumpavail: %d bytes, %v", len(data), err)
	}
	// So much that two copies have 64 blocks.
	data = bytes.Repeat(data, 1+32*blockSize/len(data))[:32*blockSize]
	path = filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// Words by bytes, as the job counts them with --any; not by the code under
	// test and not by a wc whose rules differ between versions.
	in := false
	for _, c := range data {
		space := c == ' ' || c >= '\t' && c <= '\r'
		if !space && !in {
			words++
		}
		in = !space
	}
	return path, words
}

func (b *bench) testWordCount(t *testing.T) {
	f := b.inventory()
	path, want := text(t)
	b.putApart(t, path, "/e2e/text")
	out := b.ok(t, "submit", "-f", f, "--conf", fmt.Sprint("spark.sql.files.maxPartitionBytes=", blockSize), // a task for each block
		"--conf", "spark.sql.shuffle.partitions=4", // 200 by default, each written by each task
		"../examples/wordcount.py", "hdfs:///e2e/text", "--top", "5", "--any")
	m := regexp.MustCompile(`(?m)^TOTAL (\d+)$`).FindStringSubmatch(out.stdout)
	if m == nil {
		t.Fatalf("no total:\n%s", out)
	}
	if got, _ := strconv.Atoi(m[1]); got != 2*want {
		t.Errorf("Spark counted %d words, there are %d", got, 2*want)
	}
	back := filepath.Join(t.TempDir(), "back")
	b.ok(t, "hdfs", "get", "-f", f, "/e2e/text/1", back)
	put, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, put) {
		t.Errorf("what came back is not what was put: %d bytes of %d, %v", len(got), len(put), err)
	}
	if again := b.run(t, "hdfs", "put", "-f", f, path, "/e2e/text/1"); again.code == 0 {
		t.Error("a second put overwrote the file without --force")
	}
	if ls := b.ok(t, "hdfs", "ls", "-f", f, "/e2e"); !strings.Contains(ls.stdout, "text") {
		t.Errorf("ls:\n%s", ls)
	}
	b.ok(t, "hdfs", "fsck", "-f", f)
	b.ok(t, "hdfs", "rm", "-f", f, "-r", "/e2e")
	if ls := b.run(t, "hdfs", "ls", "-f", f, "/e2e"); ls.code == 0 {
		t.Errorf("/e2e is still there:\n%s", ls)
	}
}

// testExitCode: the exit code comes back, the arguments arrive as they were
// given, and the history server shows the application when it has ended. Another
// application runs beside it.
func (b *bench) testExitCode(t *testing.T) {
	f := b.inventory()
	b.held = b.hold(t) // its driver starts meanwhile
	args := []string{"7", "", "two words", "'quoted' \"twice\"", "$HOME $(HOME) $$(X)", "--conf", "-x", "a\nb", "käse"}
	out := b.run(t, append([]string{"submit", "-f", f, "--conf", "spark.cores.max=2", "../examples/exit.py"}, args...)...)
	if out.code != 7 {
		t.Fatalf("exit code %d, want 7\n%s", out.code, out)
	}
	for _, line := range []string{`''`, `'two words'`, `'\'quoted\' "twice"'`, `'$HOME $(HOME) $$(X)'`, `'--conf'`, `'-x'`, `'a\nb'`, `'k\xe4se'`} {
		if !strings.Contains(out.stdout, "\n"+line+"\n") {
			t.Errorf("the argument %s did not arrive:\n%s", line, out)
		}
	}
	eventually(t, 2*time.Minute, "the history server shows the finished application", func() bool {
		return b.application(t, "exit") != ""
	})
}

// pod runs a command in a pod on a node, with the volume shared at /shared, and
// waits until it is in a phase.
func (b *bench) pod(t *testing.T, file, name, node, phase, command string) {
	t.Helper()
	image := regexp.MustCompile(`image: (\S*spark\S*)`).FindStringSubmatch(
		b.ok(t, "kubectl", "-f", file, "--", "-n", "nucspark", "get", "daemonset", "-l", "app.kubernetes.io/managed-by=nucspark", "-o", "yaml").stdout)
	if image == nil {
		t.Fatal("no image of Spark found")
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": "nucspark"},
		"spec": map[string]any{
			"restartPolicy": "Never", "nodeSelector": map[string]any{"kubernetes.io/hostname": node},
			"securityContext": map[string]any{"runAsUser": provision.SparkUID, "runAsGroup": provision.SparkUID},
			"containers": []any{map[string]any{"name": "main", "image": image[1], "command": []string{"sh", "-c", command},
				"volumeMounts": []any{map[string]any{"name": "shared", "mountPath": "/shared"}}}},
			"volumes": []any{map[string]any{"name": "shared", "persistentVolumeClaim": map[string]any{"claimName": "shared"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := execute(t, time.Minute, manifest, b.binary, "kubectl", "-f", file, "--", "apply", "-f", "-"); out.code != 0 {
		t.Fatalf("kubectl apply: %s", out)
	}
	b.ok(t, "kubectl", "-f", file, "--", "-n", "nucspark", "wait", "--for=jsonpath={.status.phase}="+phase, "--timeout=120s", "pod/"+name)
}

// testVolume: a pod on one worker reads what a pod on another wrote.
func (b *bench) testVolume(t *testing.T) {
	f := b.inventory()
	said := fmt.Sprintf("said at %s", time.Now().Format(time.RFC3339Nano))
	defer b.run(t, "kubectl", "-f", f, "--", "-n", "nucspark", "delete", "pod", "writer", "reader", "--ignore-not-found", "--wait=false")
	b.pod(t, f, "writer", "nuc02", "Succeeded", "echo '"+said+"' > /shared/note")
	// A file that is new on the server may be invisible to another client for
	// a second, which NFS allows.
	b.pod(t, f, "reader", "nuc03", "Succeeded", "for i in 1 2 3 4 5 6 7 8 9 10; do [ -f /shared/note ] && break; sleep 1; done; cat /shared/note")
	out := b.ok(t, "logs", "reader", "-f", f)
	if strings.TrimSpace(out.stdout) != said {
		t.Errorf("the reader says %q, the writer wrote %q", out.stdout, said)
	}
}

func (b *bench) testKubectl(t *testing.T) {
	f := b.inventory()
	out := b.ok(t, "kubectl", "-f", f, "--", "get", "nodes", "-o", "name")
	if got := strings.Fields(out.stdout); len(got) != 3 {
		t.Errorf("nodes: %v", got)
	}
	if out := b.run(t, "kubectl", "-f", f, "--", "get", "no-such-thing"); out.code == 0 {
		t.Error("kubectl's failure is lost")
	}
	if out := b.ok(t, "kubeconfig", "-f", f); !strings.Contains(out.stdout, "certificate-authority-data") {
		t.Errorf("kubeconfig:\n%s", out)
	}
	tokens := b.ok(t, "kubectl", "-f", f, "--", "-n", "kube-system", "get", "secrets", "--field-selector", "type=bootstrap.kubernetes.io/token", "-o", "name")
	if strings.TrimSpace(tokens.stdout) != "" {
		t.Errorf("join tokens are left over: %s", tokens.stdout)
	}
}

// testEveryday: each part of the cluster has a log, and ssh leads to a machine.
func (b *bench) testEveryday(t *testing.T) {
	f := b.inventory()
	list := b.ok(t, "logs", "-f", f)
	for _, name := range []string{"namenode", "checkpoint", "spark", "history", "nuc02/datanode", "nuc02/worker", "nuc02"} {
		if !strings.Contains(list.stdout, "nucspark logs "+name+" ") {
			t.Errorf("%s is not in the list:\n%s", name, list.stdout)
		}
		if out := b.ok(t, "logs", name, "--tail", "2", "-f", f); strings.TrimSpace(out.stdout) == "" {
			t.Errorf("the log of %s is empty", name)
		}
	}
	if out := b.ok(t, "ssh", "nuc02", "-f", f, "--", "uname", "-n"); strings.TrimSpace(out.stdout) != "nuc02" {
		t.Errorf("ssh led to %q", out.stdout)
	}
	if out := b.run(t, "ssh", "nuc02", "-f", f, "--", "exit 5"); out.code != 5 {
		t.Errorf("the exit code 5 became %d", out.code)
	}
}

// testDrift: what somebody changed by hand shows in the plan and is put right.
func (b *bench) testDrift(t *testing.T) {
	f := b.inventory()
	b.on(t, "nuc02", "echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/nucspark.conf; nft delete table inet nucspark; systemctl stop kubelet")
	out := b.refused(t, 3, nil, "plan", "--exit-code", "-f", f)
	for _, w := range []string{"/etc/sysctl.d/nucspark.conf", "- net.ipv4.ip_forward = 0", "table inet nucspark", "kubelet.service"} {
		if !strings.Contains(out.stdout, w) {
			t.Errorf("the plan does not show %q:\n%s", w, out)
		}
	}
	b.ok(t, "up", "--yes", "-f", f)
	b.ok(t, "plan", "--exit-code", "-f", f)
	b.on(t, "nuc02", "nft list table inet nucspark >/dev/null && systemctl is-active kubelet")
}

// testLock: a second run stops at once and says who holds the machines.
func (b *bench) testLock(t *testing.T) {
	f := b.inventory()
	holder := `{"run":"20260101T000000Z","user":"somebody","host":"elsewhere","pid":1,"since":"2026-01-01T00:00:00Z"}`
	b.on(t, "nuc02", "rm -f /etc/sysctl.d/nucspark.conf; printf '%s\\n' '"+holder+"' > /var/lib/nucspark/lock.holder; (flock 9; touch /run/lock-taken; exec sleep 300) 9>/var/lib/nucspark/lock >/dev/null 2>&1 & while [ ! -e /run/lock-taken ]; do :; done")
	b.refused(t, 4, []string{"nuc02", "somebody", "elsewhere"}, "up", "--yes", "-f", f)
	b.on(t, "nuc02", "pkill -x -f 'sleep 300'")
	b.ok(t, "up", "--yes", "-f", f)
}

// testPowerCut: status tells what a machine that is off takes with it, and
// everything comes back by itself when it is on again. Who watches sees the
// others meanwhile, and it again.
func (b *bench) testPowerCut(t *testing.T) {
	w := b.watch(t)
	w.until(t, "all well", func(l look) bool {
		return l.well() && !slices.ContainsFunc(l.Machines, func(m watch.Machine) bool { return m.Vitals == nil || m.Vitals.Use == nil || len(m.Vitals.Disks) == 0 })
	})
	b.ok(t, "lab", "kill", "--name", labName, "nuc03")
	w.until(t, "nuc03 silent, and nuc02 looked at since", func(l look) bool {
		off, other := l.machine("nuc03"), l.machine("nuc02")
		return len(l.Problems) > 0 && l.Problems[0].Level == watch.Silent && l.Problems[0].Name == "nuc03" && len(l.Problems[0].With) > 0 &&
			off.Vitals == nil && other.Vitals != nil && other.Seen.After(off.Seen.Add(2*time.Second))
	})
	seen := map[string]bool{}
	for _, h := range b.status(t) {
		if !h.OK && h.Node == "nuc03" {
			seen[h.Component] = true
		}
	}
	for _, c := range []string{"machine", "nfs"} {
		if !seen[c] {
			t.Errorf("nuc03 is off, but %s has nothing to say", c)
		}
	}
	b.ok(t, "lab", "start", "--name", labName, "nuc03")
	var bad string
	eventually(t, 5*time.Minute, "everything is healthy again", func() bool {
		bad = ""
		for _, h := range b.status(t) {
			if !h.OK {
				bad += h.Component + " " + h.Name + ": " + h.Reason + "; "
			}
		}
		return bad == ""
	})
	w.until(t, "nuc03 back, and all well", func(l look) bool { return l.well() && l.machine("nuc03").Vitals != nil })
	w.end(t)
	// A worker is registered a moment before its pod is ready, which the plan
	// waits for.
	var plan output
	eventually(t, 5*time.Minute, "the plan is empty again", func() bool {
		plan = b.run(t, "plan", "--exit-code", "-f", b.inventory())
		return plan.code != 3
	})
	if plan.code != 0 {
		t.Errorf("plan: exit code %d\n%s", plan.code, plan)
	}
}

// testNoTerminal: without somebody to ask and without --yes nothing happens.
func (b *bench) testNoTerminal(t *testing.T) {
	b.on(t, "nuc02", "rm /etc/sysctl.d/nucspark.conf")
	b.refused(t, 2, []string{"--yes"}, "up", "-f", b.inventory())
	b.refused(t, 3, nil, "plan", "--exit-code", "-f", b.inventory())
	b.ok(t, "up", "--yes", "-f", b.inventory())
}
