package inventory

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// hostileValues are what a text must not become: words and options of a
// command, commands of their own, lines of a file, paths out of a directory,
// and what looks like something else.
var hostileValues = []string{
	"a b", "a'b", `a"b`, "$(touch /tmp/x)", "`touch /tmp/x`", "a;touch /tmp/x", "a|b", "*", "$HOME",
	"a\nb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "-rf", "-oProxyCommand=id", "../../etc/passwd", "nu\u0441",
}

// hostileEnds come after what would be right: a URL, a path, a name.
var hostileEnds = []string{"$(id)", ";id", "'", " x", "\nx"}

// freeText are the names that take such values, and what becomes of those: none
// is ever part of a script as it is.
var freeText = []string{
	"mirror.apt",                       // a URL without spaces: a line of apt's list, which no shell reads; host and port are quoted
	"node.a.host_key",                  // what follows the key is dropped
	"patch.kubelet.config (name)",      // YAML by an encoder
	"patch.kubelet.config.K",           // the same
	"patch.kubelet.config.list",        // the same
	"patch.kubelet.config.deep (name)", // the same
	"patch.kubelet.config.deep.b",      // the same
	"registry.V.password",              // base64 in JSON
	"registry.V.username",              // the same
	"spark.properties.spark.app.id",    // java.util.Properties by its own rules, in a ConfigMap
	"ssh.known_hosts",                  // a path on this computer
	"ssh.password",                     // SSH's own message
	"ssh.sudo_password",                // one line to sudo, after its prompt
	"variable (name)",                  // letters of any language; stays in the file
	"variable.V.default",               // checked where it is used
}

// everything is a valid inventory that has every name there is, as JSON.
func everything(t *testing.T) map[string]any {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key.asc")
	if err := os.WriteFile(key, []byte("a public key"), 0o600); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(filepath.Dir(key), "id_ed25519")
	writeKey(t, private)
	var doc map[string]any
	text := fmt.Sprintf(`{
"variable": {"V": {"default": "x", "sensitive": false}},
"cluster": {"nucs": {"kubernetes": "1.36", "cache": true}},
"ssh": {"user": "nuc", "port": 22, "private_key": %q, "known_hosts": "/tmp/known_hosts", "password": "p", "sudo_password": "p",
  "connect_timeout": "5s", "idle_timeout": "1m"},
"apt": {"lock_timeout": "1h"},
"node": {"a": {"address": "172.31.77.11", "role": "control-plane", "port": 22, "mac": "1C-69-7A-01-02-03", "labels": {"example.org/rack": "r1"},
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBO5tSOK9ePUxrcX3m6ZMVwUb2ViznG4yQMlEv5iMfDS"},
  "b": {"address": "172.31.77.12", "nfs": {"export": "/data/nfs", "server": "kernel"}, "hdfs": {"dirs": ["/data/hdfs"]}}},
"volume": {"shared": {"node": "b", "size": "1Gi", "uid": 1000, "gid": 1000, "mode": "0775"}},
"network": {"pods": "10.32.0.0/14", "services": "10.96.0.0/12"},
"access": {"allow": ["192.168.0.0/24"]},
"mirror": {"apt": "http://172.31.77.2/", "registry": "http://172.31.77.2:5000", "keys": [%q]},
"registry": {"ghcr.io": {"username": "me", "password": "p"}},
"images": {"hadoop": "h:1", "spark": "s:1", "flannel": "f:1", "flannel_cni": "c:1"},
"patch": {"kubelet": {"config": {"K": "v", "list": ["v"], "deep": {"b": "v"}}}, "kubeadm": {"ignore_preflight_errors": ["SystemVerification"]}},
"nfs": {"version": "3", "server": "ganesha"},
"hdfs": {"replication": 1, "reserve": "10G", "namenode": {"dir": "/data/namenode", "checkpoint_dir": "/data/checkpoint",
    "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "datanode": {"requests": {"cpu": "1"}}},
"spark": {"master": {"requests": {"cpu": "1"}}, "worker": {"limits": {"cpu": "2", "memory": "3Gi"}}, "executor": {"cores": 1, "memory": "1g"},
  "driver": {"cores": 1}, "properties": {"spark.app.id": "v"}}
}`, private, key)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// writeKey makes a private key for SSH.
func writeKey(t *testing.T, file string) {
	t.Helper()
	_, login, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(login, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// leaf is one place of the document that can hold another text.
type leaf struct {
	path string
	set  func(value string) (restore func())
	was  string
}

// leaves lists all values, and all names that the user chooses: labels of
// blocks, and keys of objects.
func leaves(path string, at any) []leaf {
	var found []leaf
	value := func(path string, was any, put func(any)) {
		found = append(found, leaf{path, func(v string) func() { put(v); return func() { put(was) } }, fmt.Sprint(was)})
	}
	switch at := at.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(at)) {
			inner := strings.TrimPrefix(path+"."+k, ".")
			if chosen(path) {
				found = append(found, leaf{path + " (name)", func(v string) func() {
					old := at[k]
					delete(at, k)
					at[v] = old
					return func() { delete(at, v); at[k] = old }
				}, k})
			}
			if below := leaves(inner, at[k]); len(below) > 0 {
				found = append(found, below...)
				continue
			}
			value(inner, at[k], func(v any) { at[k] = v })
		}
	case []any:
		for i := range at {
			value(path, at[i], func(v any) { at[i] = v })
		}
	}
	return found
}

// chosen tells that the names in this object are the user's.
func chosen(path string) bool {
	return slices.Contains([]string{"variable", "cluster", "node", "volume", "registry", "patch", "node.a.labels", "spark.properties"}, path) ||
		strings.HasPrefix(path, "patch.kubelet.config")
}

// A text that could be taken for something else is refused with its place, or
// is one of the few that never come near a shell. A name that is new must be in
// everything, and if it takes any text, in freeText.
func TestHostileValues(t *testing.T) {
	doc := everything(t)
	parse := func() error {
		src, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse("hostile.json", src)
		return err
	}
	if err := parse(); err != nil {
		t.Fatalf("the inventory is not valid to begin with: %v", err)
	}
	names := map[string]bool{}
	taken := map[string][]string{}
	for _, l := range leaves("", doc) {
		for _, name := range strings.Split(l.path, ".") {
			names[name] = true
		}
		values := hostileValues
		for _, end := range hostileEnds {
			values = append(values, l.was+end)
		}
		for _, v := range values {
			restore := l.set(v)
			err := parse()
			restore()
			var diags Diagnostics
			switch {
			case err == nil:
				taken[generic(l.path)] = append(taken[generic(l.path)], v)
			case !errors.As(err, &diags):
				t.Errorf("%s = %q: %v", l.path, v, err)
			case diags[0].Line < 1 || diags[0].File != "hostile.json":
				t.Errorf("%s = %q is refused without its place: %v", l.path, v, err)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(freeText)), slices.Sorted(maps.Keys(taken))); diff != "" {
		t.Errorf("other names take any text than are known to (-known +do):\n%s\n%q", diff, taken)
	}
	for path := range everyName() {
		for _, name := range strings.Split(path, ".") {
			if !names[name] {
				t.Errorf("%q is not in the inventory of this test", name)
			}
		}
	}
}

var labelOf = regexp.MustCompile(`^(variable|registry)\.[^.]+(\.io)?\.`)

// generic leaves the labels of blocks out.
func generic(path string) string { return labelOf.ReplaceAllString(path, "$1.V.") }
