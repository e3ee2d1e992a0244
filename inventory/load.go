package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// maxFile is more than an inventory of a thousand nodes needs.
const maxFile = 512 << 10

// Load reads and checks the inventory at path. The error is Diagnostics where
// the file is at fault, with everything that is wrong in it. A path that ends
// in .json is read as HCL's JSON form.
func Load(path string) (*Cluster, error) {
	src, err := readBounded(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no inventory %s: name it with -f, or make one with nucspark init; docs/inventory.md explains every name", path)
	case err != nil:
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	return Parse(path, src)
}

// maxDepth is more brackets inside each other than anybody writes. The parser
// recurses with them and would end the process where there are very many.
const maxDepth = 200

// depth is the greatest number of brackets that are open at once, and where.
// Those in texts and comments are counted too, which does no harm.
func depth(src []byte) (greatest int, at hcl.Pos) {
	open, line, start := 0, 1, 0
	for i, c := range src {
		switch c {
		case '{', '[', '(':
			if open++; open > greatest {
				greatest, at = open, hcl.Pos{Line: line, Column: i - start + 1, Byte: i}
			}
		case '}', ']', ')':
			open = max(0, open-1)
		case '\n':
			line, start = line+1, i+1
		}
	}
	return greatest, at
}

// Parse checks an inventory that is already read. Relative paths in it are
// relative to the folder of path.
func Parse(path string, src []byte) (*Cluster, error) {
	return ParseWith(path, src, os.LookupEnv)
}

// ParseWith is Parse with another environment.
func ParseWith(path string, src []byte, lookup func(string) (string, bool)) (*Cluster, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", path, err)
	}
	c := standard
	c.File = path
	d := &decoder{src: src, dir: dir, lookup: lookup, c: &c}
	if d.parse(path) {
		d.decode()
		d.check()
	}
	d.diags = sortDiagnostics(d.diags)
	if d.diags.HasErrors() {
		// What is only worth a word may follow from what is wrong.
		return nil, slices.DeleteFunc(d.diags, func(d Diagnostic) bool { return d.Severity == Warning })
	}
	d.c.Warnings = d.diags
	return d.c, nil
}

// parse reads the syntax and tells whether it is right.
func (d *decoder) parse(path string) bool {
	if n, pos := depth(d.src); n > maxDepth {
		d.report(Error, place{rng: hcl.Range{Filename: path, Start: pos, End: pos}}, "", "there are %d brackets inside each other", n)
		return false
	}
	var diags hcl.Diagnostics
	if strings.HasSuffix(path, ".json") {
		d.file, diags = hcljson.Parse(d.src, path)
	} else {
		d.file, diags = hclsyntax.ParseConfig(d.src, path, hcl.InitialPos)
	}
	d.reportHCL(place{}, diags)
	return !diags.HasErrors()
}

// readBounded reads a file that is expected to be small. What is no file and
// no pipe with an end, such as a terminal device, is cut at the limit.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	return data, nil
}

// variables evaluates the variable blocks and makes them known as var.NAME.
// One whose value could not be found is unknown, so that its uses are not
// reported again.
func (d *decoder) variables(root *block) {
	values := map[string]cty.Value{}
	seen := map[string]place{}
	d.ctx = &hcl.EvalContext{Functions: map[string]function.Function{"env": envFunction(d.lookup)}}
	for _, hb := range root.blocks {
		if hb.Type != "variable" {
			continue
		}
		name := hb.Labels[0]
		at := place{rng: labelRange(hb), in: "variable " + visible(name)}
		if !d.unique(seen, name, "variable", at) {
			continue
		}
		if !hclsyntax.ValidIdentifier(name) {
			d.report(Error, at, "Use letters, digits, _ and -; begin with a letter.", "variable %q cannot be written as var.NAME", name)
		}
		values[name] = cty.DynamicVal
		b := root.labelled(at.in, hb)
		hidden := false
		sensitive := read(b, "sensitive", &hidden, boolean)
		a, state := b.arg("default")
		switch {
		case state == valid && !a.val.Type().IsPrimitiveType():
			a.fail("A variable is a text, a number or a truth value.", "must be a single value")
		case state == valid:
			values[name] = a.val
			if hidden || sensitive.given && !sensitive.ok {
				values[name] = a.val.Mark(secretMark)
			}
		}
	}
	d.ctx = &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(values)},
		Functions: map[string]function.Function{"env": envElsewhere},
	}
}

// secretMark is the mark of values that must not be shown.
const secretMark = "sensitive"

var envParams = []function.Parameter{{Name: "name", Type: cty.String}}

// envFunction gives the value of an environment variable.
func envFunction(lookup func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params: envParams,
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			value, ok := lookup(name)
			if !ok {
				return cty.NilVal, bad("Set it before nucspark is started.", "environment variable %q is not set", name)
			}
			return cty.StringVal(value), nil
		},
	})
}

// envElsewhere explains where env may be used.
var envElsewhere = function.New(&function.Spec{
	Params: envParams,
	Type: func([]cty.Value) (cty.Type, error) {
		return cty.NilType, bad("Write var.NAME here, and in a block of its own:\nvariable \"NAME\" {\n  default = env(\"…\")\n}",
			"env() works only in the default of a variable")
	},
	Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
		return cty.NilVal, errors.New("env() works only in the default of a variable")
	},
})
