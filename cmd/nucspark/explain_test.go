package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
)

// everySite are the steps of sites that together have every kind of step: of
// the inventory with everything, made anew, changed, with machines that leave or
// were replaced, taken down, and of the tasks.
func everySite(t *testing.T) map[string][]provision.Step {
	t.Helper()
	t.Setenv("NUCSPARK_SUDO_PASSWORD", "x")
	t.Setenv("NUCSPARK_REGISTRY_PASSWORD", "x")
	site := func(change func(*inventory.Cluster, *provision.Site)) *surveyed {
		c, err := inventory.Load("../../examples/full.hcl")
		if err != nil {
			t.Fatal(err)
		}
		s := &provision.Site{Cluster: c, Machines: map[string]provision.Machine{}, Members: map[string]provision.Member{},
			Resolved: provision.Resolved{UID: "u", Kubernetes: "1.36.3", Replication: 2, Pods: "10.244.0.0/16", Services: "10.96.0.0/16"}}
		for _, n := range c.Nodes {
			s.Machines[n.Name] = provision.Machine{OS: "ubuntu", Version: "24.04", Codename: "noble", Arch: "amd64", CgroupV2: true, NFSD: true}
		}
		if change != nil {
			change(c, s)
		}
		return &surveyed{cluster: c, site: s, ledgers: map[string][]provision.Entry{}}
	}
	anew := site(func(_ *inventory.Cluster, s *provision.Site) {
		m := s.Machines["nuc04"]
		m.CloudInit = "running"
		s.Machines["nuc04"] = m
	})
	changed := site(func(c *inventory.Cluster, s *provision.Site) {
		for _, n := range c.Nodes {
			s.Members[n.Name] = provision.Member{Leaving: n.Name == "nuc03"} // its block is back
		}
		c.Mirror = inventory.Mirror{Apt: "http://192.168.1.5/apt/", Registry: "http://192.168.1.5:5000"}
		c.Cache = false
		c.Registries = nil // images of a registry with a password are not pulled before
		c.NFS.Version = "3"
		for _, n := range c.Exporters() {
			n.NFS.Server = "ganesha"
		}
	})
	leaving := site(func(_ *inventory.Cluster, s *provision.Site) {
		on := provision.Machine{}
		s.Leaving = []provision.Leaving{{Name: "nuc05", Machine: &on}, {Name: "nuc06"}}
	})
	leaving.ledgers["nuc05"] = ledgerOfAll
	replaced := site(func(_ *inventory.Cluster, s *provision.Site) {
		m := s.Machines["nuc04"]
		m.MachineID = "new"
		s.Machines["nuc04"], s.Members["nuc04"] = m, provision.Member{MachineID: "old", Replacement: "new"}
	})
	n, _ := replaced.cluster.Node("nuc02")
	v := replaced.cluster.Volumes[0]
	elsewhere := v
	elsewhere.Node = "nuc03"
	tasks := slices.Concat(kubeadm.Trust(replaced.site, "nuc04"), nfs.Forget(replaced.site, "nuc04"), hdfs.Accept(replaced.site, n, n.HDFS.Dirs[0], ""),
		nfs.Accept(replaced.site, n, "", nil), nfs.Move(replaced.site, v, n), nfs.DropOld(replaced.site, elsewhere))
	down := &downing{surveyed: *site(nil), ledgers: map[string][]provision.Entry{"nuc02": ledgerOfAll}, erase: map[string][]string{"nuc02": {"/srv/nfs"}}}
	return map[string][]provision.Step{"anew": anew.steps(), "changed": changed.steps(), "leaving": leaving.steps(), "replaced": replaced.steps(), "tasks": tasks, "down": down.steps()}
}

// ledgerOfAll has each kind of entry that is undone by a step of its own.
var ledgerOfAll = func() (entries []provision.Entry) {
	for _, e := range [][2]string{
		{"unit", "containerd.service"}, {"firewall", "table inet nucspark"}, {"ufw", "allow from 192.168.1.12 to any"}, {"firewalld", "192.168.1.12"},
		{"file", "/etc/sysctl.d/nucspark.conf"}, {"hosts", "/etc/hosts"}, {"fstab", "/etc/fstab"}, {"swap", "/swap.img"}, {"mask", "swap.img.swap"},
		{"package", "containerd.io"}, {"hold", "containerd.io"}, {"user", "spark"}, {"sysctl", "net.ipv4.ip_forward"}, {"directory", "/etc/containerd"},
		{provision.KindScratch, "/var/lib/nucspark/spark-local"}, {provision.KindData, "/srv/nfs"},
	} {
		entries = append(entries, provision.Entry{V: 1, Step: "nuc02/x", Phase: provision.Done, Kind: e[0], Key: e[1], After: "x"})
	}
	return entries
}()

// TestEveryStepIsExplained: each step has a text, and each text a step.
func TestEveryStepIsExplained(t *testing.T) {
	used := map[string]bool{}
	sites := everySite(t)
	for _, site := range slices.Sorted(maps.Keys(sites)) {
		for _, s := range sites[site] {
			found := explain(s.ID())
			name := s.ID()
			if node := provision.NodeOf(name); node != "" {
				name = strings.TrimPrefix(name, node+"/")
			}
			if len(found) != 1 || !found[0].Of(name) {
				t.Errorf("%s: nothing explains the step %s; write a text into explain.go beside it", site, s.ID())
				continue
			}
			used[found[0].Step] = true
		}
	}
	for _, e := range explain("") {
		if !used[e.Step] {
			t.Errorf("no step is called %s, which explain.go explains", e.Step)
		}
	}
}

// TestExplanations holds the form of the texts.
func TestExplanations(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range explain("") {
		if seen[e.Step] {
			t.Errorf("%s is explained twice", e.Step)
		}
		seen[e.Step] = true
		if n := strings.Count(e.Plain(), ". ") + 1; n < 2 || n > 5 || !strings.HasSuffix(e.Text, ".") {
			t.Errorf("%s: the text has %d sentences, not two to five, or its end is missing", e.Step, n)
		}
		if s := e.Summary(); len(s) > 130 || s[0] < 'A' || s[0] > 'Z' {
			t.Errorf("%s: the first sentence is too long for a list, or begins small: %q", e.Step, s)
		}
		for _, line := range strings.Split(e.Text, "\n") {
			if len(line) > 80 || line == "" || line != strings.TrimSpace(line) {
				t.Errorf("%s: the line %q is longer than 80, empty, or has blanks at an end", e.Step, line)
			}
		}
	}
}

func TestLikeStep(t *testing.T) {
	for asked, want := range map[string]string{
		"containerd/confg": "containerd/config", "nuc02/containerd/confg": "containerd/config", "kubeadm/jion": "kubeadm/join", "nothing/like/it": "",
	} {
		if want != "" {
			want = fmt.Sprintf(" did you mean %s?", want)
		}
		if got := likeStep(asked); got != want {
			t.Errorf("%s: %q, want %q", asked, got, want)
		}
	}
}
