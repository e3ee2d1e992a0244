package ubuntu

import (
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

func done(kind, key, before, after string) provision.Entry {
	return provision.Entry{V: 1, Step: "nuc02/x", Phase: provision.Done, Kind: kind, Key: key, Before: before, After: after}
}

// undoLedger has each kind that up writes.
var undoLedger = []provision.Entry{
	done("file", provision.IdentityFile, "", "a"),
	done("user", "spark", "", "871"),
	done("fstab", "/etc/fstab", "a", ""),
	done("swap", "/dev/sda2", "", "off"),
	done("mask", "zram-generator", "", "masked"),
	done("file", "/etc/sysctl.d/nucspark.conf", "", "a"),
	done("sysctl", "net.ipv4.ip_forward", "0", "1"),
	done("module", "overlay", "", "loaded"),
	done("hosts", "/etc/hosts", "a", ""),
	done("directory", "/etc/containerd", "", "0755 root:root"),
	done("directory", "/etc/containerd/certs.d", "", "0755 root:root"),
	done("file", "/etc/containerd/certs.d/mine", "", "a"),
	done("package", "containerd.io", "", "2"),
	done("package", "kubelet", "", "1.36.3"),
	done("hold", "kubelet", "", "held"),
	done("unit", "nucspark-firewall.service", "not-found inactive", "active enabled"),
	done("firewall", "table inet nucspark", "", "a"),
	done("ufw", "allow from 192.168.1.12 to any", "", "present"),
	done("firewalld", "192.168.1.12", "", "trusted"),
	done("image", "x", "", "pulled"),
	done("kubeadm", "join", "", "1.36.3"),
	done(provision.KindData, "/data/hdfs", "0755 root:root", "0700 hdfs:hdfs"),
	done("file", "/data/hdfs/.nucspark-disk", "", "a"),
	done(provision.KindData, "/srv/nfs", "", "exists"),
	done(provision.KindScratch, "/var/lib/nucspark/spark-local", "", "0700 spark:spark"),
}

func TestUndoSteps(t *testing.T) {
	steps := UndoSteps(testSite(), "nuc02", undoLedger, []string{"/srv/nfs"}, []string{"cluster/undo/kubernetes"})
	byID := map[string]provision.Step{}
	for _, s := range steps {
		if byID[s.ID()] != nil {
			t.Errorf("two steps are called %s", s.ID())
		}
		byID[s.ID()] = s
	}
	outside := []string{provision.NodeReset("nuc02"), "cluster/undo/kubernetes"}
	var above func(id string, seen map[string]bool) map[string]bool
	above = func(id string, seen map[string]bool) map[string]bool {
		for _, need := range byID[id].Needs() {
			if slices.Contains(outside, need) || seen[need] {
				seen[need] = true
				continue
			}
			if byID[need] == nil {
				t.Fatalf("%s needs %s, which is not there", id, need)
			}
			seen[need] = true
			above(need, seen)
		}
		return seen
	}
	for id := range byID {
		if _, milestone := byID[id].(provision.Milestone); milestone {
			continue
		}
		seen := above(id, map[string]bool{})
		for _, o := range outside {
			if !seen[o] {
				t.Errorf("%s does not wait for %s", id, o)
			}
		}
		if id != "nuc02/undo/ledger" && !above("nuc02/undo/ledger", map[string]bool{})[id] {
			t.Errorf("the ledger goes before %s", id)
		}
	}
	before := func(first, then string) {
		t.Helper()
		if byID[first] == nil || !above(then, map[string]bool{})[first] {
			t.Errorf("%s does not come before %s", first, then)
		}
	}
	before("nuc02/undo/unit/nucspark-firewall.service", "nuc02/undo/firewall/table")
	before("nuc02/undo/firewall/table", "nuc02/undo/packages")
	before("nuc02/undo/file/etc/containerd/certs.d/mine", "nuc02/undo/packages")
	before("nuc02/undo/fstab/etc/fstab", "nuc02/undo/swap")
	before("nuc02/undo/swap", "nuc02/undo/packages")
	before("nuc02/undo/packages", "nuc02/undo/left/var/lib/containerd")
	before("nuc02/undo/packages", "nuc02/undo/user/spark")
	before("nuc02/undo/directory/etc/containerd/certs.d", "nuc02/undo/directory/etc/containerd")
	before("nuc02/undo/data/srv/nfs", "nuc02/undo/ledger")
	for _, id := range []string{"nuc02/undo/data/data/hdfs", "nuc02/undo/file/data/hdfs/.nucspark-disk", "nuc02/undo/directory/data/hdfs", "nuc02/undo/file/var/lib/nucspark/identity.json"} {
		if byID[id] != nil {
			t.Errorf("%s is a step", id)
		}
	}
	if s := byID["nuc02/undo/data/srv/nfs"].(provision.Emptied); s.Path != "/srv/nfs" || s.Before != "" {
		t.Errorf("%+v", s)
	}
	for _, s := range steps {
		for _, q := range s.Reads() {
			if q.On() != "nuc02" {
				t.Errorf("%s asks %q", s.ID(), q.On())
			}
		}
	}
}

// TestUndoUnknownData: a data directory that the ledger does not know is
// emptied when somebody names it, and stays.
func TestUndoUnknownData(t *testing.T) {
	s := find[provision.Emptied](t, UndoSteps(testSite(), "nuc02", nil, []string{"/data/other"}, nil), "nuc02/undo/data/data/other")
	is := provision.DiskFact{Exists: true}
	if c, err := s.Diff(provision.NewFacts(map[provision.Query]any{provision.DiskQuery{Node: "nuc02", Path: "/data/other"}: is})); err != nil || len(c) != 0 {
		t.Errorf("empty: %v, %v", c, err)
	}
	is.Entries = []string{"lost+found", "dn"}
	if c, err := s.Diff(provision.NewFacts(map[provision.Query]any{provision.DiskQuery{Node: "nuc02", Path: "/data/other"}: is})); err != nil || len(c) != 1 || !strings.Contains(c[0].Detail, "DATA") {
		t.Errorf("full: %v, %v", c, err)
	}
}

func TestUndoEdits(t *testing.T) {
	for _, old := range []string{"127.0.0.1 localhost\n", "127.0.0.1 localhost\n192.168.1.5 printer", "", "\n"} {
		h := sha256.Sum256([]byte(old))
		u := &undo{node: "nuc02", origins: []provision.Origin{{Kind: "hosts", Key: "/etc/hosts", Before: hex.EncodeToString(h[:]), Wrote: []string{""}}}}
		u.edits()
		with := replaceBlock([]byte(old), hostsBlock(testSite()))
		if got := string(u.steps[0].(edit).text(with)); got != old {
			t.Errorf("%q became %q", old, got)
		}
	}
	const tab = "UUID=1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n# /dev/sdb none swap sw 0 0"
	if got := string(uncommentSwap(commentSwap([]byte(tab)))); got != tab {
		t.Errorf("fstab became %q", got)
	}
}

func TestUfwGone(t *testing.T) {
	s := ufwGone{provision.Base{Name: "n/undo/firewall/ufw", Node: "n"}}
	got := s.rules(provision.NewFacts(map[provision.Query]any{s.query(): provision.OutputFact{Output: `Added user rules (see 'ufw status' for running firewall):
ufw allow 22/tcp
ufw allow from 192.168.1.12 comment 'nucspark'
ufw route allow to 10.244.0.0/16 comment 'nucspark'
ufw allow 80/tcp comment 'about nucspark'
`}}))
	want := [][]string{{"ufw", "delete", "allow", "from", "192.168.1.12"}, {"ufw", "route", "delete", "allow", "to", "10.244.0.0/16"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestFirewalldGone(t *testing.T) {
	s := firewalldGone{provision.Base{Name: "n/undo/firewall/firewalld", Node: "n"}, []string{"192.168.1.12", "10.244.0.0/16"}}
	for code, want := range map[int]int{0: 1, 127: 0, 252: -1} {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.state(): provision.OutputFact{Code: code},
			s.zone(): provision.OutputFact{Output: "trusted (active)\n  sources: 192.168.1.12 10.9.0.0/16\n"}}))
		if got := len(changes); want < 0 && err == nil || want >= 0 && got != want {
			t.Errorf("code %d: %v, %v", code, changes, err)
		}
	}
}

func TestSwapBack(t *testing.T) {
	s := swapBack{provision.Base{Name: "n/undo/swap", Node: "n"}, []string{"zram-generator", "dev-sda2.swap", "mine.service"}, []string{"/dev/sda2", "/dev/zram0", "/gone"}}
	link := provision.FileFact{Exists: true, Mode: 1 << 27} // fs.ModeSymlink
	facts := map[provision.Query]any{s.swap(): provision.SwapFact{}}
	for _, q := range s.Reads()[1:] {
		facts[q] = provision.FileFact{}
	}
	facts[s.file(zramConf)], facts[s.file("/etc/systemd/system/dev-sda2.swap")] = link, link
	facts[s.file("/etc/systemd/system/mine.service")] = provision.FileFact{Exists: true} // somebody's by now
	facts[s.file("/dev/sda2")] = provision.FileFact{Exists: true}
	changes, err := s.Diff(provision.NewFacts(facts))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, c := range changes {
		keys = append(keys, c.Key)
	}
	if want := []string{"zram-generator", "dev-sda2.swap", "/dev/sda2", "/dev/zram0"}; !reflect.DeepEqual(keys, want) {
		t.Errorf("changes of %v, want %v", keys, want)
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(swapBackScript(changes))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, swapBackScript(changes))
	}
}
