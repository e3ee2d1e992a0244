package provision

import "strings"

// Explanation says in plain words what the steps of one name do. Each
// component has a list of them beside its steps.
type Explanation struct {
	// Step is a step's ID without its node: "containerd/config", or
	// "cluster/hdfs/namenode" for what belongs to no node. One * stands for
	// anything: "users/*".
	Step string
	// Text is two to five sentences, in lines as they are shown. The first one
	// says what the step does.
	Text string
}

// Plain is the text in one line.
func (e Explanation) Plain() string { return strings.Join(strings.Fields(e.Text), " ") }

// Summary is the first sentence.
func (e Explanation) Summary() string {
	first, _, more := strings.Cut(e.Plain(), ". ")
	if more {
		first += "."
	}
	return first
}

// Name is the step without what differs from one to the next: "users".
func (e Explanation) Name() string {
	head, _, _ := strings.Cut(e.Step, "*")
	return strings.TrimRight(head, "/-")
}

// Of says whether a name, without a node, is one of the steps.
func (e Explanation) Of(name string) bool {
	head, tail, star := strings.Cut(e.Step, "*")
	if !star {
		return name == head
	}
	return len(name) > len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail)
}

// explained is the explanation of a step, by its name without a node: of
// several that fit, the one with the longest name.
func explained(all []Explanation, name string) (found Explanation, ok bool) {
	for _, e := range all {
		if e.Of(name) && len(e.Step) > len(found.Step) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Explain finds what a person asks for: the step of an ID, with its node or
// without, or else all steps whose names begin so. It finds nothing for a name
// that no step has.
func Explain(all []Explanation, asked string) []Explanation {
	names := []string{asked}
	if node, rest, ok := strings.Cut(asked, "/"); ok && NodeOf(asked) == node {
		names = append(names, rest)
	}
	for _, name := range names {
		if e, ok := explained(all, name); ok {
			return []Explanation{e}
		}
	}
	for _, name := range names {
		var found []Explanation
		for _, e := range all {
			if name != "" && strings.HasPrefix(e.Step, name) {
				found = append(found, e)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}
