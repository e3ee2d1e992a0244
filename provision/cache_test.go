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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"nucspark.io/nucspark/inventory"
)

// cachedSite is a cluster of two machines with a cache.
func cachedSite() *Site {
	return &Site{Cluster: &inventory.Cluster{Cache: true, Nodes: []inventory.Node{
		{Name: "a", Address: netip.MustParseAddr("192.168.1.11"), Role: inventory.ControlPlane},
		{Name: "b", Address: netip.MustParseAddr("192.168.1.12"), Role: inventory.Worker}}}}
}

// cacheHosts runs the head of a pull with a directory of the test in the place
// of the node's own, and returns what a pull would find there, by host.
func cacheHosts(t *testing.T, site *Site, own map[string]string) map[string]string {
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
	script := strings.NewReplacer(registryHosts, node, "/run/", run+"/").Replace(site.cacheHosts())
	out, err := exec.Command("sh", "-c", script+`cd "$work" && grep -H "" */hosts.toml`).CombinedOutput()
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

func TestCacheHosts(t *testing.T) {
	own := map[string]string{"ghcr.io": "server = 'https://ghcr.example'\n", "_default": "server = 'http://192.168.1.2:5000'\n"}
	site := cachedSite()
	got := cacheHosts(t, site, own)
	// The cache comes before the server, as often as a node asks it.
	want := func(host, server string) {
		t.Helper()
		var is struct {
			Server string
			Host   map[string]struct {
				Capabilities []string
				DialTimeout  string `toml:"dial_timeout"`
			}
		}
		if err := toml.Unmarshal([]byte(got[host]), &is); err != nil || is.Server != server || len(is.Host) != cacheTurns {
			t.Errorf("%s: %v\n%s", host, err, got[host])
		}
		for i := range cacheTurns {
			// Nothing lets the cache say what a tag means.
			if h := is.Host[fmt.Sprintf("http://192.168.1.11:10270/%d", i+1)]; !slices.Equal(h.Capabilities, []string{"pull"}) || h.DialTimeout != "3s" {
				t.Errorf("%s: turn %d is %+v", host, i+1, h)
			}
		}
	}
	want("docker.io", "https://registry-1.docker.io")
	if got["ghcr.io"] != own["ghcr.io"] || got["_default"] != own["_default"] {
		t.Errorf("the node's own settings do not count: %v", got)
	}
	site.Cluster.Mirror.Registry = "http://192.168.1.2:5000"
	got = cacheHosts(t, site, own)
	want("_default", "http://192.168.1.2:5000")
	if got["docker.io"] != "" {
		t.Errorf("with a mirror: %v", got)
	}
}

// What the cache cannot give comes from the registry, after containerd has let
// go of what it got, and only the registry's failure is one. Why the cache could
// not is said, and is no last word. While anything comes from the cache, nothing
// comes past it.
func TestPull(t *testing.T) {
	const collected = "leases create, leases delete --sync lease"
	for _, c := range []struct {
		what        string
		cache       bool
		images      string // of Pull
		works       string // what ctr can pull: "from image"
		asked, says string
		fails       bool
	}{
		{what: "no cache", images: "a:1", works: "own a:1", asked: "own a:1", says: "pulled a:1\n"},
		{what: "no cache, and not there", images: "a:1", asked: "own a:1", says: "ctr: own has no a:1\n", fails: true},
		{what: "from the cache", cache: true, images: "a:1", works: "cache a:1", asked: "cache a:1", says: "pulled a:1\n"},
		{what: "past the cache", cache: true, images: "a:1", works: "own a:1", asked: "cache a:1, " + collected + ", own a:1",
			says: "a:1 does not come from the cache: ctr: cache has no a:1\npulled a:1\n"},
		{what: "from nowhere", cache: true, images: "a:1", asked: "cache a:1, " + collected + ", own a:1",
			says: "a:1 does not come from the cache: ctr: cache has no a:1\nctr: own has no a:1\n", fails: true},
		{what: "one past the cache", cache: true, images: "a:1 'b:2'", works: "cache a:1, own b:2", asked: "cache a:1, cache b:2, " + collected + ", own b:2",
			says: "pulled a:1\nb:2 does not come from the cache: ctr: cache has no b:2\npulled b:2\n"},
		{what: "nothing to pull", cache: true, images: "$nothing"},
		{what: "stopped", cache: true, images: "stop:1", asked: "cache stop:1, " + collected + ", own stop:1",
			says: "stop:1 does not come from the cache: ctr: cache has no stop:1\n", fails: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			own, run := filepath.Join(dir, "certs.d"), filepath.Join(dir, "run")
			for _, d := range []string{own, run} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			ctr := `#!/bin/sh
shift 2
case "$*" in
"images pull --hosts-dir ` + own + ` -- $6")
	asked="own $6"
	flock -ns ` + dir + ` true && locked=no || locked=alone;;
"images pull --hosts-dir ` + run + `/"*" -- $6")
	asked="cache $6"
	flock -n ` + dir + ` true && locked=no || flock -ns ` + dir + ` true && locked=shared;;
*) asked="$*"; [ "$2" != create ] || echo lease;;
esac
echo "$asked" >> ` + dir + `/log
[ -z "$locked" ] || echo "${asked% *} $locked" >> ` + dir + `/locks
case "$asked, ` + c.works + `, " in
"own stop:1"*) kill -TERM 0;;
"leases "*|*", $asked, "*) ;;
*) echo noise >&2; echo "ctr: ${asked% *} has no $6" >&2; exit 1;;
esac
`
			if err := os.WriteFile(filepath.Join(dir, "ctr"), []byte(ctr), 0o755); err != nil {
				t.Fatal(err)
			}
			site := cachedSite()
			site.Cluster.Cache = c.cache
			// One after the other, so that there is one order to compare.
			script := strings.NewReplacer(registryHosts, own, "/etc/containerd", dir, "/run/", run+"/", "-P 4", "-P 1").Replace(site.Pull(c.images))
			cmd := exec.Command("sh", "-c", script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what is stopped is a process group
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			asked := strings.ReplaceAll(strings.TrimSpace(string(log)), "\n", ", ")
			if fails := err != nil; fails != c.fails || asked != c.asked {
				t.Errorf("%v; asked %q, want %q", err, asked, c.asked)
			}
			locks, _ := os.ReadFile(filepath.Join(dir, "locks"))
			for l := range strings.Lines(string(locks)) {
				if want := map[bool][]string{false: {"own no\n"}, true: {"cache shared\n", "own alone\n"}}[c.cache]; !slices.Contains(want, l) {
					t.Errorf("lock while it pulls: %s", l)
				}
			}
			if says := strings.NewReplacer("noise\n", "", "Terminated\n", "").Replace(string(out)); says != c.says {
				t.Errorf("says %q, want %q", says, c.says)
			}
			if left, _ := os.ReadDir(run); len(left) > 0 {
				t.Errorf("%s is left over", left[0].Name())
			}
		})
	}
}

// What a node was refused at last is told, with the cache's own line. One that
// did not wait asks again; one without a token asks with one.
func TestPastScript(t *testing.T) {
	dir := t.TempDir()
	line := func(node string, status int, what string) string {
		return fmt.Sprintf("node=%s status=%d whole=OK cache=MISS sent=9 seconds=0.1 outside=9, 9 what=%s\n", node, status, what)
	}
	log := line("192.168.1.12", 401, "blobs sha256:aa") + line("192.168.1.12", 499, "blobs sha256:aa") + line("192.168.1.12", 200, "blobs sha256:aa") +
		line("192.168.1.12", 504, "blobs sha256:bb") + line("192.168.1.12", 499, "blobs sha256:bb") +
		strings.Replace(line("192.168.1.12", 200, "blobs sha256:bb"), "whole=OK", "whole=", 1) +
		line("192.168.1.12", 502, "manifests sha256:cc") + line("192.168.1.12", 206, "manifests sha256:cc") +
		line("192.168.1.13", 504, "blobs sha256:dd") + "another line of the unit\n"
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	journal := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = '-q --no-pager -o cat -u nucspark-cache.service --since @1700000000' ] && cat %s\n", filepath.Join(dir, "log"))
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(journal), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", pastScript(netip.MustParseAddr("192.168.1.12"), time.Unix(1700000005, 0)))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := "blobs sha256:bb does not come from the cache: " + line("192.168.1.12", 504, "blobs sha256:bb"); err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
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
	for name, why := range map[string]string{"bad": "E: ", "none": "E: ", "weak": "apt does not say its SHA256"} {
		if !strings.Contains(string(out), name+"_1.deb does not come from the cache: "+why) {
			t.Errorf("nothing is said of %s:\n%s", name, out)
		}
	}
	for _, p := range asked {
		if strings.Contains(p, "system") || strings.Contains(p, "weak") || strings.Contains(p, "up.deb") {
			t.Errorf("the cache was asked for %s", p)
		}
	}
}
