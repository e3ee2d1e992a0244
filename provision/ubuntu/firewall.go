package ubuntu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

const (
	firewallDir   = "/etc/nucspark"
	firewallRules = firewallDir + "/nftables.nft"
	firewallUnit  = "nucspark-firewall.service"
)

// clusterPorts are the ports that a cluster opens on the node itself. Ports of
// pods are not among them: they are in the pod network, and so are node ports,
// which become pod ports before a packet is judged.
// See https://kubernetes.io/docs/reference/networking/ports-and-protocols/.
func clusterPorts(c *inventory.Cluster, n *inventory.Node) (tcp []string) {
	tcp = []string{"10248-10259"} // kubelet, kube-proxy, controller manager, scheduler
	if n.Role == inventory.ControlPlane {
		tcp = append(tcp, "2379-2381", "6443") // etcd, API server
	}
	if slices.ContainsFunc(c.Workers(), func(w *inventory.Node) bool { return w.Name == n.Name }) {
		tcp = append(tcp, sparkPorts...)
	}
	return tcp
}

// nodePorts are those that the nodes alone have a use for: VXLAN, NFS and the
// cache believe the address that a packet comes from. Pods are not let in: their
// node mounts their volumes, and leaves the cluster with its own address.
func nodePorts(c *inventory.Cluster) (tcp, udp []string) {
	udp = []string{"8472"} // flannel's vxlan (its default port)
	if len(c.Exporters()) > 0 {
		for _, port := range provision.NFSPorts {
			tcp, udp = append(tcp, strconv.Itoa(port)), append(udp, strconv.Itoa(port))
		}
	}
	if c.Cached() {
		tcp = append(tcp, strconv.Itoa(provision.CachePort))
	}
	return tcp, udp
}

// Spark workers are on the node's own network: the master's port and all that
// is pinned above it for workers, executors and their block managers, and the
// worker's page.
var sparkPorts = []string{"7077-7999", "8081"}

// firewall keeps strangers out of what a cluster opens on a LAN.
func (b *builder) firewall() {
	rules, hash := ruleset(b.site.Cluster, b.node)
	b.add(
		provision.Directory{Base: b.base("firewall/directory"), Path: firewallDir, Mode: 0o755},
		provision.File{Base: b.base("firewall/rules", "firewall/directory"), Path: firewallRules, Content: []byte(rules), Mode: 0o644},
		provision.File{Base: b.base("firewall/unit"), Path: "/etc/systemd/system/" + firewallUnit, Content: []byte(firewallService), Mode: 0o644},
		// Changed rules are loaded by the next step in one transaction; a
		// restart would leave the ports open in between.
		provision.Unit{Base: b.base("firewall/service", "firewall/rules", "firewall/unit", "packages/system"), Unit: firewallUnit},
		firewallTable{b.base("firewall/table", "firewall/service"), rules, hash},
		ufw{b.base("firewall/ufw"), b.site.Cluster},
		firewalld{b.base("firewall/firewalld"), b.site.Cluster},
	)
}

// firewallService loads the table at boot, before there is a network, and
// again whenever nftables.service has flushed all tables. Its ordering is that
// of nftables.service in Debian.
const firewallService = `[Unit]
Description=Keeps strangers away from the cluster's ports (nucspark)
Documentation=man:nft(8)
DefaultDependencies=no
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
RequiresMountsFor=` + firewallDir + `

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f ` + firewallRules + `
ExecReload=/usr/sbin/nft -f ` + firewallRules + `
ExecStop=-/usr/sbin/nft delete table inet nucspark

[Install]
WantedBy=sysinit.target
`

// ruleset is the file that nft loads, and the hash by which the loaded table
// is recognised.
func ruleset(c *inventory.Cluster, n *inventory.Node) (rules, hash string) {
	body := tableBody(c, n)
	sum := sha256.Sum256([]byte(body))
	hash = hex.EncodeToString(sum[:6])
	var w strings.Builder
	w.WriteString("#!/usr/sbin/nft -f\n# " + signature + ". It replaces its own table in one transaction and\n# touches no other.\n")
	w.WriteString("add table inet nucspark\ndelete table inet nucspark\ntable inet nucspark {\n")
	w.WriteString("\t# The name says which rules these are.\n\tchain " + chainName(hash) + " {\n\t}\n\n")
	w.WriteString(body)
	w.WriteString("}\n")
	return w.String(), hash
}

func chainName(hash string) string { return "rules_" + hash }

// tableBody is what is in the table. An accept ends this table only: what other
// tables drop stays dropped.
func tableBody(c *inventory.Cluster, n *inventory.Node) string {
	var w strings.Builder
	inside := []netip.Prefix{c.Network.Pods, c.Network.Services}
	trusted := append([]netip.Prefix{c.Network.Pods}, c.Access.Allow...)
	var nodes []netip.Prefix
	for i := range c.Nodes {
		nodes = append(nodes, netip.PrefixFrom(c.Nodes[i].Address, c.Nodes[i].Address.BitLen()))
	}
	set := func(name, kind string, prefixes []netip.Prefix) {
		fmt.Fprintf(&w, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n", name, kind)
		if e := elements(prefixes); len(e) > 0 {
			fmt.Fprintf(&w, "\t\telements = { %s }\n", strings.Join(e, ", "))
		}
		w.WriteString("\t}\n\n")
	}
	line := func(format string, args ...any) { fmt.Fprintf(&w, "\t\t"+format+"\n", args...) }
	four := func(p netip.Prefix) bool { return p.Addr().Is4() }
	six := func(p netip.Prefix) bool { return !p.Addr().Is4() }
	set("nodes4", "ipv4_addr", nodes)
	set("trusted4", "ipv4_addr", only(trusted, four))
	set("trusted6", "ipv6_addr", only(trusted, six))
	set("inside4", "ipv4_addr", only(inside, four))
	set("inside6", "ipv6_addr", only(inside, six))
	tcp, udp := nodePorts(c)
	closed := func(to string) {
		if len(tcp) > 0 {
			line("%stcp dport %s drop", to, ports(tcp))
		}
		line("%sudp dport %s drop", to, ports(udp))
	}
	known := func(to string) {
		line("ct state established,related accept")
		line("ip saddr @nodes4 accept")
		closed(to)
		line("ip saddr @trusted4 accept")
		line("ip6 saddr @trusted6 accept")
	}
	// A service's address is gone by now: what was dialled is asked for, too.
	dialled := func() {
		line("ct original ip daddr @inside4 drop")
		line("ct original ip6 daddr @inside6 drop")
	}
	w.WriteString("\tchain input {\n")
	line("type filter hook input priority filter; policy accept;")
	line("iif lo accept")
	line("tcp dport %s accept", ports([]string{"22", strconv.Itoa(n.Port)}))
	known("")
	line("tcp dport %s drop", ports(clusterPorts(c, n)))
	dialled()
	w.WriteString("\t}\n\n\tchain forward {\n")
	line("type filter hook forward priority filter; policy accept;")
	known("ip daddr @nodes4 ")
	line("ip daddr @inside4 drop")
	line("ip6 daddr @inside6 drop")
	dialled()
	w.WriteString("\t}\n")
	return w.String()
}

// elements are the members of an interval set. nft refuses overlaps, so what
// lies in another member is left out; old releases refuse a whole address
// space, so that is written as its halves.
func elements(prefixes []netip.Prefix) []string {
	var list []netip.Prefix
	for _, p := range prefixes {
		p = p.Masked()
		if p.Bits() == 0 {
			half := netip.PrefixFrom(p.Addr(), 1)
			b := p.Addr().AsSlice()
			b[0] = 0x80
			upper, _ := netip.AddrFromSlice(b)
			list = append(list, half, netip.PrefixFrom(upper, 1))
			continue
		}
		list = append(list, p)
	}
	// Two networks are apart, or one holds the other: in the order of their first
	// addresses, the wider before the narrower, what holds a network is the last
	// one that was kept.
	slices.SortFunc(list, netip.Prefix.Compare)
	var texts []string
	var last netip.Prefix
	for _, p := range list {
		if !last.Overlaps(p) {
			texts = append(texts, prefixText(p))
			last = p
		}
	}
	return texts
}

// prefixText leaves out the length of a single address, as nft and ufw do.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

func only(prefixes []netip.Prefix, want func(netip.Prefix) bool) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		if p.IsValid() && want(p) {
			out = append(out, p)
		}
	}
	return out
}

func ports(list []string) string {
	var unique []string
	for _, p := range list {
		if !slices.Contains(unique, p) && p != "0" {
			unique = append(unique, p)
		}
	}
	return "{ " + strings.Join(unique, ", ") + " }"
}

// firewallTable is a step: the table that is loaded is the one of the file.
type firewallTable struct {
	provision.Base
	rules string // the file
	hash  string
}

func (s firewallTable) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.NftTable}
}

func (s firewallTable) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s firewallTable) Diff(f provision.Facts) ([]provision.Change, error) {
	is := s.query().In(f)
	c := provision.Change{Kind: "firewall", Key: "table inet nucspark", Action: provision.Create, New: s.hash}
	if is.Code == 0 {
		loaded := loadedHash(is.Output)
		has, want := rulesIn(is.Output), rulesIn(s.rules)
		if loaded == s.hash && has == want {
			return nil, nil
		}
		c.Action, c.Old = provision.Update, loaded
		if loaded == s.hash {
			c.Old, c.New = fmt.Sprintf("%d of its rules", has), fmt.Sprintf("%d rules", want)
		}
	}
	return []provision.Change{c}, nil
}

// loadedHash reads the hash out of the listing of a table. A table without its
// two base chains protects nothing, whatever its name.
func loadedHash(listing string) string {
	if !strings.Contains(listing, "hook input") || !strings.Contains(listing, "hook forward") {
		return ""
	}
	_, rest, ok := strings.Cut(listing, "chain "+chainName(""))
	if !ok {
		return ""
	}
	hash, _, _ := strings.Cut(rest, " ")
	return hash
}

// rulesIn counts the rules of a table's base chains, in a file for nft or in
// its listing: both have one in each line, after that of the chain's type. A
// flush leaves chains and sets and takes the rules.
func rulesIn(table string) (rules int) {
	chain := false
	for line := range strings.Lines(table) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "type filter hook "):
			chain = true
		case line == "}":
			chain = false
		case chain:
			rules++
		}
	}
	return rules
}

func (s firewallTable) Apply(ctx context.Context, env *provision.Env, c []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "firewall", Key: "table inet nucspark", Before: c[0].Old, After: s.hash},
		"nft -f "+firewallRules)
}
