package lab

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

// codename is the Debian release that the nodes run.
const codename = "bookworm"

// basePackages is what a node starts with: about what a minimal server
// installation of Debian has, and nothing that nucspark installs itself.
var basePackages = []string{
	"apt-transport-https", "ca-certificates", "curl", "dbus", "gnupg", "iproute2", "iputils-ping", "kmod",
	"less", "libpam-systemd", "netbase", "nftables", "openssh-server", "procps", "sudo", "systemd",
	"systemd-sysv", "systemd-timesyncd",
}

//go:embed node vm mountnfs/*.go
var recipe embed.FS

// imageKey names the content of the node image: a short hash over everything
// that goes into it, except that packages are those of the day it is built.
func imageKey(withNFS bool) string {
	h := sha256.New()
	fmt.Fprintln(h, codename, runtime.GOARCH, basePackages, withNFS)
	// The walk is in lexical order and an embedded file system does not fail.
	_ = fs.WalkDir(recipe, ".", func(path string, d fs.DirEntry, err error) error {
		if path == "vm" {
			return fs.SkipDir
		}
		nfs := strings.HasPrefix(path, "mountnfs/")
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") || nfs && !withNFS {
			return err
		}
		b, err := recipe.ReadFile(path)
		fmt.Fprintln(h, path, len(b))
		h.Write(b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// nodeImage makes sure that the engine has the node image and returns its
// name. The root file system stays in the cache, so that it is built once.
func nodeImage(ctx context.Context, o Options, host hostFacts) (string, error) {
	key := imageKey(!host.NFSClient)
	image := "nucspark-lab-node:" + key
	if _, err := docker(ctx, nil, "image", "inspect", "--format", "{{.Id}}", image); err == nil {
		return image, nil
	}
	tar := filepath.Join(o.Cache, "node", key+".tar")
	if _, err := os.Stat(tar); errors.Is(err, os.ErrNotExist) {
		if err := buildRootFS(ctx, o, !host.NFSClient, tar); err != nil {
			return "", fmt.Errorf("building the root file system of the nodes: %w", err)
		}
	}
	f, err := os.Open(tar)
	if err != nil {
		return "", err
	}
	defer f.Close()
	o.say("loading the node image")
	_, err = docker(ctx, f, "import",
		"--change", `ENTRYPOINT ["/usr/local/sbin/nucspark-lab-init"]`,
		"--change", "ENV container=docker",
		"--change", "LABEL "+imageLabel+"=node",
		"-", image)
	return image, err
}

// buildRootFS writes the root file system as a tar archive. It is complete or
// not there.
func buildRootFS(ctx context.Context, o Options, withNFS bool, tar string) error {
	if err := os.MkdirAll(filepath.Dir(tar), 0o755); err != nil {
		return err
	}
	defer os.Remove(tar + ".part")
	if err := bootstrap(ctx, o, "node/init", withNFS, basePackages, tar+".part", "--format=tar"); err != nil {
		return err
	}
	old, _ := filepath.Glob(filepath.Join(o.Cache, "node", "*.tar"))
	for _, name := range old {
		os.Remove(name)
	}
	return os.Rename(tar+".part", tar)
}

// bootstrap makes a root file system with mmdebstrap. init is the recipe's file
// that becomes the first process; what mmdebstrap says goes to build.log beside
// the target.
func bootstrap(ctx context.Context, o Options, init string, withNFS bool, packages []string, target string, more ...string) error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return errors.New("mmdebstrap is not installed; install the package mmdebstrap or run `nucspark lab up --start-engine` as root")
	}
	o.say("building the root file system of the nodes, about a minute")
	dir, err := os.MkdirTemp("", "nucspark-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Without root, mmdebstrap reads these as another user of its name space.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{init, "node/setup"} {
		b, err := recipe.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o755); err != nil {
			return err
		}
	}
	if withNFS {
		if err := goBuild(ctx, modulePath+"/lab/mountnfs", filepath.Join(dir, "mount.nfs")); err != nil {
			return err
		}
	}
	apt := machineApt(ctx)
	conf, sources := filepath.Join(dir, "apt.conf"), filepath.Join(dir, "sources")
	if err := os.WriteFile(conf, []byte(apt.Conf), 0o600); err != nil {
		return err
	}
	args := append([]string{"--quiet", "--variant=minbase",
		"--include=" + strings.Join(packages, ","),
		"--aptopt=" + conf,
		"--skip=cleanup/apt/lists", // a machine comes with its lists
		"--customize-hook=" + filepath.Join(dir, "setup")}, more...)
	args = append(args, codename, target)
	for _, s := range apt.Sources {
		name := sources + filepath.Ext(s.Name)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(s.Body + "\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	found, _ := filepath.Glob(sources + ".*")
	args = append(args, found...)

	logName := filepath.Join(filepath.Dir(target), "build.log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	gentle(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap: %w; read %s", err, logName)
	}
	return nil
}

// modulePath is the Go module that holds the programs a lab builds.
const modulePath = "nucspark.io/nucspark"

// goBuild builds one static program of this module. The lab is made from the
// source tree, so the working directory must be in it.
func goBuild(ctx context.Context, pkg, output string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %s (the lab is built from the source tree: run it there, with Go installed)", pkg, lastLine(out, err))
	}
	return nil
}

// aptSetup is how this machine reaches its packages. A node takes it over when
// it is made; it is in no image.
type aptSetup struct {
	Conf    string // lines of apt.conf
	Sources []file // empty where this machine runs another release than the nodes
}

type file struct{ Name, Body string }

func machineApt(ctx context.Context) aptSetup {
	var a aptSetup
	if out, err := exec.CommandContext(ctx, "apt-config", "dump").Output(); err == nil {
		a.Conf = proxyLines(string(out))
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil || !strings.Contains(string(release), "VERSION_CODENAME="+codename+"\n") {
		return a
	}
	names, _ := filepath.Glob("/etc/apt/sources.list.d/*.list")
	more, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	names = append(append(names, more...), "/etc/apt/sources.list")
	sort.Strings(names)
	for _, name := range names {
		// Third parties' repositories have keys that a node has not.
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), codename) {
			a.Sources = append(a.Sources, file{name, string(b)})
		}
	}
	return a
}

// proxyLines keeps what a machine must know to reach its archive from the
// output of apt-config dump: proxies and checks of certificates and dates.
func proxyLines(dump string) string {
	var keep strings.Builder
	for _, line := range strings.Split(dump, "\n") {
		name, _, _ := strings.Cut(line, " ")
		switch {
		case strings.Contains(line, `""`):
		case strings.HasPrefix(name, "Acquire::http::Proxy"), strings.HasPrefix(name, "Acquire::https::Proxy"),
			strings.HasPrefix(name, "Acquire::Check-"), strings.HasPrefix(name, "Acquire::https::Verify-"),
			strings.HasPrefix(name, "Acquire::https::CaInfo"):
			keep.WriteString(line + "\n")
		}
	}
	return keep.String()
}
