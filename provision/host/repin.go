package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Shown is the key by which a machine names itself, and the one that is pinned
// for it.
type Shown struct {
	Key    ssh.PublicKey
	Pinned *HostKeyError // Want, File and Line are those of the pinned key; nil where none is
	Same   bool          // it is the pinned one
}

// Fingerprint is that of the machine's key.
func (s Shown) Fingerprint() string { return ssh.FingerprintSHA256(s.Key) }

// Authorized is the machine's key in the form of authorized_keys, as host_key
// of the inventory has it.
func (s Shown) Authorized() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.Key)))
}

// Show asks a machine for its key and hangs up: nothing is proved to it.
func Show(ctx context.Context, o Options) (Shown, error) {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	h := &Host{o: o}
	keys, err := o.hostKeys()
	if err != nil {
		return Shown{}, err
	}
	// A new machine may have no key of the pinned type.
	algorithms := append(slices.Clone(keys.algorithms), slices.DeleteFunc(slices.Clone(preferred), func(a string) bool { return slices.Contains(keys.algorithms, a) })...)
	shown := Shown{Pinned: keys.want}
	err = askKey(ctx, o.Address, algorithms, o.ConnectTimeout, o.ConnectTimeout, func(_ string, remote net.Addr, key ssh.PublicKey) error {
		shown.Key, shown.Same = key, keys.check(o.Address, remote, key) == nil
		return errSeen
	})
	if shown.Key == nil {
		return Shown{}, h.connectError("ask for the host key", err)
	}
	return shown, nil
}

// Repin puts a key in the place of all keys that a known_hosts file has for an
// address (host:port). Other hosts of a line stay. The file is replaced as a
// whole: a power cut leaves the old one or the new one.
func Repin(file, address string, key ssh.PublicKey) error {
	f, old, err := openKnownHosts(file)
	if err != nil {
		return err
	}
	defer f.Close()
	host := knownhosts.Normalize(address)
	var b strings.Builder
	for line := range strings.Lines(old) {
		names, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(names, "#") || strings.HasPrefix(names, "@") { // a comment, or a mark of its own
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
			continue
		}
		list := strings.Split(names, ",")
		others := slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == host })
		switch {
		case len(others) == len(list):
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		case len(others) > 0:
			b.WriteString(strings.Join(others, ",") + " " + rest + "\n")
		}
	}
	b.WriteString(knownhosts.Line([]string{address}, key) + "\n")
	if err := replaceKnownHosts(f, b.String()); err != nil {
		return err
	}
	check, err := knownhosts.New(file)
	if err != nil {
		return err
	}
	if err := check(address, &net.TCPAddr{}, key); err != nil {
		return fmt.Errorf("%s has another key for %s in a form that is not nucspark's, such as a hashed name; take that line out: %w", file, host, err)
	}
	return nil
}

// replaceKnownHosts puts a file with that content in the place of f, which
// openKnownHosts gave. Whoever waits for the lock of the old one sees that it is
// no longer there and opens the new one.
func replaceKnownHosts(f *os.File, content string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// A file of the user's may be a link to where it is kept.
	file, err := filepath.EvalSymlinks(f.Name())
	if err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(file), ".known_hosts-")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name()) // after the rename there is none
	_, err = part.WriteString(content)
	err = errors.Join(err, part.Chmod(info.Mode().Perm()), part.Sync(), part.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(part.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
