package ubuntu

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nucspark.io/nucspark/provision"
)

// ufwGone is a step: ufw has no rule with nucspark's comment, be it active or
// not.
type ufwGone struct{ provision.Base }

func (s ufwGone) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.UfwAdded}
}

func (s ufwGone) Reads() []provision.Query { return []provision.Query{s.query()} }

// rules are the words by which nucspark's rules are deleted. ufw shows each
// as the command that added it: ufw route allow to 10.244.0.0/16 comment 'nucspark'.
func (s ufwGone) rules(f provision.Facts) [][]string {
	var rules [][]string
	for _, l := range strings.Split(s.query().In(f).Output, "\n") {
		rule, ours := strings.CutSuffix(strings.TrimSpace(l), " comment '"+ufwComment+"'")
		words := strings.Fields(rule)
		if !ours || len(words) < 3 || words[0] != "ufw" {
			continue
		}
		at := 1
		if words[1] == "route" {
			at = 2
		}
		rules = append(rules, slices.Insert(words, at, "delete"))
	}
	return rules
}

func (s ufwGone) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	for _, r := range s.rules(f) {
		changes = append(changes, provision.Change{Kind: "firewall", Key: "ufw", Action: provision.Delete, Old: strings.Join(r, " ")})
	}
	return changes, nil
}

func (s ufwGone) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	script := "set -e\n"
	var ledger []provision.Entry
	for _, r := range s.rules(env.Facts()) {
		ledger = append(ledger, provision.Entry{Kind: "ufw", Key: strings.Join(r, " ")})
		for i := range r {
			r[i] = provision.Quote(r[i])
		}
		script += strings.Join(r, " ") + "\n"
	}
	return changeAll(ctx, env.Node(s.Node), ledger, script)
}

// firewalldGone is a step: the networks that nucspark put into firewalld's zone
// trusted are not in it.
type firewalldGone struct {
	provision.Base
	sources []string
}

func (s firewalldGone) state() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.FirewalldState}
}

func (s firewalldGone) zone() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.FirewalldRules}
}

func (s firewalldGone) Reads() []provision.Query { return []provision.Query{s.state(), s.zone()} }

// there are the sources that are still in the zone.
func (s firewalldGone) there(f provision.Facts) []string {
	var there []string
	for _, l := range strings.Split(s.zone().In(f).Output, "\n") {
		if list, ok := strings.CutPrefix(strings.TrimSpace(l), "sources:"); ok {
			for _, source := range strings.Fields(list) {
				if slices.Contains(s.sources, source) {
					there = append(there, source)
				}
			}
		}
	}
	return there
}

func (s firewalldGone) Diff(f provision.Facts) ([]provision.Change, error) {
	switch s.state().In(f).Code {
	case 0:
	case 127: // not installed any more
		return nil, nil
	default:
		return nil, fmt.Errorf("firewalld on %s does not run, so that the cluster's networks cannot be taken out of its zone trusted; start it (systemctl start firewalld) and run again", s.Node)
	}
	var changes []provision.Change
	for _, n := range s.there(f) {
		changes = append(changes, provision.Change{Kind: "firewall", Key: "firewalld zone trusted", Action: provision.Delete, Old: "source " + n})
	}
	return changes, nil
}

func (s firewalldGone) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	script := "set -e\n"
	var ledger []provision.Entry
	for _, n := range s.there(env.Facts()) {
		source := provision.Quote("--remove-source=" + n)
		script += "firewall-cmd -q --permanent --zone=trusted " + source + "\nfirewall-cmd -q --zone=trusted " + source + "\n"
		ledger = append(ledger, provision.Entry{Kind: "firewalld", Key: n, Before: "trusted"})
	}
	return changeAll(ctx, env.Node(s.Node), ledger, script)
}

// swapBack is a step: the units that were masked are not, and what was swapped
// to is, as far as it is still there.
type swapBack struct {
	provision.Base
	units, devices []string
}

func (s swapBack) swap() provision.SwapQuery { return provision.SwapQuery{Node: s.Node} }

func (s swapBack) file(path string) provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path}
}

// place is where a unit was masked.
func place(unit string) string {
	if unit == zramGenerator {
		return zramConf
	}
	return "/etc/systemd/system/" + unit
}

func (s swapBack) Reads() []provision.Query {
	reads := []provision.Query{s.swap()}
	for _, u := range s.units {
		reads = append(reads, s.file(place(u)), s.file(place(u)+aside))
	}
	for _, d := range s.devices {
		reads = append(reads, s.file(d))
	}
	return reads
}

// zram says whether the device is one that a masked unit makes when it starts.
func (s swapBack) zram(device string) bool {
	return strings.HasPrefix(device, "/dev/zram") && slices.ContainsFunc(s.units, func(u string) bool { return strings.Contains(u, "zram") })
}

func (s swapBack) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	for _, u := range s.units {
		// A file in the place of the mask is somebody's.
		mask := s.file(place(u)).In(f)
		if mask.Exists && !mask.Mode.IsRegular() && !mask.Mode.IsDir() || !mask.Exists && s.file(place(u)+aside).In(f).Exists {
			changes = append(changes, provision.Change{Kind: "unit", Key: u, Action: provision.Update, Old: "masked", New: "as it was"})
		}
	}
	active := s.swap().In(f).Active
	for _, d := range s.devices {
		if !slices.Contains(active, d) && (s.file(d).In(f).Exists || s.zram(d)) {
			changes = append(changes, provision.Change{Kind: "swap", Key: d, Action: provision.Update, Old: "off", New: "on"})
		}
	}
	return changes, nil
}

func (s swapBack) Apply(ctx context.Context, env *provision.Env, c []provision.Change) error {
	n := env.Node(s.Node)
	var ledger []provision.Entry
	for _, ch := range c {
		ledger = append(ledger, provision.Entry{Kind: map[string]string{"swap": "swap", "unit": "mask"}[ch.Kind], Key: ch.Key, Before: ch.Old, After: ch.New})
	}
	done, err := n.Begin(ctx, ledger...)
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, swapBackScript(c)); err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: fmt.Errorf("switching swap on again: %w", err),
			Hint: "see with swapon --show and systemctl --failed on the node what is in the way"}
	}
	return done(ctx)
}

// swapBackScript undoes swapScript: the masks go, what lay there comes back,
// and swap is switched on by its unit, which systemd makes of a line of fstab,
// or else by hand.
func swapBackScript(changes []provision.Change) string {
	var w strings.Builder
	w.WriteString("set -e\n")
	for _, c := range changes {
		if c.Kind == "unit" {
			p := provision.Quote(place(c.Key))
			fmt.Fprintf(&w, "[ ! -L %[1]s ] || rm -f -- %[1]s\nif [ -e %[2]s ] && [ ! -e %[1]s ]; then mv -- %[2]s %[1]s; fi\n", p, provision.Quote(place(c.Key)+aside))
		}
	}
	w.WriteString("systemctl daemon-reload\n")
	for _, c := range changes {
		if c.Kind == "unit" && strings.HasSuffix(c.Key, ".service") {
			fmt.Fprintf(&w, "systemctl start -- %s\n", provision.Quote(c.Key))
		}
	}
	for _, c := range changes {
		if c.Kind == "swap" {
			d := provision.Quote(c.Key)
			fmt.Fprintf(&w, "grep -q \"^\"%[1]s\" \" /proc/swaps || systemctl start -- \"$(systemd-escape -p --suffix=swap -- %[1]s)\" || swapon -- %[1]s\n", d)
		}
	}
	return w.String()
}
