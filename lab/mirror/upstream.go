package mirror

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// upstream says where a component is published. The zero value is nowhere.
type upstream struct {
	registry string // host of its images
	apt      *aptSource
}

// aptSource is an apt repository that has one of the packages.
type aptSource struct {
	root        string // URL that the file names in the index are relative to, with a slash at the end
	release     string // folder of InRelease below root, "" or with a slash at the end
	packages    string // the index below release, with %s for Debian's name of the architecture
	key         string // URL of the signing key
	fingerprint string // of that key, upper-case hexadecimal
}

const (
	kubernetesRegistry = "registry.k8s.io"
	dockerRegistry     = "index.docker.io"
)

// The fingerprints are those that kubernetes.io and docs.docker.com publish.
var (
	kubernetesApt = &aptSource{
		root: "https://pkgs.k8s.io/core:/stable:/v1.36/deb/", packages: "Packages",
		key:         "https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key",
		fingerprint: "DE15B14486CD377B9E876E1A234654DA9A296436",
	}
	dockerApt = &aptSource{
		root: "https://download.docker.com/linux/debian/", release: "dists/bookworm/", packages: "stable/binary-%s/Packages.gz",
		key:         "https://download.docker.com/linux/debian/gpg",
		fingerprint: "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
	}
)

// probeTimeout bounds how long an upstream may take to show that it is there,
// fetchTimeout how long a component may take to come.
const (
	probeTimeout = 5 * time.Second
	fetchTimeout = 15 * time.Minute
)

// reachable remembers which upstreams answered, so that each is asked once.
type reachable struct {
	mu   sync.Mutex
	urls map[string]bool
}

// ok tells whether a GET of url gives one of the status codes in time.
func (r *reachable) ok(ctx context.Context, url string, status ...int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.urls[url]; ok {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ok := false
	if req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err == nil {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			ok = slices.Contains(status, resp.StatusCode)
		}
	}
	if r.urls == nil {
		r.urls = map[string]bool{}
	}
	r.urls[url] = ok
	return ok
}

// fetch takes the component from upstream. It gives false where that is not
// possible, and leaves b.out empty then.
func (b *bench) fetch(ctx context.Context) (bool, error) {
	u := b.recipe.upstream
	if u == (upstream{}) ||
		u.registry != "" && !b.run.reach.ok(ctx, registryURL(u.registry), http.StatusOK, http.StatusUnauthorized) ||
		u.apt != nil && !b.run.reach.ok(ctx, u.apt.root+u.apt.release+"InRelease", http.StatusOK) {
		return false, ctx.Err()
	}
	b.say(fmt.Sprintf("fetching %s %s from upstream", b.recipe.Name, b.recipe.Version))
	bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err := b.fetchAll(bounded, u)
	if err == nil || ctx.Err() != nil {
		return true, errors.Join(err, ctx.Err())
	}
	b.say("upstream does not give it: " + err.Error())
	if err := os.RemoveAll(b.out); err != nil {
		return false, err
	}
	return false, os.Mkdir(b.out, 0o755)
}

// registryURL is the entry point of a registry's API. Registries on this
// machine speak plain HTTP.
func registryURL(host string) string {
	reg, err := name.NewRegistry(host)
	if err != nil {
		return "https://" + host + "/v2/"
	}
	return reg.Scheme() + "://" + reg.RegistryStr() + "/v2/"
}

func (b *bench) fetchAll(ctx context.Context, u upstream) error {
	for _, image := range b.recipe.Images {
		ref, err := name.ParseReference(u.registry + "/" + image)
		if err != nil {
			return err
		}
		img, err := remote.Image(ref, remote.WithContext(ctx),
			remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
		if err != nil {
			return err
		}
		if err := b.addImage(image, img); err != nil {
			return err
		}
	}
	if u.apt == nil {
		return nil
	}
	index, err := u.apt.index(ctx)
	if err != nil {
		return err
	}
	debs := filepath.Join(b.out, "debs")
	if err := os.Mkdir(debs, 0o755); err != nil {
		return err
	}
	for _, p := range b.recipe.Packages {
		if err := u.apt.download(ctx, index, p, debs); err != nil {
			return fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
		}
	}
	return nil
}

// index reads the list of packages: the key by its fingerprint, InRelease by
// the key, the list by the sum in InRelease.
func (a *aptSource) index(ctx context.Context) ([]byte, error) {
	armoured, err := get(ctx, a.key)
	if err != nil {
		return nil, err
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armoured))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.key, err)
	}
	ring = slices.DeleteFunc(ring, func(e *openpgp.Entity) bool {
		return !strings.EqualFold(hex.EncodeToString(e.PrimaryKey.Fingerprint), a.fingerprint)
	})
	if len(ring) == 0 {
		return nil, fmt.Errorf("%s is not the key %s", a.key, a.fingerprint)
	}
	signed, err := get(ctx, a.root+a.release+"InRelease")
	if err != nil {
		return nil, err
	}
	block, _ := clearsign.Decode(signed)
	if block == nil {
		return nil, fmt.Errorf("%s%sInRelease is not signed", a.root, a.release)
	}
	if _, err := block.VerifySignature(ring, pgp); err != nil {
		return nil, fmt.Errorf("%s%sInRelease: %w", a.root, a.release, err)
	}
	file := strings.ReplaceAll(a.packages, "%s", debArch())
	list, err := get(ctx, a.root+a.release+file)
	if err != nil {
		return nil, err
	}
	line := fmt.Sprintf("%x %d %s", sha256.Sum256(list), len(list), file)
	if !slices.ContainsFunc(strings.Split(string(block.Plaintext), "\n"), func(l string) bool {
		return strings.Join(strings.Fields(l), " ") == line
	}) {
		return nil, fmt.Errorf("%s%s%s is not the one that InRelease names", a.root, a.release, file)
	}
	if !strings.HasSuffix(file, ".gz") {
		return list, nil
	}
	zr, err := gzip.NewReader(bytes.NewReader(list))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

// download stores one package and its stanza in dir.
func (a *aptSource) download(ctx context.Context, index []byte, p Package, dir string) error {
	for stanza := range strings.SplitSeq(string(index), "\n\n") {
		field := map[string]string{}
		var keep []string
		skip := false // the continuation lines of a field that is left out
		for line := range strings.SplitSeq(strings.Trim(stanza, "\n"), "\n") {
			key, value, _ := strings.Cut(line, ":")
			if !strings.HasPrefix(line, " ") {
				field[key] = strings.TrimSpace(value)
				skip = slices.Contains([]string{"Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512"}, key)
			}
			if !skip {
				keep = append(keep, line)
			}
		}
		arch := field["Architecture"]
		if field["Package"] != p.Name || field["Version"] != p.Version || arch != debArch() && arch != "all" {
			continue
		}
		data, err := get(ctx, a.root+strings.TrimPrefix(field["Filename"], "./"))
		if err != nil {
			return err
		}
		if fmt.Sprintf("%x", sha256.Sum256(data)) != strings.ToLower(field["SHA256"]) {
			return errors.New("the file does not have the sum that the index names")
		}
		base := filepath.Join(dir, fmt.Sprintf("%s_%s_%s", p.Name, p.Version, arch))
		if err := writeFile(base+".deb", data); err != nil {
			return err
		}
		return writeFile(base+".stanza", []byte(strings.Join(keep, "\n")+"\n"))
	}
	return errors.New("the index does not have it")
}

// get reads a URL whole.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}
