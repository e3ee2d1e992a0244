package provision

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// Only who is named leaves, or whose removal was begun, and only the machine
// that joined is touched.
func TestLeave(t *testing.T) {
	off := &host.ConnectError{Node: "nuc03", Op: "dial", Err: errors.New("no route to host"), Transient: true}
	for name, test := range map[string]struct {
		removal  Removal
		member   Member // nuc03, whose block left the file
		identity string // of the machine at its address
		dial     error
		leaving  []string
		on       bool
		refused  string // part of the reason
		note     string
	}{
		"nobody said so":    {},
		"named":             {removal: Removal{Nodes: []string{"nuc03"}}, leaving: []string{"nuc03"}, on: true},
		"begun before":      {member: Member{Leaving: true}, leaving: []string{"nuc03"}, on: true},
		"undone already":    {removal: Removal{Nodes: []string{"nuc03"}}, identity: "none", leaving: []string{"nuc03"}, on: true},
		"in the file":       {removal: Removal{Nodes: []string{"nuc02"}}, refused: "nuc02 is in c.hcl: take its block out"},
		"the control plane": {removal: Removal{Nodes: []string{"nuc01"}}, refused: "nuc01 is the control plane"},
		"a wrong name":      {removal: Removal{Nodes: []string{"nuc30"}}, refused: "nuc30 is no member of the cluster; members that are not in c.hcl: nuc03"},
		"another machine":   {removal: Removal{Nodes: []string{"nuc03"}}, member: Member{MachineID: "m9"}, refused: "another machine answers"},
		"another cluster's": {removal: Removal{Nodes: []string{"nuc03"}}, identity: `{"cluster":"other","uid":"v","node":"nuc03"}`, refused: `belongs to the cluster "other"`},
		"off":               {removal: Removal{Nodes: []string{"nuc03"}}, dial: off, leaving: []string{"nuc03"}, note: "nuc03 is taken out without being reached"},
		"another key":       {removal: Removal{Nodes: []string{"nuc03"}}, dial: &host.HostKeyError{Node: "nuc03"}, refused: "host key"},
		"loss of who stays": {removal: Removal{AcceptLoss: []string{"nuc03"}}, refused: "--accept-loss nuc03"},
		"volume of nobody":  {removal: Removal{LoseVolumes: []string{"shared"}}, refused: "--lose-volume shared: no node is being removed"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := two()
			c.SSH.Port = 22
			var dialled []inventory.Node
			machine := newAnswering("m3")
			switch test.identity {
			case "":
				machine.fields["identity"] = base64.StdEncoding.EncodeToString([]byte(`{"cluster":"nucs","uid":"u","node":"nuc03","machine_id":"m3"}`))
			case "none":
			default:
				machine.fields["identity"] = base64.StdEncoding.EncodeToString([]byte(test.identity))
			}
			f := NewFleet(c, func(_ context.Context, n *inventory.Node) (Remote, error) {
				dialled = append(dialled, *n)
				return machine, test.dial
			})
			if test.member.MachineID == "" {
				test.member.MachineID = "m3"
			}
			test.member.Address, test.member.HostKey, test.member.Port = "192.168.1.13", "ssh-ed25519 AAAA", 2222
			site := &Site{Cluster: c, Resolved: Resolved{UID: "u"}, Members: map[string]Member{"nuc01": {}, "nuc02": {}, "nuc03": test.member}}
			notes, err := f.Leave(t.Context(), site, test.removal)
			var refused *RefusedError
			if test.refused != "" {
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.refused) {
					t.Fatalf("%v, want a refusal that says %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var leaving []string
			for _, l := range site.Leaving {
				leaving = append(leaving, l.Name)
				if (l.Machine != nil) != test.on {
					t.Errorf("%s: the machine is %+v", l.Name, l.Machine)
				}
			}
			if !reflect.DeepEqual(leaving, test.leaving) {
				t.Errorf("%v leave, want %v", leaving, test.leaving)
			}
			if !strings.Contains(strings.Join(notes, "\n"), test.note) {
				t.Errorf("notes %q do not say %q", notes, test.note)
			}
			if (len(site.Foreign()) == 1) != (len(test.leaving) == 0) {
				t.Errorf("foreign %v", site.Foreign())
			}
			for _, n := range dialled {
				if n.Port != 2222 || n.HostKey != "ssh-ed25519 AAAA" || n.Address.String() != "192.168.1.13" {
					t.Errorf("dialled %+v, not what was recorded", n)
				}
			}
		})
	}
	// Once it is out, doing it again is harmless.
	c, _ := two()
	site := &Site{Cluster: c, Members: map[string]Member{"nuc01": {}, "nuc02": {}}}
	notes, err := NewFleet(c, nil).Leave(t.Context(), site, Removal{Nodes: []string{"nuc03"}})
	if err != nil || len(site.Leaving) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "nothing to remove") {
		t.Errorf("%v, %v, %v", site.Leaving, notes, err)
	}
}

// What is made for the nodes that stay waits until all have left.
func TestIdentityWaitsForWhoLeaves(t *testing.T) {
	c, machines := two()
	site := &Site{Cluster: c, Machines: machines}
	if needs := IdentityStep(site, "nuc02").Needs(); len(needs) > 0 {
		t.Errorf("needs %v", needs)
	}
	site.Leaving = []Leaving{{Name: "nuc03"}}
	if needs := IdentityStep(site, "nuc02").Needs(); !reflect.DeepEqual(needs, []string{Left}) {
		t.Errorf("needs %v", needs)
	}
}

// A refusal of a step is one of the plan, and numbers that change by
// themselves are no part of what somebody agrees to.
func TestPlanRefusesAndCompares(t *testing.T) {
	c, _ := two()
	fleet := NewFleet(c, nil)
	p, err := MakePlan(t.Context(), fleet, []Step{refusing{Base{Name: "a/b"}, "one"}, refusing{Base{Name: "a/c"}, "two"}})
	var refused *RefusedError
	if !errors.As(err, &refused) || !reflect.DeepEqual(refused.Reasons, []string{"one", "two"}) {
		t.Errorf("%v", err)
	}
	if p == nil || len(p.Errors()) != 2 {
		t.Errorf("who only looks gets %+v", p)
	}
	plan := func(note, detail string) *Plan {
		return &Plan{Steps: []*Planned{{Step: Milestone{Name: "a/b"}, Changes: []Change{{Kind: "datanode", Note: note, Detail: detail}}}}}
	}
	if !plan("3 blocks", "").Same(plan("4 blocks", "")) || plan("", "x").Same(plan("", "y")) {
		t.Error("plans are compared with their notes, or without their details")
	}
}

type refusing struct {
	Base
	reason string
}

func (refusing) Reads() []Query { return nil }
func (s refusing) Diff(Facts) ([]Change, error) {
	return nil, &RefusedError{Reasons: []string{s.reason}}
}
func (refusing) Apply(context.Context, *Env, []Change) error { return nil }
