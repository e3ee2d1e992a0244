package wizard

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// network is a Finder of the machines that discover's tests recorded, with
// what a test changes.
type network struct {
	machines map[netip.Addr]discover.Machine
	failed   map[netip.Addr]error
}

func newNetwork(t *testing.T, change ...func(map[netip.Addr]discover.Machine)) *network {
	t.Helper()
	b, err := os.ReadFile("../discover/testdata/machines.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []discover.Machine
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	n := &network{machines: map[netip.Addr]discover.Machine{}, failed: map[netip.Addr]error{}}
	for _, m := range list {
		n.machines[m.Address] = m
	}
	for _, f := range change {
		f(n.machines)
	}
	return n
}

func (n *network) Scan(_ context.Context, addresses []netip.Addr, seen func(discover.Seen)) error {
	for _, a := range addresses {
		if m, ok := n.machines[a]; ok {
			seen(m.Seen)
		}
	}
	return nil
}

func (n *network) Ask(_ context.Context, s discover.Seen, as As) (discover.Machine, error) {
	return n.machines[s.Address], n.failed[s.Address]
}

func supported(os, version, _ string) error {
	if os+version == "debian11" {
		return errors.New("the system is too old")
	}
	return nil
}

func newState() *State {
	s := &State{Path: "cluster.hcl", Supported: supported}
	s.Local.Range = "192.168.1.0/24"
	return s
}

// withKey puts the state's file into a folder that has a private key, keys/id.
func withKey(t *testing.T, s *State) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s.Path = filepath.Join(dir, "cluster.hcl")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "keys"), 0o700), os.WriteFile(filepath.Join(dir, "keys", "id"), pem.EncodeToMemory(block), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func addr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, last}) }

func yes(discover.Seen) bool { return true }

// filled is a state on its last page, with the answers of a preseed.
func filled(t *testing.T, n *network, preseed string) *State {
	t.Helper()
	s := newState()
	withKey(t, s)
	s.SudoPassword = inventory.NewSecret("hunter2")
	keys, err := s.Preseed("answers.hcl", []byte(preseed))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fill(context.Background(), n, keys, yes, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(s.File()), "hunter2") {
		t.Error("the password of sudo is in the file")
	}
	return s
}

// only leaves the machines with these last bytes.
func only(lasts ...byte) func(map[netip.Addr]discover.Machine) {
	return func(all map[netip.Addr]discover.Machine) {
		for a := range all {
			keep := false
			for _, l := range lasts {
				keep = keep || a == addr(l)
			}
			if !keep {
				delete(all, a)
			}
		}
	}
}

// TestFiles compares files, and the values with their sources, for networks
// and answers.
func TestFiles(t *testing.T) {
	for _, c := range []struct {
		name    string
		network *network
		preseed string
	}{
		{"nothing-said", newNetwork(t), ""},
		{"one-machine", newNetwork(t, only(12)), ""},
		{"two-machines", newNetwork(t, only(11, 12)), ""},
		{"small-and-wifi", newNetwork(t, only(11, 15)), `machine "192.168.1.15" { use = true }`},
		{"everything-said", newNetwork(t), `
range       = "192.168.1.11-13"
machines    = ["192.168.1.11", "192.168.1.12", "192.168.1.13"]
user        = "admin"
private_key = "keys/id"
cluster     = "office"
kubernetes  = "1.35.4"
replication = 1
machine "192.168.1.12" {
  name = "brain"
  role = "control-plane"
  hdfs = []
  nfs  = "/data/nfs"
}
machine "192.168.1.13" {
  hdfs = ["/data/hdfs", "/data2/blocks"]
  nfs  = "none"
}
volume {
  name = "scratch"
  size = "7Gi"
}
worker {
  cpu    = "2"
  memory = "6Gi"
}
executor {
  cores  = 1
  memory = "2g"
}
`},
		{"no-storage", newNetwork(t, only(11, 12, 13)), `
machine "192.168.1.12" {
  hdfs = []
}
machine "192.168.1.13" {
  hdfs = []
  nfs = "none"
}
`},
		{"sudo-password", newNetwork(t, only(11), func(all map[netip.Addr]discover.Machine) {
			m := all[addr(11)]
			m.SudoPassword = true
			all[addr(11)] = m
		}), ""},
		{"members", newNetwork(t, only(11, 12), func(all map[netip.Addr]discover.Machine) {
			for last, name := range map[byte]string{11: "one", 12: "two"} {
				m := all[addr(last)]
				m.Identity = &provision.Identity{Cluster: "lost", UID: "u", Node: name, MachineID: m.MachineID}
				m.Made = last == 12
				all[addr(last)] = m
			}
		}), ""},
		{"names", newNetwork(t, only(11, 12, 13), func(all map[netip.Addr]discover.Machine) {
			for a, m := range all {
				m.Hostname, m.Name = "ubuntu.local", ""
				all[a] = m
			}
			m := all[addr(13)]
			m.Hostname, m.Name = "My_Machine", "fileserver"
			all[addr(13)] = m
		}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := filled(t, c.network, c.preseed)
			var b strings.Builder
			for _, v := range s.Values() {
				fmt.Fprintf(&b, "%-14s %-16s %-9s %s\n", v.Section, v.Label, v.Source, v.Text)
			}
			cluster, diags := s.Check()
			if cluster == nil {
				t.Fatalf("the file does not hold:\n%v", diags)
			}
			for _, d := range diags {
				fmt.Fprintf(&b, "%s: %s\n", d.Severity, d.Summary)
			}
			for _, r := range s.Refused() {
				fmt.Fprintf(&b, "refused: %s\n", r)
			}
			fmt.Fprintf(&b, "\n%s", s.File())
			golden.Check(t, c.name+".golden", b.String())
			if formatted, err := inventory.Format("cluster.hcl", s.File()); err != nil || string(formatted) != string(s.File()) {
				t.Errorf("fmt would change it (%v)", err)
			}
		})
	}
}

// TestSameFile: a person on the screens and a preseed give the same bytes,
// whatever way the person went.
func TestSameFile(t *testing.T) {
	n := newNetwork(t)
	want := filled(t, n, `
range = "192.168.1.11-20"
machine "192.168.1.11" { use = false }
machine "192.168.1.13" { name = "big" }
worker { cpu = "5" }
`).File()

	s := newState()
	next := func() {
		t.Helper()
		if err := s.Next(); err != nil {
			t.Fatal(err)
		}
		switch s.Page {
		case Found:
			if a := s.Addresses(); a != nil {
				s.Scanning()
				n.Scan(context.Background(), a, s.Saw)
			}
		case Machines:
			AskAll(context.Background(), n, s.ToAsk(), s.As(), s.Answered)
		}
	}
	set := func(key, text string) {
		t.Helper()
		if err := s.Set(key, text); err != nil {
			t.Fatal(err)
		}
	}
	next() // the whole network first
	if len(s.Seen()) != 6 {
		t.Fatalf("%d machines", len(s.Seen()))
	}
	s.Back()
	set(KeyRange, "192.168.1.11-20")
	next()
	s.Toggle(addr(11))
	next()
	next()
	s.Toggle(addr(11)) // with it, and without it again
	AskAll(context.Background(), n, s.ToAsk(), s.As(), s.Answered)
	s.Toggle(addr(11))
	next()
	set(Of(addr(13), "name"), "small")
	set(KeyWorkerCPU, "5")
	set(KeyReplication, "1")
	next()
	s.Back()
	set(Of(addr(13), "name"), "big")
	set(KeyReplication, "") // as proposed
	for s.Back() {          // to the very first page, and forth again
	}
	for s.Page != Review {
		next()
	}
	if diff := cmp.Diff(string(want), string(s.File())); diff != "" {
		t.Errorf("the files differ (-preseed +screens):\n%s", diff)
	}
}

// TestJSON: the two forms of a preseed say the same.
func TestJSON(t *testing.T) {
	n := newNetwork(t)
	want := filled(t, n, `
machines    = ["192.168.1.12"]
replication = 1
machine "192.168.1.12" { hdfs = ["/data/blocks"] }
`).File()
	s := newState()
	keys, err := s.Preseed("answers.json", []byte(`{"machines": ["192.168.1.12"], "replication": 1, "machine": {"192.168.1.12": {"hdfs": ["/data/blocks"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fill(context.Background(), n, keys, yes, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(s.File())); diff != "" {
		t.Errorf("the files differ (-HCL +JSON):\n%s", diff)
	}
}

func TestBadPreseeds(t *testing.T) {
	for src, want := range map[string]string{
		`nodes = 3`:          "Unsupported argument",
		`range = "nowhere"`:  "no range",
		`user = ""`:          "user is empty",
		`replication = 0`:    "whole number from 1",
		`machine "nuc01" {}`: "the label is its IPv4 address",
		"machine \"192.168.1.1\" {}\nmachine \"192.168.1.1\" {}": "there twice",
		`machine "192.168.1.1" { role = "boss" }`:                "control-plane or worker",
		`worker { memory = "much" }`:                             "sizes are written",
		`worker { cpu = "much" }`:                                "CPUs are written",
		"cluster = \"a\\u0007b\"":                                "control characters",
		`range = `:                                               "Missing expression",
	} {
		if _, err := newState().Preseed("answers.hcl", []byte(src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

func TestFillRefuses(t *testing.T) {
	no := func(discover.Seen) bool { return false }
	for _, c := range []struct {
		name, preseed, want string
		accept              func(discover.Seen) bool
		change              func(*network)
	}{
		{"nobody there", `range = "192.168.2.0/24"`, "no machine is chosen", yes, nil},
		{"an unknown key", ``, "which nobody has accepted", no, nil},
		{"another key than that of the preseed", "machines = [\"192.168.1.11\"]\nmachine \"192.168.1.11\" { host_key = \"ssh-ed25519 AAAA\" }", "has another one", yes, nil},
		{"a changed key", `machines = ["192.168.1.11"]`, "changed!", yes, func(n *network) {
			m := n.machines[addr(11)]
			m.Err = errors.New("changed!")
			n.machines[addr(11)] = m
		}},
		{"one that is not there", `machines = ["192.168.1.99"]`, "192.168.1.99 is one of the machines", yes, nil},
		{"one that does not do", `machines = ["192.168.1.11", "192.168.1.16"]`, "192.168.1.16 will not do", yes, nil},
		{"a clone", `machines = ["192.168.1.12", "192.168.1.14"]`, "machine-id of 192.168.1.12", yes, nil},
		{"one that lets nobody in", `machines = ["192.168.1.11"]`, "no such user", yes, func(n *network) { n.failed[addr(11)] = errors.New("no such user") }},
		{"no control plane", "machines = [\"192.168.1.11\"]\nmachine \"192.168.1.11\" { role = \"worker\" }", "control plane", yes, nil},
		{"two names", "machine \"192.168.1.12\" { name = \"x\" }\nmachine \"192.168.1.13\" { name = \"x\" }", `"x"`, yes, nil},
		{"a directory of the system", `machine "192.168.1.12" { hdfs = ["/etc/hdfs"] }`, "belongs to the system", yes, nil},
		{"too many copies", `replication = 5`, "replication 5", yes, nil},
		{"executor too large", `executor { memory = "60g" }`, "does not fit", yes, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			if c.change != nil {
				c.change(n)
			}
			s := newState()
			keys, err := s.Preseed("answers.hcl", []byte(c.preseed))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Fill(context.Background(), n, keys, c.accept, func(string) {}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestPinned: a key that the preseed names needs nobody to accept it.
func TestPinned(t *testing.T) {
	n := newNetwork(t, only(11))
	s := newState()
	keys, err := s.Preseed("answers.hcl", fmt.Appendf(nil, "machine \"192.168.1.11\" { host_key = %q }", n.machines[addr(11)].Key.Authorized))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fill(context.Background(), n, keys, func(discover.Seen) bool { return false }, func(string) {}); err != nil {
		t.Error(err)
	}
}

func TestExtra(t *testing.T) {
	n := newNetwork(t, only(11))
	s := filled(t, n, "")
	s.Extra = []byte("# ours\nmirror {\n  registry = \"http://192.168.1.5:5000\"\n}\n")
	c, diags := s.Check()
	if c == nil || c.Mirror.Registry == "" || !strings.HasSuffix(string(s.File()), "\n\n"+string(s.Extra)) {
		t.Errorf("%v\n%s", diags, s.File())
	}
	s.Extra = []byte("mirror {")
	if c, diags := s.Check(); c != nil || !diags.HasErrors() {
		t.Error("half a block was taken")
	}
}

// TestLoginAgain: another login asks everybody again, the same one nobody.
func TestLoginAgain(t *testing.T) {
	n := newNetwork(t, only(11, 12))
	n.failed[addr(12)] = errors.New("permission denied")
	s := filled(t, n, "")
	if len(s.ToAsk()) != 0 || len(s.Chosen()) != 1 {
		t.Errorf("%d to ask, %d chosen", len(s.ToAsk()), len(s.Chosen()))
	}
	s.SudoPassword = inventory.NewSecret("another")
	if len(s.ToAsk()) != 2 {
		t.Errorf("with another login %d are asked", len(s.ToAsk()))
	}
}

// TestSizes are the proposals for machines of one size.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		machines, cpus int
		memory         float64 // GiB
		want           string
	}{
		{3, 4, 15.4, "3 10Gi 3 8g"}, // as inventory has it by default
		{3, 4, 7.6, "3 3584Mi 3 2432m"},
		{3, 2, 3.7, "1 1664Mi 1 512m"},
		{3, 1, 3.7, "1 1664Mi 1 512m"},
		{3, 16, 62.5, "15 51Gi 15 41728m"},
		{1, 4, 15.4, "3 7Gi 3 5632m"},
	} {
		n := newNetwork(t, func(all map[netip.Addr]discover.Machine) {
			for a := range all {
				delete(all, a)
			}
			for i := range c.machines {
				all[addr(byte(11+i))] = discover.Machine{Seen: discover.Seen{Address: addr(byte(11 + i))},
					Machine: provision.Machine{MachineID: fmt.Sprint(i), Systemd: true, CPUs: c.cpus, Memory: int64(c.memory * (1 << 30)), VarFree: 1 << 40}}
			}
		})
		s := newState()
		s.Page = Values
		s.Scanning()
		n.Scan(context.Background(), []netip.Addr{addr(11), addr(12), addr(13)}, s.Saw)
		AskAll(context.Background(), n, s.ToAsk(), s.As(), s.Answered)
		got := strings.Join([]string{s.Text(KeyWorkerCPU), s.Text(KeyWorkerMemory), s.Text(KeyExecutorCores), s.Text(KeyExecutorMemory)}, " ")
		if got != c.want {
			t.Errorf("%d machines with %d CPUs and %g GiB: %s, want %s", c.machines, c.cpus, c.memory, got, c.want)
		}
	}
}
