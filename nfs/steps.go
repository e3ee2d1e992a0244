package nfs

import (
	"fmt"
	"path"
	"strconv"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// Steps returns what makes the exports and volumes true. The order on a node
// is packages, directory, export list, server; the volumes follow when the
// cluster is there.
func Steps(site *provision.Site) []provision.Step {
	c := site.Cluster
	if len(c.Exporters()) == 0 {
		return []provision.Step{provision.Milestone{Name: provision.NFSVolumes}}
	}
	var steps []provision.Step
	for _, n := range site.Reachable() {
		base := func(name string, after ...string) provision.Base {
			return provision.Base{Name: n.Name + "/nfs/" + name, Node: n.Name, After: after}
		}
		steps = append(steps,
			// Before the programs: they start as soon as they are installed.
			provision.Directory{Base: base("conf.d", provision.NodeBase(n.Name)), Path: path.Dir(PortsFile), Mode: 0o755},
			provision.File{Base: base("ports", n.Name+"/nfs/conf.d"), Path: PortsFile, Content: []byte(pinned), Mode: 0o644})
		if n.NFS == nil {
			steps = append(steps, provision.Packages{Base: base("packages", n.Name+"/nfs/ports"), Packages: clientPackages})
			continue
		}
		steps = append(steps, exportStep{Base: base("directory", provision.NodeBase(n.Name)), site: site, node: n})
		if serverOf(site, n) == ganesha {
			steps = append(steps, ganeshaSteps(c, n, base)...)
		} else {
			steps = append(steps, kernelSteps(c, n, base)...)
		}
	}
	return append(steps, volumeSteps(site)...)
}

// clientPackages are what mount(8) calls; servers get them in one go with
// their own.
var clientPackages = []provision.Package{{Name: "nfs-common"}}

// Servers of NFS.
const (
	kernel  = "kernel"
	ganesha = "ganesha"
)

// serverOf is the server of a node: what the inventory says, else the one that
// serves there already, else the kernel's where there is one.
func serverOf(site *provision.Site, n *inventory.Node) string {
	switch {
	case n.NFS.Server != "":
		return n.NFS.Server
	case site.Machines[n.Name].NFSServer != "":
		return site.Machines[n.Name].NFSServer
	case site.Machines[n.Name].NFSD:
		return kernel
	}
	return ganesha
}

func volumeSteps(site *provision.Site) []provision.Step {
	c := site.Cluster
	var steps []provision.Step
	var made []string
	var claims []provision.Query
	for _, v := range c.Volumes {
		n, ok := c.Node(v.Node)
		if _, here := site.Machines[v.Node]; !ok || !here {
			continue // the node does not answer; its volumes stay as they are
		}
		dir := n.Name + "/nfs/volume/" + v.Name
		steps = append(steps, provision.Directory{
			Base: provision.Base{Name: dir, Node: n.Name, After: []string{n.Name + "/nfs/directory"}},
			Path: path.Join(n.NFS.Export, v.Name), Kind: provision.KindData, Mode: modeOf(v), Owner: strconv.Itoa(v.UID), Group: strconv.Itoa(v.GID),
		})
		pv := "cluster/nfs/volume/" + v.Name
		claim := "cluster/nfs/claim/" + v.Name
		steps = append(steps,
			volumeObject{provision.KubeObject{Base: provision.Base{Name: pv, After: []string{dir, n.Name + "/nfs/server", provision.NamespaceReady}}, Object: persistentVolume(c, n, v)}, c, v, ""},
			provision.KubeObject{Base: provision.Base{Name: claim, After: []string{pv}}, Object: claimOf(v)})
		made = append(made, claim)
		claims = append(claims, claimQuery(v))
	}
	steps = append(steps, bound(claims, append(made, provision.NamespaceReady)...))
	return append(steps, provision.Milestone{Name: provision.NFSVolumes, After: []string{"cluster/nfs/bound"}})
}

// bound waits for claims.
func bound(claims []provision.Query, after ...string) provision.Step {
	return provision.WaitFor{
		Base: provision.Base{Name: "cluster/nfs/bound", After: after},
		Key:  "every claim is bound", Queries: claims, Bound: 2 * time.Minute,
		Hint: "nucspark kubectl -- -n nucspark describe pvc says why",
		Missing: func(f provision.Facts) string {
			for _, q := range claims {
				if phase := phaseOf(q.(provision.LiveQuery).In(f)); phase != "Bound" {
					return fmt.Sprintf("the claim %s is %s", q.(provision.LiveQuery).Name, phase)
				}
			}
			return ""
		},
	}
}
