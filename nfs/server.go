package nfs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// PortsFile pins the ports of the system's NFS programs, on clients too.
const PortsFile = "/etc/nfs.conf.d/nucspark.conf"

// pinned makes all ports ones that the firewall knows. statd hands those of
// lockd to the kernel (nfs.conf(5), rpc.statd(8)).
var pinned = fmt.Sprintf(`# Written by nucspark; changes are overwritten.
[mountd]
port=%d
[statd]
port=%d
[lockd]
port=%[3]d
udp-port=%[3]d
`, provision.MountdPort, provision.StatdPort, provision.LockdPort)

type baseFunc func(name string, after ...string) provision.Base

// kernelSteps serve with the kernel's server.
func kernelSteps(c *inventory.Cluster, n *inventory.Node, base baseFunc) []provision.Step {
	name := func(s string) string { return n.Name + "/nfs/" + s }
	return append(guardSteps(n, "nfs-server.service", base),
		provision.Packages{Base: base("packages", name("ports"), name("guard")), Packages: append(slices.Clone(clientPackages), provision.Package{Name: "nfs-kernel-server"})},
		provision.Directory{Base: base("exports.d", name("packages")), Path: "/etc/exports.d", Mode: 0o755},
		provision.File{Base: base("exports", name("exports.d"), name("directory")), Path: provision.NFSExportsFile, Content: exports(c, n), Mode: 0o644},
		provision.Unit{Base: base("unit", name("exports")), Unit: "nfs-server.service", Files: []string{PortsFile}},
		exported{Base: base("server", name("unit")), cluster: c, node: n})
}

// guardSteps keep a server from starting without the disk of its export, at a
// boot for one: the unit waits for the mount and looks for the sentinel. They
// come after the sentinel and before the package, which starts the server.
func guardSteps(n *inventory.Node, unit string, base baseFunc) []provision.Step {
	dir := "/etc/systemd/system/" + unit + ".d"
	return []provision.Step{
		provision.Directory{Base: base("guard.d", n.Name+"/nfs/directory"), Path: dir, Mode: 0o755},
		provision.File{Base: base("guard", n.Name+"/nfs/guard.d"), Path: dir + "/nucspark.conf", Content: guard(n), Mode: 0o644},
	}
}

// guard is a drop-in of systemd.unit(5). RequiresMountsFor takes a list of
// words that may be quoted, ConditionPathExists the rest of the line.
func guard(n *inventory.Node) []byte {
	path := strings.ReplaceAll(n.NFS.Export, "%", "%%")
	return []byte(fmt.Sprintf(`# Written by nucspark from the inventory; changes are overwritten.
# Without the disk of the export there is nothing to serve.
[Unit]
RequiresMountsFor="%s"
ConditionPathExists=%s/%s
`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path), path, provision.Sentinel))
}

// exports is the list of one directory, for the nodes' addresses only.
func exports(c *inventory.Cluster, n *inventory.Node) []byte {
	var b strings.Builder
	b.WriteString("# Written by nucspark from the inventory; changes are overwritten.\n")
	// exports(5): a path in double quotes may hold spaces, octal escapes stand
	// for what else could be misread.
	b.WriteString(`"` + strings.NewReplacer(`"`, `\042`, `\`, `\134`, "#", `\043`).Replace(n.NFS.Export) + `"`)
	for _, client := range c.Nodes {
		fmt.Fprintf(&b, " %s(%s)", client.Address, options)
	}
	b.WriteString("\n")
	return []byte(b.String())
}

// options are those of the export to each node (exports(5)).
const options = "rw,sync,no_subtree_check,root_squash"

// exported is a step: the running server exports the directory to every node
// with these options, as exportfs tells it.
type exported struct {
	provision.Base
	cluster *inventory.Cluster
	node    *inventory.Node
}

func (s exported) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.Exports}
}

func (s exported) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s exported) Diff(f provision.Facts) ([]provision.Change, error) {
	have := map[string]bool{}
	for _, line := range strings.Split(s.query().In(f).Output, "\n") {
		// "/srv/nfs  192.168.1.11(rw,…)", the blanks of a path as \040
		dir, client, _ := strings.Cut(line, " ")
		client, with, _ := strings.Cut(strings.TrimSpace(client), "(")
		if strings.ReplaceAll(dir, `\040`, " ") == s.node.NFS.Export {
			is := strings.Split(strings.TrimSuffix(with, ")"), ",")
			have[client] = !slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return !slices.Contains(is, o) })
		}
	}
	var missing []string
	for _, n := range s.cluster.Nodes {
		if !have[n.Address.String()] {
			missing = append(missing, n.Address.String())
		}
		delete(have, n.Address.String())
	}
	if len(missing) == 0 && len(have) == 0 {
		return nil, nil
	}
	return []provision.Change{{Kind: "export", Key: s.node.NFS.Export, Action: provision.Update,
		New: fmt.Sprintf("exported to %d nodes", len(s.cluster.Nodes))}}, nil
}

func (s exported) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "export", Key: s.node.NFS.Export, After: "exported"}, "exportfs -ra")
}

// ganeshaSteps serve with nfs-ganesha, for kernels without a server.
func ganeshaSteps(c *inventory.Cluster, n *inventory.Node, base baseFunc) []provision.Step {
	name := func(s string) string { return n.Name + "/nfs/" + s }
	packages := append(slices.Clone(clientPackages), provision.Package{Name: "nfs-ganesha"}, provision.Package{Name: "nfs-ganesha-vfs"})
	before := []string{name("config"), name("export"), name("directory")}
	steps := guardSteps(n, "nfs-ganesha.service", base)
	if version3(c) {
		// NFSv3 clients find the server's ports through rpcbind, which must
		// run before it.
		packages = append(packages, provision.Package{Name: "rpcbind"})
		steps = append(steps, provision.Unit{Base: base("rpcbind", name("packages")), Unit: "rpcbind.service"})
		before = append(before, name("rpcbind"))
	}
	return append(steps,
		provision.Packages{Base: base("packages", name("ports"), name("guard")), Packages: packages},
		provision.File{Base: base("export", name("packages")), Path: ganeshaExport, Content: exportConfig(c, n), Mode: 0o644},
		provision.File{Base: base("config", name("export")), Path: provision.GaneshaFile, Content: ganeshaConfig(c, n), Mode: 0o644},
		provision.Unit{Base: base("server", before...), Unit: "nfs-ganesha.service", Files: []string{provision.GaneshaFile}, Reloads: []string{ganeshaExport}})
}

// ganeshaExport is a file of its own, because ganesha reads exports again while
// it runs, and nothing else: a node that comes or goes restarts no server.
const ganeshaExport = "/etc/ganesha/nucspark.conf"

// version3 says that clients speak NFSv3, which needs more open ports.
func version3(c *inventory.Cluster) bool { return strings.HasPrefix(c.NFS.Version, "3") }

// protocols are the versions of NFS that are served.
func protocols(c *inventory.Cluster) string {
	if version3(c) {
		return "3, 4"
	}
	return "4"
}

// ganeshaConfig is what ganesha reads when it starts. It says what is exported,
// so that another directory restarts it.
func ganeshaConfig(c *inventory.Cluster, n *inventory.Node) []byte {
	return []byte(fmt.Sprintf(`# Written by nucspark from the inventory; changes are overwritten.
NFS_CORE_PARAM {
    Protocols = %s;
    NFS_Port = %d;
    MNT_Port = %d;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
}
NFSV4 {
    Graceless = true;
    RecoveryBackend = fs;
}
# Exports %s:
%%include "%s"
`, protocols(c), provision.NFSPort, provision.MountdPort, strconv.Quote(n.NFS.Export), ganeshaExport))
}

// exportConfig names the nodes as only clients and squashes root. As the
// kernel's server does, it wants a port that only root of a node can have: who
// else is on a node could claim to be any user.
func exportConfig(c *inventory.Cluster, n *inventory.Node) []byte {
	var clients []string
	for _, client := range c.Nodes {
		clients = append(clients, client.Address.String())
	}
	dir := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(n.NFS.Export) + `"`
	return []byte(fmt.Sprintf(`# Written by nucspark from the inventory; changes are overwritten.
EXPORT {
    Export_Id = 1;
    Path = %[2]s;
    Pseudo = %[2]s;
    Access_Type = None;
    Squash = root_squash;
    PrivilegedPort = true;
    SecType = sys;
    Transports = TCP;
    Protocols = %[1]s;
    CLIENT {
        Clients = %[3]s;
        Access_Type = RW;
        Squash = root_squash;
    }
    FSAL { Name = VFS; }
}
`, protocols(c), dir, strings.Join(clients, ", ")))
}
