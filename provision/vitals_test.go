package provision

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nucspark.io/nucspark/inventory"
)

// machineFiles is what a small machine shows in /proc and /sys, as far as the
// script looks: two processors, a sensor with a limit and others that must not
// be asked, and a cable.
var machineFiles = map[string]string{
	"proc/loadavg":                           "0.52 0.58 0.59 1/389 12345\n",
	"proc/stat":                              "cpu  100 5 45 800 30 0 10 10 7 0\ncpu0 50 0 20 400 10 0 5 5 0 0\ncpu1 50 5 25 400 20 0 5 5 0 0\nintr 9\n",
	"proc/meminfo":                           "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    6000000 kB\n",
	"proc/net/route":                         "Iface\tDestination\tGateway\neno1\t0001A8C0\t00000000\neno1\t00000000\t0101A8C0\n",
	"sys/class/net/eno1/operstate":           "up\n",
	"sys/class/net/eno1/speed":               "1000\n",
	"sys/class/net/eno1/statistics/rx_bytes": "5000\n",
	"sys/class/net/eno1/statistics/tx_bytes": "7000\n",
	"sys/class/hwmon/hwmon0/name":            "coretemp\n",
	"sys/class/hwmon/hwmon0/temp1_input":     "51000\n",
	"sys/class/hwmon/hwmon0/temp2_input":     "54000\n",
	"sys/class/hwmon/hwmon0/temp2_crit":      "100000\n",
	"sys/class/hwmon/hwmon1/name":            "drivetemp\n",
	"sys/class/hwmon/hwmon1/temp1_input":     "99000\n",
	"sys/class/thermal/thermal_zone0/type":   "acpitz\n",
	"sys/class/thermal/thermal_zone0/temp":   "97000\n",
}

// ask runs the script in the shell of this computer, over files of the test.
func ask(t *testing.T, files map[string]string, paths ...string) (Vitals, error) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		if text == "" {
			continue
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.NewReplacer("/proc/", root+"/proc/", "/sys/", root+"/sys/").Replace(vitalsScript(paths))
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return parseVitals(string(out))
}

func TestVitals(t *testing.T) {
	data := t.TempDir() + "/a b\\n"
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := ask(t, machineFiles, data, "/not/there")
	if err != nil {
		t.Fatal(err)
	}
	want := Vitals{CPUs: 2, Load: 0.52, Memory: 8000000 * 1024, MemoryUsed: 2000000 * 1024, Celsius: 54, Critical: 100,
		Disks: []DiskUse{{Path: data}}, Link: &Link{Name: "eno1", Up: true, Megabits: 1000, received: 5000, sent: 7000}, busy: 170, ticks: 1000}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Vitals{}, Link{}), cmpopts.IgnoreFields(DiskUse{}, "Size", "Used", "Free")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := got.Disks[0]; d.Size <= 0 || d.Used < 0 || d.Used+d.Free > d.Size || d.Share() < 0 || d.Share() > 1 {
		t.Errorf("the disk of this computer: %+v", d)
	}
}

// A machine tells what it has, and is not asked for more.
func TestVitalsWithout(t *testing.T) {
	for name, test := range map[string]struct {
		change map[string]string // "" for a file that is not there
		check  func(Vitals) bool
	}{
		"no sensors":          {map[string]string{"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/thermal/thermal_zone0/type": "iwlwifi_1"}, func(v Vitals) bool { return v.Celsius == 0 }},
		"only the firmware's": {map[string]string{"sys/class/hwmon/hwmon0/name": ""}, func(v Vitals) bool { return v.Celsius == 97 && v.Critical == 0 }},
		"nonsense":            {map[string]string{"sys/class/hwmon/hwmon0/temp1_input": "-128000", "sys/class/hwmon/hwmon0/temp2_input": "not", "sys/class/thermal/thermal_zone0/temp": "1e9"}, func(v Vitals) bool { return v.Celsius == 0 }},
		"no route":            {map[string]string{"proc/net/route": "Iface\tDestination\n"}, func(v Vitals) bool { return v.Link == nil }},
		"no speed":            {map[string]string{"sys/class/net/eno1/speed": "-1"}, func(v Vitals) bool { return v.Link.Megabits == 0 && v.Link.Up }},
		"no cable":            {map[string]string{"sys/class/net/eno1/operstate": "down", "sys/class/net/eno1/speed": ""}, func(v Vitals) bool { return !v.Link.Up }},
	} {
		files := map[string]string{}
		for k, text := range machineFiles {
			files[k] = text
		}
		for k, text := range test.change {
			files[k] = text
		}
		v, err := ask(t, files)
		if err != nil || !test.check(v) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if _, err := ask(t, map[string]string{}); err == nil {
		t.Error("a machine without /proc says how it does")
	}
}

// This computer answers, and twice makes a difference.
func TestVitalsHere(t *testing.T) {
	f, _, _ := oneNode(t)
	first, err := f.Vitals(t.Context(), "nuc01", []string{"/"})
	if err != nil {
		t.Fatal(err)
	}
	if first.CPUs < 1 || first.Memory < 1<<20 || first.MemoryUsed > first.Memory || len(first.Disks) != 1 || first.Use != nil {
		t.Errorf("%+v", first)
	}
}

func TestVitalsHostile(t *testing.T) {
	const good = "cpu 1 2 3 4\nMemTotal: 5 kB\n"
	for _, out := range []string{"", "end\n", good, "load nan\n" + good, strings.Repeat("x", 1<<16)} {
		if v, err := parseVitals(out); err == nil {
			t.Errorf("%.40q is taken for %+v", out, v)
		}
	}
	for _, out := range []string{"load nan\n", "load -1\n", "load 1e99\n", "load\n", "link \x1b[2Jx up 1 2 3\ndisk 1 2 3 /\x1b[31m\n", "link\ndisk\ntemp\ncpu\nMemAvailable: 99\n", "disk 9223372036854775807 9223372036854775807 9223372036854775807 /\n"} {
		v, err := parseVitals(good + out + "end\n")
		if err != nil {
			t.Errorf("%q: %v", out, err)
		}
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "u001b") {
			t.Errorf("%q: %s, %v", out, text, err)
		}
		if strings.Contains(strings.Join(v.Warnings(), ""), "\x1b") {
			t.Errorf("%q: %q", out, v.Warnings())
		}
	}
}

func TestSince(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(seconds int, busy, ticks, received, sent uint64) Vitals {
		return Vitals{at: at.Add(time.Duration(seconds) * time.Second), busy: busy, ticks: ticks, Link: &Link{Name: "eno1", received: received, sent: sent}}
	}
	before := look(0, 100, 1000, 5000, 7000)
	v := look(2, 150, 1200, 6000, 7000).Since(before)
	if v.Use == nil || *v.Use != 0.25 || v.Link.In == nil || *v.Link.In != 500 || *v.Link.Out != 0 {
		t.Errorf("use %v, link %+v", v.Use, v.Link)
	}
	for name, v := range map[string]Vitals{
		"it started anew":   look(2, 10, 100, 50, 70).Since(before),
		"the first look":    look(2, 150, 1200, 6000, 7000).Since(Vitals{}),
		"the same moment":   look(0, 100, 1000, 5000, 7000).Since(before),
		"no link any more":  {},
		"counters that lie": look(2, 50, 1100, 1, 7001).Since(before),
	} {
		if v.Use != nil || v.Link != nil && (v.Link.In != nil || v.Link.Out != nil) {
			t.Errorf("%s: use %v, link %+v", name, v.Use, v.Link)
		}
	}
	other := look(2, 150, 1200, 6000, 9000)
	other.Link.Name = "wlp2s0"
	if v := other.Since(before); v.Use == nil || v.Link.In != nil {
		t.Errorf("another interface: use %v, link %+v", v.Use, v.Link)
	}
}

func TestWarnings(t *testing.T) {
	const gib = int64(inventory.GiB)
	for _, test := range []struct {
		v    Vitals
		want []string
	}{
		{Vitals{Memory: 8 * gib, MemoryUsed: 7 * gib, Celsius: 89, Disks: []DiskUse{{Path: "/data", Used: 90, Free: 10}}, Link: &Link{Name: "eno1", Up: true}}, nil},
		{Vitals{Memory: 100 * gib, MemoryUsed: 96 * gib}, []string{"4.0 GiB of its memory of 100.0 GiB are left"}},
		{Vitals{Disks: []DiskUse{{Path: "/a", Size: 200 * gib, Used: 95 * gib, Free: 5 * gib}, {Path: "/b"}}}, []string{"/a is 95 % full, 5.0 GiB are free"}},
		{Vitals{Celsius: 90}, []string{"it is 90 °C hot"}},
		{Vitals{Celsius: 90, Critical: 100}, nil},
		{Vitals{Celsius: 80, Critical: 84}, []string{"it is 80 °C hot"}},
		{Vitals{Link: &Link{Name: "eno1"}}, []string{"its network interface eno1 is down"}},
	} {
		if diff := cmp.Diff(test.want, test.v.Warnings()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.v, diff)
		}
	}
}

func TestDataPaths(t *testing.T) {
	n := &inventory.Node{HDFS: &inventory.NodeHDFS{Dirs: []string{"/data/a", "/data/b"}}, NFS: &inventory.NodeNFS{Export: "/srv/nfs"}}
	if diff := cmp.Diff([]string{"/data/a", "/data/b", "/srv/nfs", "/var"}, DataPaths(n)); diff != "" {
		t.Error(diff)
	}
}

func TestFactsWith(t *testing.T) {
	a, b := ModuleQuery{"nuc01", "overlay"}, ModuleQuery{"nuc01", "nfs"}
	first := NewFacts(map[Query]any{a: ModuleFact{}})
	all := first.With(NewFacts(map[Query]any{b: ModuleFact{}}), NewFacts(map[Query]any{a: ModuleFact{Present: true}}))
	if !a.In(all).Present || b.In(all).Present || a.In(first).Present {
		t.Errorf("%+v", all)
	}
}
