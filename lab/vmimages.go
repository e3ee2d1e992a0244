package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"nucspark.io/nucspark/lab/mirror"
)

const (
	// containerdDir is where containerd keeps its images.
	containerdDir = "/var/lib/containerd"
	imagesImg     = "images.img" // of a machine
)

// imagesDisk makes sure that the cache has a disk for containerdDir with all
// images of the mirror in it, unpacked, and returns its name. An emulated
// processor unpacks and hashes a few megabytes a second, so that a machine
// would be at it for an hour; here the mirror's own containerd pulls them as a
// machine would, on this computer's processor.
func imagesDisk(ctx context.Context, o Options) (string, error) {
	packages, _ := filepath.Glob(filepath.Join(mirror.Dir(o.Cache), "apt", "containerd.io_*.deb"))
	if len(packages) != 1 {
		return "", fmt.Errorf("the mirror has %d packages of containerd in place of one", len(packages))
	}
	key, err := fileHash(packages[0], filepath.Join(mirror.Dir(o.Cache), "oci", "index.json"))
	if err != nil {
		return "", err
	}
	disk := filepath.Join(o.Cache, "vm", "images-"+key+".img")
	if _, err := os.Stat(disk); !errors.Is(err, fs.ErrNotExist) {
		return disk, err
	}
	o.say("unpacking the images of the mirror for the virtual machines, some minutes")
	part, err := os.MkdirTemp(filepath.Dir(disk), "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	root := filepath.Join(part, "containerd")
	if err := pullAll(ctx, packages[0], part, root, "http://"+o.mirrorAddress().String()+":5000"); err != nil {
		return "", err
	}
	made := filepath.Join(part, imagesImg)
	if err := makeDisk(ctx, made, "images", "-d", root); err != nil {
		return "", err
	}
	old, _ := filepath.Glob(filepath.Join(o.Cache, "vm", "images-*.img"))
	for _, name := range old { // machines have copies
		if err := os.Remove(name); err != nil {
			return "", err
		}
	}
	return disk, os.Rename(made, disk)
}

// pullAll runs the containerd of a package with all its files below dir, and
// has it pull every image of the registry into root.
func pullAll(ctx context.Context, pkg, dir, root, registry string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	unpacked := filepath.Join(dir, "package")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", pkg, unpacked).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb --extract %s: %s", pkg, lastLine(out, err))
	}
	// The name of a socket has at most 107 bytes; that of a cache may have more.
	run, err := os.MkdirTemp("", "nucspark-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	socket := filepath.Join(run, "sock")
	// What looks after pods and what keeps files outside of root is left out.
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
  address = %q
`, root, filepath.Join(run, "state"), socket)
	for name, body := range map[string]string{
		filepath.Join(run, "config.toml"):                     config,
		filepath.Join(run, "hosts", "_default", "hosts.toml"): fmt.Sprintf("server = %q\n", registry),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			return err
		}
	}
	said, err := os.Create(filepath.Join(filepath.Dir(dir), "images.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	programs := filepath.Join(unpacked, "usr", "bin")
	daemon := exec.CommandContext(ctx, filepath.Join(programs, "containerd"), "--config", filepath.Join(run, "config.toml"))
	daemon.Stdout, daemon.Stderr = said, said
	gentle(daemon)
	if err := daemon.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	ctr := func(args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(programs, "ctr"), append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ctr %s: %s; read %s", strings.Join(args, " "), lastLine(out, err), said.Name())
		}
		return nil
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for err = ctr("version"); err != nil; err = ctr("version") {
		select {
		case died := <-ended: // also when ctx does
			return fmt.Errorf("containerd ended (%v): read %s", died, said.Name())
		case <-tick.C:
		}
	}
	for _, image := range mirror.Images() {
		if err = ctr("images", "pull", "--hosts-dir", filepath.Join(run, "hosts"), image); err != nil {
			break
		}
	}
	// It writes its databases when it ends.
	cancel()
	<-ended
	return err
}
