package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// Machines says what is wrong with each machine. noRoute holds the nodes that
// this computer cannot send to, and why.
func Machines(c *inventory.Cluster, x *provision.Examination, noRoute map[string]error) []Finding {
	var all []Finding
	clock, mine := ownClock(x.Machines)
	switch {
	case mine:
		all = append(all, stops(checkOwnClock, "", fmt.Sprintf("all machines agree with each other, and their clocks differ from this computer's by %s", clock.Round(time.Second)),
			"set the clock of this computer, or switch on systemd-timesyncd here"))
	case len(x.Machines) > 0:
		all = append(all, fine(checkOwnClock, ""))
	}
	for _, n := range c.Nodes {
		m, answered := x.Machines[n.Name]
		if err := noRoute[n.Name]; err != nil && !answered {
			all = append(all, stops(checkRoute, n.Name, fmt.Sprintf("this computer has no route to %s: %v", n.Address, err),
				"connect it to the network of the machines, or correct the address in "+c.File))
			continue
		}
		all = append(all, fine(checkRoute, n.Name))
		if !answered {
			all = append(all, failure(n.Name, x.Failed[n.Name])...)
			continue
		}
		for _, check := range []string{checkReach, checkHostKey, checkLogin, checkSudo} {
			all = append(all, fine(check, n.Name))
		}
		all = append(all, surveyed(n.Name, m, x.Problems, mine)...)
	}
	for _, p := range x.Problems {
		if p.Node == "" {
			all = append(all, stops(p.Check, "", p.Text, p.Remedy))
		}
	}
	if x.Err != nil {
		p := provision.Reason(c, provision.CheckRecord, x.Err.Error())
		all = append(all, stops(p.Check, p.Node, p.Text, p.Remedy))
	}
	return all
}

// littleRoom is less than one of the larger images takes, unpacked.
const littleRoom = 1 << 30

// surveyed is what the survey of one machine says. Where this computer's own
// clock is wrong, nothing is said of the machine's.
func surveyed(node string, m provision.Machine, problems []provision.Problem, clockIsMine bool) []Finding {
	var all []Finding
	bad := map[string]bool{}
	if clockIsMine {
		bad[provision.CheckClock] = true
	}
	for _, p := range problems {
		if p.Node == node && !(clockIsMine && p.Check == provision.CheckClock) {
			bad[p.Check] = true
			all = append(all, stops(p.Check, node, p.Text, p.Remedy))
		}
	}
	ok := slices.DeleteFunc(provision.Checked(m), func(check string) bool { return bad[check] })
	if h := m.Holder; h != nil {
		all = append(all, stops(checkLock, node, fmt.Sprintf("another run is at work there: %s", h), "wait for it to end, or end it there"))
	} else {
		ok = append(ok, checkLock)
	}
	if m.CgroupV2 {
		ok = append(ok, checkCgroups)
	} else {
		all = append(all, note(checkCgroups, node, "its control groups are of version 1, for which Kubernetes gets repairs only", "install a newer system when you can"))
	}
	if m.Identity != nil {
		for _, u := range m.Unreachable {
			all = append(all, note(provision.CheckMirror, node, "it cannot reach the mirror "+u, "start the mirror before anything new is to be fetched"))
		}
		if m.VarFree < littleRoom {
			all = append(all, note(provision.CheckDisk, node, fmt.Sprintf("%d MiB are free in %s, which holds /var or container images", m.VarFree>>20, m.VarPlace), "make room there before something is installed"))
		}
	}
	for _, check := range ok {
		all = append(all, fine(check, node))
	}
	return all
}

// ownClock says by how much this computer's clock is wrong: where several
// machines agree, it is not they that are.
func ownClock(machines map[string]provision.Machine) (time.Duration, bool) {
	var offsets []time.Duration
	for _, m := range machines {
		if m.ClockOffset.Abs() <= provision.MostOffset {
			return 0, false
		}
		offsets = append(offsets, m.ClockOffset)
	}
	if len(offsets) < 2 {
		return 0, false
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2], offsets[len(offsets)-1]-offsets[0] <= provision.MostOffset
}

// failure says at which door the way into a machine ended. The doors before it
// were open.
func failure(node string, err error) []Finding {
	check, passed := checkSurvey, []string(nil)
	text, remedy, _ := strings.Cut(strings.TrimPrefix(err.Error(), node+": "), "; ")
	var conn *host.ConnectError
	var key *host.HostKeyError
	var command *host.CommandError
	switch {
	case errors.As(err, &key):
		check, passed = checkHostKey, []string{checkReach}
		text = strings.TrimPrefix(key.Error(), fmt.Sprintf("%s (%s): ", key.Node, key.Address))
		if i := strings.LastIndex(text, ": "); i > 0 {
			text, remedy = text[:i], text[i+2:]
		}
	case errors.As(err, &conn):
		text, remedy = fmt.Sprintf("%s: %s: %v", conn.Address, conn.Op, conn.Err), conn.Hint
		switch {
		case conn.Op == "dial", conn.Op == "log in" && conn.Transient:
			check = checkReach
		case conn.Op == "log in", conn.Op == "session":
			check, passed = checkLogin, []string{checkReach, checkHostKey}
		case conn.Op == "sudo":
			check, passed = checkSudo, []string{checkReach, checkHostKey, checkLogin}
		default:
			passed = []string{checkReach, checkHostKey, checkLogin}
		}
	case errors.As(err, &command):
		passed = []string{checkReach, checkHostKey, checkLogin, checkSudo}
	}
	var all []Finding
	for _, p := range passed {
		all = append(all, fine(p, node))
	}
	return append(all, stops(check, node, text, remedy))
}

// Plan says which steps are known to fail. left is why those that leave the
// cluster could not be looked at, notes what is worth knowing of the members.
// A plan that could not be made is nil, and err says why.
func Plan(c *inventory.Cluster, p *provision.Plan, err, left error, notes []string) []Finding {
	var all []Finding
	for _, n := range notes {
		all = append(all, note(checkMembers, "", n, ""))
	}
	if left != nil {
		return append(all, reasons(c, checkLeaving, left)...)
	}
	if p == nil {
		return append(all, reasons(c, checkPlan, err)...)
	}
	failing := p.Errors()
	if len(failing) == 0 {
		return append(all, fine(checkPlan, ""))
	}
	for _, err := range failing {
		all = append(all, reasons(c, checkPlan, err)...)
	}
	return all
}

// reasons takes an error to pieces: a refusal has several.
func reasons(c *inventory.Cluster, check string, err error) []Finding {
	texts := provision.Reasons(err)
	if len(texts) == 0 {
		texts = []string{err.Error()}
	}
	var all []Finding
	for _, t := range texts {
		p := provision.Reason(c, check, t)
		var step *provision.StepError
		if p.Node == "" && errors.As(err, &step) {
			p.Node = step.Node
		}
		all = append(all, stops(p.Check, p.Node, p.Text, p.Remedy))
	}
	return all
}
