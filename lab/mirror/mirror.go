package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say where Build works and whom it tells.
type Options struct {
	Cache    string      // root of the cache; default $XDG_CACHE_HOME/nucspark/lab
	Progress func(Event) // called from several goroutines, one at a time; may be nil
}

// Event is one fact about a running Build.
type Event struct {
	Component string // "" for the mirror as a whole
	Phase     Phase
	Message   string // one line for a person
	Done      int    // components that are ready
	Total     int    // components there are
}

// Phase says what kind of work an event is about.
type Phase string

// The phases of a Build, in the order they come.
const (
	PhaseWait    Phase = "wait"    // another Build holds the lock
	PhaseBuild   Phase = "build"   // a component started or has news
	PhaseBuilt   Phase = "built"   // a component is complete
	PhasePublish Phase = "publish" // the repository and the registry are put together
	PhaseReady   Phase = "ready"   // all is there
)

// Package is one Debian package of the mirror.
type Package struct{ Name, Version string }

// Component is one thing that is fetched or built as a whole.
type Component struct {
	Name     string
	Version  string
	Packages []Package
	Images   []string // "repository:tag" as upstream has it, without the host
}

// Manifest lists what a complete mirror holds, in the order it is built.
func Manifest() []Component {
	out := make([]Component, 0, len(recipes))
	for _, r := range recipes {
		if !r.isBase() {
			out = append(out, r.Component)
		}
	}
	return out
}

// Images lists the images of a complete mirror by the names under which a node
// pulls them, each once.
func Images() []string {
	var out []string
	for _, r := range recipes {
		for _, image := range r.Images {
			host := r.upstream.registry
			if host == dockerRegistry {
				host = "docker.io" // the name; the other is the server's
			}
			out = append(out, host+"/"+image)
		}
	}
	return out
}

// DefaultCache is the root of the cache where Options name none.
func DefaultCache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(base, "nucspark", "lab"), nil
}

// Dir is the folder that Serve publishes.
func Dir(cache string) string { return filepath.Join(cache, "mirror") }

// PublicKey is the file, ASCII armour, with the key that signs the repository.
func PublicKey(cache string) string { return filepath.Join(Dir(cache), "key.asc") }

// Build makes the mirror complete: it fetches or builds what is missing and
// puts the repository and the images together. It may be run again at any time.
func Build(ctx context.Context, o Options) error {
	if o.Cache == "" {
		dir, err := DefaultCache()
		if err != nil {
			return err
		}
		o.Cache = dir
	}
	return build(ctx, o, recipes)
}

// build is Build for a given list of recipes, each after those it needs.
func build(ctx context.Context, o Options, all []recipe) error {
	for _, d := range []string{"src", "built"} {
		if err := os.MkdirAll(filepath.Join(o.Cache, d), 0o755); err != nil {
			return err
		}
	}
	r := &run{cache: o.Cache, progress: o.Progress, dirs: map[string]string{}, bases: map[string]*base{}}
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	keys, err := keys(ctx, o.Cache, all)
	if err != nil {
		return err
	}
	var missing []recipe
	for _, c := range all {
		r.dirs[c.Name] = filepath.Join(o.Cache, "built", c.Name+"-"+c.Version+"-"+keys[c.Name])
		if c.isBase() {
			r.bases[c.Name] = &base{recipe: c}
			continue
		}
		r.total++
		if _, err := os.Stat(r.dirs[c.Name]); err != nil {
			missing = append(missing, c)
		}
	}
	r.done = r.total - len(missing)
	if len(missing) > 0 {
		if err := r.sweep(".tmp-"); err != nil {
			return err
		}
		if err := r.checkDisk(missing); err != nil {
			return err
		}
		if err := r.buildAll(ctx, missing); err != nil {
			return err
		}
	}
	if err := r.publish(all, keys); err != nil {
		return fmt.Errorf("put the mirror together: %w", err)
	}
	if err := r.sweep(""); err != nil {
		return err
	}
	r.tell(Event{Phase: PhaseReady, Message: "the mirror is complete"})
	return nil
}

// run is one Build.
type run struct {
	cache    string
	progress func(Event)
	total    int
	dirs     map[string]string // where each component is or will be
	bases    map[string]*base
	tools    sync.Mutex // guards toolsOK
	toolsOK  bool       // what building from source needs is installed
	reach    reachable  // which upstreams answer
	mu       sync.Mutex // guards done and calls of progress
	done     int
}

// base is a component that others are built upon. It is made when the first
// of them asks for it.
type base struct {
	recipe
	mu sync.Mutex
}

// tell reports an event, with the count of components filled in.
func (r *run) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Phase == PhaseBuilt && r.bases[e.Component] == nil {
		r.done++
	}
	e.Done, e.Total = r.done, r.total
	if r.progress != nil {
		r.progress(e)
	}
}

// lock keeps two Builds from working in one cache. It waits for the other one.
func (r *run) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(r.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if !told {
			r.tell(Event{Phase: PhaseWait, Message: "another build fills this mirror, waiting for it"})
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// sweep removes folders below built/ that begin with prefix and are not those
// of this run.
func (r *run) sweep(prefix string) error {
	built := filepath.Join(r.cache, "built")
	entries, err := os.ReadDir(built)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(built, e.Name())
		if !strings.HasPrefix(e.Name(), prefix) || slices.Contains(values(r.dirs), dir) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// checkDisk fails where the cache's file system cannot hold what is missing.
func (r *run) checkDisk(missing []recipe) error {
	var need int64
	asked := map[string]bool{}
	for _, c := range missing {
		need += c.disk
		for _, n := range c.needs {
			if !asked[n] {
				need += r.bases[n].disk
			}
			asked[n] = true
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.cache, &st); err != nil {
		return fmt.Errorf("read the free space of %s: %w", r.cache, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free < need {
		return fmt.Errorf("the mirror needs %d MiB in %s, but %d MiB are free: make room or set XDG_CACHE_HOME to a larger disk",
			need>>20, r.cache, free>>20)
	}
	return nil
}

// buildAll makes the missing components, two at a time, in their order.
func (r *run) buildAll(ctx context.Context, missing []recipe) error {
	queue := make(chan recipe, len(missing))
	for _, c := range missing {
		queue <- c
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for range 2 {
		g.Go(func() error {
			for c := range queue {
				if err := r.buildOne(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// buildOne fetches or builds one component and renames it into place.
func (r *run) buildOne(ctx context.Context, c recipe) error {
	start := time.Now()
	tmp, err := os.MkdirTemp(filepath.Join(r.cache, "built"), ".tmp-"+c.Name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b := &bench{run: r, recipe: c, scratch: filepath.Join(tmp, "scratch"), out: filepath.Join(tmp, "out")}
	for _, d := range []string{b.scratch, b.out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := b.make(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", c.Name, c.Version, err)
	}
	if err := os.Rename(b.out, r.dirs[c.Name]); err != nil {
		return err
	}
	r.tell(Event{Component: c.Name, Phase: PhaseBuilt,
		Message: fmt.Sprintf("%s %s ready after %s", c.Name, c.Version, time.Since(start).Round(time.Second))})
	return nil
}
