package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// arg is the value of one attribute, or of one element of it.
type arg struct {
	d     *decoder
	what  string // name for messages: "address", "labels.rack"
	at    place
	key   hcl.Range // of the name, for entries of an object
	val   cty.Value
	expr  hcl.Expression // nil for computed elements
	loose bool           // made from a variable: texts and numbers convert
}

type state int

const (
	absent state = iota
	broken       // reported already
	valid
)

// arg evaluates an attribute, and reports a required one that is absent. A null
// is the same as no attribute.
func (b *block) arg(name string) (arg, state) {
	a, state := b.value(name)
	example, must := b.shape.attr(name).absent.(required)
	// A misspelt one was reported already.
	if state == absent && must && !slices.Contains(b.meant, name) {
		b.d.report(Error, b.at(), fmt.Sprintf("Write %s = %s", name, example), "%s is missing", name)
	}
	return a, state
}

func (b *block) value(name string) (arg, state) {
	attr, ok := b.attrs[name]
	if !ok {
		return arg{}, absent
	}
	a := arg{d: b.d, what: name, expr: attr.Expr, at: place{rng: attr.Expr.Range(), in: b.in, given: true}}
	// Until it is known what the value is, it is treated as the secret it may be.
	a.at.hide = (strings.Contains(name, "password") || name == "default") && !refers(attr.Expr)
	variables := attr.Expr.Variables()
	a.loose = len(variables) > 0
	for _, t := range variables {
		if !b.d.known(a.at, t) {
			return a, broken
		}
	}
	val, diags := attr.Expr.Value(b.d.ctx)
	b.d.reportHCL(a.at, diags)
	if diags.HasErrors() {
		return a, broken
	}
	a.val = val
	unmarked, _ := val.UnmarkDeep()
	switch {
	case !unmarked.IsWhollyKnown():
		return a, broken
	case unmarked.IsNull():
		return arg{}, absent
	}
	return a, valid
}

// refers tells that an expression only names where a value comes from, so that
// its source may be shown.
func refers(e hcl.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return true
	case *hclsyntax.FunctionCallExpr:
		return e.Name == "env"
	}
	return false
}

// known reports what a traversal refers to and is not there.
func (d *decoder) known(at place, t hcl.Traversal) bool {
	at.rng = t.SourceRange()
	vars, inVariable := d.ctx.Variables["var"]
	switch name := t.RootName(); {
	case !inVariable || vars == cty.NilVal:
		d.report(Error, at, `Write a value, or env("NAME").`, "the default of a variable cannot use other values")
		return false
	case name != "var":
		detail := "Values of variables are written var.NAME."
		if len(t) == 1 {
			detail = fmt.Sprintf("Text is written in quotes: %q.", name)
		}
		d.report(Error, at, detail, "%q is not known here", name)
		return false
	}
	if len(t) > 1 {
		if step, ok := t[1].(hcl.TraverseAttr); ok && !vars.Type().HasAttribute(step.Name) {
			d.report(Error, at, suggest(step.Name, slices.Sorted(maps.Keys(vars.Type().AttributeTypes())), nil),
				"there is no variable %q", step.Name)
			return false
		}
	}
	return true
}

func (a arg) fail(detail, format string, args ...any) {
	a.d.report(Error, a.at, detail, "%s %s", a.what, fmt.Sprintf(format, args...))
}

// failWith reports what a parse function found.
func (a arg) failWith(err error) {
	detail := ""
	if p, ok := err.(problem); ok {
		detail = p.detail
	}
	a.fail(detail, "%s", err.Error())
}

// problem is an error with a remedy.
type problem struct{ text, detail string }

func (p problem) Error() string { return p.text }

func bad(detail, format string, args ...any) error {
	return problem{fmt.Sprintf(format, args...), detail}
}

// parser turns an argument into a T, or reports why it cannot.
type parser[T any] func(arg) (T, bool)

// read sets dst from an attribute if that is there and right.
func read[T any](b *block, name string, dst *T, parse parser[T]) place {
	a, state := b.arg(name)
	if state == absent {
		return place{}
	}
	if state == valid {
		if a.val.ContainsMarked() {
			a.fail("Only passwords may have sensitive values.", "would show the value of a sensitive variable")
		} else if v, ok := parse(a); ok {
			*dst = v
			a.at.ok = true
		}
	}
	return a.at
}

// readSecret sets dst from an attribute that may be sensitive.
func readSecret(b *block, name string, dst *Secret) place {
	a, state := b.arg(name)
	if state != valid {
		return a.at
	}
	marked := a.val.ContainsMarked()
	a.val, _ = a.val.UnmarkDeep()
	s, ok := a.str()
	switch {
	case !ok:
	case s == "":
		a.fail("", "is empty")
	default:
		*dst = NewSecret(s)
		a.at.ok = true
		if !marked && !a.loose {
			b.d.report(Warning, a.at, fmt.Sprintf("Write %s = var.%s, and in a block of its own:\nvariable %q {\n  default   = env(\"…\")\n  sensitive = true\n}", name, name, name),
				"%s stands in the file for everybody who can read it", name)
		}
	}
	return a.at
}

// labelArg makes the label of a block readable like an attribute.
func (d *decoder) labelArg(label string, at place) arg {
	return arg{d: d, what: "target", at: at, val: cty.StringVal(label)}
}

// unique reports a name that was seen before, with both places.
func (d *decoder) unique(seen map[string]place, name, what string, at place) bool {
	if first, twice := seen[name]; twice {
		d.report(Error, at, fmt.Sprintf("The first is at %s.", first.line()), "%s %q is there twice", what, name)
		return false
	}
	seen[name] = at
	return true
}

func labelRange(b *hcl.Block) hcl.Range { return b.LabelRanges[0] }

// str is the text of a value.
func (a arg) str() (string, bool) {
	v := a.val
	if v.Type() != cty.String && a.loose && v.Type().IsPrimitiveType() && !v.IsNull() {
		v, _ = convert.Convert(v, cty.String)
	}
	if v.Type() != cty.String || v.IsNull() {
		a.fail("Write it in quotes.", "must be a text, not a %s", typeName(v))
		return "", false
	}
	s := v.AsString()
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cf) {
			a.fail("Line breaks, tabs and invisible characters have no place here.", "contains the character %U", r)
			return "", false
		}
	}
	return s, true
}

// elements are the members of a list.
func (a arg) elements() ([]arg, bool) {
	if t := a.val.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		a.fail("Write [ … ], even around a single value.", "must be a list, not a %s", typeName(a.val))
		return nil, false
	}
	var exprs []hcl.Expression
	if a.expr != nil {
		exprs, _ = hcl.ExprList(a.expr)
	}
	values := a.val.AsValueSlice()
	args := make([]arg, len(values))
	for i, v := range values {
		args[i] = a.element(a.what, v)
		if len(exprs) == len(values) {
			args[i].expr, args[i].at.rng = exprs[i], exprs[i].Range()
		}
	}
	return args, true
}

// entries are the members of an object by key, in order of the keys.
func (a arg) entries() ([]string, map[string]arg, bool) {
	if t := a.val.Type(); !t.IsObjectType() && !t.IsMapType() {
		a.fail("Write { key = value, … }.", "must be an object, not a %s", typeName(a.val))
		return nil, nil, false
	}
	args := map[string]arg{}
	for key, v := range a.val.AsValueMap() {
		e := a.element(a.what+"."+visible(key), v)
		e.key = a.at.rng
		args[key] = e
	}
	ok := true
	if a.expr != nil {
		pairs, _ := hcl.ExprMap(a.expr)
		seen := map[string]hcl.Range{}
		for _, pair := range pairs {
			k, diags := pair.Key.Value(a.d.ctx)
			if diags.HasErrors() || !k.IsKnown() || k.IsNull() || k.Type() != cty.String {
				continue
			}
			key := k.AsString()
			if first, twice := seen[key]; twice {
				at := a.at
				at.rng = pair.Key.Range()
				a.d.report(Error, at, fmt.Sprintf("The first is at line %d.", first.Start.Line), "%s has %q twice", a.what, key)
				ok = false
			}
			seen[key] = pair.Key.Range()
			if e, there := args[key]; there {
				e.expr, e.at.rng, e.key = pair.Value, pair.Value.Range(), pair.Key.Range()
				args[key] = e
			}
		}
	}
	return slices.Sorted(maps.Keys(args)), args, ok
}

func (a arg) element(what string, v cty.Value) arg {
	a.what, a.val, a.expr = what, v, nil
	return a
}

// typeName says what a value is, as a person would.
func typeName(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String:
		return "text"
	case t == cty.Bool:
		return "truth value"
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		return "list"
	case t.IsObjectType() || t.IsMapType():
		return "object"
	default:
		return t.FriendlyName()
	}
}
