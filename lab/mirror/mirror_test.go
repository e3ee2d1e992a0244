package mirror

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// tiny is a component with one package and one image that takes no time. It
// has the name of a real one, whose control file it uses.
func tiny(built *int) recipe {
	return recipe{
		Component: Component{
			Name: "kubernetes-cni", Version: "1.0",
			Packages: []Package{{"kubernetes-cni", "1.0-1"}}, Images: []string{"some/tiny:v1"},
		},
		disk: mib,
		build: func(_ context.Context, b *bench) error {
			*built++
			files := []file{{path: "/opt/cni/bin/bridge", mode: 0o755, data: []byte("#!/bin/sh\n")}}
			if err := b.pack(deb{name: "kubernetes-cni", files: files}); err != nil {
				return err
			}
			l, err := b.layer(append(scratchFiles(), files...))
			if err != nil {
				return err
			}
			return b.image("some/tiny:v1", v1.Config{Entrypoint: []string{"/opt/cni/bin/bridge"}}, l)
		},
	}
}

// buildTest is build. It goes on where the packages that real recipes need are
// not installed; the recipes of these tests need none.
func buildTest(t *testing.T, cache string, all ...recipe) error {
	t.Helper()
	saved := probes
	probes = nil
	defer func() { probes = saved }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return build(ctx, Options{Cache: cache}, all)
}

func TestBuildIsIdempotent(t *testing.T) {
	cache, built := t.TempDir(), 0
	c := tiny(&built)
	for range 2 {
		if err := buildTest(t, cache, c); err != nil {
			t.Fatal(err)
		}
	}
	if built != 1 {
		t.Errorf("built %d times", built)
	}
	before, err := filepath.Glob(filepath.Join(cache, "built", "*"))
	if err != nil || len(before) != 1 {
		t.Fatalf("built holds %v, %v", before, err)
	}
	c.revision++
	if err := buildTest(t, cache, c); err != nil {
		t.Fatal(err)
	}
	after, _ := filepath.Glob(filepath.Join(cache, "built", "*"))
	if built != 2 || len(after) != 1 || after[0] == before[0] {
		t.Errorf("after a change of the recipe: built %d times, %v", built, after)
	}
	st, err := os.Stat(filepath.Join(cache, "signing.key"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("signing.key: %v, %v", st.Mode(), err)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	cache, built := t.TempDir(), 0
	good, bad := tiny(&built), tiny(&built)
	bad.build = func(ctx context.Context, b *bench) error {
		if err := good.build(ctx, b); err != nil {
			return err
		}
		return errors.New("the disk is on fire")
	}
	err := buildTest(t, cache, bad)
	if err == nil || !strings.Contains(err.Error(), "kubernetes-cni 1.0: the disk is on fire") {
		t.Fatalf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(cache, "built")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, _, err := handlers(Dir(cache)); err == nil || !strings.Contains(err.Error(), "build it first") {
		t.Errorf("served a mirror that is not there: %v", err)
	}
	if err := buildTest(t, cache, good); err != nil {
		t.Fatal(err)
	}
}

func TestBuildWaitsForTheOther(t *testing.T) {
	cache, built := t.TempDir(), 0
	f, err := os.Create(filepath.Join(cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var phases []Phase
	err = build(ctx, Options{Cache: cache, Progress: func(e Event) {
		phases = append(phases, e.Phase)
		cancel()
	}}, []recipe{tiny(&built)})
	if !errors.Is(err, context.Canceled) || !slices.Equal(phases, []Phase{PhaseWait}) || built != 0 {
		t.Errorf("got %v, phases %v, built %d times", err, phases, built)
	}
}

func TestBuildSaysWhatIsMissing(t *testing.T) {
	cache, built := t.TempDir(), 0
	saved := probes
	defer func() { probes = saved }()
	probes = probes[:1:1]
	probes[0].argv = []string{"false"}
	err := build(t.Context(), Options{Cache: cache}, []recipe{tiny(&built)})
	if err == nil || !strings.Contains(err.Error(), "apt-get install gcc") {
		t.Errorf("got %v", err)
	}
	c := tiny(&built)
	c.disk = 1 << 60
	if err := build(t.Context(), Options{Cache: cache}, []recipe{c}); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("got %v", err)
	}
}

func TestServeImages(t *testing.T) {
	cache, built := t.TempDir(), 0
	if err := buildTest(t, cache, tiny(&built)); err != nil {
		t.Fatal(err)
	}
	_, images, err := handlers(Dir(cache))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(images)
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	img, err := crane.Pull(host + "/some/tiny:v1")
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/opt/cni/bin/bridge"}, cf.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
	var names []string
	r := mutate.Extract(img)
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"etc", "etc/group", "etc/passwd", "opt", "opt/cni", "opt/cni/bin", "opt/cni/bin/bridge", "tmp"}, names); diff != "" {
		t.Error(diff)
	}
	if err := crane.Push(img, host+"/some/other:v1"); err == nil {
		t.Error("the mirror took a push")
	}
}

// TestServeApt lets this machine's apt read the repository, verify it with the
// public key and choose a package from it.
func TestServeApt(t *testing.T) {
	cache, built := t.TempDir(), 0
	if err := buildTest(t, cache, tiny(&built)); err != nil {
		t.Fatal(err)
	}
	apt, _, err := handlers(Dir(cache))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(apt)
	defer srv.Close()
	out, err := aptGet(t, srv.URL, PublicKey(cache), "download", "kubernetes-cni=1.0-*")
	if err != nil || !strings.Contains(out, "kubernetes-cni 1.0-1") {
		t.Errorf("%v\n%s", err, out)
	}
	stranger := t.TempDir()
	key, err := loadKey(stranger)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(stranger, "key.asc")
	if err := key.writePublic(other); err != nil {
		t.Fatal(err)
	}
	if out, err := aptGet(t, srv.URL, other, "download", "kubernetes-cni"); err == nil {
		t.Errorf("apt took a repository signed by another key\n%s", out)
	}
}

// aptGet runs apt-get update and then one more command with an apt that knows
// the given repository only.
func aptGet(t *testing.T, url, key string, args ...string) (string, error) {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "etc/preferences.d"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sources := filepath.Join(root, "etc", "sources.list")
	for name, text := range map[string]string{
		sources:                       "deb [signed-by=" + key + "] " + url + " ./\n",
		filepath.Join(root, "status"): "",
	} {
		if err := writeFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	options := []string{
		"-o", "Dir::State=" + root + "/state", "-o", "Dir::State::status=" + root + "/status", "-o", "Dir::Cache=" + root + "/cache",
		"-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::Etc::trusted=/dev/null",
		"-o", "Dir::Etc::trustedparts=" + root + "/etc/none/", "-o", "APT::Sandbox::User=", "-o", "APT::Architecture=" + debArch(),
		"-o", "APT::Update::Error-Mode=any", "-o", "Acquire::http::Proxy=DIRECT",
	}
	var all strings.Builder
	for _, a := range [][]string{{"update"}, args} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, "apt-get", append(slices.Clone(options), a...)...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		cancel()
		all.Write(out)
		if err != nil {
			return all.String(), err
		}
	}
	return all.String(), nil
}

func TestManifest(t *testing.T) {
	images := Images()
	var packages []string
	for _, c := range Manifest() {
		for _, p := range c.Packages {
			packages = append(packages, p.Name+"="+p.Version)
		}
	}
	slices.Sort(images)
	want := []string{
		"docker.io/apache/hadoop:3.5.0", "docker.io/apache/spark:4.0.5-scala2.13-java17-python3-ubuntu",
		"ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1", "ghcr.io/flannel-io/flannel:v0.28.4",
		"registry.k8s.io/coredns/coredns:v1.14.2", "registry.k8s.io/etcd:3.6.8-0",
		"registry.k8s.io/kube-apiserver:v1.36.3", "registry.k8s.io/kube-controller-manager:v1.36.3",
		"registry.k8s.io/kube-proxy:v1.36.3", "registry.k8s.io/kube-scheduler:v1.36.3", "registry.k8s.io/pause:3.10.2",
	}
	if diff := cmp.Diff(want, images); diff != "" {
		t.Error(diff)
	}
	wantPackages := []string{
		"containerd.io=2.3.6-1~debian.12~bookworm", "kubeadm=1.36.3-1.1", "kubelet=1.36.3-1.1", "kubectl=1.36.3-1.1", "kubernetes-cni=1.9.1-1.1",
	}
	if diff := cmp.Diff(wantPackages, packages); diff != "" {
		t.Error(diff)
	}
}

// The log has each answer, whoever asked, with the bytes that were sent.
func TestLogged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a b.deb"), make([]byte, 70000), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	done := make(chan struct{}, 10)
	h := logged(http.FileServer(http.Dir(dir)), log.New(&out, "", 0))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		done <- struct{}{}
	}))
	defer s.Close()
	for _, ask := range []struct{ method, part string }{{"GET", ""}, {"HEAD", ""}, {"GET", "bytes=5-9"}} {
		req, err := http.NewRequest(ask.method, s.URL+"/a%20b.deb", nil)
		if err != nil {
			t.Fatal(err)
		}
		if ask.part != "" {
			req.Header.Set("Range", ask.part)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		<-done
	}
	want := "127.0.0.1 200 70000 /a%20b.deb\n127.0.0.1 200 0 /a%20b.deb\n127.0.0.1 206 5 /a%20b.deb\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
