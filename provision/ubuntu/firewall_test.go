package ubuntu

import (
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/provision"
)

func TestFirewall(t *testing.T) {
	site := testSite()
	site.Cluster.Access.Allow = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd00::/8")}
	hashes := map[string]bool{}
	for i, n := range []string{"nuc01", "nuc02"} {
		rules, hash := ruleset(site.Cluster, &site.Cluster.Nodes[i])
		golden.Check(t, "firewall-"+n+".nft", []byte(rules))
		hashes[hash] = true
		checkRules(t, rules)
	}
	if len(hashes) != 2 {
		t.Error("different rules have one hash")
	}
	site.Cluster.Access.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	rules, _ := ruleset(site.Cluster, &site.Cluster.Nodes[0])
	if !strings.Contains(rules, "elements = { 0.0.0.0/1, 128.0.0.0/1 }") || !strings.Contains(rules, "elements = { ::/1, 8000::/1 }") {
		t.Errorf("everybody is allowed in:\n%s", rules)
	}
	checkRules(t, rules)
}

func TestElements(t *testing.T) {
	for _, c := range []struct{ prefixes, want string }{
		{"", ""},
		{"192.168.1.13/32 192.168.1.11/32 192.168.1.12/32 192.168.1.9/32", "192.168.1.9 192.168.1.11 192.168.1.12 192.168.1.13"},
		{"192.168.1.11/32 192.168.1.11/32", "192.168.1.11"},
		{"10.244.0.0/16 192.168.1.7/32 192.168.1.0/24", "10.244.0.0/16 192.168.1.0/24"},
		{"192.168.1.0/24 192.168.1.0/32 192.168.0.0/16 192.168.1.255/32 192.169.0.0/32", "192.168.0.0/16 192.169.0.0"},
		// One that another holds says nothing of those behind it.
		{"10.0.0.0/8 10.1.0.0/16 10.1.2.3/32 10.200.0.0/24 11.0.0.0/8", "10.0.0.0/8 11.0.0.0/8"},
		{"10.0.0.0/25 10.0.0.128/25 10.0.1.0/24", "10.0.0.0/25 10.0.0.128/25 10.0.1.0/24"},
		{"192.168.1.7/24 192.168.1.9/24", "192.168.1.0/24"}, // host bits
		{"0.0.0.0/0 10.0.0.0/8 192.168.1.7/32", "0.0.0.0/1 128.0.0.0/1"},
		{"fd00::/8 fd12::1/128 fe80::/10", "fd00::/8 fe80::/10"},
		{"::/0 fd00::/8", "::/1 8000::/1"},
	} {
		var prefixes []netip.Prefix
		for _, p := range strings.Fields(c.prefixes) {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		if got := strings.Join(elements(prefixes), " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.prefixes, got, c.want)
		}
	}
}

// checkRules asks nft itself, where there is one.
func checkRules(t *testing.T, rules string) {
	t.Helper()
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Log("nft is not installed here: the syntax of the rules is checked by the lab only")
		return
	}
	cmd := exec.Command(nft, "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "Operation not permitted") {
		t.Log("nft may not look at the kernel here: the syntax of the rules is checked by the lab only")
		return
	}
	if err != nil {
		t.Errorf("nft: %v\n%s\n%s", err, out, rules)
	}
}

func TestFirewallTable(t *testing.T) {
	s := find[firewallTable](t, Steps(testSite()), "nuc01/firewall/table")
	listing := s.rules[strings.Index(s.rules, "table inet nucspark {"):] // nft lists the same lines, but for blanks and order
	// nft flush table: chains and sets stay.
	flushed := regexp.MustCompile(`(?m)^\t\t.*(accept|drop)\n`).ReplaceAllString(listing, "")
	for _, c := range []struct {
		name    string
		is      provision.OutputFact
		changes int
	}{
		{"loaded", provision.OutputFact{Output: listing}, 0},
		{"older rules", provision.OutputFact{Output: strings.Replace(listing, s.hash, "0123456789ab", 1)}, 1},
		{"flushed", provision.OutputFact{Output: flushed}, 1},
		{"one rule is gone", provision.OutputFact{Output: strings.Replace(listing, "\t\tip daddr @inside4 drop\n", "", 1)}, 1},
		{"no chains left", provision.OutputFact{Output: "table inet nucspark {\n}\n"}, 1},
		{"no table", provision.OutputFact{Code: 1}, 1},
		{"no nft", provision.OutputFact{Code: 127}, 1},
	} {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): c.is}))
		if err != nil || len(changes) != c.changes {
			t.Errorf("%s: %v, %v", c.name, changes, err)
		}
	}
}

const ufwStatus = `Status: active

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW       Anywhere
Anywhere                   ALLOW       10.244.0.0/16              # nucspark
Anywhere                   ALLOW       192.168.1.11               # nucspark
Anywhere                   ALLOW       192.168.1.12               # nucspark
Anywhere                   ALLOW       192.168.1.99               # nucspark
Anywhere                   ALLOW       192.168.1.7                # printer
22/tcp (v6)                ALLOW       Anywhere (v6)

10.244.0.0/16              ALLOW FWD   Anywhere                   # nucspark
`

func TestUfw(t *testing.T) {
	s := find[ufw](t, Steps(testSite()), "nuc01/firewall/ufw")
	diff := func(is provision.OutputFact) []string {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{s.query(): is}))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range changes {
			out = append(out, string(c.Action)+" "+c.Old+c.New)
		}
		return out
	}
	if c := diff(provision.OutputFact{Code: 127}); len(c) != 0 {
		t.Errorf("without ufw: %v", c)
	}
	if c := diff(provision.OutputFact{Output: "Status: inactive\n"}); len(c) != 0 {
		t.Errorf("ufw is off: %v", c)
	}
	want := []string{
		"create allow fwd from 10.244.0.0/16 to any",
		"create allow from 192.168.1.13 to any",
		"create allow from 192.168.1.14 to any",
		"delete allow from 192.168.1.99 to any",
	}
	if c := diff(provision.OutputFact{Output: ufwStatus}); !slices.Equal(c, want) {
		t.Errorf("got  %q\nwant %q", c, want)
	}
	add, remove := s.compare(ufwStatus)
	if got, want := add[0].command(false), "ufw 'route' 'allow' 'from' '10.244.0.0/16' 'to' 'any' 'comment' 'nucspark'"; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := remove[0].command(true), "ufw 'delete' 'allow' 'from' '192.168.1.99' 'to' 'any'"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestFirewalld(t *testing.T) {
	s := find[firewalld](t, Steps(testSite()), "nuc01/firewall/firewalld")
	state, rules := s.queries()
	diff := func(code int, list string) int {
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{state: provision.OutputFact{Code: code}, rules: provision.OutputFact{Output: list}}))
		if err != nil {
			t.Fatal(err)
		}
		return len(changes)
	}
	if n := diff(252, ""); n != 0 {
		t.Errorf("firewalld is off: %d changes", n)
	}
	if n := diff(0, "trusted\n  target: ACCEPT\n  sources: 192.168.1.11 10.0.0.0/8\n"); n != 4 {
		t.Errorf("%d changes, want 4", n)
	}
	if n := diff(0, "trusted\n  sources: 192.168.1.11 192.168.1.12 192.168.1.13 192.168.1.14 10.244.0.0/16\n"); n != 0 {
		t.Errorf("%d changes, want none", n)
	}
}
