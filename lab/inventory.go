package lab

import (
	"bytes"
	_ "embed"
	"net/netip"
	"strconv"
	"text/template"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

//go:embed inventory.hcl.tmpl
var inventoryText string

var inventoryTemplate = template.Must(template.New("lab.hcl").
	Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(inventoryText))

// renderInventory writes the lab as an inventory. keyFile and mirrorKey are
// absolute paths; mirrorKey is "" for a lab without a mirror.
func renderInventory(o Options, nodes []machine, host hostFacts, keyFile, mirrorKey string) ([]byte, error) {
	type node struct {
		Name, HostKey        string
		Address              netip.Addr
		ControlPlane, Stores bool
	}
	data := struct {
		Name, User, KeyFile, MirrorKey, VolumeNode string
		Mirror                                     netip.Addr
		Nodes                                      []node
		Replication                                int
		Host                                       hostFacts
	}{
		Name: o.Name, User: user, KeyFile: keyFile, MirrorKey: mirrorKey, Mirror: o.mirrorAddress(), Host: host,
		Replication: max(1, min(2, len(nodes)-1)),
	}
	for i, n := range nodes {
		// On a single machine the control plane stores and computes as well.
		data.Nodes = append(data.Nodes, node{n.Name, n.HostKey.Authorized(), n.Address, i == 0, i > 0 || len(nodes) == 1})
	}
	data.VolumeNode = nodes[min(1, len(nodes)-1)].Name
	var b bytes.Buffer
	if err := inventoryTemplate.Execute(&b, data); err != nil {
		return nil, err
	}
	return append(bytes.TrimSpace(hclwrite.Format(b.Bytes())), '\n'), nil
}
