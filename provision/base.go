package provision

// Base is the head of most steps: who it is, where, and after what.
type Base struct {
	Name  string // the step's ID
	Node  string // "" for the cluster
	After []string
	Await []string // steps that come before it as well, and may fail
}

// ID returns the step's name.
func (b Base) ID() string { return b.Name }

// Needs returns the steps and milestones that must hold first.
func (b Base) Needs() []string { return b.After }

// Awaits returns the steps that must have come to an end.
func (b Base) Awaits() []string { return b.Await }
