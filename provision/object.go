package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// KubeObject is a step: server-side apply of this object would change nothing.
type KubeObject struct {
	Base
	Object    Object // made by kube.Object from a typed apply configuration
	Sensitive bool   // its values are not shown
	IfAbsent  bool   // only made, never changed: generated secrets
}

func (s KubeObject) query() Query {
	if s.IfAbsent {
		return liveQuery(s.Object)
	}
	return ObjectQuery{Object: s.Object}
}

func (s KubeObject) Reads() []Query { return []Query{s.query()} }

func (s KubeObject) Diff(f Facts) ([]Change, error) {
	kind, name, _ := strings.Cut(ObjectName(s.Object), " ")
	c := Change{Kind: kind, Key: name, Action: Create}
	if !f.Known(s.query()) {
		c.After = ClusterAPI
		return []Change{c}, nil
	}
	if s.IfAbsent {
		if s.query().(LiveQuery).In(f) != nil {
			return nil, nil
		}
		return []Change{c}, nil
	}
	is := s.query().(ObjectQuery).In(f)
	if !is.Exists {
		return []Change{c}, nil
	}
	if is.Refused != "" {
		return nil, fmt.Errorf("the API server would not change %s %s: %s", kind, name, is.Refused)
	}
	fields := objectDiff("", stable(is.Live), stable(is.Would))
	if len(fields) == 0 {
		return nil, nil
	}
	c.Action = Update
	if s.Sensitive {
		c.Detail = "(sensitive)"
	} else {
		c.Detail = strings.Join(fields, "\n")
	}
	return []Change{c}, nil
}

func (s KubeObject) Apply(ctx context.Context, env *Env, _ []Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	_, err = k.Apply(ctx, s.Object)
	return err
}

// stable leaves out what changes by itself.
func stable(o Object) Object {
	c := Object{}
	for k, v := range o {
		if k != "status" {
			c[k] = v
		}
	}
	if meta, ok := o["metadata"].(map[string]any); ok {
		m := map[string]any{}
		for k, v := range meta {
			switch k {
			case "managedFields", "resourceVersion", "generation", "uid", "creationTimestamp":
			default:
				m[k] = v
			}
		}
		c["metadata"] = m
	}
	return c
}

// objectDiff lists the fields that differ as "- path: old" and "+ path: new",
// in the order of the paths.
func objectDiff(path string, old, now any) []string {
	if reflect.DeepEqual(old, now) {
		return nil
	}
	om, oldMap := old.(map[string]any)
	nm, nowMap := now.(map[string]any)
	if oldMap && nowMap {
		keys := map[string]bool{}
		for k := range om {
			keys[k] = true
		}
		for k := range nm {
			keys[k] = true
		}
		var lines []string
		for _, k := range sortedKeys(keys) {
			lines = append(lines, objectDiff(path+"."+k, om[k], nm[k])...)
		}
		return lines
	}
	ol, oldList := old.([]any)
	nl, nowList := now.([]any)
	if oldList && nowList && len(ol) == len(nl) {
		var lines []string
		for i := range ol {
			lines = append(lines, objectDiff(fmt.Sprintf("%s[%d]", path, i), ol[i], nl[i])...)
		}
		return lines
	}
	var lines []string
	path = strings.TrimPrefix(path, ".")
	if old != nil {
		lines = append(lines, "- "+path+": "+short(old))
	}
	if now != nil {
		lines = append(lines, "+ "+path+": "+short(now))
	}
	return lines
}

func short(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	const most = 200
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "…"
	}
	return string(b)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
