package lab

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// State is what a lab looks like from outside.
type State struct {
	Name   string      `json:"name"`
	Nodes  []NodeState `json:"nodes"`
	Mirror MirrorState `json:"mirror"`
	Up     bool        `json:"up"` // every node and the mirror answer
}

// NodeState is one node. Address is "" for a node that was made incompletely.
type NodeState struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Power   string `json:"power"` // "running", "exited", … as the engine says
	SSH     bool   `json:"ssh"`   // answers with the lab's key and host key
	Why     string `json:"why,omitempty"`
}

// MirrorState is the mirror of the lab; Power is "" for a lab without one.
type MirrorState struct {
	Address string `json:"address,omitempty"`
	Power   string `json:"power,omitempty"`
	Apt     bool   `json:"apt"`
	Images  bool   `json:"images"`
}

// Status looks at the lab and changes nothing. A lab that does not exist is a
// State without nodes.
func Status(ctx context.Context, o Options) (State, error) {
	o, err := o.withDefaults()
	if err != nil {
		return State{}, err
	}
	if err := engineRunning(ctx); err != nil {
		return State{}, err
	}
	b, err := o.backend()
	if err != nil {
		return State{}, err
	}
	nodes, err := b.nodes(ctx)
	if err != nil {
		return State{}, err
	}
	names, err := labelled(ctx, "container", o.Name)
	if err != nil {
		return State{}, err
	}
	s := State{Name: o.Name, Nodes: []NodeState{}, Up: len(nodes) > 0}
	if name := o.object(mirrorName); slices.Contains(names, name) {
		power, address, err := inspect(ctx, name)
		if err != nil {
			return State{}, err
		}
		s.Mirror = MirrorState{Address: address, Power: power,
			Apt:    power == "running" && fetches(ctx, "http://"+address+"/InRelease"),
			Images: power == "running" && fetches(ctx, "http://"+address+":5000/v2/")}
		s.Up = s.Up && s.Mirror.Apt && s.Mirror.Images
	}
	for _, n := range nodes {
		if n.Why = "it is off"; n.Power == "running" {
			n.Why = ""
			if err := o.connect(ctx, n.Name, n.Address); err != nil {
				n.Why = err.Error()
			}
		}
		n.SSH = n.Why == ""
		s.Up = s.Up && n.SSH
		s.Nodes = append(s.Nodes, n)
	}
	return s, nil
}

// connect makes one SSH connection to a node with the keys that Up left.
func (o Options) connect(ctx context.Context, node, address string) error {
	m, key, err := o.machine(node, address)
	if err != nil {
		return err
	}
	return answers(ctx, m, key.Signer)
}

// machine is a node as Up left it, and the key that opens it.
func (o Options) machine(node, address string) (machine, keyPair, error) {
	hostKey, err := readKey(o.hostKeyFile(node))
	if err != nil {
		return machine{}, keyPair{}, fmt.Errorf("its host key: %w", err)
	}
	key, err := readKey(o.keyFile())
	if err != nil {
		return machine{}, keyPair{}, fmt.Errorf("the lab's key: %w", err)
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return machine{}, keyPair{}, fmt.Errorf("its address: %w", err)
	}
	return machine{node, a, hostKey}, key, nil
}

func fetches(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}
