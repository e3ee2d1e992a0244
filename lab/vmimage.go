package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// vmPackages are what a virtual machine has beyond a container: a kernel, and
// what finds and checks its disks.
var vmPackages = []string{"e2fsprogs", "linux-image-cloud-amd64", "udev"}

// vmTools are the programs that make and run virtual machines, with the
// packages of Debian and Ubuntu that they are in.
var vmTools = []struct{ program, pkg string }{
	{qemu, "qemu-system-x86"}, {"mke2fs", "e2fsprogs"}, {"mmdebstrap", "mmdebstrap"}, {"ip", "iproute2"},
	{"faketime", "faketime"},
}

// vmReady says why this machine cannot make virtual machines.
func vmReady() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("virtual machines are made on amd64 only, and this is %s: use containers", runtime.GOARCH)
	}
	if os.Geteuid() != 0 {
		return errors.New("virtual machines need root, for their disks and their network: run the command with sudo")
	}
	var missing []string
	for _, t := range vmTools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("virtual machines need what is not installed: run `apt-get install --no-install-recommends %s`, or the command with --start-engine",
			strings.Join(missing, " "))
	}
	return nil
}

// vmImageKey names the content of the virtual machines' image, as imageKey
// does that of the containers'.
func vmImageKey() string {
	h := sha256.New()
	fmt.Fprintln(h, codename, basePackages, vmPackages)
	for _, name := range []string{"node/setup", "vm/init"} {
		b, err := recipe.ReadFile(name)
		if err != nil {
			panic(err) // embedded
		}
		fmt.Fprintln(h, name, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Files of an image, and of a machine.
const (
	rootDisk = "root.img" // raw, one ext4 file system without partitions
	kernel   = "vmlinuz"
	initrd   = "initrd.img"
)

// vmImage makes sure that the cache has the image and returns its directory.
// It is complete or not there.
func vmImage(ctx context.Context, o Options) (string, error) {
	dir := filepath.Join(o.Cache, "vm", vmImageKey())
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	root := filepath.Join(part, "root")
	if err := bootstrap(ctx, o, "vm/init", false, slices.Concat(basePackages, vmPackages), root,
		"--mode=root", "--format=directory", `--customize-hook=chroot "$1" systemctl --quiet enable systemd-networkd.service`); err != nil {
		return "", err
	}
	for _, name := range []string{kernel, initrd} {
		if err := copyFile(filepath.Join(part, name), filepath.Join(root, name)); err != nil {
			return "", err
		}
	}
	if err := makeDisk(ctx, filepath.Join(part, rootDisk), "root", "-d", root); err != nil {
		return "", err
	}
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	old, _ := filepath.Glob(filepath.Join(o.Cache, "vm", strings.Repeat("[0-9a-f]", 12)))
	for _, name := range old { // machines have copies
		if err := os.RemoveAll(name); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(part, dir)
}

// diskSize is that of each disk: sparse files, which take what is in them.
const diskSize = "20G"

// makeDisk makes an image of one ext4 file system. It refuses one that is there.
func makeDisk(ctx context.Context, name, label string, more ...string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	args := append([]string{"-q", "-t", "ext4", "-F", "-L", label}, more...)
	if out, err := exec.CommandContext(ctx, "mke2fs", append(args, name, diskSize)...).CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs for %s: %s", name, lastLine(out, err))
	}
	return nil
}

// copyDisk copies a sparse file as one.
func copyDisk(ctx context.Context, to, from string) error {
	out, err := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", "--", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp to %s: %s", to, lastLine(out, err))
	}
	return nil
}

// kvmBound is how long a kernel may take to its first panic with KVM. It takes
// 2 s; without KVM, and on a busy machine, 15 s.
const kvmBound = 45 * time.Second

// kvmWorks boots the kernel with nothing to go on with, so that it panics and
// the machine ends. That there is a /dev/kvm says little: in some virtual
// machines nothing boots with it.
func kvmWorks(ctx context.Context, image string) bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	ctx, cancel := context.WithTimeout(ctx, kvmBound)
	defer cancel()
	out, err := exec.CommandContext(ctx, qemu, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", filepath.Join(image, kernel), "-append", "console=ttyS0 panic=-1").Output()
	return err == nil && strings.Contains(string(out), "Kernel panic")
}
