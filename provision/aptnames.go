package provision

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// namesScript prints "deaf HOST" for each host of the package lists whose name
// cannot be resolved, "heard HOST" for the others, and where there are deaf
// ones "server ADDRESS" for each name server. Addresses need no name. apt
// itself would take minutes to find that out, since it tries each file again.
// Behind a proxy it is the proxy that resolves. The resolver gives each server
// two times five seconds (resolv.conf(5)).
const namesScript = `names=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	grep '^[^#]' | grep -oE 'https?://[^ /]+' | sed -E 's#.*//([^@]*@)?##; s#:[0-9]+$##' | grep -vE '\[|^[0-9.]+$' | sort -u | {
	while read -r h; do
		{ timeout 12 getent ahosts "$h" >/dev/null && echo "heard $h" || echo "deaf $h"; } &
	done
	wait
})
case $names in *deaf*) if ! apt-config dump 2>/dev/null | grep -qiE '^Acquire::https?::(.*::)?Proxy[A-Za-z-]* "[^"]'; then
	echo "$names"
	awk '$1 == "nameserver" { print "server " $2 }' /etc/resolv.conf
fi;; esac
`

// hostsScript prints the hosts that packages would be fetched from.
func hostsScript(install []string) string {
	return aptEnvironment + "apt-get -q -o APT::Install-Recommends=false --allow-change-held-packages -y --print-uris install -- " + quoteAll(install) +
		` | sed -nE "s#^'https?://([^/@']*@)?([^/:']*).*#\2#p" | sort -u` + "\n"
}

// names is what namesScript found.
type names struct {
	deaf    []string // hosts without an address
	heard   bool     // some host has one
	servers []string // that were asked
}

func (n *names) add(line string) {
	kind, value, _ := strings.Cut(line, " ")
	switch kind {
	case "deaf":
		n.deaf = append(n.deaf, value)
	case "heard":
		n.heard = true
	case "server":
		n.servers = append(n.servers, value)
	}
}

// check fails when a package must come from a host that has no address.
func (a *apt) check(ctx context.Context, install []string) error {
	if len(a.names.deaf) == 0 {
		return nil
	}
	res, err := a.quiet(ctx, hostsScript(install))
	if err != nil {
		return a.failure("installing "+strings.Join(install, " "), res, err)
	}
	for _, h := range strings.Fields(res.Stdout) {
		if slices.Contains(a.names.deaf, h) {
			return &StepError{Node: a.node, Step: a.step, Transient: true,
				Err: fmt.Errorf("%s cannot resolve the name %s, from where packages must come (name servers in its /etc/resolv.conf: %s)",
					a.node, h, strings.Join(a.names.servers, ", ")),
				Hint: "see with resolvectl status or getent hosts " + h + " there whether its name servers answer, put them right and run again"}
		}
	}
	return nil
}
