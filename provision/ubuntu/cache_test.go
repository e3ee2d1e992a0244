package ubuntu

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// cachedSite is testSite with a cache.
func cachedSite() *provision.Site {
	site := testSite()
	site.Cluster.Cache = true
	return site
}

func TestCacheSteps(t *testing.T) {
	site := cachedSite()
	steps := Steps(site)
	config := find[provision.File](t, steps, "nuc01/cache/config")
	golden.Check(t, "cache.conf", config.Content)
	golden.Check(t, "nucspark-cache.service", find[provision.File](t, steps, "nuc01/cache/unit").Content)
	unit := find[provision.Unit](t, steps, "nuc01/cache/service")
	for _, need := range []string{"nuc01/firewall/table", "nuc01/cache/config", "nuc01/cache/directory", "nuc01/cache/package"} {
		if !slices.Contains(unit.After, need) {
			t.Errorf("the cache starts without %s", need)
		}
	}
	nginx := find[provision.Packages](t, steps, "nuc01/cache/package")
	if !slices.Contains(nginx.Packages, provision.Package{Name: "nginx"}) || !slices.Contains(nginx.After, "nuc01/cache/nginx") {
		t.Errorf("nginx is not installed, or starts by itself: %v after %v", nginx.Packages, nginx.After)
	}
	for _, n := range []string{"nuc01", "nuc02", "nuc03"} {
		if p := find[provision.Packages](t, steps, n+"/packages/kubernetes"); !slices.Contains(p.Awaits(), "nuc01/cache/service") {
			t.Errorf("%s does not wait for the cache", n)
		}
	}
	isCache := func(id string) bool { return strings.Contains(id, "/cache/") }
	for _, s := range steps {
		if isCache(s.ID()) && !strings.HasPrefix(s.ID(), "nuc01/") {
			t.Errorf("%s is a step of a node that keeps nothing", s.ID())
		}
		if !isCache(s.ID()) && slices.ContainsFunc(s.Needs(), isCache) {
			t.Errorf("a broken cache would stop %s", s.ID())
		}
	}

	site.Cluster.Mirror = inventory.Mirror{Apt: "http://192.168.1.2/apt/", Registry: "http://192.168.1.2:5000"}
	golden.Check(t, "cache-mirror.conf", cacheOf(site).text())
	// What could be more than a URL in nginx's configuration is not cached.
	for _, odd := range []string{"http://192.168.1.2/$(id)", "http://192.168.1.2/;id", "http://192.168.1.2/{a}", "http://[fd00::1]/"} {
		site.Cluster.Mirror = inventory.Mirror{Apt: odd, Registry: odd}
		if text := cacheOf(site).text(); bytes.Contains(text, []byte(odd)) || bytes.Contains(text, []byte("192.168.1.2")) {
			t.Errorf("%s is in the configuration:\n%s", odd, text)
		}
	}
}

func TestCacheOff(t *testing.T) {
	alone := cachedSite()
	alone.Cluster.Nodes = alone.Cluster.Nodes[:1]
	for name, site := range map[string]*provision.Site{"off": testSite(), "one machine": alone} {
		steps := Steps(site)
		stopped := find[provision.UnitBack](t, steps, "nuc01/cache/stopped")
		unit := provision.UnitQuery{Node: "nuc01", Name: provision.CacheUnit}
		for _, c := range []struct {
			is   provision.UnitFact
			want int
		}{{provision.UnitFact{}, 0}, {provision.UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, 1}} {
			if got, err := stopped.Diff(provision.NewFacts(map[provision.Query]any{unit: c.is})); err != nil || len(got) != c.want {
				t.Errorf("%s: %v: %v, %v", name, c.is, got, err)
			}
		}
		find[withdrawn](t, steps, "nuc01/cache/unit")
		if slices.ContainsFunc(steps, func(s provision.Step) bool { return s.ID() == "nuc01/cache/package" }) {
			t.Errorf("%s: nginx is installed for nothing", name)
		}
		if rules, _ := ruleset(site.Cluster, &site.Cluster.Nodes[0]); strings.Contains(rules, fmt.Sprint(provision.CachePort)) {
			t.Errorf("%s: the firewall has a rule for the cache", name)
		}
	}
}

// Somebody's own web server goes on; one that came with the cache does not start.
func TestNginxQuiet(t *testing.T) {
	s := find[nginxQuiet](t, Steps(cachedSite()), "nuc01/cache/nginx")
	file := s.Reads()[0]
	for _, c := range []struct {
		nginx string
		file  provision.FileFact
		want  int
	}{
		{"", provision.FileFact{}, 1},
		{"1.24.0-2", provision.FileFact{}, 0},
		{"1.24.0-2", provision.FileFact{Exists: true, Mode: 0o600}, 1},
	} {
		got, err := s.Diff(provision.NewFacts(map[provision.Query]any{file: c.file, s.nginx(): provision.PackageFact{Version: c.nginx}}))
		if err != nil || len(got) != c.want {
			t.Errorf("nginx %q, drop-in there %t: %v, %v", c.nginx, c.file.Exists, got, err)
		}
	}
}

// TestCacheServes runs nginx with the configuration between nodes and a
// registry as registries are: behind TLS, with a token for everybody, and with
// its content elsewhere.
func TestCacheServes(t *testing.T) {
	up := newUpstream(t)
	base, log := startCache(t, up)

	get := func(path string, header ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body), resp.Header
	}
	blob := "/1/v2/library/a/blobs/" + up.digest + "?ns=registry.example"
	code, _, header := get(blob)
	if code != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), "realm=") {
		t.Errorf("without a token: %d %v", code, header)
	}
	const token = "Bearer anonymous"
	// Five nodes ask at once.
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			if code, body, _ := get(fmt.Sprintf("/%d", 7+i)+blob[2:], "Authorization", token); code != http.StatusOK || body != up.body {
				t.Errorf("with a token: %d, %d bytes", code, len(body))
			}
		})
	}
	all.Wait()
	if n := up.sent.Load(); n != 1 {
		t.Errorf("the content came from outside %d times", n)
	}
	if up.leaked.Load() {
		t.Error("the token went where the registry only redirects to")
	}
	if code, body, _ := get(blob); code != http.StatusOK || body != up.body {
		t.Errorf("what is there: %d", code)
	}
	for range 2 {
		if code, body, h := get("/1/v2/library/a/manifests/"+up.digest+"?ns=registry.example", "Authorization", token); code != 200 || body != "manifest" || h.Get("Content-Type") != "application/vnd.oci.image.manifest.v1+json" {
			t.Errorf("manifest: %d %q %v", code, body, h)
		}
		if code, body, _ := get("/apt/https/" + up.host + "/linux/./pool/a_1%7e2_amd64.deb"); code != 200 || body != "package" {
			t.Errorf("package: %d %q", code, body)
		}
	}
	if m, p := up.manifests.Load(), up.packages.Load(); m != 1 || p != 1 {
		t.Errorf("the manifest came %d times, the package %d times", m, p)
	}
	// A registry that has enough of us is not asked for each turn.
	tired := fmt.Sprintf("/v2/library/tired/blobs/sha256:%064d?ns=registry.example", 0)
	for turn := range 40 {
		if code, _, _ := get(fmt.Sprintf("/%d%s", turn+1, tired), "Authorization", token); code != http.StatusTooManyRequests && code != http.StatusServiceUnavailable {
			t.Errorf("a tired registry: %d", code)
		}
	}
	if n := up.tired.Load(); n == 0 || n > 30 {
		t.Errorf("a tired registry was asked %d times", n)
	}
	asked := up.asked.Load()
	for _, path := range []string{
		"/", "/1/v2/", "/1/v2/library/a/manifests/latest?ns=registry.example", "/1/v2/library/a/tags/list?ns=registry.example",
		"/1/v2/library/a/blobs/" + strings.Replace(up.digest, up.digest[7:8], "z", 1) + "?ns=registry.example",
		"/1/v2/x%0d%0aX:/blobs/" + up.digest + "?ns=registry.example",
		"/1/v2/library/a/blobs/" + up.digest[:70] + "0?ns=elsewhere.example",
		"/x" + blob[2:], blob[2:],
		"/apt/https/" + up.host + "/elsewhere/a.deb", "/apt/https/" + up.host + "/linux/InRelease", "/apt/http/" + up.host + "/linux/a.deb",
		"/apt/https/other.example/linux/a.deb",
	} {
		if code, _, _ := get(path); !slices.Contains([]int{http.StatusNotFound, http.StatusForbidden, http.StatusBadRequest}, code) {
			t.Errorf("%s: %d", path, code)
		}
	}
	if n := up.asked.Load(); n != asked {
		t.Errorf("%d requests went outside that must not", n-asked)
	}
	resp, err := http.Post(base+blob, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	// The log is what pastScript in provision and TestLongCache read.
	answer := regexp.MustCompile(`(?m)^node=127\.0\.0\.1 status=(\d+) whole=(OK|) cache=\S+ sent=\d+ seconds=[0-9.]+ outside=(.*) what=(.*)$`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		said, err := os.ReadFile(filepath.Join(filepath.Dir(log), "answers"))
		if err != nil {
			t.Fatal(err)
		}
		whole, of := 0, answer.FindAllStringSubmatch(string(said), -1)
		for _, l := range of {
			if l[1] == "200" && l[2] == "OK" && l[4] == "blobs "+up.digest {
				whole++
			}
		}
		if whole == 6 && len(of) == strings.Count(string(said), "\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has the blob %d times, not 6, or lines of another form:\n%s", whole, said)
		}
	}
}

// A certificate that nobody vouches for is no registry's, and who is not a node
// gets nothing.
func TestCacheTrusts(t *testing.T) {
	up := newUpstream(t)
	up.ca = newUpstream(t).ca
	base, log := startCache(t, up)
	resp, err := http.Get(base + "/apt/https/" + up.host + "/linux/a.deb")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || up.asked.Load() != 0 {
		t.Errorf("a registry with another certificate: %d, asked %d times", resp.StatusCode, up.asked.Load())
	}
	if said, _ := os.ReadFile(log); !bytes.Contains(said, []byte("certificate verify error")) {
		t.Errorf("nginx says:\n%s", said)
	}
	// From an address of this computer that is none of a node.
	stranger := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}).DialContext}}
	if resp, err = stranger.Get(base + "/1/v2/library/a/blobs/" + up.digest + "?ns=registry.example"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a stranger gets %d", resp.StatusCode)
	}
}

// upstream is a registry and a package repository, with content of its own
// elsewhere.
type upstreamServer struct {
	host, digest, body               string
	ca                               []byte
	asked, sent, manifests, packages atomic.Int32
	tired                            atomic.Int32 // answers of 429
	leaked                           atomic.Bool
}

func newUpstream(t *testing.T) *upstreamServer {
	t.Helper()
	up := &upstreamServer{body: strings.Repeat("content", 1<<19)}
	up.digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(up.body)))
	pair, ca := certificate(t)
	up.ca = ca
	start := func(h http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = nil
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	store := start(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			up.leaked.Store(true)
		}
		if r.URL.Path == "/once" { // as some do, twice
			http.Redirect(w, r, "https://"+r.Host+"/signed?by="+up.digest, http.StatusTemporaryRedirect)
			return
		}
		up.sent.Add(1)
		w.Header().Set("Cache-Control", "private, no-store")
		w.Header().Set("Set-Cookie", "a=b")
		_, _ = io.WriteString(w, up.body)
	})
	registry := start(func(w http.ResponseWriter, r *http.Request) {
		up.asked.Add(1)
		switch {
		case strings.HasSuffix(r.URL.Path, ".deb"):
			if r.RequestURI != "/linux/./pool/a_1%7e2_amd64.deb" {
				t.Errorf("asked for %s", r.RequestURI)
			}
			up.packages.Add(1)
			_, _ = io.WriteString(w, "package")
		case r.Header.Get("Authorization") != "Bearer anonymous":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://token.example/"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "/tired/"):
			up.tired.Add(1)
			w.WriteHeader(http.StatusTooManyRequests)
		case strings.Contains(r.URL.Path, "/manifests/"):
			up.manifests.Add(1)
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = io.WriteString(w, "manifest")
		default:
			http.Redirect(w, r, store.URL+"/once", http.StatusTemporaryRedirect)
		}
	})
	up.host = strings.TrimPrefix(registry.URL, "https://")
	return up
}

// startCache runs nginx until the test ends; base is its URL, log what it says.
func startCache(t *testing.T, up *upstreamServer) (base, log string) {
	t.Helper()
	nginx, err := exec.LookPath(cmp.Or(os.Getenv("NUCSPARK_NGINX"), "/usr/sbin/nginx"))
	if err != nil {
		t.Skip("there is no nginx here (NUCSPARK_NGINX names one): the cache's configuration is not run")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := netip.MustParseAddrPort(free.Addr().String())
	free.Close()
	dir := t.TempDir()
	c := cache{Listen: listen, Nodes: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Registries: map[string]string{"registry.example": "https://" + up.host}, Repositories: []string{"https://" + up.host + "/linux/"}}
	text := strings.NewReplacer("syslog:server=unix:/run/systemd/journal/dev-log,nohostname,tag=nucspark_cache", filepath.Join(dir, "answers"),
		"/run/nucspark-cache", dir, "/var/cache/nucspark", dir,
		"/etc/ssl/certs/ca-certificates.crt", filepath.Join(dir, "ca.pem")).Replace(string(c.text()))
	log = filepath.Join(dir, "log")
	for name, body := range map[string]string{"cache.conf": text, "resolver.conf": "", "ca.pem": string(up.ca)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	// Its workers leave root's rights behind, as whom a test may run.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	global := "daemon off;"
	if os.Getuid() == 0 {
		global += " user root;"
	}
	cmd := exec.Command(nginx, "-c", filepath.Join(dir, "cache.conf"), "-g", global)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.DialTimeout("tcp", listen.String(), time.Second)
		if err == nil {
			conn.Close()
			return "http://" + listen.String(), log
		}
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log)
			t.Fatalf("nginx ended: %v\n%s", err, text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx does not answer")
		}
	}
}

// certificate is one that vouches for itself, for 127.0.0.1. nginx compares
// addresses as if they were names.
func certificate(t *testing.T) (pair tls.Certificate, ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spec := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, DNSNames: []string{"127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, spec, spec, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
