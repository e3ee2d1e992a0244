package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"nucspark.io/nucspark/golden"
)

// everyName has every block and attribute by its path, such as
// "node.hdfs.dirs". Blocks are nil.
func everyName() map[string]*attr {
	all := map[string]*attr{}
	var walk func(prefix string, s *shape)
	walk = func(prefix string, s *shape) {
		for i := range s.attrs {
			all[prefix+s.attrs[i].name] = &s.attrs[i]
		}
		for i := range s.blocks {
			all[prefix+s.blocks[i].name] = nil
			walk(prefix+s.blocks[i].name+".", &s.blocks[i])
		}
	}
	walk("", &reference)
	return all
}

// A part of docs/inventory.md that is made from the reference.
var generated = regexp.MustCompile(`(?s)<!-- reference: (\w+) -->\n.*?<!-- end -->\n`)

// TestReference keeps docs/inventory.md as the reference has it:
// go test ./inventory -run '^TestReference$' -update writes it anew.
func TestReference(t *testing.T) {
	doc, err := os.ReadFile("../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	known := reference.blockNames()
	var found []string
	got := generated.ReplaceAllStringFunc(string(doc), func(old string) string {
		name := generated.FindStringSubmatch(old)[1]
		found = append(found, name)
		if !slices.Contains(known, name) {
			return old
		}
		return fmt.Sprintf("<!-- reference: %s -->\n%s\n<!-- end -->\n", name, section(reference.block(name)))
	})
	slices.Sort(known)
	slices.Sort(found)
	if diff := cmp.Diff(known, found); diff != "" {
		t.Errorf("docs/inventory.md has other parts than there are blocks (-block +part):\n%s", diff)
	}
	golden.Check(t, "../../docs/inventory.md", got)
}

// section is what docs/inventory.md says of a block of the file.
func section(s *shape) string {
	var b strings.Builder
	heading := s.name
	if s.label != "" {
		heading += ` "` + strings.ToUpper(s.label) + `"`
	}
	fmt.Fprintf(&b, "## `%s`\n\n%s\n", heading, s.doc)
	if len(s.attrs) > 0 {
		b.WriteString("\n| attribute | type | default | |\n|-|-|-|-|\n")
	}
	for _, a := range s.attrs {
		row(&b, "`"+a.name+"`", a.kind, otherwise(a), a.doc)
	}
	if len(s.blocks) > 0 {
		b.WriteString("\nBlocks inside, each at most once:\n\n| block | attribute | type | default | |\n|-|-|-|-|-|\n")
	}
	for i := range s.blocks {
		inside(&b, &s.blocks[i])
	}
	return b.String()
}

// inside writes the rows of a block in a block: "`hdfs`", "`worker { limits }`".
func inside(b *strings.Builder, s *shape, outer ...string) {
	path := append(slices.Clone(outer), s.name)
	name := "`" + strings.Join(path, " { ") + strings.Repeat(" }", len(outer)) + "`"
	if s.doc != "" {
		row(b, name, "", "", "", s.doc)
		name = ""
	}
	for _, a := range s.attrs {
		row(b, name, "`"+a.name+"`", a.kind, otherwise(a), a.doc)
		name = ""
	}
	for i := range s.blocks {
		inside(b, &s.blocks[i], path...)
	}
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString(strings.TrimSuffix("| "+c, " ") + " ")
	}
	b.WriteString("|\n")
}

// otherwise is what a table says of an attribute that is not written.
func otherwise(a attr) string {
	switch v := a.absent.(type) {
	case required:
		return "required"
	case words:
		return string(v)
	}
	if v := written(a.absent); v != "" {
		return "`" + v + "`"
	}
	return "none"
}

// written is a default as a file would have it, "" where there is none.
func written(v any) string {
	switch v := v.(type) {
	case nil, required, words:
		return ""
	case int, bool:
		return fmt.Sprint(v)
	case uint32: // a mode
		return quote(fmt.Sprintf("%04o", v))
	case time.Duration:
		return quote(wholeUnits.ReplaceAllString(v.String(), "$1"))
	}
	if v == MilliCPU(0) || v == Size(0) {
		return ""
	}
	return quote(fmt.Sprint(v))
}

// wholeUnits finds what [time.Duration] writes and nobody else: "10m0s".
var wholeUnits = regexp.MustCompile(`([hm])(0m)?0s$`)

// TestSentences wants a sentence for every name, in a form that a row of a
// table can have.
func TestSentences(t *testing.T) {
	sentence := func(path, doc string) {
		if !strings.HasSuffix(doc, ".") || strings.ContainsAny(doc, "|\n") {
			t.Errorf("%s is described as %q", path, doc)
		}
	}
	for path, a := range everyName() {
		if a != nil {
			sentence(path, a.doc)
			if a.kind == "" {
				t.Errorf("%s has no type", path)
			}
		}
	}
	var blocks func(path string, s *shape)
	blocks = func(path string, s *shape) {
		// What a pod requests, and what limits it, is said at cpu and memory.
		if s.name != "" && s.name != "requests" && s.name != "limits" {
			sentence(path, s.doc)
		}
		for i := range s.blocks {
			blocks(path+" "+s.blocks[i].name, &s.blocks[i])
		}
	}
	blocks("", &reference)
}

// TestReferenceHolds tries on the decoder what the reference says of each
// attribute: that it is read, whether it is required, and which default it has.
func TestReferenceHolds(t *testing.T) {
	doc := everything(t)
	labels := map[string]string{"variable": "V", "cluster": "nucs", "node": "b", "volume": "shared", "registry": "ghcr.io", "patch": "kubelet"}
	all := everyName()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		a := all[path]
		if a == nil {
			continue
		}
		t.Run(path, func(t *testing.T) {
			at := doc
			steps := strings.Split(path, ".")
			for i, step := range steps[:len(steps)-1] {
				if _, there := at[step]; !there {
					at[step] = map[string]any{}
				}
				at = at[step].(map[string]any)
				if i == 0 && labels[step] != "" {
					at = at[labels[step]].(map[string]any)
				}
			}
			was, there := at[a.name]
			defer func() {
				delete(at, a.name)
				if there {
					at[a.name] = was
				}
			}()
			// parse gives the cluster as JSON, or what is wrong.
			parse := func() (string, []string) {
				src, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				c, err := Parse("reference.json", src)
				if err == nil {
					c.Warnings = nil
					text, err := json.MarshalIndent(c, "", "  ")
					if err != nil {
						t.Fatal(err)
					}
					return string(text), nil
				}
				var wrong []string
				for _, d := range err.(Diagnostics) {
					wrong = append(wrong, d.Summary)
				}
				return "", wrong
			}

			at[a.name] = []any{map[string]any{}} // is right nowhere
			_, wrong := parse()
			if !slices.ContainsFunc(wrong, func(s string) bool { return strings.HasPrefix(s, a.name+" must be ") }) {
				t.Errorf("nobody reads it: a list of objects in its place gives %q", wrong)
			}
			delete(at, a.name)
			without, wrong := parse()
			_, must := a.absent.(required)
			if missing := slices.Contains(wrong, a.name+" is missing"); missing != must {
				t.Errorf("required %v; without it there is %q", must, wrong)
			}
			if value := written(a.absent); value != "" {
				at[a.name] = json.RawMessage(value)
				with, wrong := parse()
				if diff := cmp.Diff(without, with); wrong != nil || diff != "" {
					t.Errorf("%s is not what it means to leave it out: %q (-without +with):\n%s", value, wrong, diff)
				}
			}
		})
	}
}

// A line of a file that only a "#" takes out of it.
var commentedOut = regexp.MustCompile(`(?m)^( *)#( *)([a-z_]+ += .*|[a-z_]+( "[^"]*")? \{.*|\})$`)

// TestFullExample wants every name in examples/full.hcl, what is commented out
// included, each with a value of its type. TestExamples reads it.
func TestFullExample(t *testing.T) {
	src, err := os.ReadFile("../examples/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclsyntax.ParseConfig(commentedOut.ReplaceAll(src, []byte("$1$2$3")), "full.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	known := everyName()
	shown := map[string]bool{}
	var walk func(prefix string, body *hclsyntax.Body)
	walk = func(prefix string, body *hclsyntax.Body) {
		for name, attribute := range body.Attributes {
			shown[prefix+name] = true
			v, diags := attribute.Expr.Value(nil)
			if a := known[prefix+name]; a != nil && !diags.HasErrors() && !fits(a.kind, v.Type()) {
				t.Errorf("line %d: %s%s is a %s, not a %s", attribute.SrcRange.Start.Line, prefix, name, a.kind, typeName(v))
			}
		}
		for _, b := range body.Blocks {
			shown[prefix+b.Type] = true
			walk(prefix+b.Type+".", b.Body)
		}
	}
	walk("", file.Body.(*hclsyntax.Body))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("examples/full.hcl has other names than there are (-there are +it has):\n%s", diff)
	}
}

// fits tells whether a value may be of a kind by its first word.
func fits(kind string, is cty.Type) bool {
	switch first, _, _ := strings.Cut(kind, " "); first {
	case "number":
		return is == cty.Number
	case "truth":
		return is == cty.Bool
	case "list":
		return is.IsTupleType()
	case "object":
		return is.IsObjectType()
	case "CPUs":
		return is == cty.String || is == cty.Number
	}
	return is == cty.String
}

var fence = regexp.MustCompile("(?ms)^( *)```hcl\n(.*?)^ *```$")

// TestDocumented reads the HCL of the documentation, completed by what it needs
// of the short example.
func TestDocumented(t *testing.T) {
	environment(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	writeKey(t, filepath.Join(home, ".ssh", "id_ed25519"))
	short, err := os.ReadFile("../examples/cluster.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"../docs/inventory.md", "../README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := fence.FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s shows no HCL", page)
		}
		for i, m := range found {
			snippet := regexp.MustCompile("(?m)^"+string(m[1])).ReplaceAll(m[2], nil)
			if page == "../README.md" && !bytes.HasSuffix(short, snippet) {
				t.Error("the README shows another file than examples/cluster.hcl")
			}
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page), i+1), func(t *testing.T) {
				src := complete(t, snippet, short)
				if _, err := Parse("testdata/cluster.hcl", src); err != nil { // mirror.asc is there
					t.Errorf("%v\n%s", err, src)
				}
			})
		}
	}
}

// complete adds the blocks of another file that a snippet does not have, and
// the variables that it uses.
func complete(t *testing.T, snippet, other []byte) []byte {
	t.Helper()
	each := func(src []byte, do func(key string, text []byte)) {
		file, diags := hclsyntax.ParseConfig(src, "snippet.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatalf("%v\n%s", diags, src)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			do(strings.Join(append([]string{b.Type}, b.Labels...), " "), b.Range().SliceBytes(src))
		}
	}
	have := map[string]bool{}
	each(snippet, func(key string, _ []byte) { have[key] = true })
	out := slices.Clone(snippet)
	add := func(key string, text []byte) {
		if !have[key] {
			have[key] = true
			out = append(append(append(out, '\n'), text...), '\n')
		}
	}
	each(other, add)
	for _, m := range regexp.MustCompile(`\bvar\.(\w+)`).FindAllSubmatch(snippet, -1) {
		add("variable "+string(m[1]), fmt.Appendf(nil, "variable %q {\n  default   = \"x\"\n  sensitive = true\n}", m[1]))
	}
	return out
}
