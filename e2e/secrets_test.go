package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/support/bundletest"
)

// witness looks at what other users of the machines could see while nucspark
// works: the arguments and environments of all processes, of this computer and
// of the nodes, which are containers on it.
type witness struct {
	began time.Time
	roots []string // of the nodes' file systems
	stop  chan struct{}
	done  chan struct{} // closed when the rest may be read

	seen   map[string]bool // texts
	tokens map[string]bool // join tokens, read where they lie while a node joins
}

var joinToken = regexp.MustCompile(`token: ["']?([a-z0-9]{6}\.[a-z0-9]{16})\b`)

// canary is a file that is there when a shell has run a value of the inventory;
// each shell that could has its own temporary directory.
const canary = "/tmp/nucspark-canary"

// hostile is a text that makes the canary if any shell gets it, in double
// quotes, in single ones, or without.
const hostile = `"$(touch ` + canary + `)'; touch ` + canary + "; #`touch " + canary + "`${IFS}&&touch${IFS}" + canary

// secrets are planted before the first up, and looked for after the last. Each
// is the begin of a password that goes on with the hostile text, so that it is
// found however the rest is quoted.
type secrets struct {
	sudo, registry string
	*witness
}

// quoted is a text as HCL has it, where ${…} would be replaced by a value.
func quoted(text string) string { return strings.ReplaceAll(strconv.Quote(text), "${", "$${") }

// plantSecrets gives one node a sudo password, and the inventory that and the
// password of a registry. Where the inventory takes any text, that text would
// run commands if a shell saw it. What it writes is taken back by harvest, but
// for a property of Spark and the registry's names.
func (b *bench) plantSecrets(t *testing.T) {
	word := func() string { return "planted-" + strings.ToLower(rand.Text()) }
	b.secrets = &secrets{sudo: word(), registry: word(), witness: &witness{
		began: time.Now(), stop: make(chan struct{}), done: make(chan struct{}), seen: map[string]bool{}, tokens: map[string]bool{},
	}}
	hcl, err := os.ReadFile(b.inventory())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(hcl), "ssh {\n", fmt.Sprintf("ssh {\n  sudo_password = %s\n", quoted(b.secrets.sudo+hostile)), 1)
	text = strings.Replace(text, "spark {\n", fmt.Sprintf("spark {\n  properties = {\n    \"spark.planted\" = %s\n  }\n\n", quoted(hostile)), 1)
	text += fmt.Sprintf("\nregistry \"planted.example\" {\n  username = \"planted\"\n  password = %s\n}\n", quoted(b.secrets.registry+hostile))
	if err := os.WriteFile(b.inventory(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := execute(t, time.Minute, []byte("nuc:"+b.secrets.sudo+hostile+"\n"), "docker", "exec", "-i", container("nuc02"), "sh", "-c",
		"chpasswd && mkdir -p /root/keep && mv /etc/sudoers.d/* /root/keep/ && echo 'nuc ALL=(ALL) ALL' > /etc/sudoers.d/nuc")
	if out.code != 0 {
		t.Fatal(out)
	}
	for _, n := range b.machines(t) {
		pid := execute(t, time.Minute, nil, "docker", "container", "inspect", "--format", "{{.State.Pid}}", container(n.name))
		b.secrets.roots = append(b.secrets.roots, "/proc/"+strings.TrimSpace(pid.stdout)+"/root")
	}
	go b.secrets.watch()
}

// watch reads each process several times while it is young, since what it
// executes changes its arguments, and all once more at the end.
func (w *witness) watch() {
	defer close(w.done)
	first := map[string]time.Time{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			w.look(first, 24*time.Hour)
			return
		case <-tick.C:
			first = w.look(first, 2*time.Second)
		}
	}
}

// look reads the processes that were first seen no longer ago than age, and
// returns when each was.
func (w *witness) look(first map[string]time.Time, age time.Duration) map[string]time.Time {
	now, present := time.Now(), map[string]time.Time{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		since, known := first[p]
		if !known {
			since = now
		}
		present[p] = since
		if now.Sub(since) > age {
			continue
		}
		for _, file := range []string{"/cmdline", "/environ"} {
			if b, err := os.ReadFile(p + file); err == nil && len(b) > 0 { // root sees all of environ
				w.seen[strings.ReplaceAll(string(b), "\x00", "\n")] = true
			}
		}
	}
	for _, root := range w.roots {
		files, _ := filepath.Glob(root + "/run/nucspark-join-*")
		for _, f := range files {
			b, _ := os.ReadFile(f) // it goes when the node has joined
			for _, m := range joinToken.FindAllSubmatch(b, -1) {
				w.tokens[string(m[1])] = true
			}
		}
	}
	return present
}

// harvest takes the sudo password back, when machines were set up with it.
func (b *bench) harvest(t *testing.T) {
	b.on(t, "nuc02", "rm /etc/sudoers.d/nuc; mv /root/keep/* /etc/sudoers.d/; rmdir /root/keep")
	hcl, err := os.ReadFile(b.inventory())
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("  sudo_password = %s\n", quoted(b.secrets.sudo+hostile))
	if err := os.WriteFile(b.inventory(), bytes.Replace(hcl, []byte(line), nil, 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// testSecrets: after all that was done, no secret is anywhere but where
// docs/security.md says that it lies.
func (b *bench) testSecrets(t *testing.T) {
	f := b.inventory()
	close(b.secrets.stop)
	<-b.secrets.done
	quiet := func(args ...string) string { // its output is secret
		t.Helper()
		out := execute(t, 2*time.Minute, nil, b.binary, append([]string{"kubectl", "-f", f, "--"}, args...)...)
		if out.code != 0 {
			t.Fatalf("kubectl %v: exit code %d\n%s", args, out.code, out.stderr)
		}
		return out.stdout
	}
	spark, err := base64.StdEncoding.DecodeString(quiet("-n", "nucspark", "get", "secret", "spark-secret", "-o", "jsonpath={.data.secret}"))
	if err != nil || len(spark) < 16 {
		t.Fatalf("Spark's secret has %d bytes: %v", len(spark), err)
	}
	admin := regexp.MustCompile(`client-key-data: (\S+)`).FindStringSubmatch(b.on(t, "nuc01", "cat /etc/kubernetes/admin.conf"))
	if admin == nil {
		t.Fatal("admin.conf holds no key")
	}
	key, err := base64.StdEncoding.DecodeString(admin[1])
	if err != nil {
		t.Fatal(err)
	}
	needles := map[string]string{
		b.secrets.sudo: "the sudo password", b.secrets.registry: "the registry's password",
		base64.StdEncoding.EncodeToString([]byte("planted:" + b.secrets.registry))[:len("planted:"+b.secrets.registry)/3*4]: "the registry's password in base64",
		string(spark): "Spark's secret", base64.StdEncoding.EncodeToString(spark): "Spark's secret in base64",
		admin[1][64:128]:                    "the administrator's key",
		strings.Split(string(key), "\n")[1]: "the administrator's key in PEM",
	}
	for token := range b.secrets.tokens {
		needles[token] = "a join token"
	}
	if os.Geteuid() == 0 && len(b.secrets.tokens) == 0 {
		t.Error("no join token was seen where it lies during a join, so none can be looked for")
	}
	look := func(where, text string) {
		for needle, what := range needles {
			if i := strings.Index(text, needle); i >= 0 {
				around := text[max(0, i-200):i] + "…"
				t.Errorf("%s is in %s: %s", what, where, around[max(0, strings.LastIndexByte(around, '\n')):])
			}
		}
	}

	// What processes were started with. Executors get Spark's secret in their
	// environment, which is their own and root's.
	talked := false
	for text := range b.secrets.seen {
		talked = talked || strings.Contains(text, "sudo\n-S\n")
		if !strings.Contains(text, "_SPARK_AUTH_SECRET=") {
			look("a process's arguments or environment", text)
		}
	}
	if !talked {
		t.Error("no sudo that was given a password was seen among the processes, so they were not looked at")
	}

	// What was printed by every command of this test so far, and by these.
	b.run(t, "plan", "-f", f)
	b.run(t, "plan", "--json", "-f", f)
	b.run(t, "status", "-f", f)
	look("the output of a command", b.heard.String())

	// What is packed for somebody who helps.
	packed := filepath.Join(t.TempDir(), "bundle.tar.gz")
	b.ok(t, "support", "-f", f, "-o", packed)
	if info, err := os.Stat(packed); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle: %v, %v", info, err)
	}
	archive, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	_, bundle := bundletest.Read(t, archive)
	for name, body := range bundle {
		look(name+" of the bundle", body)
	}
	for _, name := range []string{"README.txt", "doctor.json", "plan.json", "status.json", "survey.json", "inventory.json", "cluster/events.txt", "cluster/nodes.txt",
		"cluster/logs/spark-master-0.spark-master.log", "nodes/nuc01/kubelet.log", "nodes/nuc02/containerd.log", "nodes/nuc03/ledger.txt", "nodes/nuc03/packages.txt"} {
		if len(bundle[name]) == 0 {
			t.Errorf("the bundle has no %s:\n%s", name, bundle["README.txt"])
		}
	}
	_, missing, _ := strings.Cut(bundle["README.txt"], "What could not be had\n")
	for line := range strings.Lines(missing) {
		if line != "  nothing\n" && !strings.Contains(line, ".before.log") { // containerd may have dropped that
			t.Errorf("of a healthy cluster could not be had: %s", line)
		}
	}

	// What the cluster shows to who may not read Secrets.
	objects := quiet("get", "configmaps,events,pods,nodes,services,statefulsets,daemonsets,persistentvolumes", "-A", "-o", "json")
	look("an object of Kubernetes", objects)
	const history = "/api/v1/namespaces/nucspark/pods/spark-history-0:18080/proxy/api/v1/applications"
	var apps []struct{ ID string }
	if err := json.Unmarshal([]byte(quiet("get", "--raw", history)), &apps); err != nil || len(apps) == 0 {
		t.Fatalf("%d applications: %v", len(apps), err)
	}
	for _, app := range apps[:min(2, len(apps))] {
		environment := quiet("get", "--raw", history+"/"+app.ID+"/environment")
		if !strings.Contains(environment, "spark.authenticate") {
			t.Errorf("the environment of %s says nothing:\n%s", app.ID, tail(environment))
		}
		look("the history server's page", environment)
		var e struct{ SparkProperties [][2]string }
		if err := json.Unmarshal([]byte(environment), &e); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(e.SparkProperties, [2]string{"spark.planted", hostile}) {
			t.Errorf("the planted property did not reach %s as it is: %q", app.ID, e.SparkProperties)
		}
	}

	// What lies on this computer.
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	logs, err := filepath.Glob(filepath.Join(state, "nucspark", "runs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, file := range logs {
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Before(b.secrets.began) {
			continue
		}
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		look(file, string(body))
		if read++; info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	if read == 0 {
		t.Errorf("no log of a run below %s", state)
	}

	if _, err := os.Stat(canary); err == nil {
		t.Error("a shell of this computer has run a value of the inventory")
	}

	// What lies on the nodes.
	var list []string
	for needle := range needles {
		list = append(list, needle)
	}
	slices.Sort(list)
	for _, n := range b.machines(t) {
		out := execute(t, 3*time.Minute, []byte(strings.Join(list, "\n")+"\n"), "docker", "exec", "-i", container(n.name), "sh", "-c", `umask 077; cat > /run/needles
grep -rlaFf /run/needles /var/lib/nucspark /var/log /run/log /tmp /var/tmp /root /home /etc /run/nucspark* 2>/dev/null
journalctl --no-pager -a -o cat | grep -aFqf /run/needles && echo the journal
rm /run/needles
find /tmp /var/tmp /root /home /run /var/lib/containerd /var/lib/kubelet -name '`+filepath.Base(canary)+`' 2>/dev/null
stat -c '%a %U %n' /var/lib/nucspark /var/lib/nucspark/ledger.jsonl /var/lib/kubelet/config.json /etc/kubernetes/admin.conf 2>/dev/null
true`)
		if out.code != 0 {
			t.Fatal(out)
		}
		modes := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(out.stdout), "\n") {
			if mode, path, ok := strings.Cut(line, " root "); ok {
				modes[path] = mode
			} else if line != "/etc/kubernetes/admin.conf" {
				t.Errorf("%s: a secret is in this place, or a shell has run a value: %s", n.name, line)
			}
		}
		for path, mode := range map[string]string{"/var/lib/nucspark": "700", "/var/lib/nucspark/ledger.jsonl": "600", "/var/lib/kubelet/config.json": "600"} {
			if modes[path] != mode {
				t.Errorf("%s: %s has mode %q, want %s", n.name, path, modes[path], mode)
			}
		}
		if n.name == "nuc01" && modes["/etc/kubernetes/admin.conf"] != "600" {
			t.Errorf("admin.conf has mode %q", modes["/etc/kubernetes/admin.conf"])
		}
	}
}
