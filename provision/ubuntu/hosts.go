package ubuntu

import (
	"bytes"
	"fmt"
	"strings"

	"nucspark.io/nucspark/provision"
)

const (
	hostsFile = "/etc/hosts"
	// With manage_etc_hosts, cloud-init writes /etc/hosts at each boot from
	// this file, and says so in it.
	hostsTemplate = "/etc/cloud/templates/hosts.debian.tmpl"
	hostsManaged  = "manage_etc_hosts"

	hostsBegin = "# nucspark begin: managed by nucspark, changes in here are lost"
	hostsEnd   = "# nucspark end"
)

// hosts makes every node know the others and the control plane by name: the
// kubelet reaches the API server by it, also before any DNS runs.
func (b *builder) hosts() {
	block := hostsBlock(b.site)
	text := func(old []byte) []byte { return replaceBlock(old, block) }
	is := provision.FileQuery{Node: b.node.Name, Path: hostsFile, Content: true}
	b.add(
		edit{Base: b.base("hosts"), path: hostsFile, kind: "hosts", text: text, make: true},
		edit{Base: b.base("hosts-template"), path: hostsTemplate, kind: "hosts", text: text, only: &is,
			when: func(f provision.Facts) bool { return bytes.Contains(is.In(f).Content, []byte(hostsManaged)) }},
	)
}

func hostsBlock(site *provision.Site) string {
	var w strings.Builder
	w.WriteString(hostsBegin + "\n")
	for _, n := range site.Cluster.Nodes {
		fmt.Fprintf(&w, "%s %s\n", n.Address, n.Name)
	}
	fmt.Fprintf(&w, "%s %s\n", site.Cluster.ControlPlane().Address, provision.ControlPlaneEndpoint(site.Cluster.Name))
	w.WriteString(hostsEnd + "\n")
	return w.String()
}

// replaceBlock puts the block where one is, or at the end. A marker that lost
// its other half is taken out alone, so that no line of anybody else goes.
func replaceBlock(old []byte, block string) []byte {
	var w strings.Builder
	inside, placed := false, false
	all := lines(old)
	for i, l := range all {
		text := strings.TrimRight(l, "\r\n")
		switch {
		case !inside && text == hostsBegin && hasEnd(all[i+1:]):
			inside = true
			if !placed {
				w.WriteString(block)
				placed = true
			}
		case inside && text == hostsEnd:
			inside = false
		case !inside && (text == hostsBegin || text == hostsEnd):
		case !inside:
			w.WriteString(l)
		}
	}
	if !placed {
		if s := w.String(); s != "" && !strings.HasSuffix(s, "\n") {
			w.WriteString("\n")
		}
		w.WriteString(block)
	}
	return []byte(w.String())
}

// hasEnd says whether the block that begins before these lines ends in them.
func hasEnd(rest []string) bool {
	for _, l := range rest {
		switch strings.TrimRight(l, "\r\n") {
		case hostsEnd:
			return true
		case hostsBegin:
			return false
		}
	}
	return false
}
