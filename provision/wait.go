package provision

import (
	"context"
	"fmt"
	"time"
)

// WaitFor is a step: something that the machines do by themselves has
// happened. It looks again twice a second until it holds or Bound is over.
type WaitFor struct {
	Base
	Key     string             // what is waited for: "namenode out of safe mode"
	Queries []Query            // asked again at each look
	Missing func(Facts) string // what is still missing, "" when it holds
	Bound   time.Duration
	Hint    string // what to look at when it did not happen
}

func (s WaitFor) Reads() []Query { return s.Queries }

func (s WaitFor) Diff(f Facts) ([]Change, error) {
	missing := s.Missing(f)
	if missing == "" {
		return nil, nil
	}
	return []Change{{Kind: "condition", Key: s.Key, Action: Wait, Old: missing}}, nil
}

func (s WaitFor) Apply(ctx context.Context, env *Env, _ []Change) error {
	ctx, cancel := context.WithTimeout(ctx, s.Bound)
	defer cancel()
	last := ""
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	for {
		f, err := env.Read(ctx, s.Queries...)
		switch {
		case err == nil:
			missing := s.Missing(f)
			if missing == "" {
				return nil
			}
			if missing != last {
				env.Log("waiting: " + missing)
				last = missing
			}
		case ctx.Err() == nil && !IsTransient(err):
			return err
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == context.Canceled {
				return ctx.Err()
			}
			return &StepError{Step: s.Name, Node: s.Node, Err: fmt.Errorf("%s did not happen within %s: %s", s.Key, s.Bound, last), Hint: s.Hint}
		case <-tick.C:
		}
	}
}
