package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"
)

// What a machine shows is compared with what is pinned, and nothing is proved
// to it meanwhile.
func TestShow(t *testing.T) {
	other := newKey(t)
	s := newServer(t, withKey(other.PublicKey()))
	o := s.options()
	o.HostKey = ""
	o.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	shown, err := Show(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if shown.Same || shown.Pinned != nil || shown.Authorized() != (Shown{Key: s.keys[0].PublicKey()}).Authorized() {
		t.Errorf("nothing is pinned: %+v", shown)
	}
	write(t, o.KnownHosts, "# by hand\n"+knownhosts.Line([]string{o.Address, "10.0.0.9"}, other.PublicKey())+"\n"+knownhosts.Line([]string{"10.0.0.8"}, other.PublicKey()), 0o600)
	if shown, err = Show(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if shown.Same || shown.Pinned == nil || shown.Pinned.Line != 2 || shown.Pinned.File != o.KnownHosts || shown.Pinned.Want != (Shown{Key: other.PublicKey()}).Fingerprint() {
		t.Errorf("another key is pinned: %+v", shown)
	}
	if err := Repin(o.KnownHosts, o.Address, shown.Key); err != nil {
		t.Fatal(err)
	}
	if shown, err = Show(t.Context(), o); err != nil || !shown.Same {
		t.Errorf("after it was pinned: %+v, %v", shown, err)
	}
	if n := s.logins.Load(); n != 0 {
		t.Errorf("%d attempts to log in", n)
	}
	b, err := os.ReadFile(o.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(o.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"10.0.0.9:22", "10.0.0.8:22"} {
		if err := check(host, &net.TCPAddr{}, other.PublicKey()); err != nil {
			t.Errorf("%s lost its key: %v\n%s", host, err, b)
		}
	}
	if !strings.HasPrefix(string(b), "# by hand\n") || strings.Count(string(b), "\n") != 4 {
		t.Errorf("the file is\n%s", b)
	}
	// Again, it stays as it is.
	if err := Repin(o.KnownHosts, o.Address, shown.Key); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(o.KnownHosts); err != nil || string(now) != string(b) {
		t.Errorf("twice: %v\n%s\nwas\n%s", err, now, b)
	}
}

// A file of the user's that is a link stays one, with its mode; and of two runs
// that pin and pin anew at once neither loses what the other wrote.
func TestRepinReplaces(t *testing.T) {
	dir := t.TempDir()
	kept, file := filepath.Join(dir, "kept", "hosts"), filepath.Join(dir, "known_hosts")
	if err := os.Mkdir(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, kept, "# by hand\n", 0o640)
	if err := os.Symlink(kept, file); err != nil {
		t.Fatal(err)
	}
	key := newKey(t).PublicKey()
	var g errgroup.Group
	var hosts []string
	for i := range 8 {
		again, new := fmt.Sprintf("10.0.0.%d:22", i), fmt.Sprintf("10.0.1.%d:22", i)
		hosts = append(hosts, again, new)
		g.Go(func() error { return Repin(file, again, key) })
		g.Go(func() error { return appendKnownHost(file, knownhosts.Line([]string{new}, key)) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		if err := check(host, &net.TCPAddr{}, key); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if link, err := os.Readlink(file); err != nil || link != kept {
		t.Errorf("the link leads to %q, %v", link, err)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(kept)); err != nil || len(left) != 1 {
		t.Errorf("beside it are %v, %v", left, err)
	}
}
