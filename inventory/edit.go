package inventory

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// Block is the node as a block of a file, with lines of comment in it: comments
// inside go with the block when it is removed. Defaults are left out. Each
// comment must be one line.
func (n Node) Block(comments ...string) *hclwrite.Block {
	block := hclwrite.NewBlock("node", []string{n.Name})
	b := block.Body()
	for _, c := range comments {
		b.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte("# " + c + "\n")}})
	}
	b.SetAttributeValue("address", cty.StringVal(n.Address.String()))
	if n.Role != Worker && n.Role != "" {
		b.SetAttributeValue("role", cty.StringVal(string(n.Role)))
	}
	if n.HostKey != "" {
		b.SetAttributeValue("host_key", cty.StringVal(n.HostKey))
	}
	if n.MAC != "" {
		b.SetAttributeValue("mac", cty.StringVal(n.MAC))
	}
	if n.NFS != nil {
		b.AppendNewline()
		b.AppendNewBlock("nfs", nil).Body().SetAttributeValue("export", cty.StringVal(n.NFS.Export))
	}
	if n.HDFS != nil {
		var dirs []cty.Value
		for _, d := range n.HDFS.Dirs {
			dirs = append(dirs, cty.StringVal(d))
		}
		b.AppendNewline()
		b.AppendNewBlock("hdfs", nil).Body().SetAttributeValue("dirs", cty.TupleVal(dirs))
	}
	return block
}

// AddNode puts a node block behind the last one of a file, or to its end where
// there is none. Every other byte stays as it is. The error is Diagnostics
// where the file is at fault, before or after.
func AddNode(path string, src []byte, n Node, comments ...string) ([]byte, error) {
	blocks, err := nodeBlocks(path, src)
	if err != nil {
		return nil, err
	}
	f := hclwrite.NewEmptyFile()
	f.Body().AppendBlock(n.Block(comments...))
	text := bytes.TrimSpace(hclwrite.Format(f.Bytes()))
	at := len(src)
	if len(blocks) > 0 {
		at = lineEnd(src, blocks[len(blocks)-1].Range().End.Byte)
	}
	before, after := src[:at], src[at:]
	gap, below := "", ""
	if len(bytes.TrimSpace(before)) > 0 {
		before, gap = bytes.TrimRight(before, "\n"), "\n\n"
	}
	if len(after) > 0 && after[0] != '\n' {
		below = "\n"
	}
	return checked(path, slices.Concat(before, []byte(gap), text, []byte("\n"+below), after))
}

// RemoveNode takes a node block out of a file. Comments around it stay. Where
// the rest does not hold without the node, for example because a volume lies on
// it, the error says so.
func RemoveNode(path string, src []byte, name string) ([]byte, error) {
	blocks, err := nodeBlocks(path, src)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(blocks, func(b *hclsyntax.Block) bool { return b.Labels[0] == name })
	if i < 0 {
		var names []string
		for _, b := range blocks {
			names = append(names, b.Labels[0])
		}
		hint := suggest(name, names, nil)
		if hint == "" {
			return nil, fmt.Errorf("%s has no node %q", path, name)
		}
		return nil, fmt.Errorf("%s has no node %q: %s", path, name, lowerFirst(hint))
	}
	rng := blocks[i].Range()
	before, after := src[:rng.Start.Byte], src[rng.End.Byte:]
	// Of the empty lines around it, those before stay.
	rest := bytes.TrimLeft(after, " \t")
	if len(rest) > 0 && rest[0] == '\n' {
		after = rest[1:]
		if bytes.HasSuffix(before, []byte("\n\n")) || len(before) == 0 {
			after = bytes.TrimLeft(after, "\n")
		}
	}
	if len(bytes.TrimSpace(after)) == 0 {
		before, after = bytes.TrimRight(before, "\n"), []byte("\n")
	}
	return checked(path, slices.Concat(before, after))
}

// nodeBlocks are the node blocks of a file that is in order.
func nodeBlocks(path string, src []byte) ([]*hclsyntax.Block, error) {
	if strings.HasSuffix(path, ".json") {
		return nil, fmt.Errorf("%s is JSON: only files in HCL's own form can be edited", path)
	}
	if _, err := Parse(path, src); err != nil {
		return nil, err
	}
	f, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags // Parse would have said so
	}
	var blocks []*hclsyntax.Block
	for _, b := range f.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "node" {
			blocks = append(blocks, b)
		}
	}
	return blocks, nil
}

func checked(path string, out []byte) ([]byte, error) {
	if _, err := Parse(path, out); err != nil {
		return nil, err
	}
	return out, nil
}

// lineEnd is behind the newline that ends the line of a place, or at the end.
func lineEnd(src []byte, at int) int {
	if i := bytes.IndexByte(src[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(src)
}
