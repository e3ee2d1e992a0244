package ubuntu

import (
	"fmt"
	"strings"

	"nucspark.io/nucspark/provision"
)

var modules = []string{"overlay", "br_netfilter"}

// setting is one kernel setting.
type setting struct {
	key, value string
	atLeast    bool // more is fine
	optional   bool // a kernel without it is fine
}

var settings = []setting{
	{key: "net.ipv4.ip_forward", value: "1"},
	{key: "net.bridge.bridge-nf-call-iptables", value: "1"},
	{key: "net.bridge.bridge-nf-call-ip6tables", value: "1", optional: true},
	// One watch a file and one instance a process are used up by a few dozen
	// pods with the kernel's 128 instances.
	{key: "fs.inotify.max_user_instances", value: "8192", atLeast: true},
	{key: "fs.inotify.max_user_watches", value: "524288", atLeast: true},
}

func (b *builder) kernel() {
	b.add(provision.File{Base: b.base("modules/file"), Path: "/etc/modules-load.d/nucspark.conf", Mode: 0o644,
		Content: []byte("# " + signature + ".\n" + strings.Join(modules, "\n") + "\n")})
	for _, m := range modules {
		b.add(provision.Module{Base: b.base("modules/" + m), Module: m})
	}
	// systemd-sysctl reads all files in the order of their names, whatever
	// their directory; the last value counts. What must be so comes after
	// everything else, what may be more before what an administrator names 99.
	b.add(
		provision.File{Base: b.base("sysctl/file"), Path: "/etc/sysctl.d/nucspark.conf", Mode: 0o644, Content: sysctlFile(false)},
		provision.File{Base: b.base("sysctl/file-least"), Path: "/etc/sysctl.d/60-nucspark.conf", Mode: 0o644, Content: sysctlFile(true)},
	)
	for _, s := range settings {
		b.add(sysctl{Sysctl: provision.Sysctl{Base: b.base("sysctl/"+s.key, "modules/br_netfilter"), Key: s.key, Value: s.value, AtLeast: s.atLeast}, optional: s.optional})
	}
}

func sysctlFile(atLeast bool) []byte {
	var w strings.Builder
	w.WriteString("# " + signature + ".\n")
	for _, s := range settings {
		if s.atLeast != atLeast {
			continue
		}
		if s.optional {
			w.WriteString("-") // sysctl.d(5): its failure is ignored
		}
		fmt.Fprintf(&w, "%s = %s\n", s.key, s.value)
	}
	return []byte(w.String())
}

// sysctl is a setting that may be missing, or out of reach in a container.
type sysctl struct {
	provision.Sysctl
	optional bool
}

func (s sysctl) Diff(f provision.Facts) ([]provision.Change, error) {
	is := provision.SysctlQuery{Node: s.Node, Name: s.Key}.In(f)
	if s.optional && !is.Exists {
		return nil, nil
	}
	changes, err := s.Sysctl.Diff(f)
	if len(changes) > 0 && is.Exists && !is.Writable {
		return nil, fmt.Errorf("%s is %s on %s, %s is needed, and it cannot be written there; set it on the machine that carries this container",
			s.Key, is.Value, s.Node, s.Value)
	}
	return changes, err
}
