package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh/knownhosts"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// Inventory says how the file reads: c and err are those of inventory.Load.
func Inventory(c *inventory.Cluster, err error) []Finding {
	var diags inventory.Diagnostics
	switch {
	case c != nil && len(c.Warnings) == 0:
		return []Finding{fine(checkInventory, "")}
	case c != nil:
		diags = c.Warnings
	case !errors.As(err, &diags):
		return []Finding{stops(checkInventory, "", err.Error(), "")}
	}
	var all []Finding
	for _, d := range diags {
		where := d.File
		if d.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, d.Line)
		}
		if d.In != "" {
			where += ", in " + d.In
		}
		f := stops(checkInventory, "", where+": "+d.Summary, d.Detail)
		f.OK = d.Severity == inventory.Warning
		all = append(all, f)
	}
	return all
}

// Key says whether there is anything to log in with. asked says that somebody
// is there who can be asked for a passphrase.
func Key(m host.Means, asked bool) []Finding {
	if len(m.Files) == 0 && m.Agent == 0 && !m.Password {
		return []Finding{stops(checkKey, "", strings.Join(append([]string{"there is no key to log in with"}, m.Notes...), ": "),
			"make one with ssh-keygen -t ed25519 and bring it to each machine with ssh-copy-id, or name yours as private_key")}
	}
	var all []Finding
	for _, n := range m.Notes {
		all = append(all, note(checkKey, "", n, ""))
	}
	for _, file := range m.Locked {
		const remedy = "ssh-add holds it for you"
		switch {
		case asked:
			all = append(all, note(checkKey, "", file+" has a passphrase, which is asked for", remedy))
		case len(m.Files) == len(m.Locked) && m.Agent == 0 && !m.Password:
			all = append(all, stops(checkKey, "", file+" has a passphrase, and there is no terminal to ask for it", remedy))
		default:
			all = append(all, note(checkKey, "", file+" has a passphrase, and there is no terminal to ask for it", remedy))
		}
	}
	if len(all) == 0 {
		return []Finding{fine(checkKey, "")}
	}
	return all
}

// KnownHosts says whether the file of pinned host keys can be read, and written
// where a machine's key is not in the inventory.
func KnownHosts(c *inventory.Cluster, file string) Finding {
	pins := false
	for _, n := range c.Nodes {
		pins = pins || n.HostKey == ""
	}
	if !pins {
		return fine(checkKnownHosts, "")
	}
	if err := writable(file); err != nil {
		return stops(checkKnownHosts, "", fmt.Sprintf("host keys cannot be kept: %v", err), "give yourself the right to write there, or set host_key of each node")
	}
	if _, err := knownhosts.New(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stops(checkKnownHosts, "", fmt.Sprintf("%s cannot be read: %v", file, err), "correct the file, or take the line out")
	}
	return fine(checkKnownHosts, "")
}

// leastRoom is what the logs of some runs take: that of a first run on three
// machines has 0.3 MB, and it grows with the machines.
const leastRoom = 64 << 20

// State says whether logs of runs can be written.
func State(dir string) Finding {
	if err := writable(filepath.Join(dir, "runs", "log")); err != nil {
		return stops(checkState, "", fmt.Sprintf("the log of a run cannot be written: %v", err), "give yourself the right to write there, or set XDG_STATE_HOME")
	}
	var s syscall.Statfs_t
	there := existing(dir)
	if err := syscall.Statfs(there, &s); err != nil {
		return stops(checkState, "", fmt.Sprintf("%s: %v", there, err), "")
	}
	if free := int64(s.Bavail) * s.Bsize; free < leastRoom {
		return stops(checkState, "", fmt.Sprintf("%d MiB are free in %s, where runs are logged: %d MiB should be", free>>20, there, leastRoom>>20), "make room there, or set XDG_STATE_HOME")
	}
	return fine(checkState, "")
}

// writable says why a file cannot be written, nil when it can. It makes nothing:
// of a file that is not there the nearest directory counts.
func writable(file string) error {
	there := existing(file)
	info, err := os.Stat(there)
	if err != nil {
		return err
	}
	if there == filepath.Clean(file) {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file", there)
		}
	} else if !info.IsDir() {
		return fmt.Errorf("%s is no directory", there)
	}
	const write = 2 // W_OK of access(2)
	if err := syscall.Access(there, write); err != nil {
		return fmt.Errorf("%s: %w", there, err)
	}
	return nil
}

// existing is a path, or the nearest one above it that is there.
func existing(path string) string {
	path = filepath.Clean(path)
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// Route says why this computer cannot send to an address, nil when it can. A
// UDP socket only asks the kernel for the way; nothing is sent.
func Route(a netip.Addr) error {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 22)))
	if err != nil {
		var why syscall.Errno
		if errors.As(err, &why) {
			return why
		}
		return err
	}
	return c.Close()
}
