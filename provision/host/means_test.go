package host

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"nucspark.io/nucspark/inventory"
)

func TestMeans(t *testing.T) {
	_, plain := newKeyFile(t, "")
	_, locked := newKeyFile(t, "open sesame")
	raw, err := ssh.ParseRawPrivateKeyWithPassphrase(read(t, locked), []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
		t.Fatal(err)
	}
	socket := serveAgent(t, ring)
	for name, test := range map[string]struct {
		socket, file string
		want         Means
		note         string
	}{
		"a file":                 {"", plain, Means{Files: []string{plain}}, ""},
		"a passphrase":           {"", locked, Means{Files: []string{locked}, Locked: []string{locked}}, ""},
		"the agent holds it":     {socket, locked, Means{Files: []string{locked}, Agent: 1}, ""},
		"no agent answers":       {socket + ".gone", plain, Means{Files: []string{plain}}, "agent does not answer"},
		"no key":                 {"", filepath.Join(t.TempDir(), "id"), Means{}, "cannot be read"},
		"no usual key, no agent": {"", "", Means{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			t.Setenv("SSH_AUTH_SOCK", test.socket)
			m := Options{KeyFile: test.file}.Means()
			if !slices.Equal(m.Files, test.want.Files) || !slices.Equal(m.Locked, test.want.Locked) || m.Agent != test.want.Agent || m.Password {
				t.Errorf("%+v", m)
			}
			if notes := strings.Join(m.Notes, "; "); (notes == "") != (test.note == "") || !strings.Contains(notes, test.note) {
				t.Errorf("notes %q", notes)
			}
		})
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if m := (Options{KeyFile: plain, Password: inventory.NewSecret("x")}).Means(); !m.Password {
		t.Error("the password is not seen")
	}
}
