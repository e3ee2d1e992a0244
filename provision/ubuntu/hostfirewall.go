package ubuntu

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// clusterNetworks are the networks whose packets a firewall of the machine's
// own must let through: nodes, pods, and whom the inventory allows.
func clusterNetworks(c *inventory.Cluster) []string {
	all := []netip.Prefix{c.Network.Pods}
	for i := range c.Nodes {
		all = append(all, netip.PrefixFrom(c.Nodes[i].Address, c.Nodes[i].Address.BitLen()))
	}
	all = append(all, c.Access.Allow...)
	var texts []string
	for _, p := range all {
		if t := prefixText(p); p.IsValid() && !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return texts
}

// ufwComment marks nucspark's rules in ufw.
const ufwComment = "nucspark"

// ufw is a step: where ufw is active, it lets the cluster through. ufw's own
// default for forwarded packets is to drop them, so pods need routes too.
type ufw struct {
	provision.Base
	cluster *inventory.Cluster
}

// ufwRule is one rule as ufw status lists it.
type ufwRule struct{ to, action, from string }

// command is the rule as ufw takes it, after "ufw" or "ufw delete".
func (r ufwRule) command(remove bool) string {
	var words []string
	if r.action == "ALLOW FWD" {
		words = append(words, "route")
	}
	if remove {
		words = append(words, "delete")
	}
	words = append(words, "allow", "from", ufwAny(r.from), "to", ufwAny(r.to))
	if !remove {
		words = append(words, "comment", ufwComment)
	}
	for i := range words {
		words[i] = provision.Quote(words[i])
	}
	return "ufw " + strings.Join(words, " ")
}

func ufwAny(s string) string {
	if strings.HasPrefix(s, "Anywhere") {
		return "any"
	}
	return s
}

func (s ufw) query() provision.OutputQuery {
	return provision.OutputQuery{Node: s.Node, What: provision.UfwStatus}
}

func (s ufw) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s ufw) wanted() []ufwRule {
	any := "Anywhere"
	pods := prefixText(s.cluster.Network.Pods)
	rules := []ufwRule{{pods, "ALLOW FWD", any}, {any, "ALLOW FWD", pods}}
	for _, n := range clusterNetworks(s.cluster) {
		rules = append(rules, ufwRule{any, "ALLOW", n})
	}
	return rules
}

func (s ufw) Diff(f provision.Facts) ([]provision.Change, error) {
	is := s.query().In(f)
	if is.Code != 0 || !strings.Contains(is.Output, "Status: active") {
		return nil, nil
	}
	add, remove := s.compare(is.Output)
	var changes []provision.Change
	for _, r := range add {
		changes = append(changes, provision.Change{Kind: "firewall", Key: "ufw", Action: provision.Create, New: r.describe()})
	}
	for _, r := range remove {
		changes = append(changes, provision.Change{Kind: "firewall", Key: "ufw", Action: provision.Delete, Old: r.describe()})
	}
	return changes, nil
}

func (r ufwRule) describe() string {
	return strings.ToLower(r.action) + " from " + ufwAny(r.from) + " to " + ufwAny(r.to)
}

func (s ufw) compare(status string) (add, remove []ufwRule) {
	is, want := parseUfw(status), s.wanted()
	for _, r := range want {
		if !slices.Contains(is, r) {
			add = append(add, r)
		}
	}
	for _, r := range is {
		if !slices.Contains(want, r) {
			remove = append(remove, r)
		}
	}
	return add, remove
}

// parseUfw reads nucspark's rules out of lines like
//
//	Anywhere                   ALLOW       192.168.1.12               # nucspark
//	10.244.0.0/16              ALLOW FWD   Anywhere                   # nucspark
//
// The lines for IPv6 that ufw adds to rules without an address are left out.
func parseUfw(status string) []ufwRule {
	var rules []ufwRule
	for _, l := range strings.Split(status, "\n") {
		rule, comment, ok := strings.Cut(l, "# ")
		if !ok || strings.TrimSpace(comment) != ufwComment || strings.Contains(rule, "(v6)") {
			continue
		}
		to, from, action := "", "", ""
		for _, a := range []string{" ALLOW FWD ", " ALLOW IN ", " ALLOW "} {
			if to, from, ok = strings.Cut(rule, a); ok {
				action = strings.TrimSuffix(strings.TrimSpace(a), " IN")
				break
			}
		}
		if ok {
			rules = append(rules, ufwRule{strings.TrimSpace(to), action, strings.TrimSpace(from)})
		}
	}
	return rules
}

func (s ufw) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	add, remove := s.compare(s.query().In(env.Facts()).Output)
	script := "set -e\n"
	var ledger []provision.Entry
	for _, r := range remove {
		script += r.command(true) + "\n"
		ledger = append(ledger, provision.Entry{Kind: "ufw", Key: r.describe(), Before: "present"})
	}
	for _, r := range add {
		script += r.command(false) + "\n"
		ledger = append(ledger, provision.Entry{Kind: "ufw", Key: r.describe(), After: "present"})
	}
	return changeAll(ctx, env.Node(s.Node), ledger, script)
}

// firewalld is a step: where firewalld runs, the cluster's networks are in its
// trusted zone. Networks that left the inventory stay there until down, which
// knows from the ledger which are nucspark's: firewalld has no comments.
type firewalld struct {
	provision.Base
	cluster *inventory.Cluster
}

func (s firewalld) queries() (state, rules provision.OutputQuery) {
	return provision.OutputQuery{Node: s.Node, What: provision.FirewalldState}, provision.OutputQuery{Node: s.Node, What: provision.FirewalldRules}
}

func (s firewalld) Reads() []provision.Query {
	state, rules := s.queries()
	return []provision.Query{state, rules}
}

func (s firewalld) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	for _, n := range s.absent(f) {
		changes = append(changes, provision.Change{Kind: "firewall", Key: "firewalld zone trusted", Action: provision.Create, New: "source " + n})
	}
	return changes, nil
}

func (s firewalld) absent(f provision.Facts) []string {
	state, rules := s.queries()
	if state.In(f).Code != 0 {
		return nil
	}
	var sources []string
	for _, l := range strings.Split(rules.In(f).Output, "\n") {
		if list, ok := strings.CutPrefix(strings.TrimSpace(l), "sources:"); ok {
			sources = strings.Fields(list)
		}
	}
	var absent []string
	for _, n := range clusterNetworks(s.cluster) {
		if !slices.Contains(sources, n) {
			absent = append(absent, n)
		}
	}
	return absent
}

func (s firewalld) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	script := "set -e\n"
	var ledger []provision.Entry
	for _, n := range s.absent(env.Facts()) {
		source := provision.Quote("--add-source=" + n)
		script += "firewall-cmd -q --permanent --zone=trusted " + source + "\nfirewall-cmd -q --zone=trusted " + source + "\n"
		ledger = append(ledger, provision.Entry{Kind: "firewalld", Key: n, After: "trusted"})
	}
	return changeAll(ctx, env.Node(s.Node), ledger, script)
}

// changeAll runs one script that changes several things of a ledger.
func changeAll(ctx context.Context, n *provision.Node, ledger []provision.Entry, script string) error {
	done, err := n.Begin(ctx, ledger...)
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, script); err != nil {
		return err
	}
	return done(ctx)
}
