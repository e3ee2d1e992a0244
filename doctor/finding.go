package doctor

import (
	"fmt"
	"slices"
	"strings"

	"nucspark.io/nucspark/provision/host"
)

// Finding is one thing that was looked at. The names of checks stay what they
// are: scripts read them.
type Finding struct {
	Check   string `json:"check"`
	Node    string `json:"node"` // "" for this computer, and for the cluster as a whole
	OK      bool   `json:"ok"`   // it would not stop up
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// Names of what is looked at on this computer.
const (
	checkInventory  = "inventory"
	checkKey        = "ssh-key"
	checkKnownHosts = "known-hosts"
	checkState      = "state"
	checkOwnClock   = "own-clock"
)

// Names of what comes before the survey of a machine, and of what is behind it;
// those of the survey are provision's.
const (
	checkRoute   = "route"
	checkReach   = "reach"
	checkHostKey = "host-key"
	checkLogin   = "login"
	checkSudo    = "sudo"
	checkSurvey  = "survey"
	checkCgroups = "cgroups"
	checkLock    = "lock"
	checkMembers = "members"
	checkLeaving = "leaving"
	checkPlan    = "plan"
)

var ownChecks = []string{checkInventory, checkKey, checkKnownHosts, checkState, checkOwnClock}

func fine(check, node string) Finding { return Finding{Check: check, Node: node, OK: true} }

// stops makes a finding that would stop up, note one that is worth knowing.
// What machines say of themselves may be in their texts.
func stops(check, node, problem, remedy string) Finding {
	return Finding{Check: check, Node: node, Problem: host.Clean(problem), Remedy: host.Clean(remedy)}
}

func note(check, node, problem, remedy string) Finding {
	f := stops(check, node, problem, remedy)
	f.OK = true
	return f
}

// Stops counts what would stop up.
func Stops(all []Finding) int {
	n := 0
	for _, f := range all {
		if !f.OK {
			n++
		}
	}
	return n
}

const thisComputer, wholeCluster = "this computer", "cluster"

func (f Finding) place() string {
	switch {
	case f.Node != "":
		return f.Node
	case slices.Contains(ownChecks, f.Check):
		return thisComputer
	}
	return wholeCluster
}

// Lines are findings for a person: by place, what is fine in one line, and the
// rest with its remedy below it.
func Lines(all []Finding) []string {
	var lines, nodes []string
	byPlace := map[string][]Finding{}
	for _, f := range all {
		place := f.place()
		if byPlace[place] == nil && f.Node != "" {
			nodes = append(nodes, place)
		}
		byPlace[place] = append(byPlace[place], f)
	}
	for _, place := range slices.Concat([]string{thisComputer}, nodes, []string{wholeCluster}) {
		if len(byPlace[place]) == 0 {
			continue
		}
		lines = append(lines, place)
		var ok []string
		for _, f := range byPlace[place] {
			if f.OK && f.Problem == "" {
				ok = append(ok, f.Check)
			}
		}
		if len(ok) > 0 {
			lines = append(lines, "  ✓ ok      "+strings.Join(ok, ", "))
		}
		for _, f := range byPlace[place] {
			if f.Problem == "" {
				continue
			}
			word := "✗ failed  "
			if f.OK {
				word = "! note    "
			}
			lines = append(lines, fmt.Sprintf("  %s%s: %s", word, f.Check, f.Problem))
			if f.Remedy != "" {
				lines = append(lines, "            "+f.Remedy)
			}
		}
	}
	return lines
}
