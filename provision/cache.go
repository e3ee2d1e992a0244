package provision

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// CachePort is where the control plane gives out what the nodes download. IANA
// has given it to nobody, and kernels do not take it for connections.
const CachePort = 10270

// CacheUnit is what runs it.
const CacheUnit = "nucspark-cache.service"

// CachedRegistries are the registries whose images go through the cache, with
// the address of each. Others are few, and may be what the cache cannot know:
// without TLS, or with a certificate of their own.
var CachedRegistries = map[string]string{
	"docker.io":       "https://registry-1.docker.io", // as containerd has it
	"ghcr.io":         "https://ghcr.io",
	"quay.io":         "https://quay.io",
	"registry.k8s.io": "https://registry.k8s.io",
}

// Cache is the address of the cache; the zero value where there is none.
func (s *Site) Cache() netip.AddrPort {
	if !s.Cluster.Cached() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(s.Cluster.ControlPlane().Address, CachePort)
}

const registryHosts = "/etc/containerd/certs.d"

// cacheTurns is how often a node asks the cache for one thing before it asks the
// registry. The cache answers who asks second when the first has all of it, and
// containerd since 2.3 gives up 30 s after it asked (ResponseHeaderTimeout in
// core/remotes/docker/registry.go), which a layer of 500 MB can take on any
// line. So a node waits ten minutes, and asks a cache that is gone for a minute.
const (
	cacheTurns = 20
	cacheDial  = "3s"
)

// Pull is a script of the shell that pulls images, four at once; images are
// words of the shell. What does not come from the cache, or not as it should,
// comes from the registry afterwards. The script says so and why.
//
// Of what the cache gave wrongly containerd keeps what it has, whole or in part,
// and goes on from there whoever asks next: that can only fail. It lets go of it
// when it collects its garbage, which the end of a lease can wait for. Until
// then nothing may come from the cache in another step, hence the lock.
func (s *Site) Pull(images string) string {
	const each = "xargs -r -n 1 -P 4 sh -c "
	straight := "pull() { " + each + `'ctr -n k8s.io images pull --hosts-dir ` + registryHosts + ` -- "$0" >/dev/null && echo "pulled $0"'; }` + "\n"
	list := "printf '%s\\n' " + images + " | "
	if !s.Cache().IsValid() {
		return straight + list + "pull\n"
	}
	return straight + s.cacheHosts() + "exec 9</etc/containerd && flock -s 9 || exit\n" + list + each + `'
	if said=$(ctr -n k8s.io images pull --hosts-dir "$work" -- "$0" 2>&1 >/dev/null); then
		echo "pulled $0"
	else
		echo "$0 does not come from the cache: $(printf %s "$said" | tail -n 1)"
		echo "$0" >> "$work/past"
	fi' || exit
[ ! -e "$work/past" ] || {
	flock 9
	ctr -n k8s.io leases delete --sync "$(ctr -n k8s.io leases create)" >/dev/null
	pull < "$work/past"
}
`
}

// cacheHosts is the head of a script that pulls images. It exports work, a copy
// of the node's own settings made for this script, in which content comes from
// the cache, and from the registry where the cache does not answer. The cache
// may not resolve: what a tag means only the registry says, and containerd
// compares what it gets with the digest (docs/hosts.md of containerd). The
// kubelet pulls past the cache, so that nobody's password gets near it. The
// cache takes any number in front of a path, so that it can be named more than
// once (cacheTurns).
func (s *Site) cacheHosts() string {
	cache := s.Cache()
	var b strings.Builder
	b.WriteString("export work\nwork=$(mktemp -d /run/nucspark-pull.XXXXXX) || exit\ntrap 'rm -rf -- \"$work\"' EXIT\ntrap 'exit 143' HUP INT TERM\n")
	fmt.Fprintf(&b, "[ ! -d %[1]s ] || cp -rT -- %[1]s \"$work\" || exit\n", registryHosts)
	// write HOST TEXT, for a host that the node has no settings of its own for
	b.WriteString("write() { mkdir -p -- \"$work/$1\" && printf '%s' \"$2\" > \"$work/$1/hosts.toml\"; }\n")
	if mirror := s.Cluster.Mirror.Registry; mirror != "" {
		fmt.Fprintf(&b, "write _default %s || exit\n", Quote(hostsFile(mirror, cache)))
		return b.String()
	}
	for _, host := range sortedKeys(CachedRegistries) {
		fmt.Fprintf(&b, "[ -e \"$work\"/%[1]s ] || write %[1]s %[2]s || exit\n", host, Quote(hostsFile(CachedRegistries[host], cache)))
	}
	return b.String()
}

// hostsFile is a hosts.toml.
func hostsFile(server string, cache netip.AddrPort) string {
	turns := map[string]any{}
	for i := range cacheTurns {
		turns[fmt.Sprintf("http://%s/%d", cache, i+1)] = map[string]any{"capabilities": []string{"pull"}, "dial_timeout": cacheDial}
	}
	text, err := toml.Marshal(map[string]any{"server": server, "host": turns})
	if err != nil {
		panic(err) // strings only
	}
	return string(text)
}

// SayPast puts into the step's log what a node asked the cache for since then
// and was refused. containerd takes that from the registry and tells nobody
// (open in core/remotes/docker/fetcher.go).
func (e *Env) SayPast(ctx context.Context, node string, since time.Time) {
	site := e.Site()
	n, ok := site.Cluster.Node(node)
	if !ok || !site.Cache().IsValid() {
		return
	}
	if _, err := e.Node(site.Cluster.ControlPlane().Name).Run(ctx, pastScript(n.Address, since)); err != nil {
		e.Log("whether all came from the cache is not known: " + err.Error())
	}
}

// pastScript reads the cache's log: one line for each answer, in the form of
// the log_format in provision/ubuntu. One that is not whole, or 499, is for who
// did not wait for it and asks again; a token is asked for with 401. Clocks of
// machines differ by a few seconds.
func pastScript(node netip.Addr, since time.Time) string {
	return fmt.Sprintf(`journalctl -q --no-pager -o cat -u %s --since @%d | awk '$1 == "node=%s" {
	what = $0
	sub(/.* what=/, "", what)
	status = substr($2, length("status=") + 1)
	if (status < 400 && $3 == "whole=OK") delete refused[what]
	if (status >= 400 && status != 499) refused[what] = $0
}
END { for (what in refused) print what " does not come from the cache: " refused[what] }'
`, CacheUnit, since.Unix()-5, node)
}

// prefetchScript fetches from the cache, before apt-get install, those packages
// that come from nucspark's repositories, into the directory in which apt-get
// looks for them. They are compared with the hashes of the signed lists. What
// the cache does not give, or not so, apt-get fetches itself. The node that asks
// second waits until the first one has the package.
func prefetchScript(cache netip.AddrPort, install []string) string {
	return fmt.Sprintf(`urls=$(sed -nE 's/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p' %[1]s 2>/dev/null)
apt-get -q -o Acquire::ForceHash=SHA256 -o APT::Install-Recommends=false --allow-change-held-packages --allow-downgrades -y --print-uris install -- %[2]s 2>/dev/null |
	sed -nE "s#^'(https?)://([^' ]+)' ([^ /]+) [0-9]+ ?([^ ]*)\$#\1 \2 \3 \4#p" |
	while read -r scheme rest file sum; do
		for u in $urls; do
			case "$scheme://$rest" in "$u"*)
				case $sum in SHA256:*) ;; *)
					echo "$file does not come from the cache: apt does not say its SHA256"
					break;;
				esac
				part=/var/cache/apt/archives/partial/$file.nucspark
				if why=$(/usr/lib/apt/apt-helper -q -o Acquire::Retries=0 -o Acquire::http::Timeout=300 -o Acquire::http::Proxy::%[3]s=DIRECT -o APT::Sandbox::User=root \
					download-file "http://%[4]s/apt/$scheme/$rest" "$part" "$sum" </dev/null 2>&1); then
					mv -f -- "$part" "/var/cache/apt/archives/$file" && echo "$file came from the cache"
				else
					rm -f -- "$part" "$part.FAILED"
					echo "$file does not come from the cache: $(printf "%%s\n" "$why" | grep -m 1 "^E: ")"
				fi
				break;;
			esac
		done
	done
`, AptSource, quoteAll(install), cache.Addr(), cache)
}
