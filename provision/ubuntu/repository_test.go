package ubuntu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"nucspark.io/nucspark/provision"
)

// newKey makes a signing key that was made a day before testNow and lives for
// so long, 0 for ever.
func newKey(t *testing.T, life time.Duration) (e *openpgp.Entity, fingerprint string) {
	t.Helper()
	made := testNow.Add(-24 * time.Hour)
	e, err := openpgp.NewEntity("packages", "", "packages@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(life.Seconds()), Time: func() time.Time { return made }})
	if err != nil {
		t.Fatal(err)
	}
	return e, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
}

func armoured(t *testing.T, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := k.Serialize(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCheckKey(t *testing.T) {
	good, fingerprint := newKey(t, 0)
	other, _ := newKey(t, 0)
	short, shortPrint := newKey(t, 12*time.Hour)
	long, longPrint := newKey(t, 48*time.Hour)
	for _, c := range []struct {
		name, fingerprint string
		key               []byte
		wants             string
	}{
		{"the key", fingerprint, armoured(t, good), ""},
		{"it will expire", longPrint, armoured(t, long), ""},
		{"it has expired", shortPrint, armoured(t, short), "expired"},
		{"another key", fingerprint, armoured(t, other), "its fingerprint is"},
		{"another key beside it", fingerprint, armoured(t, good, other), "its fingerprint is"},
		{"a page of an error", fingerprint, []byte("<html>captive portal</html>"), "no OpenPGP public key"},
		{"nothing", fingerprint, nil, "no OpenPGP public key"},
	} {
		err := checkKey(c.key, c.fingerprint, testNow)
		if (err == nil) != (c.wants == "") || err != nil && !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestUpstreamKeyDiff(t *testing.T) {
	key, fingerprint := newKey(t, 48*time.Hour)
	s := upstreamKey{provision.Base{Name: "nuc01/apt/key-x", Node: "nuc01"}, repository{fingerprint: fingerprint}, "/k.asc", testNow}
	diff := func(s upstreamKey, is provision.FileFact) []provision.Change {
		c, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): is}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	is := provision.FileFact{Exists: true, Content: armoured(t, key)}
	if c := diff(s, is); len(c) != 0 {
		t.Errorf("the key is there: %v", c)
	}
	if c := diff(s, provision.FileFact{}); len(c) != 1 || c[0].Action != provision.Create {
		t.Errorf("no key: %v", c)
	}
	s.now = testNow.Add(72 * time.Hour)
	if c := diff(s, is); len(c) != 1 || c[0].Action != provision.Update || c[0].Old != "it has expired" {
		t.Errorf("an expired key: %v", c)
	}
}

func TestMirrorKeyring(t *testing.T) {
	a, _ := newKey(t, 0)
	b, _ := newKey(t, 0)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var binary bytes.Buffer
	if err := b.Serialize(&binary); err != nil {
		t.Fatal(err)
	}
	two := write("two.asc", append(armoured(t, a), armoured(t, b)...))
	one, raw := write("one.asc", armoured(t, a)), write("raw.gpg", binary.Bytes())
	for name, files := range map[string][]string{"two blocks in a file": {two}, "armour and binary": {one, raw}} {
		ring, err := keyring(files)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(ring))
		if err != nil || len(keys) != 2 {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	var private bytes.Buffer
	w, _ := armor.Encode(&private, openpgp.PrivateKeyType, nil)
	if err := a.SerializePrivate(w, nil); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, file := range []string{write("private.asc", private.Bytes()), write("text", []byte("hello\n")), write("empty", nil)} {
		if ring, err := keyring([]string{file}); err == nil {
			t.Errorf("%s makes a keyring of %d bytes", filepath.Base(file), len(ring))
		}
	}
}
