package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/lab/mirror"
)

const mirrorImage = "nucspark-lab-mirror:empty"

// buildMirror fills the mirror in the cache.
func buildMirror(ctx context.Context, o Options) error {
	return mirror.Build(ctx, mirror.Options{Cache: o.Cache, Progress: func(e mirror.Event) {
		switch {
		case e.Message == "":
		case e.Component == "":
			o.say("%s", e.Message)
		default:
			o.say("[%d/%d] %s: %s", e.Done, e.Total, e.Component, e.Message)
		}
	}})
}

// ensureMirror makes the container answer that serves the mirror: a static
// nucspark in an otherwise empty file system, with the cache to read.
func ensureMirror(ctx context.Context, o Options) error {
	containers, err := labelled(ctx, "container", o.Name)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(mirror.Dir(o.Cache))
	if err != nil {
		return err
	}
	program, err := staticProgram(ctx, o)
	if err != nil {
		return err
	}
	name := o.object(mirrorName)
	args := mirrorArgs(o, program, dir)
	content, err := fileHash(filepath.Join(dir, "apt", "InRelease"), filepath.Join(dir, "oci", "index.json"))
	if err != nil {
		return err
	}
	// What the container was made from: when that changed it is made anew.
	sum := sha256.Sum256([]byte(strings.Join(args, " ") + content))
	made := hex.EncodeToString(sum[:8])
	if slices.Contains(containers, name) {
		out, err := docker(ctx, nil, "container", "inspect", "--format", `{{.State.Running}} {{index .Config.Labels "`+madeLabel+`"}}`, name)
		if err == nil && out == "true "+made {
			return nil
		}
		if _, err := docker(ctx, nil, "container", "rm", "--force", name); err != nil {
			return err
		}
	}
	if _, err := docker(ctx, nil, "image", "inspect", "--format", "{{.Id}}", mirrorImage); err != nil {
		var empty bytes.Buffer
		if err := tar.NewWriter(&empty).Close(); err != nil {
			return err
		}
		if _, err := docker(ctx, &empty, "import", "--change", "LABEL "+imageLabel+"=mirror", "-", mirrorImage); err != nil {
			return err
		}
	}
	args = slices.Insert(args, 1, "--label", madeLabel+"="+made)
	if _, err := docker(ctx, nil, args...); err != nil {
		return fmt.Errorf("making the mirror: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := waitForPorts(ctx, name, o.mirrorAddress(), 80, 5000); err != nil {
		return fmt.Errorf("the mirror does not answer: %w; read `docker logs %s`", err, name)
	}
	o.say("the mirror serves at %s", o.mirrorAddress())
	return nil
}

// mirrorArgs returns the arguments of `docker run` for the mirror.
func mirrorArgs(o Options, program, dir string) []string {
	return []string{
		"run", "--detach", "--name", o.object(mirrorName), "--hostname", mirrorName,
		"--label", labelKey + "=" + o.Name,
		"--network", o.object(""), "--ip", o.mirrorAddress().String(),
		"--user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()),
		"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"--volume", program + ":/nucspark:ro", "--volume", dir + ":/mirror:ro",
		mirrorImage, "/nucspark", "lab", "mirror", "--dir", "/mirror", "--apt", ":80", "--registry", ":5000",
	}
}

// staticProgram returns a nucspark that runs without any library: a copy of
// this program in the cache, or one built for the purpose.
func staticProgram(ctx context.Context, o Options) (string, error) {
	dir := filepath.Join(o.Cache, "server")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp := filepath.Join(dir, "nucspark.part")
	defer os.Remove(tmp)
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if isStatic(self) {
		err = copyFile(tmp, self)
	} else {
		o.say("building the program that serves the mirror")
		err = goBuild(ctx, modulePath+"/cmd/nucspark", tmp)
	}
	if err != nil {
		return "", err
	}
	sum, err := fileHash(tmp)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "nucspark-"+sum)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	// A program that some mirror still runs lives on without its name.
	old, _ := filepath.Glob(filepath.Join(dir, "nucspark-*"))
	for _, name := range old {
		os.Remove(name)
	}
	return program, os.Rename(tmp, program)
}

// isStatic reports whether the program asks for no loader.
func isStatic(program string) bool {
	f, err := elf.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fileHash is a short hash over the contents of the files.
func fileHash(names ...string) (string, error) {
	h := sha256.New()
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// waitForPorts polls until every port of a container takes a connection, the
// container ends or ctx does.
func waitForPorts(ctx context.Context, container string, a netip.Addr, ports ...uint16) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(ports) > 0 {
		d := net.Dialer{Timeout: time.Second}
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(a, ports[0]).String())
		if err == nil {
			conn.Close()
			ports = ports[1:]
			continue
		}
		if !containerRuns(ctx, container) {
			return errors.New("it ended")
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
	return nil
}
