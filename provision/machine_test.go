package provision

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// The survey's script is run by a real shell on this computer.
func TestSurvey(t *testing.T) {
	l := newLocal(t)
	if err := os.WriteFile(filepath.Join(l.state, "identity.json"), []byte(`{"cluster":"nucs","uid":"u","node":"nuc01","machine_id":"m"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	// Nothing listens on the discard port of this computer.
	c := &inventory.Cluster{Mirror: inventory.Mirror{Apt: "http://127.0.0.1:9/", Registry: "https://127.0.0.1:9"}}
	m, err := survey(context.Background(), "nuc01", l, c)
	if err != nil {
		t.Fatal(err)
	}
	if m.OS == "" || m.Kernel == "" || m.CPUs < 1 || m.Memory < 1<<28 || m.VarFree <= 0 {
		t.Errorf("%+v", m)
	}
	if !strings.HasPrefix(m.VarPlace, "/") {
		t.Errorf("%d bytes are free in %q", m.VarFree, m.VarPlace)
	}
	if port := held.Addr().(*net.TCPAddr).Port; !strings.Contains(m.Listening[port], fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("port %d is held by %q, not by this process", port, m.Listening[port])
	}
	if m.ClockOffset > time.Second || m.ClockOffset < -time.Second {
		t.Errorf("the clock of this computer is %s off itself", m.ClockOffset)
	}
	if m.Identity == nil || m.Identity.Node != "nuc01" || m.Identity.Cluster != "nucs" {
		t.Errorf("identity %+v", m.Identity)
	}
	if m.Holder != nil {
		t.Errorf("nobody has the lock, but %s", m.Holder)
	}
	for name, text := range map[string]string{"lock": "", "lock.holder": `{"run":"r1","user":"me"}`} {
		if err := os.WriteFile(filepath.Join(l.state, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Open(filepath.Join(l.state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, holds := range []bool{true, false} { // a run that was killed leaves its name
		how := map[bool]int{true: syscall.LOCK_EX, false: syscall.LOCK_UN}[holds]
		if err := syscall.Flock(int(lock.Fd()), how); err != nil {
			t.Fatal(err)
		}
		m, err := survey(context.Background(), "nuc01", l, c)
		if err != nil {
			t.Fatal(err)
		}
		locked := (&Site{Cluster: &inventory.Cluster{Nodes: []inventory.Node{{Name: "nuc01"}}}, Machines: map[string]Machine{"nuc01": m}}).Locked()
		var said *LockedError
		if errors.As(locked, &said) != holds || holds && (said.Node != "nuc01" || said.Holder.Run != "r1") {
			t.Errorf("the lock is held: %t, and the survey says %v", holds, locked)
		}
	}
	if strings.Join(m.Unreachable, " ") != "127.0.0.1:9 127.0.0.1:9" {
		t.Errorf("unreachable %v", m.Unreachable)
	}
	if err := os.WriteFile(filepath.Join(l.state, "identity.json"), []byte(`{"clu`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := survey(context.Background(), "nuc01", l, c); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged identity: %v", err)
	}
}

// What a machine says of itself reaches messages without what would move a
// terminal's cursor.
func TestSurveyHostile(t *testing.T) {
	out := "m:clock=1\nm:clock-end=1\nm:cpus=1\nm:memory=1\nm:ID=fe\x1b[2Jdora\nm:hostname=\x9b31m\xff\n" +
		"m:var-free= 5 /va\x1b]0;x\ar\nm:listening=80    users:((\"a\x1b[1mb\",pid=7,fd=3))\t22\t\nm:end=\n"
	m, err := parseSurvey(out, "m", time.Unix(0, 0), time.Unix(0, 2))
	if err != nil {
		t.Fatal(err)
	}
	if m.OS != "fedora" || m.VarPlace != "/var" || m.Hostname != "31m" || m.Listening[80] != "ab (pid 7)" {
		t.Errorf("%q", []string{m.OS, m.VarPlace, m.Hostname, m.Listening[80]})
	}
	if who, ok := m.Listening[22]; !ok || who != "" {
		t.Errorf("port 22: %q, %v", who, ok)
	}
}

// two is a cluster of a control plane and a worker, both bare and fine.
func two() (*inventory.Cluster, map[string]Machine) {
	c := &inventory.Cluster{File: "c.hcl", Name: "nucs", Nodes: []inventory.Node{
		{Name: "nuc01", Role: inventory.ControlPlane, Address: netip.MustParseAddr("192.168.1.11")},
		{Name: "nuc02", Role: inventory.Worker, Address: netip.MustParseAddr("192.168.1.12"), NFS: &inventory.NodeNFS{Export: "/srv/nfs"}},
	}, Network: inventory.Network{Pods: netip.MustParsePrefix("10.244.0.0/16"), Services: netip.MustParsePrefix("10.96.0.0/16")}}
	bare := func(id string) Machine {
		return Machine{MachineID: id, OS: "ubuntu", Version: "24.04", Arch: "amd64", CPUs: 4, Memory: 16 << 30, Systemd: true, VarFree: 100 << 30, Listening: map[int]string{22: "sshd (pid 1)"}}
	}
	return c, map[string]Machine{"nuc01": bare("m1"), "nuc02": bare("m2")}
}

func TestCheck(t *testing.T) {
	ours := func(node, id string) *Identity {
		return &Identity{Cluster: "nucs", UID: "u", Node: node, MachineID: id}
	}
	for name, test := range map[string]struct {
		change func(c *inventory.Cluster, one, two *Machine)
		want   []string // parts of the only reason; none: nothing is refused
	}{
		"fine":           {func(*inventory.Cluster, *Machine, *Machine) {}, nil},
		"unsupported":    {func(_ *inventory.Cluster, _, m *Machine) { m.OS = "fedora" }, []string{"nuc02", "fedora"}},
		"no systemd":     {func(_ *inventory.Cluster, _, m *Machine) { m.Systemd = false }, []string{"nuc02", "systemd"}},
		"no machine-id":  {func(_ *inventory.Cluster, _, m *Machine) { m.MachineID = "" }, []string{"nuc02", "systemd-machine-id-setup"}},
		"one machine-id": {func(_ *inventory.Cluster, _, m *Machine) { m.MachineID = "m1" }, []string{"nuc02: ", "machine-id m1, as nuc01 has"}},
		"its address": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("192.168.1.12/24")}
		}, nil},
		"behind NAT": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.1.13/24")}
		}, []string{"nuc02", "192.168.1.12", "192.168.1.13"}},
		"small":   {func(_ *inventory.Cluster, _, m *Machine) { m.Memory = 1 << 30 }, []string{"nuc02", "1024 MiB of memory"}},
		"one CPU": {func(_ *inventory.Cluster, m, _ *Machine) { m.CPUs = 1 }, []string{"nuc01", "one CPU"}},
		"full":    {func(_ *inventory.Cluster, _, m *Machine) { m.VarFree, m.VarPlace = 1<<30, "/var/lib/containerd" }, []string{"nuc02", "1024 MiB are free in /var/lib/containerd"}},
		"clock":   {func(_ *inventory.Cluster, _, m *Machine) { m.ClockOffset = -10 * time.Minute }, []string{"nuc02", "clock", "-10m0s"}},
		"mirror":  {func(_ *inventory.Cluster, _, m *Machine) { m.Unreachable = []string{"10.0.0.1:80"} }, []string{"nuc02", "mirror 10.0.0.1:80"}},
		"mirror, later": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Unreachable, m.Identity = []string{"10.0.0.1:80"}, ours("nuc02", "m2")
		}, nil},
		"runtime":         {func(_ *inventory.Cluster, _, m *Machine) { m.Runtimes = []string{"docker-ce"} }, []string{"nuc02", "docker-ce", "not taken over"}},
		"resolver inside": {func(_ *inventory.Cluster, _, m *Machine) { m.Resolvers = []string{"192.168.1.1", "127.0.0.1"} }, []string{"nuc02", "resolver 127.0.0.1", "systemd-resolved"}},
		"resolver inside, another for pods": {func(c *inventory.Cluster, _, m *Machine) {
			m.Resolvers = []string{"::1"}
			c.Patches = map[string]inventory.Patch{"kubelet": {Config: map[string]any{"resolvConf": "/etc/pods.conf"}}}
		}, nil},
		"resolver": {func(_ *inventory.Cluster, _, m *Machine) { m.Resolvers = []string{"192.168.1.1"} }, nil},
		"runtime is ours": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Runtimes, m.Identity = []string{"containerd.io"}, ours("nuc02", "m2")
		}, nil},
		"port of a worker": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Listening = map[int]string{22: "", 2049: "ganesha.nfsd (pid 812)"}
		}, []string{"nuc02", "port 2049", "ganesha.nfsd (pid 812)"}},
		"port of another role":    {func(_ *inventory.Cluster, _, m *Machine) { m.Listening[6443] = "haproxy (pid 7)" }, nil},
		"port of a control plane": {func(_ *inventory.Cluster, m, _ *Machine) { m.Listening = map[int]string{6443: ""} }, []string{"nuc01", "port 6443", "does not name"}},
		"another cluster": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Identity = &Identity{Cluster: "lab", UID: "v", Node: "nuc02", MachineID: "m2"}
		}, []string{"nuc02", `"lab"`}},
		"another UID": {func(_ *inventory.Cluster, one, m *Machine) {
			one.Identity = ours("nuc01", "m1")
			m.Identity = &Identity{Cluster: "nucs", UID: "v", Node: "nuc02", MachineID: "m2"}
		}, []string{"nuc02", "another cluster of the same name"}},
		"renamed":        {func(_ *inventory.Cluster, _, m *Machine) { m.Identity = ours("nuc07", "m2") }, []string{"192.168.1.12", `"nuc07"`}},
		"installed anew": {func(_ *inventory.Cluster, _, m *Machine) { m.Identity = ours("nuc02", "old") }, []string{"nuc02", "machine-id changed from old to m2"}},
		"control plane moved": {func(_ *inventory.Cluster, _, m *Machine) {
			m.Kubeadm, m.Joined, m.Identity = true, true, ours("nuc02", "m2")
		}, []string{"control plane is on nuc02"}},
		"control plane lost": {func(_ *inventory.Cluster, _, m *Machine) { m.Joined, m.Identity = true, ours("nuc02", "m2") }, []string{"nuc02 belongs to a cluster already"}},
	} {
		c, machines := two()
		one, other := machines["nuc01"], machines["nuc02"]
		test.change(c, &one, &other)
		machines["nuc01"], machines["nuc02"] = one, other
		problems := Check(c, machines, func(os, _, _ string) error {
			if os != "ubuntu" {
				return errors.New(os + " is not supported; install another")
			}
			return nil
		})
		if len(problems) > 1 || (len(problems) == 1) != (test.want != nil) {
			t.Errorf("%s: refused for %q", name, problems)
			continue
		}
		for _, w := range test.want {
			if !strings.Contains(problems[0].String(), w) {
				t.Errorf("%s: %q does not say %q", name, problems[0], w)
			}
		}
		for _, p := range problems {
			if p.Remedy == "" || strings.Contains(p.Text, "; ") || !slices.Contains(Checked(machines[p.Node]), p.Check) {
				t.Errorf("%s: %+v", name, p)
			}
			if again := Reason(c, p.Check, p.String()); again != p {
				t.Errorf("%s: %+v is read as %+v", name, p, again)
			}
		}
	}
}

func TestCheckRecord(t *testing.T) {
	for name, test := range map[string]struct {
		record   Resolved
		members  map[string]Member
		want     string
		trusting string
	}{
		"first up":        {},
		"as it was":       {Resolved{Pods: "10.244.0.0/16", Services: "10.96.0.0/16"}, map[string]Member{"nuc02": {MachineID: "m2", Address: "192.168.1.12"}}, "", ""},
		"another network": {Resolved{Pods: "10.1.0.0/16"}, nil, "network of pods is 10.1.0.0/16", ""},
		"another address": {Resolved{}, map[string]Member{"nuc02": {MachineID: "m2", Address: "192.168.1.99"}}, "nuc02: its address is 192.168.1.99", ""},
		"another machine": {Resolved{}, map[string]Member{"nuc02": {MachineID: "m9", Address: "192.168.1.12"}}, "nuc02: another machine answers", ""},
		"one that left":   {Resolved{}, map[string]Member{"nuc09": {MachineID: "m9", Address: "192.168.1.19"}}, "", ""},
		"a remedy":        {Resolved{}, map[string]Member{"nuc02": {MachineID: "m9", Address: "192.168.1.12"}}, "nucspark trust nuc02", ""},
		"looked at":       {Resolved{}, map[string]Member{"nuc02": {MachineID: "m9", Address: "192.168.1.12"}}, "", "nuc02"},
		"trusted":         {Resolved{}, map[string]Member{"nuc02": {MachineID: "m9", Replacement: "m2", Address: "192.168.1.12"}}, "", ""},
		"a third machine": {Resolved{}, map[string]Member{"nuc02": {MachineID: "m9", Replacement: "m8", Address: "192.168.1.12"}}, "another machine answers", ""},
		"control plane":   {Resolved{}, map[string]Member{"nuc01": {MachineID: "m9", Address: "192.168.1.11"}}, "the control plane cannot be replaced", ""},
	} {
		c, machines := two()
		reasons := checkRecord(c, &test.record, test.members, machines, test.trusting)
		if got := strings.Join(reasons, "; "); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: refused for %q, want %q", name, got, test.want)
		}
		if test.want == "" && (test.record.Pods != "10.244.0.0/16" || test.record.Services != "10.96.0.0/16") {
			t.Errorf("%s: the record is %+v", name, test.record)
		}
	}
}

func TestKubernetesVersion(t *testing.T) {
	for _, test := range []struct{ want, runs, version, err string }{
		{"1.36", "", "1.36.3", ""},
		{"1.36.1", "", "1.36.1", ""},
		{"1.36", "1.36.1", "1.36.1", ""},
		{"1.36.1", "1.36.1", "1.36.1", ""},
		{"1.36.3", "1.36.1", "", "upgrades are not supported yet"},
		{"1.35", "1.36.1", "", "upgrades are not supported yet"},
		{"1.3", "1.36.1", "", "upgrades are not supported yet"},
		{"1.37", "", "", "no patch release"},
	} {
		version, err := kubernetesVersion(test.want, test.runs)
		if version != test.version || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %q, %v", test, version, err)
		}
	}
}

// One that does not answer leaves the others free; an answer that is wrong
// refuses everything.
func TestPrepare(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		refused bool
	}{
		"unreachable": {&host.ConnectError{Node: "nuc02", Op: "dial", Err: errors.New("no route to host"), Transient: true}, false},
		"wrong key":   {&host.ConnectError{Node: "nuc02", Op: "login", Err: errors.New("no key fits")}, true},
		"host key":    {&host.HostKeyError{Node: "nuc02"}, true},
	} {
		c, _ := two()
		f := NewFleet(c, func(_ context.Context, n *inventory.Node) (Remote, error) {
			if n.Name == "nuc02" {
				return nil, test.err
			}
			return newLocal(t), nil
		})
		site, failed, err := f.Prepare(context.Background(), func(string, string, string) error { return nil })
		var refused *RefusedError
		if failed["nuc02"] == nil {
			t.Errorf("%s: nuc02 is not among the failed", name)
		}
		if test.refused {
			if !errors.As(err, &refused) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		// This computer may be refused for what it is (ports, runtimes), but
		// never for the machine that is off.
		if err != nil && strings.Contains(err.Error(), "nuc02") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && len(site.Missing()) != 1 {
			t.Errorf("%s: missing %v", name, site.Missing())
		}
	}
}

// Examine goes on behind the first thing that is wrong: what machines are, what
// the cluster's record says, and which Kubernetes is wanted.
func TestExamine(t *testing.T) {
	c, _ := two()
	c.Kubernetes = "1.37"
	one, other := newAnswering("m1"), newAnswering("m2")
	record, _ := json.Marshal(RecordCopy{Cluster: Resolved{UID: "u", Kubernetes: "1.36.1", Pods: "10.1.0.0/16"}, Members: map[string]Member{"nuc02": {MachineID: "m9", Address: "192.168.1.12"}}})
	one.fields["record"], one.fields["kubeadm"], one.fields["made"] = base64.StdEncoding.EncodeToString(record), "yes", "yes"
	for id, m := range map[string]*answering{"m1": one, "m2": other} {
		identity, _ := json.Marshal(Identity{Cluster: "nucs", UID: "u", Node: strings.Replace(id, "m", "nuc0", 1), MachineID: id})
		m.fields["identity"] = base64.StdEncoding.EncodeToString(identity)
	}
	one.fields["memory"] = "1000"
	fleet := func(err error) *Fleet {
		return NewFleet(c, func(_ context.Context, n *inventory.Node) (Remote, error) {
			if n.Name == "nuc01" {
				return one, nil
			}
			return other, err
		})
	}
	every := func(string, string, string) error { return nil }
	x, err := fleet(nil).Examine(t.Context(), every)
	if err != nil || x.Err != nil || x.Site == nil || x.Plannable() {
		t.Fatalf("%+v, %v", x, err)
	}
	var got []string
	for _, p := range x.Problems {
		got = append(got, p.Node+"/"+p.Check)
	}
	if want := "nuc01/memory /record /record nuc02/record"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s\n%v", got, want, x.Problems)
	}
	site, _, err := fleet(nil).Prepare(t.Context(), every)
	if reasons := Reasons(err); site != nil || len(reasons) != len(x.Problems) {
		t.Errorf("up is refused for %q", reasons)
	}

	c.Kubernetes, c.Network.Pods = "1.36", netip.MustParsePrefix("10.1.0.0/16")
	for _, test := range []struct {
		err       error
		plannable bool
	}{
		{&host.ConnectError{Node: "nuc02", Op: "dial", Err: errors.New("no route to host"), Transient: true}, true},
		{&host.HostKeyError{Node: "nuc02"}, false},
	} {
		x, err := fleet(test.err).Examine(t.Context(), every)
		if err != nil || x.Failed["nuc02"] == nil || len(x.Problems) != 1 || x.Plannable() != test.plannable {
			t.Errorf("%v: %+v, %v", test.err, x, err)
		}
	}
}

// A cluster that was made and does not answer is not taken for one without a
// record; one whose init was interrupted has none yet.
func TestResolveWithoutAPI(t *testing.T) {
	c, machines := two()
	c.Kubernetes = "1.36"
	f := NewFleet(c, func(context.Context, *inventory.Node) (Remote, error) { return silent{newLocal(t)}, nil })
	facts, err := f.Read(context.Background(), []Query{recordQuery})
	record := recordRead{facts, err}
	one := machines["nuc01"]
	one.Kubeadm = true
	machines["nuc01"] = one
	if r, _, err := f.resolve(machines, uidOf(machines), record); err != nil || r.Kubernetes != "1.36.3" {
		t.Errorf("interrupted: %+v, %v", r, err)
	}
	one.Made = true
	machines["nuc01"] = one
	_, _, err = f.resolve(machines, uidOf(machines), record)
	if err == nil || !strings.Contains(err.Error(), "nuc01") || !strings.Contains(err.Error(), "journalctl") {
		t.Errorf("made: %v", err)
	}
	one.Record = &RecordCopy{Cluster: Resolved{UID: "u", Kubernetes: "1.36.1", Replication: 3}, Members: map[string]Member{"nuc09": {}}}
	machines["nuc01"] = one
	r, members, err := f.resolve(machines, uidOf(machines), record)
	if err != nil || r.Kubernetes != "1.36.1" || r.Replication != 3 || len(members) != 1 {
		t.Errorf("made, with a copy of the record: %+v, %v, %v", r, members, err)
	}
}

// silent is a control plane without its credentials, whose API nobody can ask.
type silent struct{ *local }

func (silent) ReadFile(context.Context, string) ([]byte, error) { return nil, os.ErrNotExist }

// What kubeadm init wrote anew is what the API is asked with.
func TestForgetKube(t *testing.T) {
	c, _ := two()
	r := &withConf{local: newLocal(t), server: "https://127.0.0.1:1"}
	f := NewFleet(c, func(context.Context, *inventory.Node) (Remote, error) { return r, nil })
	server := func() string {
		k, err := f.Kube(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return k.Rest().Host
	}
	first := server()
	r.server = "https://127.0.0.1:2"
	if again := server(); again != first {
		t.Errorf("%s, then %s: the credentials are read more than once", first, again)
	}
	f.forgetKube()
	if now := server(); now != r.server {
		t.Errorf("the client is still that of %s", now)
	}
}

// withConf is a control plane with a kubeconfig for a server.
type withConf struct {
	*local
	server string
}

func (r *withConf) ReadFile(context.Context, string) ([]byte, error) {
	return []byte("apiVersion: v1\nkind: Config\ncurrent-context: x\n" +
		"clusters: [{name: c, cluster: {server: \"" + r.server + "\"}}]\n" +
		"users: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"), nil
}

func TestClockOffset(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, int64(s*1e9)) }
	for _, test := range []struct {
		sent, came, begin, end float64
		want                   time.Duration
	}{
		{0, 1, 0.1, 0.9, 0},
		{0, 9, 8, 8.9, 0},   // sudo took eight seconds
		{0, 9, 0.1, 0.2, 0}, // the answer did
		{0, 1, 60.1, 60.9, 59900 * time.Millisecond},
		{0, 1, -59.9, -59.1, -59900 * time.Millisecond},
		{0, 9, 68, 68.9, 59900 * time.Millisecond},
	} {
		got := clockOffset(at(test.sent), at(test.came), at(test.begin), at(test.end)).Round(time.Millisecond)
		if got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// Under the lock everything is asked anew: what another run recorded in
// between counts, what belongs to nobody yet keeps the UID that was shown, and
// a machine that answers only now is not worked on, for nobody locked it.
func TestPrepareAgain(t *testing.T) {
	c, _ := two()
	c.Kubernetes = "1.36"
	one, other := newAnswering("m1"), newAnswering("m2")
	off := true
	f := NewFleet(c, func(_ context.Context, n *inventory.Node) (Remote, error) {
		switch {
		case n.Name == "nuc01":
			return one, nil
		case off:
			return nil, &host.ConnectError{Node: n.Name, Op: "dial", Err: errors.New("no route to host"), Transient: true}
		}
		return other, nil
	})
	every := func(string, string, string) error { return nil }
	first, failed, err := f.Prepare(context.Background(), every)
	if err != nil {
		t.Fatal(err)
	}
	off = false
	again, left, err := f.PrepareAgain(context.Background(), first, failed, every)
	if err != nil {
		t.Fatal(err)
	}
	if again.Resolved != first.Resolved || again.Resolved.UID == "" {
		t.Errorf("resolved %+v, then %+v", first.Resolved, again.Resolved)
	}
	if left["nuc02"] == nil || len(again.Reachable()) != 1 {
		t.Errorf("failed %v, reachable %v: nuc02 is not locked", left, again.Reachable())
	}

	identity, _ := json.Marshal(Identity{Cluster: "nucs", UID: "theirs", Node: "nuc01", MachineID: "m1"})
	record, _ := json.Marshal(RecordCopy{Cluster: Resolved{UID: "theirs", Kubernetes: "1.36.1", Replication: 3},
		Members: map[string]Member{"nuc01": {MachineID: "m1", Address: "192.168.1.11"}, "nuc09": {MachineID: "m9", Address: "192.168.1.19"}}})
	one.fields["identity"], one.fields["record"] = base64.StdEncoding.EncodeToString(identity), base64.StdEncoding.EncodeToString(record)
	one.fields["kubeadm"], one.fields["made"] = "yes", "yes"
	again, _, err = f.PrepareAgain(context.Background(), first, failed, every)
	if err != nil {
		t.Fatal(err)
	}
	if again.Resolved.UID != "theirs" || again.Resolved.Kubernetes != "1.36.1" || again.Members["nuc09"].MachineID != "m9" {
		t.Errorf("another run made the cluster, but this one has %+v, members %v", again.Resolved, again.Members)
	}
	one.fields["identity"] = base64.StdEncoding.EncodeToString([]byte(`{"cluster":"other","uid":"u","node":"nuc01","machine_id":"m1"}`))
	var refused *RefusedError
	if _, _, err = f.PrepareAgain(context.Background(), first, failed, every); !errors.As(err, &refused) {
		t.Errorf("another cluster took the machine: %v", err)
	}
}

// answering is a machine whose survey says what the test wants. It has no
// credentials of the API.
type answering struct {
	silent
	fields map[string]string
}

func newAnswering(machineID string) *answering {
	return &answering{fields: map[string]string{"machine-id": machineID, "ID": "ubuntu", "VERSION_ID": "24.04", "arch": "amd64", "cpus": "4",
		"memory": fmt.Sprint(int64(16) << 30), "systemd": "yes", "var-free": fmt.Sprint(int64(100) << 30), "end": ""}}
}

func (r *answering) Run(_ context.Context, c host.Command) (host.Result, error) {
	mark := regexp.MustCompile(`nucspark-[0-9a-f]{32}`).FindString(c.Script)
	now := fmt.Sprint(time.Now().UnixNano())
	out := fmt.Sprintf("%s:clock=%s\n%[1]s:clock-end=%[2]s\n", mark, now)
	for k, v := range r.fields {
		out += fmt.Sprintf("%s:%s=%s\n", mark, k, v)
	}
	return host.Result{Stdout: out}, nil
}

func (*answering) Close() error { return nil }

// An init that was interrupted may have left an API server that does not know
// its administrator yet. Once the cluster was made, no right is an error.
func TestForbiddenWhileMaking(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"configmaps is forbidden"}`)
	}))
	defer api.Close()
	c, _ := two()
	c.Nodes, c.Kubernetes = c.Nodes[:1], "1.36"
	one := &reached{newAnswering("m1"), &withConf{local: newLocal(t), server: api.URL}}
	f := NewFleet(c, func(context.Context, *inventory.Node) (Remote, error) { return one, nil })
	every := func(string, string, string) error { return nil }
	one.fields["kubeadm"] = "yes"
	if site, _, err := f.Prepare(context.Background(), every); err != nil || site.Resolved.Kubernetes != "1.36.3" {
		t.Errorf("init was interrupted: %+v, %v", site, err)
	}
	one.fields["made"] = "yes"
	if _, _, err := f.Prepare(context.Background(), every); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the cluster was made: %v", err)
	}
}

// reached is an answering machine with an API server.
type reached struct {
	*answering
	conf *withConf
}

func (r *reached) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return r.conf.ReadFile(ctx, path)
}

func (*reached) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}
