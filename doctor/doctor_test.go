package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

func three() *inventory.Cluster {
	return &inventory.Cluster{File: "cluster.hcl", Nodes: []inventory.Node{
		{Name: "nuc01", Role: inventory.ControlPlane, Address: netip.MustParseAddr("192.168.1.11"), HostKey: "ssh-ed25519 x"},
		{Name: "nuc02", Role: inventory.Worker, Address: netip.MustParseAddr("192.168.1.12")},
		{Name: "nuc03", Role: inventory.Worker, Address: netip.MustParseAddr("192.168.1.13")},
	}}
}

func machine(id string) provision.Machine {
	return provision.Machine{MachineID: id, OS: "debian", Version: "12", Arch: "amd64", CPUs: 4, Memory: 16 << 30, Systemd: true, CgroupV2: true, VarFree: 100 << 30}
}

// short is a finding as one text.
func short(all []Finding) string {
	var texts []string
	for _, f := range all {
		word := "ok"
		if !f.OK {
			word = "stops"
		} else if f.Problem != "" {
			word = "note"
		}
		texts = append(texts, strings.TrimPrefix(f.Node+"/"+f.Check, "/")+" "+word)
	}
	return strings.Join(texts, ", ")
}

// One report with a bit of everything, as a person reads it.
func TestLines(t *testing.T) {
	c := three()
	one, two := machine("m1"), machine("m2")
	one.Identity, one.CgroupV2, one.Holder = &provision.Identity{}, false, &provision.Holder{}
	x := &provision.Examination{Machines: map[string]provision.Machine{"nuc01": one, "nuc02": two},
		Failed: map[string]error{"nuc03": &host.ConnectError{Node: "nuc03", Address: "192.168.1.13:22", Op: "dial", Err: errors.New("no route to host"), Hint: "is the machine on?", Transient: true}},
		Problems: []provision.Problem{
			{Check: provision.CheckPorts, Node: "nuc02", Text: "port 10250 is needed and in use there by \x1b[2Jnginx (pid 7)", Remedy: "stop that service"},
			{Check: provision.CheckRecord, Text: "the network of pods cannot change", Remedy: "put it back"},
		}}
	all := append(Inventory(c, nil), fine(checkState, ""))
	all = append(all, Machines(c, x, nil)...)
	all = append(all, Plan(c, &provision.Plan{Steps: []*provision.Planned{
		{Step: provision.Milestone{Name: "nuc02/hdfs/dirs"}, Err: errors.New("/data/hdfs on nuc02 is not empty: it is not taken over; take an empty directory")},
		{Step: provision.Milestone{Name: "cluster/hdfs"}, Err: &provision.RefusedError{Reasons: []string{"nuc09: 3 blocks are on it alone; add a machine"}}},
	}}, nil, nil, []string{"nuc09 is a member and not in the file"})...)
	if n := Stops(all); n != 6 {
		t.Errorf("%d things stop up", n)
	}
	golden.Check(t, "lines.golden", strings.Join(Lines(all), "\n")+"\n")
}

func TestFailure(t *testing.T) {
	connect := func(op string, transient bool) error {
		return &host.ConnectError{Node: "nuc02", Address: "a:22", Op: op, Err: errors.New("why"), Hint: "what to do", Transient: transient}
	}
	for name, test := range map[string]struct {
		err                   error
		want, problem, remedy string
	}{
		"off":            {connect("dial", true), "n/reach stops", "a:22: dial: why", "what to do"},
		"no sshd":        {connect("log in", true), "n/reach stops", "a:22: log in: why", "what to do"},
		"no key fits":    {connect("log in", false), "n/reach ok, n/host-key ok, n/login stops", "a:22: log in: why", "what to do"},
		"no shell":       {connect("session", false), "n/reach ok, n/host-key ok, n/login stops", "a:22: session: why", "what to do"},
		"sudo":           {connect("sudo", false), "n/reach ok, n/host-key ok, n/login ok, n/sudo stops", "a:22: sudo: why", "what to do"},
		"lost":           {connect("run", true), "n/reach ok, n/host-key ok, n/login ok, n/survey stops", "a:22: run: why", "what to do"},
		"a new key":      {&host.HostKeyError{Node: "n", Address: "a:22", Got: "SHA256:x"}, "n/reach ok, n/host-key stops", "the host key SHA256:x is not known", "accept it, or set host_key"},
		"another key":    {&host.HostKeyError{Node: "n", Address: "a:22", Got: "SHA256:x", Want: "SHA256:y"}, "n/reach ok, n/host-key stops", "the machine has SHA256:x", "installed anew"},
		"a command":      {&host.CommandError{Node: "n", Command: "x", Code: 1}, "n/reach ok, n/host-key ok, n/login ok, n/sudo ok, n/survey stops", "exited with code 1", ""},
		"an odd answer":  {errors.New("n: identity.json is damaged; look at it"), "n/survey stops", "identity.json is damaged", "look at it"},
		"no known_hosts": {fmt.Errorf("n: known hosts: %w", os.ErrPermission), "n/survey stops", "known hosts: permission denied", ""},
	} {
		all := failure("n", test.err)
		last := all[len(all)-1]
		if short(all) != test.want || !strings.Contains(last.Problem, test.problem) || !strings.Contains(last.Remedy, test.remedy) || strings.HasPrefix(last.Problem, "n: ") {
			t.Errorf("%s: %s, %+v", name, short(all), last)
		}
	}
}

func TestMachines(t *testing.T) {
	all := "route ok, reach ok, host-key ok, login ok, sudo ok, "
	bare := "system ok, machine-id ok, address ok, memory ok, cpus ok, clock ok, cluster ok, disk ok, mirror ok, runtime ok, resolver ok, ports ok, lock ok, cgroups ok"
	for name, test := range map[string]struct {
		change func(x *provision.Examination, m *provision.Machine)
		route  error
		want   string // of nuc02
	}{
		"fine": {func(*provision.Examination, *provision.Machine) {}, nil, all + bare},
		"set up": {func(_ *provision.Examination, m *provision.Machine) {
			m.Identity, m.VarFree, m.Unreachable = &provision.Identity{}, 1<<20, []string{"mirror:80"}
		}, nil, all + "mirror note, disk note, system ok, machine-id ok, address ok, memory ok, cpus ok, clock ok, cluster ok, lock ok, cgroups ok"},
		"a problem": {func(x *provision.Examination, _ *provision.Machine) {
			x.Problems = []provision.Problem{{Check: provision.CheckMemory, Node: "nuc02", Text: "small"}, {Check: provision.CheckRecord, Node: "nuc02", Text: "another machine"}}
		}, nil, all + "memory stops, record stops, " + strings.Replace(bare, "memory ok, ", "", 1)},
		"a route that only seems missing": {func(*provision.Examination, *provision.Machine) {}, errors.New("network is unreachable"), all + bare},
		"no route": {func(x *provision.Examination, _ *provision.Machine) {
			delete(x.Machines, "nuc02")
			x.Failed["nuc02"] = errors.New("nuc02: off")
		}, errors.New("network is unreachable"), "route stops"},
		"off": {func(x *provision.Examination, _ *provision.Machine) {
			delete(x.Machines, "nuc02")
			x.Failed["nuc02"] = errors.New("nuc02: off")
		}, nil, "route ok, survey stops"},
	} {
		m := machine("m2")
		x := &provision.Examination{Machines: map[string]provision.Machine{"nuc01": machine("m1"), "nuc02": m, "nuc03": machine("m3")}, Failed: map[string]error{}}
		test.change(x, &m)
		if _, ok := x.Machines["nuc02"]; ok {
			x.Machines["nuc02"] = m
		}
		var of []Finding
		for _, f := range Machines(three(), x, map[string]error{"nuc02": test.route}) {
			if f.Node == "nuc02" {
				f.Node = ""
				of = append(of, f)
			}
		}
		if got := short(of); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestOwnClock(t *testing.T) {
	for name, test := range map[string]struct {
		offsets []time.Duration
		mine    bool
	}{
		"all fine":       {[]time.Duration{0, time.Second, -time.Second}, false},
		"one is wrong":   {[]time.Duration{0, time.Hour}, false},
		"mine":           {[]time.Duration{time.Hour, time.Hour + time.Second, time.Hour}, true},
		"all differ":     {[]time.Duration{time.Hour, 2 * time.Hour}, false},
		"only one asked": {[]time.Duration{time.Hour}, false},
		"nobody":         {nil, false},
	} {
		c := three()
		x := &provision.Examination{Machines: map[string]provision.Machine{}, Failed: map[string]error{}}
		for i, o := range test.offsets {
			m := machine("m")
			m.ClockOffset = o
			x.Machines[c.Nodes[i].Name] = m
			if o.Abs() > provision.MostOffset {
				x.Problems = append(x.Problems, provision.Problem{Check: provision.CheckClock, Node: c.Nodes[i].Name, Text: "off"})
			}
		}
		c.Nodes = c.Nodes[:len(test.offsets)]
		stopping := 0
		for _, f := range Machines(c, x, nil) {
			if !f.OK {
				stopping++
				if test.mine && (f.Check != checkOwnClock || !strings.Contains(f.Problem, "1h0m0s")) {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		want := len(x.Problems)
		if test.mine {
			want = 1
		}
		if stopping != want {
			t.Errorf("%s: %d findings stop up, want %d", name, stopping, want)
		}
	}
}

func TestKey(t *testing.T) {
	for name, test := range map[string]struct {
		m     host.Means
		asked bool
		want  string
	}{
		"a file":               {host.Means{Files: []string{"/k"}}, false, "ssh-key ok"},
		"an agent":             {host.Means{Agent: 1}, false, "ssh-key ok"},
		"a password":           {host.Means{Password: true}, false, "ssh-key ok"},
		"nothing":              {host.Means{Notes: []string{"the key file cannot be read"}}, true, "ssh-key stops"},
		"a passphrase, asked":  {host.Means{Files: []string{"/k"}, Locked: []string{"/k"}}, true, "ssh-key note"},
		"a passphrase, nobody": {host.Means{Files: []string{"/k"}, Locked: []string{"/k"}}, false, "ssh-key stops"},
		"another key too":      {host.Means{Files: []string{"/k", "/l"}, Locked: []string{"/k"}}, false, "ssh-key note"},
		"an agent that is off": {host.Means{Files: []string{"/k"}, Notes: []string{"the ssh agent does not answer"}}, false, "ssh-key note"},
	} {
		if got := short(Key(test.m, test.asked)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestInventory(t *testing.T) {
	c := three()
	if got := short(Inventory(c, nil)); got != "inventory ok" {
		t.Error(got)
	}
	c.Warnings = inventory.Diagnostics{{Severity: inventory.Warning, Summary: "a worker stores nothing", File: "c.hcl", Line: 3, In: "node nuc02"}}
	if all := Inventory(c, nil); short(all) != "inventory note" || all[0].Problem != "c.hcl:3, in node nuc02: a worker stores nothing" {
		t.Errorf("%+v", all)
	}
	wrong := inventory.Diagnostics{{Severity: inventory.Error, Summary: "one", Detail: "do\nthis", File: "c.hcl"}, {Severity: inventory.Error, Summary: "two", File: "c.hcl"}}
	if all := Inventory(nil, wrong); short(all) != "inventory stops, inventory stops" || all[0].Remedy != "do this" {
		t.Errorf("%+v", all)
	}
	if got := short(Inventory(nil, errors.New("there is no inventory"))); got != "inventory stops" {
		t.Error(got)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := path("good", "192.168.1.12 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGCFki6obKSeVy30JGRvhN6XaEdaQYyYFdPj/4lSby8\n")
	bad := path("bad", "192.168.1.12 ssh-ed25519 !!!\n")
	for file, want := range map[string]bool{
		good: true, bad: false, filepath.Join(dir, "new", "known_hosts"): true,
		filepath.Join(good, "below-a-file"): false, dir: false,
	} {
		if f := KnownHosts(three(), file); f.OK != want {
			t.Errorf("%s: %+v", file, f)
		}
	}
	pinned := three()
	for i := range pinned.Nodes {
		pinned.Nodes[i].HostKey = "ssh-ed25519 x"
	}
	if f := KnownHosts(pinned, bad); !f.OK {
		t.Errorf("the file is not read: %+v", f)
	}
	if f := State(filepath.Join(dir, "a", "b")); !f.OK {
		t.Errorf("%+v", f)
	}
	if f := State(filepath.Join(good, "state")); f.OK || !strings.Contains(f.Problem, "is no directory") {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made a directory: %v", err)
	}
}

func TestRoute(t *testing.T) {
	if err := Route(netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Errorf("to this computer itself: %v", err)
	}
	if err := Route(netip.MustParseAddr("::1")); err == nil {
		t.Error("IPv4 leads to an address of IPv6")
	}
}

func TestPlan(t *testing.T) {
	c := three()
	for name, test := range map[string]struct {
		all  []Finding
		want string
	}{
		"fine":     {Plan(c, &provision.Plan{}, nil, nil, nil), "plan ok"},
		"no plan":  {Plan(c, nil, errors.New("nuc02: the connection was lost"), nil, nil), "nuc02/plan stops"},
		"leaving":  {Plan(c, nil, nil, &provision.RefusedError{Reasons: []string{"nuc04: another machine answers", "nuc05: so here"}}, nil), "leaving stops, leaving stops"},
		"a member": {Plan(c, &provision.Plan{}, nil, nil, []string{"nuc09 is a member"}), "members note, plan ok"},
	} {
		if got := short(test.all); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
