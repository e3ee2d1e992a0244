package lab

import (
	"crypto/ed25519"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
)

// testKey is the same key at every run.
func testKey(t *testing.T, seed byte) keyPair {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), 32))))
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{Private: []byte("PRIVATE"), Signer: s}
}

func testLab(t *testing.T, nodes int) (Options, []machine) {
	t.Helper()
	o, err := Options{Nodes: nodes}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var ms []machine
	for i := range nodes {
		ms = append(ms, machine{[]string{"nuc01", "nuc02", "nuc03"}[i], o.address(11 + i), testKey(t, byte('a'+i))})
	}
	return o, ms
}

func TestInventory(t *testing.T) {
	for _, c := range []struct {
		golden string
		nodes  int
		host   hostFacts
		mirror bool
	}{
		{"three.hcl", 3, hostFacts{CgroupV1: true, Swap: true}, true},
		{"one.hcl", 1, hostFacts{SysResource: true}, false},
	} {
		t.Run(c.golden, func(t *testing.T) {
			o, nodes := testLab(t, c.nodes)
			dir := t.TempDir() // the inventory checks that the files are there
			keyFile, mirrorKey := filepath.Join(dir, "id_ed25519"), ""
			if _, err := ensureKey(keyFile, "test"); err != nil {
				t.Fatal(err)
			}
			if c.mirror {
				mirrorKey = filepath.Join(dir, "key.asc")
				if err := os.WriteFile(mirrorKey, []byte("key"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			body, err := renderInventory(o, nodes, c.host, keyFile, mirrorKey)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, c.golden, strings.ReplaceAll(string(body), dir, "/state"))
			cluster, err := inventory.Parse("lab.hcl", body)
			if err != nil {
				t.Fatalf("the inventory does not read back: %v", err)
			}
			if got, want := len(cluster.Nodes), c.nodes; got != want {
				t.Errorf("%d nodes read back, want %d", got, want)
			}
			if got, want := cluster.Nodes[0].Address, netip.MustParseAddr("172.31.77.11"); got != want {
				t.Errorf("first node at %s, want %s", got, want)
			}
			formatted, err := inventory.Format("lab.hcl", body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(formatted), string(body)); diff != "" {
				t.Errorf("not in canonical form (-fmt +written):\n%s", diff)
			}
		})
	}
}
