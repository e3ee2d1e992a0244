package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	qemu = "qemu-system-x86_64"
	// fakeTime is the library behind faketime, for programs with threads, where
	// Debian and Ubuntu have it.
	fakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
)

// vms are nodes that are virtual machines of QEMU: one process each, with its
// files in a directory of its own below the lab's state.
type vms struct {
	o Options
	// Set by prepare:
	image  string // directory of the image
	accel  string // "kvm" or "tcg"
	images string // disk with the mirror's images, unpacked; "" without a mirror
}

func (o Options) vmDir() string              { return filepath.Join(o.stateDir(), "vm") }
func (v *vms) file(node, name string) string { return filepath.Join(v.o.vmDir(), node, name) }
func (v *vms) log(node string) string        { return v.file(node, "console.log") }
func (v *vms) patience() time.Duration       { return 20 * time.Minute } // 20 s without KVM; minutes on a busy machine
func (v *vms) running(_ context.Context, node string) bool {
	pid, err := v.process(node)
	return pid > 0 || err != nil
}

// definition is what makes a directory a machine: written last.
type definition struct {
	Address netip.Addr `json:"address"`
	MTU     int        `json:"mtu"`
	Args    []string   `json:"args"` // of qemu
	Env     []string   `json:"env"`  // of qemu, beside this computer's
}

const definitionFile = "machine.json"

func (v *vms) prepare(ctx context.Context) (err error) {
	if err := vmReady(); err != nil {
		return err
	}
	if v.o.SudoPassword != "" {
		return errors.New("a sudo password is set in containers only")
	}
	if v.image, err = vmImage(ctx, v.o); err != nil {
		return fmt.Errorf("building the image of the virtual machines: %w", err)
	}
	if !v.o.NoMirror {
		if v.images, err = imagesDisk(ctx, v.o); err != nil {
			return fmt.Errorf("unpacking the images for the virtual machines: %w", err)
		}
	}
	// The answer takes long where it is no; a lab asks once.
	asked := filepath.Join(v.o.vmDir(), "accel")
	b, err := os.ReadFile(asked)
	if v.accel = string(b); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if v.accel = "tcg"; kvmWorks(ctx, v.image) {
		v.accel = "kvm"
	} else if ctx.Err() != nil {
		return ctx.Err()
	} else {
		v.o.say("KVM does not work here: the machines are emulated, some ten times slower")
	}
	if err := os.MkdirAll(v.o.vmDir(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(asked, []byte(v.accel), 0o600)
}

func (v *vms) nodes(context.Context) ([]NodeState, error) {
	found, err := filepath.Glob(v.file("*", ""))
	if err != nil {
		return nil, err
	}
	var nodes []NodeState
	for _, dir := range found {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		n := NodeState{Name: filepath.Base(dir), Power: "off"}
		d, err := v.definition(n.Name)
		if err == nil {
			n.Address = d.Address.String()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if pid, err := v.process(n.Name); err != nil {
			return nil, err
		} else if pid > 0 {
			n.Power = "running"
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func (v *vms) definition(node string) (definition, error) {
	var d definition
	b, err := os.ReadFile(v.file(node, definitionFile))
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%s: %w", v.file(node, definitionFile), err)
	}
	return d, nil
}

func (v *vms) create(ctx context.Context, m machine, userKey string) error {
	if err := os.MkdirAll(v.file(m.Name, ""), 0o700); err != nil {
		return err
	}
	for _, name := range []string{kernel, initrd} {
		if err := copyFile(v.file(m.Name, name), filepath.Join(v.image, name)); err != nil {
			return err
		}
	}
	if err := copyDisk(ctx, v.file(m.Name, rootDisk), filepath.Join(v.image, rootDisk)); err != nil {
		return err
	}
	if err := makeDisk(ctx, v.file(m.Name, "data.img"), "data"); err != nil {
		return err
	}
	// A device may be late where all is emulated; after 90 s the boot would end
	// in a shell.
	const fstab = "LABEL=%s %s ext4 defaults,x-systemd.device-timeout=15min 0 2\n"
	disks := "LABEL=root / ext4 defaults 0 1\n" + fmt.Sprintf(fstab, "data", "/data")
	if v.images != "" {
		if err := copyDisk(ctx, v.file(m.Name, imagesImg), v.images); err != nil {
			return err
		}
		disks += fmt.Sprintf(fstab, "images", containerdDir)
	}
	host := probeHost()
	archive, err := nodeArchive(ctx, v.o, m, host, userKey, []file{
		{"/etc/fstab", disks},
		{"/data/", ""}, {containerdDir + "/", ""},
		{"/etc/systemd/network/10-lab.network", fmt.Sprintf("[Match]\nMACAddress=%s\n\n[Link]\nMTUBytes=%d\n\n[Network]\nAddress=%s/24\nGateway=%s\n",
			macOf(m.Address), host.MTU, m.Address, v.o.address(1))},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(v.file(m.Name, "first-boot.tar"), archive.Bytes(), 0o600); err != nil {
		return err
	}
	return writeJSON(v.file(m.Name, definitionFile), definition{m.Address, host.MTU, v.args(m), v.env()})
}

// macOf is a locally administered address that holds the machine's IPv4 one.
func macOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// args are the arguments of qemu for one machine.
func (v *vms) args(m machine) []string {
	// What this computer's page cache took is on the disk, as far as the
	// machine can tell: it survives the process. Its flushes need not go
	// further, since no power of this computer is cut.
	disk := func(name, more string) []string {
		path := strings.ReplaceAll(v.file(m.Name, name), ",", ",,")
		return []string{"-drive", "file=" + path + ",format=raw,if=virtio," + more}
	}
	boot := "root=LABEL=root rw console=ttyS0 init=/usr/local/sbin/nucspark-lab-init"
	accel, cpu := []string{"-accel", "kvm"}, "host"
	if v.accel != "kvm" {
		// What the kernel does against faults of processors is dear to emulate.
		// QEMU remembers one range that holds all large pages; with those of programs
		// and of the kernel in it, the flush of any page empties its whole TLB.
		accel, cpu, boot = []string{"-accel", "tcg,thread=multi"}, "Westmere", boot+" mitigations=off transparent_hugepage=never nucspark.emulated"
		if v.slow() {
			boot += " nucspark.time=" + v.o.mirrorAddress().String()
		}
	}
	b := m.Address.As4()
	disks := slices.Concat(disk(rootDisk, "cache=unsafe"), disk("data.img", "cache=unsafe"), disk("first-boot.tar", "readonly=on"))
	if v.images != "" {
		disks = append(disks, disk(imagesImg, "cache=unsafe")...)
	}
	return slices.Concat([]string{"-name", v.o.object(m.Name), "-machine", "q35"}, accel,
		[]string{"-cpu", cpu, "-smp", "2", "-m", strconv.Itoa(v.o.Memory),
			"-nodefaults", "-no-user-config", "-display", "none", "-daemonize", "-pidfile", v.file(m.Name, "pid"),
			"-chardev", "file,id=console,append=on,path=" + strings.ReplaceAll(v.log(m.Name), ",", ",,"), "-serial", "chardev:console",
			"-kernel", v.file(m.Name, kernel), "-initrd", v.file(m.Name, initrd),
			"-append", boot},
		disks,
		[]string{"-netdev", fmt.Sprintf("tap,id=lan,ifname=lab-%x,script=%s,downscript=no", b[:], strings.ReplaceAll(v.file(m.Name, "plug"), ",", ",,")),
			"-device", "virtio-net-pci,netdev=lan,mac=" + macOf(m.Address), "-device", "virtio-rng-pci"})
}

// slow says whether time goes by in the machine at a quarter of its pace. Where
// the processor is emulated, Kubernetes does not hold its own deadlines: leases
// run out, and probes end programs that are at work. Four seconds for each of
// theirs are enough, and what is done every ten seconds is done less often. The
// time of day comes from the mirror.
func (v *vms) slow() bool { return v.accel != "kvm" && !v.o.NoMirror }

// env lets qemu see slower clocks; the processor's counter goes on as it is, and
// the machine takes it for a faster one.
func (v *vms) env() []string {
	if !v.slow() {
		return nil
	}
	return []string{"LD_PRELOAD=" + fakeTime, "FAKETIME=+0 x0.25", "FAKETIME_DONT_RESET=1"}
}

// start switches a machine on. Its tap device is made by qemu, plugged into the
// bridge of the lab's network by a script that qemu runs, and gone with qemu.
func (v *vms) start(ctx context.Context, node string) error {
	if pid, err := v.process(node); pid > 0 || err != nil {
		return err
	}
	d, err := v.definition(node)
	if err != nil {
		return err
	}
	id, err := docker(ctx, nil, "network", "inspect", "--format", "{{.Id}}", v.o.object(""))
	if err != nil {
		return err
	}
	// The engine names a bridge after its network, with 12 digits.
	plug := fmt.Sprintf("#!/bin/sh\nexec ip link set dev \"$1\" mtu %d master br-%.12s up\n", d.MTU, id)
	if err := os.WriteFile(v.file(node, "plug"), []byte(plug), 0o700); err != nil {
		return err
	}
	// qemu returns when the machine is made.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, d.Args...)
	cmd.Env = append(os.Environ(), d.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", qemu, lastLine(out, err))
	}
	return nil
}

// process returns the id of the machine's qemu, 0 when it does not run. A
// process counts only if it was started with the machine's own pid file:
// numbers are used again.
func (v *vms) process(node string) (int, error) {
	b, err := os.ReadFile(v.file(node, "pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 {
		return 0, nil // qemu was stopped while it wrote
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	args := strings.Split(string(line), "\x00")
	i := slices.Index(args, "-pidfile")
	if filepath.Base(args[0]) != qemu || i < 0 || i+1 >= len(args) || args[i+1] != v.file(node, "pid") {
		return 0, nil
	}
	return pid, nil
}

// kill ends the machine's qemu at once and waits until it is gone, since it
// holds locks on the disks.
func (v *vms) kill(ctx context.Context, node string) error {
	pid, err := v.process(node)
	if pid == 0 || err != nil {
		return err
	}
	// The handle stays with the process; whether it is ours is asked through it.
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: process %d: %w", node, pid, err)
	}
	defer unix.Close(fd)
	if again, err := v.process(node); again != pid || err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%s: killing process %d: %w", node, pid, err)
	}
	// Readable when it has ended and its files are closed.
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for range 60 {
		n, err := unix.Poll(ended, 1000)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s: process %d has not ended a minute after it was killed", node, pid)
}

func (v *vms) remove(ctx context.Context, node string) error {
	if err := v.kill(ctx, node); err != nil {
		return err
	}
	return os.RemoveAll(v.file(node, ""))
}

// removeVMs removes the virtual machines of a lab, if it has some.
func removeVMs(ctx context.Context, o Options) error {
	v := &vms{o: o}
	nodes, err := v.nodes(ctx)
	if err != nil {
		return err
	}
	if len(nodes) > 0 {
		o.say("removing %d virtual machines", len(nodes))
	}
	for _, n := range nodes {
		if err := v.remove(ctx, n.Name); err != nil {
			return err
		}
	}
	return os.RemoveAll(o.vmDir())
}
