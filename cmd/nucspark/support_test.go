package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/support/bundletest"
)

// Secrets that everything around the command says, in every way it has.
const (
	plantedSudo     = "planted-sudo-4f7s9x2k"
	plantedRegistry = `planted"registry'8$w3<e5`
	plantedSpark    = "6c1d0f9e8a7b6c5d4e3f2a1b0c9d8e7f"
	plantedToken    = "abcdef.0123456789abcdef"
	plantedKey      = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
)

var plantedAll = []string{plantedSudo, plantedRegistry, plantedSpark, plantedToken, plantedKey}

// saying is all planted secrets: as they are, in base64, in JSON, in a split
// line, and those that nobody told by their looks.
func saying() string {
	var b strings.Builder
	for _, s := range []string{plantedSudo, plantedRegistry, plantedSpark} {
		quoted, _ := json.Marshal(s)
		fmt.Fprintf(&b, "it was %s\n%s\nAuth: %s\n%s\n   %s\n", s, quoted, base64.StdEncoding.EncodeToString([]byte("ada:"+s)), s[:len(s)/2], s[len(s)/2:])
	}
	fmt.Fprintf(&b, "kubeadm join --token %s\n-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n", plantedToken, plantedKey)
	return b.String()
}

// talking is a machine that says secrets whatever it is asked.
type talking struct {
	node   string
	conf   []byte // admin.conf
	server string // address of the API server
}

var markOfScript = regexp.MustCompile(`nucspark-[0-9A-Za-z]{20,}`)

func (m talking) Run(_ context.Context, c host.Command) (host.Result, error) {
	mark := markOfScript.FindString(c.Script)
	switch {
	case strings.Contains(c.Script, mark+":machine-id="):
		var b strings.Builder
		identity, _ := json.Marshal(provision.Identity{Cluster: "nucs", UID: "u", Node: m.node, MachineID: "id-" + m.node})
		fields := map[string]string{"machine-id": "id-" + m.node, "ID": "debian", "VERSION_ID": "12", "arch": "amd64", "cpus": "4", "memory": "17179869184",
			"var-free": "100000000000 /var", "systemd": "yes", "hostname": plantedSudo, "identity": base64.StdEncoding.EncodeToString(identity)}
		if m.conf != nil {
			record, _ := json.Marshal(provision.RecordCopy{Cluster: provision.Resolved{UID: "u", Kubernetes: "1.36.3"}})
			fields["kubeadm"], fields["made"], fields["record"] = "yes", "yes", base64.StdEncoding.EncodeToString(record)
		}
		for k, v := range fields {
			fmt.Fprintf(&b, "%s:%s=%s\n", mark, k, v)
		}
		now := time.Now().UnixNano()
		fmt.Fprintf(&b, "%s:clock=%d\n%[1]s:clock-end=%[2]d\n%[1]s:end=\n", mark, now)
		return host.Result{Stdout: b.String()}, nil
	case strings.Contains(c.Script, "journalctl"):
		var b strings.Builder
		for _, f := range []string{"system.txt", "memory.txt", "disk.txt", "packages.txt", "units.txt", "kubelet.log", "containerd.log", "cache.log", "oom.txt"} {
			fmt.Fprintf(&b, "\n%s %s\n%s said\n%s", mark, f, f, saying())
		}
		fmt.Fprintf(&b, "\n%s end\n", mark)
		return host.Result{Stdout: b.String()}, nil
	}
	return host.Result{Code: 1}, &host.CommandError{Node: m.node, Command: "a look", Code: 1, Tail: strings.Split(saying(), "\n")}
}

func (m talking) ReadFile(_ context.Context, path string) ([]byte, error) {
	switch {
	case path == provision.AdminConf && m.conf != nil:
		return m.conf, nil
	case path == provision.Ledger:
		line, err := json.Marshal(provision.Entry{V: 1, Step: m.node + "/x", Phase: provision.Done, Kind: "file", Key: "/etc/" + plantedSudo, Before: "before-the-change", After: saying()})
		return append(line, '\n'), err
	}
	return nil, fs.ErrNotExist
}

func (talking) WriteFile(context.Context, string, []byte, fs.FileMode, string, string) error {
	return errors.New("a machine was written to")
}

func (m talking) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", m.server)
}

func (talking) Close() error { return nil }

// talkingAPI is an API server of the same kind. Nothing may be changed there.
func talkingAPI(t *testing.T) http.Handler {
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "nucspark", Name: name, Labels: labels}
	}
	kind := func(kind string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: "v1"} }
	running := corev1.PodStatus{Phase: corev1.PodRunning, Message: saying(), ContainerStatuses: []corev1.ContainerStatus{{Name: "main", RestartCount: 1,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: saying()}}}}}
	spark := map[string]string{"app.kubernetes.io/part-of": "spark"}
	answers := map[string]any{
		"/api/v1/namespaces/nucspark/secrets": corev1.SecretList{TypeMeta: kind("SecretList"), Items: []corev1.Secret{{ObjectMeta: meta("spark-secret", nil), Data: map[string][]byte{"secret": []byte(plantedSpark)}}}},
		"/api/v1/namespaces/kube-system/secrets": corev1.SecretList{TypeMeta: kind("SecretList"), Items: []corev1.Secret{{ObjectMeta: meta("bootstrap-token-abcdef", nil),
			Data: map[string][]byte{"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef")}}}},
		"/api/v1/namespaces/nucspark/pods": corev1.PodList{TypeMeta: kind("PodList"), Items: []corev1.Pod{
			{ObjectMeta: meta("spark-master-0", spark), Status: running},
			{ObjectMeta: meta("wordcount", map[string]string{"app.kubernetes.io/part-of": "spark", "app.kubernetes.io/name": "spark-driver"}), Status: running},
			{ObjectMeta: meta("of-somebody", nil), Status: running},
		}},
		"/api/v1/nodes": corev1.NodeList{TypeMeta: kind("NodeList"), Items: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "nuc01"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: saying()}}}}}},
		"/api/v1/namespaces/nucspark/events": corev1.EventList{TypeMeta: kind("EventList"), Items: []corev1.Event{{Reason: "Failed", Message: saying()}}},
		"/version":                           map[string]string{"gitVersion": "v1.36.3 " + plantedSpark},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") != "All" {
			t.Errorf("the cluster was changed: %s %s", r.Method, r.URL)
		}
		switch answer, known := answers[r.URL.Path]; {
		case strings.HasSuffix(r.URL.Path, "/log"):
			io.WriteString(w, "the log said\n"+saying())
		case known:
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(answer); err != nil {
				t.Error(err)
			}
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":%q}`, plantedSpark)
		}
	})
}

// TestSupport: whatever machines, the API and this computer say, no secret is
// in the bundle, nor printed; and the bundle has what it should have.
func TestSupport(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", filepath.Join(dir, "ada"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "ada", "state"))
	t.Setenv("SSH_AUTH_SOCK", "")
	quoted := func(s string) string { return strings.ReplaceAll(fmt.Sprintf("%q", s), "${", "$${") }
	inventory := fmt.Sprintf(`
# %s stands in a comment
cluster "nucs" { kubernetes = "1.36" }
ssh {
  user          = "ubuntu"
  sudo_password = %s
}
registry "planted.example" {
  username = "ada"
  password = %s
}
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
}
node "nuc02" { address = "192.168.1.12" }
node "nuc03" { address = "192.168.1.13" }
`, plantedSudo, quoted(plantedSudo), quoted(plantedRegistry))
	runs := filepath.Join(dir, "ada", "state", "nucspark", "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		t.Fatal(err)
	}
	event, _ := json.Marshal(provision.Event{V: 1, Kind: provision.StepLog, Line: saying()})
	for name, text := range map[string]string{filepath.Join(dir, "cluster.hcl"): inventory, filepath.Join(runs, "20260101T000000Z.jsonl"): string(event) + "\n", filepath.Join(runs, "20250101T000000Z.jsonl"): "old\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api := newAPIServer(talkingAPI(t))
	t.Cleanup(api.Close)
	var said bytes.Buffer
	app := &App{File: filepath.Join(dir, "cluster.hcl"), In: strings.NewReader(""), Out: &said, Err: &said,
		dial: func(_ context.Context, o host.Options) (provision.Remote, error) {
			switch o.Name {
			case "nuc01":
				return talking{o.Name, adminConf(api), api.Listener.Addr().String()}, nil
			case "nuc02":
				return talking{node: o.Name}, nil
			}
			return nil, &host.ConnectError{Node: o.Name, Address: o.Address, Op: "dial", Err: errors.New("no route to host, " + plantedSudo), Transient: true}
		}}
	path := filepath.Join(dir, "bundle.tar.gz")
	o := &supportCommand{app: app, out: path, runs: 1}
	if err := o.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	archive, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	_, files := bundletest.Read(t, archive)
	files["what was printed"] = said.String()
	for name, body := range files {
		flat := strings.NewReplacer("\n", "", " ", "", `\n`, "").Replace(body)
		for _, s := range plantedAll {
			inJSON, _ := json.Marshal(s)
			for _, form := range []string{s, s[:len(s)/2+4], strings.Trim(string(inJSON), `"`), base64.StdEncoding.EncodeToString([]byte(s))[:len(s)/3*4], base64.StdEncoding.EncodeToString([]byte("ada:" + s))[8 : len(s)/3*4]} {
				if strings.Contains(flat, form) {
					t.Errorf("%q is in %s:\n%.3000s", form, name, body)
				}
			}
		}
		if strings.Contains(body, "before-the-change") || name != "what was printed" && strings.Contains(body, filepath.Join(dir, "ada")) {
			t.Errorf("%s has a body of the ledger, or the home directory:\n%.3000s", name, body)
		}
	}
	want := []string{"README.txt", "cluster/events.txt", "cluster/logs/spark-master-0.main.before.log", "cluster/logs/spark-master-0.main.log", "cluster/nodes.txt", "cluster/pods.txt",
		"cluster/version.json", "computer.txt", "doctor.json", "inventory.json"}
	for _, node := range []string{"nuc01", "nuc02"} {
		for _, f := range []string{"cache.log", "containerd.log", "disk.txt", "kubelet.log", "ledger.txt", "memory.txt", "oom.txt", "packages.txt", "system.txt", "units.txt"} {
			want = append(want, "nodes/"+node+"/"+f)
		}
	}
	want = append(want, "runs/20260101T000000Z.jsonl", "status.json", "survey.json", "what was printed")
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("files\n%q, want\n%q", got, want)
	}
	for name, part := range map[string]string{
		"nodes/nuc02/kubelet.log": "kubelet.log said\nit was (sensitive)\n", "cluster/logs/spark-master-0.main.log": "the log said\nit was (sensitive)\n",
		"nodes/nuc01/ledger.txt": "nuc01/x done file /etc/(sensitive)", "cluster/pods.txt": "CrashLoopBackOff", "inventory.json": `"Name": "nuc03"`,
		"README.txt": "nodes/nuc03/: nuc03 (192.168.1.13:22): dial: no route to host", "runs/20260101T000000Z.jsonl": `"line":"it was (sensitive)`, "cluster/events.txt": "Failed",
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s does not say %q:\n%.2000s", name, part, files[name])
		}
	}
	for _, name := range []string{"doctor.json", "survey.json", "status.json", "inventory.json"} {
		if !json.Valid([]byte(files[name])) {
			t.Errorf("%s is no JSON:\n%.3000s", name, files[name])
		}
	}
	if err := o.run(t.Context()); exitCode(err) != exitBad || !strings.Contains(err.Error(), "--force") {
		t.Errorf("overwriting: %v", err)
	}
	o.force = true
	if err := o.run(t.Context()); err != nil {
		t.Error(err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("overwritten: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".bundle*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
