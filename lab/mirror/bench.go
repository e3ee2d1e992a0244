package mirror

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// recipeFiles has one folder a component. A Go module is written go.mod.txt
// there, since a folder with a go.mod would not be part of this module.
//
//go:embed all:recipes
var recipeFiles embed.FS

// BuildPackages are the Debian and Ubuntu packages that building from source
// needs beside Go.
var BuildPackages = []string{
	"ca-certificates", "debian-archive-keyring", "gcc", "libc6-dev", "libseccomp-dev",
	"maven", "mmdebstrap", "pkg-config", "python3", "python3-pip",
}

// probes tell by one command each whether a package of BuildPackages is there.
var probes = []struct {
	pkg  string
	argv []string
}{
	{"gcc", []string{"gcc", "--version"}},
	{"libc6-dev", []string{"test", "-e", "/usr/include/stdio.h"}},
	{"pkg-config", []string{"pkg-config", "--version"}},
	{"libseccomp-dev", []string{"pkg-config", "--exists", "libseccomp"}},
	{"maven", []string{"mvn", "--version"}},
	{"mmdebstrap", []string{"mmdebstrap", "--version"}},
	{"debian-archive-keyring", []string{"test", "-e", "/usr/share/keyrings/debian-archive-keyring.gpg"}},
	{"python3-pip", []string{"python3", "-m", "pip", "--version"}},
}

// recipe is how one component is made.
type recipe struct {
	Component
	needs    []string      // bases it is built upon
	upstream upstream      // where it is published
	cost     time.Duration // from source, on two cores, with nothing cached
	disk     int64         // bytes it takes at most while it is built
	revision int           // raised when the build function changes what comes out
	build    func(context.Context, *bench) error
}

// isBase tells whether others are built upon this one, which the mirror does
// not hold itself.
func (r recipe) isBase() bool { return len(r.Packages)+len(r.Images) == 0 }

// keys gives for each recipe a short hash over all that goes into it.
func keys(ctx context.Context, cache string, all []recipe) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = filepath.Join(cache, "src") // outside of any module, which could ask for another toolchain
	goVersion, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask go for its version: %w: install Go 1.26 or newer", err)
	}
	keys := map[string]string{}
	for _, c := range all {
		h := sha256.New()
		fmt.Fprintf(h, "%s %s %d %s %s\n", c.Name, c.Version, c.revision, runtime.GOARCH, goVersion)
		fmt.Fprintln(h, c.Packages, c.Images)
		for _, n := range c.needs {
			if keys[n] == "" {
				return nil, fmt.Errorf("recipe %s needs %s, which does not stand before it", c.Name, n)
			}
			fmt.Fprintln(h, keys[n])
		}
		err := fs.WalkDir(recipeFiles, path.Join("recipes", c.Name), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := recipeFiles.ReadFile(p)
			fmt.Fprintf(h, "%s %d\n%s", p, len(data), data)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		keys[c.Name] = hex.EncodeToString(h.Sum(nil))[:12]
	}
	return keys, nil
}

// bench is where one component is made.
type bench struct {
	run     *run
	recipe  recipe
	scratch string // thrown away afterwards
	out     string // becomes the component's folder
}

// make fills b.out, from upstream if that can be reached.
func (b *bench) make(ctx context.Context) error {
	fetched, err := b.fetch(ctx)
	if fetched || err != nil {
		return err
	}
	if err := b.run.checkTools(ctx); err != nil {
		return err
	}
	b.say(fmt.Sprintf("building %s %s from source, about %s the first time", b.recipe.Name, b.recipe.Version, b.recipe.cost))
	return b.recipe.build(ctx, b)
}

// say reports progress of this component.
func (b *bench) say(message string) {
	b.run.tell(Event{Component: b.recipe.Name, Phase: PhaseBuild, Message: message})
}

// checkTools fails with the list of packages that building from source lacks.
func (r *run) checkTools(ctx context.Context) error {
	r.tools.Lock()
	defer r.tools.Unlock()
	if r.toolsOK {
		return nil
	}
	var lack []string
	for _, p := range probes {
		if exec.CommandContext(ctx, p.argv[0], p.argv[1:]...).Run() != nil {
			lack = append(lack, p.pkg)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(lack) > 0 {
		return fmt.Errorf("upstream cannot be reached, and building from source needs packages that are not installed: apt-get install %s", strings.Join(lack, " "))
	}
	r.toolsOK = true
	return nil
}

// base is the folder of a component that this one is built upon. It is made
// where it is missing.
func (b *bench) base(ctx context.Context, name string) (string, error) {
	base := b.run.bases[name]
	base.mu.Lock()
	defer base.mu.Unlock()
	dir := b.run.dirs[name]
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, b.run.buildOne(ctx, base.recipe)
}

// file reads a file of the recipe, with @VERSION@ and @ARCH@ (Debian's name)
// filled in; version is that of the package the file is for.
func (b *bench) file(name, version string) ([]byte, error) {
	data, err := recipeFiles.ReadFile(path.Join("recipes", b.recipe.Name, name))
	if err != nil {
		return nil, err
	}
	return []byte(strings.NewReplacer("@VERSION@", version, "@ARCH@", debArch()).Replace(string(data))), nil
}

// debArch is Debian's name of this machine's architecture.
func debArch() string {
	switch runtime.GOARCH {
	case "arm":
		return "armhf"
	case "386":
		return "i386"
	case "ppc64le":
		return "ppc64el"
	}
	return runtime.GOARCH
}

// goBuild says how Go programs are compiled.
type goBuild struct {
	module  string   // folder of the recipe with go.mod.txt and go.sum.txt
	main    string   // name of a program whose main.go.txt lies there, or
	pkgs    []string // import paths of the programs
	tags    string
	ldflags string
	cgo     bool // link C code, statically
}

// compile builds Go programs and returns the folder they are in.
func (b *bench) compile(ctx context.Context, g goBuild) (string, error) {
	dir := filepath.Join(b.scratch, "go", g.module)
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	files, out := []string{"go.mod", "go.sum"}, bin+"/"
	if g.main != "" {
		files, out, g.pkgs = append(files, "main.go"), filepath.Join(bin, g.main), []string{"."}
	}
	for _, name := range files {
		data, err := b.file(path.Join(g.module, name+".txt"), "")
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	ld := "-s -w " + g.ldflags
	cgo := "CGO_ENABLED=0"
	if g.cgo {
		// Static, because the C library of this machine may be newer than
		// that of the node or the image.
		cgo = "CGO_ENABLED=1"
		ld += " -linkmode external -extldflags -static"
	}
	args := append([]string{"build", "-v", "-p", "2", "-trimpath", "-tags", g.tags, "-ldflags", ld, "-o", out}, g.pkgs...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), cgo, "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOWORK=off", "GOFLAGS=-buildvcs=false")
	count, next := 0, time.Now().Add(5*time.Second)
	return bin, b.exec(cmd, func(string) { // -v writes a line for each package compiled
		if count++; time.Now().After(next) {
			b.say(fmt.Sprintf("%d packages compiled", count))
			next = time.Now().Add(5 * time.Second)
		}
	})
}

// command runs a program in the scratch folder.
func (b *bench) command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.scratch
	return b.exec(cmd, func(string) {})
}

// exec runs cmd in a process group of its own, gives each line of output to
// line and puts the last ones into the error.
func (b *bench) exec(cmd *exec.Cmd, line func(string)) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	pr, pw := io.Pipe()
	cmd.Stdout, cmd.Stderr = pw, pw
	var tail bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(pr)
		for {
			l, err := lines.ReadString('\n')
			if l != "" {
				line(strings.TrimRight(l, "\n"))
				tail.WriteString(l)
				if extra := tail.Len() - 2000; extra > 0 {
					tail.Next(extra)
				}
			}
			if err != nil {
				return
			}
		}
	}()
	err := cmd.Run()
	pw.Close()
	<-read
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(len(cmd.Args), 4)], " "), err, strings.TrimSpace(tail.String()))
	}
	return nil
}
