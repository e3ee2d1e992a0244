package discover

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Verdict is what is wrong with one machine.
type Verdict struct {
	Problems []string // nucspark up would refuse it
	Warnings []string // it would work, but not well, or not with all it has
	Aside    bool     // it is not to be proposed, although it would do
}

// Judge looks at machines, each by itself and together. supported says why a
// system is not supported, nil when it is.
func Judge(machines []Machine, supported func(os, version, arch string) error) map[netip.Addr]Verdict {
	verdicts := map[netip.Addr]Verdict{}
	byID := map[string]netip.Addr{}
	for _, m := range sorted(machines) {
		var v Verdict
		if m.Identity == nil {
			v.Problems = refused(m, supported)
		} else {
			v.Warnings = append(v.Warnings, fmt.Sprintf("it belongs to the cluster %q, as %q", m.Identity.Cluster, m.Identity.Node))
		}
		if first, twice := byID[m.MachineID]; twice && m.MachineID != "" {
			v.Problems = append(v.Problems, fmt.Sprintf("it has the machine-id of %s: one machine with two addresses, or a cloned disk; on a clone run rm /etc/machine-id && systemd-machine-id-setup, then reboot it", first))
		} else {
			byID[m.MachineID] = m.Address
		}
		if l := m.Link(); l != nil && l.Wireless {
			v.Aside = true
			v.Warnings = append(v.Warnings, "it is reached over Wi-Fi only: HDFS and Spark move much data; give it a cable")
			if slices.ContainsFunc(m.Links, func(l Link) bool { return !l.Wireless && l.Up }) {
				v.Warnings[len(v.Warnings)-1] = "this is its Wi-Fi address: it has a cable too, use the address of that"
			}
		} else if l != nil && l.Speed > 0 && l.Speed < 1000 {
			v.Warnings = append(v.Warnings, fmt.Sprintf("its network runs at %d Mbit/s only: look at cable and switch", l.Speed))
		}
		for _, p := range m.Places() {
			if p.Why != "" {
				v.Warnings = append(v.Warnings, p.Why+": left alone")
			}
		}
		for _, d := range m.Disks {
			switch {
			case d.Content == "empty":
				v.Warnings = append(v.Warnings, fmt.Sprintf("%s (%s) is empty: nucspark formats nothing; make a file system, mount it by /etc/fstab, and look again", d.Name, inventory.Size(d.Size).Human()))
			case strings.Contains(d.Content, "not mounted"):
				v.Warnings = append(v.Warnings, fmt.Sprintf("%s (%s) %s: left alone", d.Name, inventory.Size(d.Size).Human(), d.Content))
			}
		}
		verdicts[m.Address] = v
	}
	return verdicts
}

// refused are the reasons for which nucspark up would refuse a machine as a
// worker.
func refused(m Machine, supported func(os, version, arch string) error) []string {
	name := m.Address.String()
	// The other node is not there; a cluster has a control plane.
	c := &inventory.Cluster{Nodes: []inventory.Node{
		{Name: name, Address: m.Address, Role: inventory.Worker}, {Name: "control plane", Role: inventory.ControlPlane}}}
	var reasons []string
	for _, p := range provision.Check(c, map[string]provision.Machine{name: m.Machine}, supported) {
		p.Node = ""
		reasons = append(reasons, p.String())
	}
	return reasons
}

// sorted are machines by address.
func sorted(machines []Machine) []Machine {
	return slices.SortedFunc(slices.Values(machines), func(a, b Machine) int { return a.Address.Compare(b.Address) })
}
