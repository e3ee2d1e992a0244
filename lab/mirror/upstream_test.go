package mirror

import (
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
)

// published makes an upstream of the tiny component: a mirror that was built,
// served as an apt repository with its key, and a registry.
func published(t *testing.T) (upstream, *http.ServeMux) {
	t.Helper()
	cache, built := t.TempDir(), 0
	if err := buildTest(t, cache, tiny(&built)); err != nil {
		t.Fatal(err)
	}
	apt, _, err := handlers(Dir(cache))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/deb/", http.StripPrefix("/deb", apt))
	mux.HandleFunc("/key", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, PublicKey(cache)) })
	mux.Handle("/v2/", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")

	_, images, err := handlers(Dir(cache))
	if err != nil {
		t.Fatal(err)
	}
	from := httptest.NewServer(images)
	defer from.Close()
	if err := crane.Copy(strings.TrimPrefix(from.URL, "http://")+"/some/tiny:v1", host+"/some/tiny:v1"); err != nil {
		t.Fatal(err)
	}
	key, err := loadKey(cache)
	if err != nil {
		t.Fatal(err)
	}
	return upstream{registry: host, apt: &aptSource{
		root: srv.URL + "/", release: "deb/", packages: "Packages.gz", key: srv.URL + "/key",
		fingerprint: strings.ToUpper(hex.EncodeToString(key.entity.PrimaryKey.Fingerprint)),
	}}, mux
}

func TestFetchFromUpstream(t *testing.T) {
	u, _ := published(t)
	u.apt.root += "deb/" // a flat repository, as that of Kubernetes
	u.apt.release = ""
	cache, built := t.TempDir(), 0
	c := tiny(&built)
	c.upstream = u
	if err := buildTest(t, cache, c); err != nil {
		t.Fatal(err)
	}
	if built != 0 {
		t.Error("built from source though upstream is there")
	}
	index, err := os.ReadFile(filepath.Join(Dir(cache), "apt", "Packages"))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Package: kubernetes-cni\n", "\nFilename: ", "\nSHA256: ", "\nSize: "} {
		if strings.Count(string(index), field) != 1 {
			t.Errorf("the index has %q not once:\n%s", field, index)
		}
	}
	_, images, err := handlers(Dir(cache))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(images)
	defer srv.Close()
	if _, err := crane.Pull(strings.TrimPrefix(srv.URL, "http://") + "/some/tiny:v1"); err != nil {
		t.Error(err)
	}
}

// TestUpstreamIsNotTrusted has an upstream that lies; the component is built
// from source then and the reason is said.
func TestUpstreamIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*upstream, *http.ServeMux)
		want   string
	}{
		"foreign key": {
			func(u *upstream, _ *http.ServeMux) { u.apt.fingerprint = kubernetesApt.fingerprint },
			"is not the key DE15B144",
		},
		"another index": {
			func(_ *upstream, m *http.ServeMux) {
				m.HandleFunc("/deb/Packages.gz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) })
			},
			"is not the one that InRelease names",
		},
		"another package": {
			func(_ *upstream, m *http.ServeMux) {
				m.HandleFunc("/deb/kubernetes-cni_1.0-1_"+debArch()+".deb", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) })
			},
			"does not have the sum",
		},
		"unsigned": {
			func(_ *upstream, m *http.ServeMux) {
				m.HandleFunc("/deb/InRelease", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("Origin: x\n")) })
			},
			"is not signed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, mux := published(t)
			u.apt.root, u.apt.release = u.apt.root+"deb/", ""
			c.change(&u, mux)
			cache, built := t.TempDir(), 0
			r := tiny(&built)
			r.upstream = u
			saved := probes
			probes = nil
			defer func() { probes = saved }()
			var said strings.Builder
			err := build(t.Context(), Options{Cache: cache, Progress: func(e Event) { said.WriteString(e.Message + "\n") }}, []recipe{r})
			if err != nil || built != 1 || !strings.Contains(said.String(), c.want) {
				t.Errorf("built %d times, %v\n%s", built, err, said.String())
			}
		})
	}
}

func TestUnreachableUpstreamIsAskedOnce(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusForbidden) // what a proxy says that does not let one out
	}))
	defer srv.Close()
	var r reachable
	start := time.Now()
	for range 3 {
		if r.ok(t.Context(), srv.URL, http.StatusOK, http.StatusUnauthorized) {
			t.Error("taken for reachable")
		}
	}
	if asked != 1 || time.Since(start) > probeTimeout {
		t.Errorf("asked %d times in %s", asked, time.Since(start))
	}
}
