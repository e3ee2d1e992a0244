package lab

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostFacts is what the lab must know of this machine, because its kernel is
// the kernel of all nodes.
type hostFacts struct {
	CgroupV1    bool   // the controllers are on version 1 hierarchies
	Swap        bool   // some swap is on
	SysResource bool   // CAP_SYS_RESOURCE can be given to a container
	NFSClient   bool   // the kernel can mount NFS
	Modules     string // directory of kernel modules, "" when there is none
	MTU         int    // of the interface that leads out, bytes
	Resolvers   []netip.Addr

	// VM is the other case: the nodes have a kernel of their own, and of the
	// above only MTU and Resolvers count.
	VM bool
}

func probeHost() hostFacts {
	var f hostFacts
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		f.CgroupV1 = true
	}
	if b, err := os.ReadFile("/proc/swaps"); err == nil {
		f.Swap = swapOn(string(b))
	}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		f.SysResource = hasCapability(string(b), unix.CAP_SYS_RESOURCE)
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		dir := filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]))
		if _, err := os.Stat(dir); err == nil {
			f.Modules = "/lib/modules"
			found, _ := filepath.Glob(filepath.Join(dir, "kernel/fs/nfs/nfs.ko*"))
			f.NFSClient = len(found) > 0
		}
	}
	if b, err := os.ReadFile("/proc/filesystems"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == "nfs" {
				f.NFSClient = true
			}
		}
	}
	f.MTU = 1500
	if b, err := os.ReadFile("/proc/net/route"); err == nil {
		if i, err := net.InterfaceByName(defaultInterface(string(b))); err == nil {
			f.MTU = i.MTU
		}
	}
	// systemd-resolved's stub listens on a loopback address that a container
	// does not have; the file with the servers behind it lies here.
	for _, file := range []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"} {
		if b, err := os.ReadFile(file); err == nil {
			if f.Resolvers = resolvers(string(b)); len(f.Resolvers) > 0 {
				break
			}
		}
	}
	return f
}

// swapOn reads /proc/swaps: one header line, then one line for each area.
func swapOn(swaps string) bool {
	return strings.Count(strings.TrimSpace(swaps), "\n") > 0
}

// hasCapability reads the bounding set in /proc/PID/status. It bounds what the
// engine on the same machine can hand on, also when this process is not root.
func hasCapability(status string, capability uint) bool {
	for _, line := range strings.Split(status, "\n") {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && set&(1<<capability) != 0
		}
	}
	return false
}

// defaultInterface reads /proc/net/route and returns the interface of the
// default route, "" when there is none.
func defaultInterface(route string) string {
	for _, line := range strings.Split(route, "\n") {
		if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return ""
}

// resolvers returns the name servers of a resolv.conf that can be reached from
// another network namespace, that is all but loopback addresses.
func resolvers(conf string) []netip.Addr {
	var out []netip.Addr
	s := bufio.NewScanner(strings.NewReader(conf))
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}
