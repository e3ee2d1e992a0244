package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// recorded answers the two questions of Ask as testdata/NAME.survey and
// NAME.hardware have it.
type recorded struct {
	provision.Remote
	t        *testing.T
	name     string
	password bool // sudo asks for one
	o        host.Options
}

var markForm = regexp.MustCompile(`nucspark-[0-9a-f]{32}`)

func (r *recorded) Run(_ context.Context, c host.Command) (host.Result, error) {
	if !c.Root {
		r.t.Error("asked without root")
	}
	if r.password && r.o.SudoPassword.IsZero() {
		return host.Result{}, &host.ConnectError{Node: r.name, Op: "sudo", Err: host.ErrSudoNoPassword}
	}
	file := r.name + ".survey"
	if strings.Contains(c.Script, ":filesystems") {
		file = r.name + ".hardware"
	}
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		r.t.Fatal(err)
	}
	text := strings.NewReplacer("MARK", markForm.FindString(c.Script), "CLOCK", fmt.Sprint(time.Now().UnixNano())).Replace(string(b))
	return host.Result{Stdout: text}, nil
}

func (*recorded) ReadFile(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }
func (*recorded) Close() error                                     { return nil }

func supported(os, version, _ string) error {
	if os+version == "debian11" {
		return errors.New("the system is too old")
	}
	return nil
}

// names are the machines of testdata, from 192.168.1.11 on.
var names = []string{"nuc-a", "nuc-b", "nuc-c", "clone", "wifi", "small"}

func all(t *testing.T) []Machine {
	t.Helper()
	var machines []Machine
	for i, name := range names {
		a := netip.AddrFrom4([4]byte{192, 168, 1, byte(11 + i)})
		s := Seen{Address: a, Name: "dns-" + name, Key: host.ShownKey{Authorized: testKeys[i], Fingerprint: "SHA256:" + strings.Repeat(name[:1], 43)}}
		m, err := Ask(context.Background(), s, Login{User: "ubuntu", Dial: func(_ context.Context, o host.Options) (provision.Remote, error) {
			if o.HostKey != s.Key.Authorized || o.Address != a.String()+":22" {
				t.Errorf("%s is dialled as %s with the key %q", a, o.Address, o.HostKey)
			}
			return &recorded{t: t, name: name, o: o}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		m.ClockOffset = 0
		machines = append(machines, m)
	}
	return machines
}

// testKeys are keys of nobody.
var testKeys = []string{
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGCFki6obKSeVy30JGRvhN6XaEdaQYyYFdPj/4lSby8",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPRFuANTgFvt5FAZ5t25CvjwfoHZq0EzgWaGPsZp4YiQ",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPAS/JsmBtTj/0GXnGJEoXN44S5UNAp+F3RaHPzlGTqi",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMhBR1QkFSeUlJ8wpWxgrpe7KOMd91TufbX6aewPihr/",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID2hwd6ReTKxcvFubNsM/1sPg6NAnOI5naSjdrpWHQDp",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIChPIwDXSyBbUhBeOiwBN6qcaORGzWMIGRvNWBI9Qg4u",
}

// TestAsk compares what is made of recorded answers. Tests of other folders
// read the golden file.
func TestAsk(t *testing.T) {
	b, err := json.MarshalIndent(all(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "machines.json", string(b)+"\n")
}

func TestJudge(t *testing.T) {
	var b strings.Builder
	machines := all(t)
	verdicts := Judge(machines, supported)
	for i, m := range machines {
		v := verdicts[m.Address]
		fmt.Fprintf(&b, "%s %s: %s\n", m.Address, names[i], m.Describe())
		for _, d := range m.Disks {
			fmt.Fprintf(&b, "  disk %s\n", d.Describe())
		}
		for _, p := range m.Places() {
			fmt.Fprintf(&b, "  place %s %s %s %s %s\n", p.Mount, p.HDFS, p.Export, inventory.Size(p.Size).Human(), p.Why)
		}
		for _, text := range v.Problems {
			fmt.Fprintf(&b, "  problem: %s\n", text)
		}
		for _, text := range v.Warnings {
			fmt.Fprintf(&b, "  warning: %s\n", text)
		}
		if v.Aside {
			fmt.Fprintln(&b, "  aside")
		}
	}
	golden.Check(t, "verdicts.golden", b.String())
}

func TestPlacesOfOurs(t *testing.T) {
	m := Machine{Filesystems: []Filesystem{{Mount: "/data", Source: "/dev/sda1", Size: 1 << 40}},
		Directories: map[string]Directory{"/data": {Entries: []string{"hdfs", "lost+found", "nfs"}}, "/data/hdfs": {Entries: []string{".nucspark-disk", "dn"}, Ours: true}, "/data/nfs": {}}}
	if p := m.Places()[0]; p.Why != "" {
		t.Errorf("a disk that has nucspark's data only is not proposed: %s", p.Why)
	}
	m.Directories["/data/nfs"] = Directory{Entries: []string{"thesis.pdf"}}
	if p := m.Places()[0]; p.Why != "/data holds data (nfs)" {
		t.Errorf("a directory of somebody else: %q", p.Why)
	}
}

func TestSudoPassword(t *testing.T) {
	dials := 0
	login := Login{User: "ubuntu", Dial: func(_ context.Context, o host.Options) (provision.Remote, error) {
		dials++
		return &recorded{t: t, name: "nuc-a", o: o, password: true}, nil
	}}
	if _, err := Ask(context.Background(), Seen{}, login); !errors.Is(err, host.ErrSudoNoPassword) || dials != 1 {
		t.Errorf("without a password: %v after %d attempts", err, dials)
	}
	login.SudoPassword = inventory.NewSecret("secret")
	if m, err := Ask(context.Background(), Seen{}, login); err != nil || !m.SudoPassword {
		t.Errorf("with a password: %v, it was needed: %v", err, m.SudoPassword)
	}
}

func TestCutOff(t *testing.T) {
	var m Machine
	for _, out := range []string{"", "M:model\nx\nM:disks\n", "M:model\nx\nM:disks\n{\nM:end\n", "M:directories\na b\nM:end\n", "M:directories\n! no !\nM:end\n"} {
		if err := m.parseHardware(out, "M"); err == nil {
			t.Errorf("%q is an answer", out)
		}
	}
}

// TestHostileAnswer: what a machine says goes to terminals and into comments.
func TestHostileAnswer(t *testing.T) {
	var m Machine
	out := "M:model\n\x1b[2Jevil\rname\nM:processor\nx\u202ey\nM:disks\n{\"blockdevices\":[{\"name\":\"sd\\u001b]0;x\\u0007a\",\"type\":\"disk\",\"size\":1,\"model\":\"a\\nnode {\"}]}\nM:end\n"
	if err := m.parseHardware(out, "M"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{m.Describe(), m.Disks[0].Describe(), m.Disks[0].Model} {
		if strings.ContainsAny(text, "\x1b\n\r\u202e") {
			t.Errorf("%q", text)
		}
	}
}

func TestRange(t *testing.T) {
	for text, want := range map[string]string{
		"192.168.1.11":    "192.168.1.11",
		"192.168.1.11-13": "192.168.1.11 192.168.1.12 192.168.1.13",
		"192.168.1.13, 192.168.1.11,192.168.1.11": "192.168.1.11 192.168.1.13",
		"192.168.1.254-192.168.2.1":               "192.168.1.254 192.168.1.255 192.168.2.0 192.168.2.1",
		"192.168.1.8/30":                          "192.168.1.9 192.168.1.10",
		"192.168.1.8/31":                          "192.168.1.8 192.168.1.9",
		"192.168.1.8/32":                          "192.168.1.8",
		"255.255.255.255":                         "255.255.255.255",
	} {
		got, err := Range(text)
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if err != nil || strings.Join(texts, " ") != want {
			t.Errorf("%q: %v, %v; want %s", text, texts, err, want)
		}
	}
	if got, err := Range("192.168.1.77/24"); err != nil || len(got) != 254 || got[0].String() != "192.168.1.1" || got[253].String() != "192.168.1.254" {
		t.Errorf("a network: %d addresses, %v", len(got), err)
	}
	for _, text := range []string{"", " , ", "nuc01", "192.168.1", "192.168.1.0/33", "10.0.0.0/8", "192.168.1.13-11", "192.168.1.1-256", "fd00::/120", "::1", "0.0.0.0/0", "10.0.0.0-10.255.0.0"} {
		if got, err := Range(text); err == nil {
			t.Errorf("%q are %d addresses", text, len(got))
		}
	}
}

// TestNobody: addresses where nobody is must not be shown.
func TestNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	if s := See(context.Background(), netip.MustParseAddr("127.0.0.1"), port, ""); !nobody(s.Err) {
		t.Errorf("a closed port: %v", s.Err)
	}
	if nobody(&host.HostKeyError{}) || nobody(nil) {
		t.Error("somebody is nobody")
	}
}

func TestScanStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	addresses, err := Range("127.0.0.2-200")
	if err != nil {
		t.Fatal(err)
	}
	if err := Scan(ctx, addresses, nil, "", func(Seen) { t.Error("somebody was seen") }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLocalRange(t *testing.T) {
	text, own := LocalRange()
	if len(own) == 0 {
		t.Fatal("this computer has no address, not even of the loopback")
	}
	if text == "" {
		t.Skip("this computer is in no private network")
	}
	addresses, err := Range(text)
	if err != nil || len(addresses) > 254 {
		t.Errorf("%s: %d addresses, %v", text, len(addresses), err)
	}
	in := false
	for _, a := range addresses {
		for _, o := range own {
			in = in || a == o
		}
	}
	if !in {
		t.Errorf("this computer, %v, is not in %s", own, text)
	}
}
