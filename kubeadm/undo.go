package kubeadm

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

const (
	// resetBound is more than kubeadm's own bounds together, and what it takes
	// to delete the layers of a hundred containers.
	resetBound = 20 * time.Minute
	// endBound is how long containers may take to write down what they hold
	// once they are told to end, in seconds: as long as the kubelet gives them.
	endBound = 30
	// ruleNames begin the names of chains that belong to kube-proxy and the
	// kubelet, to flannel, and to the CNI plugins.
	ruleNames = "(KUBE|FLANNEL|CNI)-"
)

// UndoSteps take Kubernetes off a node, once the steps in after hold; that of
// the milestone [provision.NodeReset] is the last. What runs there ends. Whether
// it may, and whether the cluster is told that the node leaves, is the matter
// of who asks for it. The node need not be in the inventory.
func UndoSteps(site *provision.Site, node string, after ...string) []provision.Step {
	base := func(name string, after ...string) provision.Base {
		return provision.Base{Name: node + "/undo/kubeadm/" + name, Node: node, After: after}
	}
	reset := left{Base: base("reset", after...), etcd: etcdOf(site, node)}
	network := bare{Base: base("network", reset.Name), pods: site.Cluster.Network.Pods}
	if made, err := netip.ParsePrefix(site.Resolved.Pods); err == nil {
		network.pods = made // whatever the file says by now
	}
	rules := unruled{base("rules", reset.Name)}
	return []provision.Step{reset, network, rules,
		provision.Milestone{Name: provision.NodeReset(node), After: []string{reset.Name, network.Name, rules.Name}}}
}

// etcdOf is the directory in which a node keeps etcd's data, "" where it keeps
// none.
func etcdOf(site *provision.Site, node string) string {
	if node != site.Cluster.ControlPlane().Name {
		return ""
	}
	doc, err := cluster(site)
	if err != nil {
		return "/var/lib/etcd" // kubeadm's default
	}
	return text(doc, "etcd", "local", "dataDir")
}

// left is a step: the machine is a member of no cluster, and nothing of one
// runs on it.
type left struct {
	provision.Base
	etcd string
}

// files are those of a member. What else lies in /etc/kubernetes is not ours.
var files = []string{
	provision.AdminConf, "/etc/kubernetes/super-admin.conf", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf",
	kubeletConf, bootstrapConf, caFile, stateFile, configFile, apiManifest,
	"/etc/kubernetes/manifests/kube-controller-manager.yaml", "/etc/kubernetes/manifests/kube-scheduler.yaml", "/etc/kubernetes/manifests/etcd.yaml",
}

// directories are emptied: the kubelet's, kubeadm's, etcd's, and the logs of
// pods.
func (s left) directories() []string {
	dirs := []string{"/etc/kubernetes/pki", dir, "/etc/kubernetes/tmp", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers"}
	if s.etcd != "" {
		dirs = append(dirs, s.etcd)
	}
	return dirs
}

func (s left) file(path string) provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path}
}

func (s left) disk(path string) provision.DiskQuery {
	return provision.DiskQuery{Node: s.Node, Path: path}
}

func (s left) Reads() []provision.Query {
	var reads []provision.Query
	for _, p := range files {
		reads = append(reads, s.file(p))
	}
	for _, d := range s.directories() {
		reads = append(reads, s.disk(d))
	}
	return reads
}

func (s left) Diff(f provision.Facts) ([]provision.Change, error) {
	is := ""
	for _, p := range files {
		if is == "" && s.file(p).In(f).Exists {
			is = p + " is there"
		}
	}
	for _, d := range s.directories() {
		entries := s.disk(d).In(f).Entries
		if is == "" && slices.ContainsFunc(entries, func(e string) bool { return e != "lost+found" }) {
			is = d + " is not empty"
		}
	}
	if is == "" {
		return nil, nil
	}
	c := provision.Change{Kind: "member", Key: s.Node, Action: provision.Delete, Old: is, New: "kubeadm reset",
		Detail: "All pods on it end. Deleted: what is in " + strings.Join(s.directories(), ", ") + "."}
	if s.etcd != "" {
		c.Detail += " With etcd goes all that the cluster knows: its objects, and what was deployed."
	}
	return []provision.Change{c}, nil
}

func (s left) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, resetBound)
	defer cancel()
	err := env.Node(s.Node).ChangeQuietly(ctx, provision.Entry{Kind: "kubeadm", Key: "reset"}, s.script(), resetBound)
	if err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: err,
			Hint: "put right what it complains about and run again; where a mounted directory is busy, findmnt and fuser -vm on the node show by whom"}
	}
	return nil
}

// script ends the containers before kubeadm does: it kills them, and etcd and
// HDFS should write down what they hold. The cluster is not asked for its
// configuration, which takes long where it does not answer. kubeadm unmounts
// what is below the kubelet's directory before it deletes that, and does
// nothing where it cannot. Shims of pods whose pause container had ended before
// would outlive it, and containerd; those in another process namespace are of a
// cluster in a container, and not ours.
func (s left) script() string {
	quoted := func(words []string) string {
		q := make([]string, len(words))
		for i, w := range words {
			q[i] = provision.Quote(w)
		}
		return strings.Join(q, " ")
	}
	return kubeadmAlone + provision.EmptyFunction + fmt.Sprintf(`set -e
systemctl stop kubelet 2>/dev/null || ! systemctl -q is-active kubelet
if command -v ctr >/dev/null && systemctl start containerd 2>/dev/null; then
  tasks() { ctr -n k8s.io tasks ls 2>/dev/null | awk '$3 == "RUNNING" { print $1 }'; }
  for t in $(tasks); do ctr -n k8s.io tasks kill -s TERM "$t" 2>/dev/null || :; done
  end=$(($(date +%%s) + %d))
  while [ -n "$(tasks)" ] && [ "$(date +%%s)" -lt $end ]; do sleep 0.5; done
fi
if command -v kubeadm >/dev/null; then
  kubeadm reset --force --cri-socket %s --kubeconfig /etc/kubernetes/none --cleanup-tmp-dir
fi
if command -v ctr >/dev/null && systemctl -q is-active containerd; then
  for t in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks rm -f "$t" || :; done
fi
own=$(readlink /proc/$$/ns/pid)
for p in /proc/[0-9]*; do
  [ "$(readlink $p/ns/pid)" = "$own" ] && tr '\0' ' ' 2>/dev/null < $p/cmdline | grep -q '^[^ ]*/containerd-shim-runc-v2 -namespace k8s\.io ' || continue
  kill -KILL ${p#/proc/} || :
done
rm -f -- %s
empty %s
rm -rf -- %s /etc/kubernetes/tmp /etc/kubernetes/pki
rm -f %s* /run/nucspark-kubeadm.lock
`, endBound, criSocket, quoted(files), quoted(s.directories()), dir, joinFiles)
}

// bare is a step: the interfaces, routes and files of the pod network are gone.
type bare struct {
	provision.Base
	pods netip.Prefix
}

// interfaces of flannel and its bridge plugin.
var interfaces = []string{"cni0", "flannel.1"}

// networkFiles are flannel's: what it wrote, and the plugin that it brought.
var networkFiles = []string{"/etc/cni/net.d/10-flannel.conflist", "/opt/cni/bin/flannel"}

// networkDirs are flannel's, and those of the plugins that it calls.
var networkDirs = []string{"/run/flannel", "/var/lib/cni/flannel", "/var/lib/cni/networks/cbr0", "/var/lib/cni/results"}

func (s bare) output(what provision.Lookup) provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: what}
}

func (s bare) Reads() []provision.Query {
	reads := []provision.Query{s.output(provision.Links), s.output(provision.Routes)}
	for _, p := range slices.Concat(networkFiles, networkDirs) {
		reads = append(reads, provision.FileQuery{Node: s.Node, Path: p})
	}
	return reads
}

func (s bare) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	remove := func(kind, key string) {
		changes = append(changes, provision.Change{Kind: kind, Key: key, Action: provision.Delete})
	}
	for _, i := range linksIn(s.output(provision.Links).In(f).Output) {
		remove("interface", i)
	}
	for _, r := range routesIn(s.output(provision.Routes).In(f).Output, s.pods) {
		remove("route", r)
	}
	for _, p := range slices.Concat(networkFiles, networkDirs) {
		if (provision.FileQuery{Node: s.Node, Path: p}).In(f).Exists {
			remove("file", p)
		}
	}
	return changes, nil
}

// linksIn finds the interfaces of the pod network in lines such as
//
//	5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 …
//	6: flannel.1@eth0: <…
func linksIn(out string) []string {
	var found []string
	for _, l := range strings.Split(out, "\n") {
		if words := strings.Fields(l); len(words) > 1 {
			name, _, _ := strings.Cut(strings.TrimSuffix(words[1], ":"), "@")
			if slices.Contains(interfaces, name) {
				found = append(found, name)
			}
		}
	}
	return found
}

// routesIn finds the destinations inside the pod network in lines such as
//
//	10.244.1.0/24 via 192.168.1.12 dev eth0
func routesIn(out string, pods netip.Prefix) []string {
	var found []string
	for _, l := range strings.Split(out, "\n") {
		words := strings.Fields(l)
		if len(words) == 0 {
			continue
		}
		to, err := netip.ParsePrefix(words[0])
		if err == nil && pods.Contains(to.Addr()) && to.Bits() >= pods.Bits() && !slices.Contains(found, words[0]) {
			found = append(found, words[0])
		}
	}
	return found
}

func (s bare) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	script := "set -e\n" + provision.EmptyFunction
	// A bridge that goes takes its routes along, so they may be gone by then.
	for _, c := range changes {
		q := provision.Quote(c.Key)
		switch {
		case c.Kind == "interface":
			script += "ip link delete " + q + "\n"
		case c.Kind == "route":
			script += "while ip -4 route delete " + q + " 2>/dev/null; do :; done\n"
		case slices.Contains(networkDirs, c.Key):
			script += "empty " + q + "\nrmdir -- " + q + "\n"
		default:
			script += "rm -f -- " + q + "\n"
		}
	}
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "network", Key: "pods"}, script)
}

// unruled is a step: no packet is judged or changed for Kubernetes any more.
// Rules and tables of anybody else stay as they are.
type unruled struct{ provision.Base }

// ruleTables are nft's tables of kube-proxy and flannel, where these use nft by
// itself.
var ruleTables = []string{"ip kube-proxy", "ip6 kube-proxy", "ip flannel-ipv4", "ip6 flannel-ipv6"}

func (s unruled) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.PacketRules}
}

func (s unruled) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s unruled) Diff(f provision.Facts) ([]provision.Change, error) {
	n := 0
	var tables []string
	for _, l := range strings.Split(s.query().In(f).Output, "\n") {
		name, isTable := strings.CutPrefix(l, "table ")
		switch {
		case isTable && slices.Contains(ruleTables, name):
			tables = append(tables, name)
		case !isTable && ruleLine(l):
			n++
		}
	}
	var changes []provision.Change
	if n > 0 {
		changes = append(changes, provision.Change{Kind: "packet filter", Key: "chains of Kubernetes, flannel and CNI", Action: provision.Delete, Old: fmt.Sprintf("%d lines", n)})
	}
	for _, t := range tables {
		changes = append(changes, provision.Change{Kind: "packet filter", Key: "table " + t, Action: provision.Delete})
	}
	return changes, nil
}

// ruleLine says whether a line of iptables-save makes a chain of Kubernetes, is
// in one, or leads to one.
func ruleLine(l string) bool {
	words := strings.Fields(strings.TrimPrefix(l, ":"))
	for i, w := range words {
		named := i == 0 && strings.HasPrefix(l, ":") || i > 0 && slices.Contains([]string{"-A", "-j", "-g"}, words[i-1])
		if named && (strings.HasPrefix(w, "KUBE-") || strings.HasPrefix(w, "FLANNEL-") || strings.HasPrefix(w, "CNI-")) {
			return true
		}
	}
	return false
}

func (s unruled) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "packet filter", Key: "Kubernetes"}, rulesScript())
}

// rulesScript takes out the jumps into Kubernetes' chains, then the chains, in
// one transaction for each table; what iptables-save does not name so is not
// named to iptables-restore. Tables of iptables that hold nothing then but
// empty chains which accept everything are deleted: iptables makes them when it
// is first used, and again.
func rulesScript() string {
	return `set -e
for c in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  command -v $c-save >/dev/null || continue
  $c-save 2>/dev/null | awk '
    /^\*/ { table = $0; jumps = flush = chains = "" }
    /^:` + ruleNames + `/ { name = substr($1, 2); flush = flush "-F " name "\n"; chains = chains "-X " name "\n" }
    /^-A / && $2 !~ /^` + ruleNames + `/ && / -[jg] ` + ruleNames + `/ { rule = $0; sub(/^-A/, "-D", rule); jumps = jumps rule "\n" }
    /^COMMIT/ && jumps flush != "" { printf "%s\n%s%s%sCOMMIT\n", table, jumps, flush, chains }' | $c-restore --noflush
done
command -v nft >/dev/null || exit 0
for t in ` + "'" + strings.Join(ruleTables, "' '") + "'" + `; do
  ! nft list table $t >/dev/null 2>&1 || nft delete table $t
done
for family in ip ip6; do
  for t in filter nat mangle raw security; do
    list=$(nft list table $family $t 2>/dev/null) || continue
    [ -n "$(printf '%s\n' "$list" | grep -vE '^(#|table )|^[[:space:]]*(chain [A-Z]+ \{|type [a-z]+ hook [a-z]+ priority [^;]+; policy accept;|\})?[[:space:]]*$')" ] || nft delete table $family $t
  done
done
`
}
