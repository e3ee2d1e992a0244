package provision

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nucspark.io/nucspark/inventory"
)

// cachedSite is a cluster of two machines with a cache.
func cachedSite() *Site {
	return &Site{Cluster: &inventory.Cluster{Cache: true, Nodes: []inventory.Node{
		{Name: "a", Address: netip.MustParseAddr("192.168.1.11"), Role: inventory.ControlPlane},
		{Name: "b", Address: netip.MustParseAddr("192.168.1.12"), Role: inventory.Worker}}}}
}

// pulled runs PullSetup with a directory of the test in the place of the
// node's own, and returns what a pull would find there, by host.
func pulled(t *testing.T, site *Site, own map[string]string) map[string]string {
	t.Helper()
	node, run := t.TempDir(), t.TempDir()
	for host, text := range own {
		if err := os.MkdirAll(filepath.Join(node, host), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(node, host, "hosts.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.NewReplacer(registryHosts, node, "/run/", run+"/").Replace(site.PullSetup())
	out, err := exec.Command("sh", "-c", script+`cd "$hosts" && grep -H "" */hosts.toml`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	if left, _ := os.ReadDir(run); len(left) > 0 {
		t.Errorf("%s is left over", left[0].Name())
	}
	found := map[string]string{}
	for l := range strings.Lines(string(out)) {
		host, text, _ := strings.Cut(l, "/hosts.toml:")
		found[host] += text
	}
	return found
}

func TestPullSetup(t *testing.T) {
	own := map[string]string{"ghcr.io": "server = 'https://ghcr.example'\n", "_default": "server = 'http://192.168.1.2:5000'\n"}
	site := cachedSite()
	got := pulled(t, site, own)
	want := "server = 'https://registry-1.docker.io'\n\n[host]\n[host.'http://192.168.1.11:10270']\ncapabilities = ['pull']\n"
	if got["docker.io"] != want {
		t.Errorf("docker.io:\n%s", got["docker.io"])
	}
	if got["ghcr.io"] != own["ghcr.io"] || got["_default"] != own["_default"] {
		t.Errorf("the node's own settings do not count: %v", got)
	}
	site.Cluster.Mirror.Registry = "http://192.168.1.2:5000"
	got = pulled(t, site, own)
	if want := strings.Replace(want, "https://registry-1.docker.io", "http://192.168.1.2:5000", 1); got["_default"] != want || got["docker.io"] != "" {
		t.Errorf("with a mirror: %v", got)
	}
	// Nothing lets the cache say what a tag means.
	for host, text := range got {
		if strings.Contains(text, "resolve") {
			t.Errorf("%s: %s", host, text)
		}
	}
	site.Cluster.Cache = false
	if got := site.PullSetup(); got != "hosts=\n" {
		t.Errorf("without a cache: %s", got)
	}
}

// What the cache cannot give comes from the registry, and only its failure is
// one.
func TestPull(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		hosts, works, asked string
		fails               bool
	}{
		{"", registryHosts, registryHosts, false},
		{"/cached", "/cached", "/cached", false},
		{"/cached", registryHosts, "/cached " + registryHosts, false},
		{"/cached", "nowhere", "/cached " + registryHosts, true},
	} {
		log := filepath.Join(dir, "log")
		ctr := fmt.Sprintf("#!/bin/sh\n[ \"$5 $7 $8\" = '--hosts-dir -- a:1' ] || exit 9\nprintf '%%s ' \"$6\" >> %s\n[ \"$6\" = %s ] || { echo failed >&2; exit 1; }\n", log, c.works)
		if err := os.WriteFile(filepath.Join(dir, "ctr"), []byte(ctr), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", "hosts="+c.hosts+" ref=a:1\n"+Pull)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		asked, _ := os.ReadFile(log)
		os.Remove(log)
		if fails := err != nil; fails != c.fails || strings.TrimSpace(string(asked)) != c.asked || strings.Count(string(out), "failed") > 1 {
			t.Errorf("%+v: %v, asked %q, says %q", c, err, asked, out)
		}
	}
}

// TestPrefetch runs the script with the real apt-helper against a cache that
// has one package, has a wrong one, and lacks one.
func TestPrefetch(t *testing.T) {
	if _, err := os.Stat("/usr/lib/apt/apt-helper"); err != nil {
		t.Skip("there is no apt here")
	}
	sum := func(s string) string { return fmt.Sprintf("SHA256:%x", sha256.Sum256([]byte(s))) }
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		switch filepath.Base(r.URL.Path) {
		case "good.deb":
			fmt.Fprint(w, "good")
		case "bad.deb":
			fmt.Fprint(w, "poisoned")
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	cache := netip.MustParseAddrPort(strings.TrimPrefix(srv.URL, "http://"))
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("list", "# Written by nucspark.\ndeb [arch=amd64 signed-by=/k] https://pkgs.example/deb/ /\ndeb [arch=amd64] https://docker.example/linux noble stable\n")
	// Without being forced apt shows MD5 sums only.
	write("apt-get", "#!/bin/sh\ncase \"$*\" in *' Acquire::ForceHash=SHA256 '*) ;; *) exit 0 ;; esac\ncat <<'EOF'\nReading package lists...\n"+
		"'https://pkgs.example/deb/good.deb' good_1.deb 4 "+sum("good")+"\n"+
		"'https://docker.example/linux/pool/bad.deb' bad_1.deb 8 "+sum("right")+"\n"+
		"'https://docker.example/linux/pool/none.deb' none_1.deb 8 "+sum("none")+"\n"+
		"'https://docker.example/linux/pool/weak.deb' weak_1.deb 8 MD5Sum:0123456789abcdef\n"+
		"'https://docker.example/linux/pool/up.deb' ../up_1.deb 8 "+sum("good")+"\n"+
		"'http://deb.example/debian/system.deb' system_1.deb 8 "+sum("good")+"\nEOF\n")
	script := strings.NewReplacer(AptSource, filepath.Join(dir, "list"), "/var/cache/apt/archives", dir).Replace(prefetchScript(cache, []string{"good=1"}))
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "good_1.deb")); string(got) != "good" {
		t.Errorf("%q, %v\n%s", got, err, out)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	partial, _ := filepath.Glob(filepath.Join(dir, "partial", "*"))
	if len(names) != 1 || len(partial) > 0 {
		t.Errorf("%v and %v are there\n%s", names, partial, out)
	}
	for _, name := range []string{"bad", "none"} {
		if !strings.Contains(string(out), name+"_1.deb does not come from the cache") {
			t.Errorf("nothing is said of %s:\n%s", name, out)
		}
	}
	for _, p := range asked {
		if strings.Contains(p, "system") || strings.Contains(p, "weak") || strings.Contains(p, "up.deb") {
			t.Errorf("the cache was asked for %s", p)
		}
	}
}
