package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// decoder carries one Parse.
type decoder struct {
	src    []byte
	dir    string                           // folder of the file, absolute
	lookup func(name string) (string, bool) // in the environment
	file   *hcl.File
	ctx    *hcl.EvalContext
	c      *Cluster
	diags  Diagnostics

	partial bool // a block was unreadable: do not conclude from what is missing
	places  places
}

// place is where something was written.
type place struct {
	rng   hcl.Range
	in    string // "node nuc02, nfs"
	given bool   // it was written
	ok    bool   // and could be read
	hide  bool   // and must not be shown
}

// line names a place in a detail text.
func (p place) line() string { return fmt.Sprintf("line %d", p.rng.Start.Line) }

func (s *shape) schema() *hcl.BodySchema {
	schema := &hcl.BodySchema{}
	for _, a := range s.attrs {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: a.name})
	}
	for _, b := range s.blocks {
		header := hcl.BlockHeaderSchema{Type: b.name}
		if b.label != "" {
			header.LabelNames = []string{b.label}
		}
		schema.Blocks = append(schema.Blocks, header)
	}
	return schema
}

func (s *shape) attrNames() []string {
	var names []string
	for _, a := range s.attrs {
		names = append(names, a.name)
	}
	return names
}

func (s *shape) blockNames() []string {
	var names []string
	for _, b := range s.blocks {
		names = append(names, b.name)
	}
	return names
}

// attr and block are what stands in a shape under a name. To read a name that
// nobody has described is a mistake of the decoder, which every test shows.
func (s *shape) attr(name string) *attr {
	for i := range s.attrs {
		if s.attrs[i].name == name {
			return &s.attrs[i]
		}
	}
	panic(fmt.Sprintf("reference.go has no attribute %q in %q", name, s.name))
}

func (s *shape) block(name string) *shape {
	for i := range s.blocks {
		if s.blocks[i].name == name {
			return &s.blocks[i]
		}
	}
	panic(fmt.Sprintf("reference.go has no block %q in %q", name, s.name))
}

// block is one block that is being read.
type block struct {
	d      *decoder
	shape  *shape
	in     string
	head   hcl.Range
	attrs  hcl.Attributes
	blocks hcl.Blocks
	meant  []string // attributes that a misspelt one probably stands for
}

// at is the place of the block as a whole.
func (b *block) at() place { return place{rng: b.head, in: b.in} }

// open reads what is in a block and reports what does not belong there.
func (d *decoder) open(in string, head hcl.Range, body hcl.Body, s *shape) *block {
	var content *hcl.BodyContent
	var diags hcl.Diagnostics
	var meant []string
	if native, ok := body.(*hclsyntax.Body); ok {
		content, _, diags = body.PartialContent(s.schema())
		meant = d.unknown(in, native, s)
	} else {
		content, diags = body.Content(s.schema())
	}
	d.reportHCL(place{in: in}, diags)
	d.partial = d.partial || diags.HasErrors()
	b := &block{d: d, shape: s, in: in, head: head, attrs: content.Attributes, meant: meant}
	for _, nested := range content.Blocks {
		// A JSON null as a block has no content and no place.
		if nested.Body != nil {
			b.blocks = append(b.blocks, nested)
		}
	}
	return b
}

// unknown reports attributes and blocks that the shape does not have. It gives
// the names that were probably meant.
func (d *decoder) unknown(in string, body *hclsyntax.Body, s *shape) (meant []string) {
	attrs, blocks := s.attrNames(), s.blockNames()
	for name, attr := range body.Attributes {
		at := place{rng: attr.NameRange, in: in}
		switch {
		case slices.Contains(attrs, name):
		case slices.Contains(blocks, name):
			d.partial = true
			d.report(Error, at, fmt.Sprintf("Write %s { … }, without \"=\".", name), "%q is a block", name)
		default:
			meant = append(meant, closest(name, attrs))
			d.report(Error, at, suggest(name, attrs, blocks), "unknown attribute %q", name)
		}
	}
	for _, nested := range body.Blocks {
		at := place{rng: nested.TypeRange, in: in}
		switch {
		case slices.Contains(blocks, nested.Type):
		case slices.Contains(attrs, nested.Type):
			meant = append(meant, nested.Type)
			d.report(Error, at, fmt.Sprintf("Write %s = …", nested.Type), "%q is an attribute, not a block", nested.Type)
		default:
			d.partial = true
			d.report(Error, at, suggest(nested.Type, blocks, attrs), "unknown block %q", nested.Type)
		}
	}
	return meant
}

// closest finds the candidate that name is a misspelling of, "" if there is none.
func closest(name string, candidates []string) string {
	normal := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, distance := "", (len(name)+2)/3+1
	for _, candidate := range candidates {
		if n := levenshtein.Distance(normal, strings.ReplaceAll(candidate, "-", "_"), nil); n < distance {
			best, distance = candidate, n
		}
	}
	return best
}

// suggest says what name was probably meant, else what there is.
func suggest(name string, likely, other []string) string {
	valid := slices.Concat(likely, other)
	if best := closest(name, valid); best != "" {
		return fmt.Sprintf("Did you mean %q?", best)
	}
	if len(valid) == 0 || len(valid) > 16 {
		return ""
	}
	return "There is " + strings.Join(valid, ", ") + "."
}

// one finds the only block of a type, nil if there is none.
func (b *block) one(name string) *hcl.Block {
	var found *hcl.Block
	for _, nested := range b.blocks {
		if nested.Type != name {
			continue
		}
		if found == nil {
			found = nested
			continue
		}
		b.d.report(Error, place{rng: nested.DefRange, in: b.in}, fmt.Sprintf("The first is at line %d; put everything there.", found.DefRange.Start.Line),
			"%s is there twice", name)
	}
	return found
}

// nested opens the only block of a type. It gives nil where there is none.
func (b *block) nested(name string) *block {
	s, hb := b.shape.block(name), b.one(name)
	if hb == nil {
		return nil
	}
	in := name
	if b.in != "" {
		in = b.in + ", " + name
	}
	return b.d.open(in, hb.DefRange, hb.Body, s)
}

// labelled opens a block that has a label.
func (b *block) labelled(in string, hb *hcl.Block) *block {
	return b.d.open(in, hb.DefRange, hb.Body, b.shape.block(hb.Type))
}
