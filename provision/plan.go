package provision

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
)

// Plan is all steps with their changes. Making one changes nothing.
type Plan struct {
	Steps []*Planned // each after what it needs
}

// Planned is one step of a plan.
type Planned struct {
	Step    Step
	Changes []Change
	Err     error // why the diff cannot be made; the step will fail
	facts   Facts
}

// MakePlan reads the facts of all steps at once and diffs each. An error means
// that no plan can be made: a need that nothing provides, a circle, a node
// that does not answer, or a step that refuses ([RefusedError]). What else is
// wrong with a single step is in the plan. With a refusal the plan is returned
// as well, for who only looks: its Errors have the refusals and all the rest.
func MakePlan(ctx context.Context, fleet *Fleet, steps []Step) (*Plan, error) {
	ordered, err := order(steps)
	if err != nil {
		return nil, err
	}
	facts, err := fleet.readFor(ctx, ordered...)
	if err != nil {
		return nil, err
	}
	defer fleet.timed(diffed, time.Now())
	p := &Plan{}
	var reasons []string
	for _, s := range ordered {
		planned := &Planned{Step: s, facts: facts}
		planned.Changes, planned.Err = s.Diff(facts)
		p.Steps = append(p.Steps, planned)
		reasons = append(reasons, Reasons(planned.Err)...)
	}
	if len(reasons) > 0 {
		return p, &RefusedError{Reasons: reasons}
	}
	return p, nil
}

// readFor asks all that steps must know, each node once, and once more where a
// step is curious.
func (f *Fleet) readFor(ctx context.Context, steps ...Step) (Facts, error) {
	var queries, more []Query
	for _, s := range steps {
		queries = append(queries, s.Reads()...)
	}
	facts, err := f.Read(ctx, queries)
	if err != nil {
		return facts, err
	}
	for _, s := range steps {
		if c, ok := s.(Curious); ok {
			more = append(more, c.Asks(facts)...)
		}
	}
	if len(more) == 0 {
		return facts, nil
	}
	further, err := f.Read(ctx, more)
	maps.Copy(facts.answers, further.answers)
	return facts, err
}

// Changes counts the changes of all steps.
func (p *Plan) Changes() int {
	n := 0
	for _, s := range p.Steps {
		n += len(s.Changes)
	}
	return n
}

// Same says whether two plans make the same changes.
func (p *Plan) Same(other *Plan) bool {
	changes := func(p *Plan) map[string][]Change {
		m := map[string][]Change{}
		for _, s := range p.Steps {
			if len(s.Changes) > 0 {
				changes := slices.Clone(s.Changes)
				for i := range changes {
					changes[i].Note = ""
				}
				m[s.Step.ID()] = changes
			}
		}
		return m
	}
	return reflect.DeepEqual(changes(p), changes(other))
}

// Errors lists what the plan already knows to fail.
func (p *Plan) Errors() []error {
	var errs []error
	for _, s := range p.Steps {
		if s.Err != nil {
			errs = append(errs, &StepError{Step: s.Step.ID(), Node: NodeOf(s.Step.ID()), Err: s.Err})
		}
	}
	return errs
}

// NodeOf is the first part of a step's ID: the node's name, or "" for what
// belongs to the cluster.
func NodeOf(id string) string {
	node, _, _ := strings.Cut(id, "/")
	if node == "cluster" {
		return ""
	}
	return node
}

// order sorts steps so that each comes after what it needs, otherwise as
// given.
func order(steps []Step) ([]Step, error) {
	byID := map[string]Step{}
	for _, s := range steps {
		if byID[s.ID()] != nil {
			return nil, fmt.Errorf("two steps are called %s", s.ID())
		}
		byID[s.ID()] = s
	}
	var missing []string
	var out []Step
	state := map[string]int{} // 1: being visited, 2: in out
	var path []string
	var visit func(s Step) error
	visit = func(s Step) error {
		switch state[s.ID()] {
		case 1:
			return fmt.Errorf("steps need each other in a circle: %s → %s", strings.Join(path, " → "), s.ID())
		case 2:
			return nil
		}
		state[s.ID()] = 1
		path = append(path, s.ID())
		for _, need := range slices.Concat(s.Needs(), AwaitsOf(s)) {
			n := byID[need]
			if n == nil {
				missing = append(missing, fmt.Sprintf("%s (needed by %s)", need, s.ID()))
				continue
			}
			if err := visit(n); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		state[s.ID()] = 2
		out = append(out, s)
		return nil
	}
	for _, s := range steps {
		if err := visit(s); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return nil, fmt.Errorf("no step provides %s", strings.Join(missing, ", "))
	}
	return out, nil
}
