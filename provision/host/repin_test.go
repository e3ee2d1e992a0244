package host

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"
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
