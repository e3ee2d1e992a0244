package ubuntu

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"nucspark.io/nucspark/provision"
)

const (
	cacheConfig = firewallDir + "/cache.conf"
	cacheFiles  = "/var/cache/nucspark"
	// nginxGuard keeps the web server of the package nginx from starting.
	nginxGuard = "/etc/systemd/system/nginx.service.d"
)

// keepsCache says whether this node keeps what the others download.
func (b *builder) keepsCache() bool {
	return b.site.Cluster.Cached() && b.isControlPlane()
}

func (b *builder) isControlPlane() bool { return b.node.Name == b.site.Cluster.ControlPlane().Name }

// cache lets the control plane keep what nodes download, for the others. Its
// process is an nginx of its own, which nothing but the nodes reaches.
func (b *builder) cache() {
	unit := "/etc/systemd/system/" + provision.CacheUnit
	switch {
	case !b.isControlPlane():
		return
	case !b.keepsCache():
		// The package stays, as all do, until the cluster is taken down.
		stopped := provision.UnitBack{Base: b.base("cache/stopped"), Origin: provision.Origin{Kind: "unit", Key: provision.CacheUnit}}
		b.add(stopped,
			withdrawn{provision.Absent{Base: b.base("cache/unit", "cache/stopped"), Path: unit}},
			withdrawn{provision.Absent{Base: b.base("cache/config", "cache/stopped"), Path: cacheConfig}},
			provision.Emptied{Base: b.base("cache/directory", "cache/stopped"), Path: cacheFiles, Kind: provision.KindScratch})
		return
	}
	config := cacheOf(b.site)
	b.add(
		provision.Directory{Base: b.base("cache/nginx.d"), Path: nginxGuard, Mode: 0o755},
		nginxQuiet{provision.File{Base: b.base("cache/nginx", "cache/nginx.d"), Path: nginxGuard + "/nucspark.conf", Content: []byte(nginxQuietText), Mode: 0o644}},
		// www-data is the system's user for web servers, which every Debian has.
		provision.Directory{Base: b.base("cache/directory"), Path: cacheFiles, Mode: 0o700, Owner: "www-data", Group: "www-data", Kind: provision.KindScratch},
		provision.File{Base: b.base("cache/config", "firewall/directory"), Path: cacheConfig, Content: config.text(), Mode: 0o644},
		provision.Packages{Base: b.base("cache/package", "cache/nginx", "cache/config", "packages/system"), Packages: []provision.Package{{Name: "nginx"}}},
		provision.File{Base: b.base("cache/unit"), Path: unit, Content: []byte(cacheService), Mode: 0o644},
		// No port is open before the firewall's rules are loaded.
		provision.Unit{Base: b.base("cache/service", "cache/unit", "cache/config", "cache/directory", "cache/package", "firewall/table"),
			Unit: provision.CacheUnit, Reloads: []string{cacheConfig}},
	)
}

// nginxQuiet is a step: the web server that comes with the package nginx, and
// that would show a page to everybody, does not start. Where somebody had nginx
// before, it is theirs and left alone.
type nginxQuiet struct{ provision.File }

func (s nginxQuiet) nginx() provision.PackageQuery {
	return provision.PackageQuery{Node: s.Node, Name: "nginx"}
}

func (s nginxQuiet) Reads() []provision.Query { return append(s.File.Reads(), s.nginx()) }

func (s nginxQuiet) Diff(f provision.Facts) ([]provision.Change, error) {
	changes, err := s.File.Diff(f)
	if err == nil && len(changes) > 0 && changes[0].Action == provision.Create && s.nginx().In(f).Version != "" {
		return nil, nil
	}
	return changes, err
}

// nginxQuietText is a drop-in of systemd.unit(5). A start whose condition does
// not hold is no failure, also not for the package's scripts.
const nginxQuietText = "# " + signature + ": nginx was installed for " + provision.CacheUnit + ` alone.
[Unit]
ConditionPathExists=!` + cacheConfig + "\n"

// cacheService runs nginx without any right. Name servers are those of the
// moment it starts: nginx does not read /etc/resolv.conf itself.
const cacheService = `[Unit]
Description=Keeps what the nodes of the cluster download (nucspark)
Documentation=man:nginx(8)
Wants=network-online.target
After=network-online.target nss-lookup.target

[Service]
Type=forking
PIDFile=/run/nucspark-cache/nginx.pid
RuntimeDirectory=nucspark-cache
User=www-data
Group=www-data
ExecStartPre=/bin/sh -c 'set -- $$(sed -nE "s/^nameserver +([0-9.]+) *$$/\\1/p" /etc/resolv.conf); if [ $$# -gt 0 ]; then echo "resolver $$* ipv6=off;"; fi >/run/nucspark-cache/resolver.conf'
ExecStart=/usr/sbin/nginx -q -c ` + cacheConfig + `
ExecReload=/usr/sbin/nginx -q -c ` + cacheConfig + ` -s reload
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateTmp=yes
PrivateDevices=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=` + cacheFiles + `

[Install]
WantedBy=multi-user.target
`

// cache is what the configuration of the cache is made from.
type cache struct {
	Listen       netip.AddrPort
	Nodes        []netip.Addr
	Registries   map[string]string // URL by host, as the cluster names it; "" for all others
	Repositories []string          // URLs of package repositories
}

// plainURL is a URL that is safe in nginx's configuration.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9.:/_~%+-]+$`)

func cacheOf(site *provision.Site) cache {
	c := cache{Listen: site.Cache(), Registries: provision.CachedRegistries}
	for i := range site.Cluster.Nodes {
		c.Nodes = append(c.Nodes, site.Cluster.Nodes[i].Address)
	}
	if mirror := site.Cluster.Mirror.Registry; mirror != "" {
		c.Registries = map[string]string{"": mirror}
	}
	if mirror := site.Cluster.Mirror.Apt; mirror != "" {
		c.Repositories = []string{mirror}
	} else {
		release, _ := lookup(site.Machines[site.Cluster.ControlPlane().Name].OS, site.Machines[site.Cluster.ControlPlane().Name].Version)
		for _, r := range upstream(release, site.Resolved.Kubernetes) {
			c.Repositories = append(c.Repositories, strings.Fields(r.line)[0])
		}
	}
	// A mirror that is written in another way is asked by every node itself.
	c.Repositories = slices.DeleteFunc(c.Repositories, func(u string) bool { return !plainURL.MatchString(u) })
	c.Registries = maps.Clone(c.Registries)
	maps.DeleteFunc(c.Registries, func(_, u string) bool { return !plainURL.MatchString(u) })
	return c
}

func (c cache) text() []byte {
	var b bytes.Buffer
	if err := cacheTemplate.Execute(&b, c); err != nil {
		panic(err) // checked by a test
	}
	return b.Bytes()
}

// cacheTemplate is a configuration of nginx 1.18 and newer. It gives out what
// can be compared with a hash, and nothing else: what a digest of an image
// names, and packages of these repositories. Of what several nodes ask for at
// once, one request leads outside (proxy_cache_lock), and the others wait, all
// of them with a connection each. The number in front of a path means nothing:
// with it they ask again (cacheTurns in provision).
//
// Registries send most of the content from elsewhere, and redirect to it. nginx
// follows, since a node would go past the cache; the token for the registry
// stays behind. 401 and its challenge go back to the node, which gets a token
// without a name by itself.
var cacheTemplate = template.Must(template.New(cacheConfig).Funcs(template.FuncMap{
	"pattern": func(u string) string {
		scheme, rest, _ := strings.Cut(u, "://")
		return fmt.Sprintf(`~^/apt/(%s)/(%s[-A-Za-z0-9.:/_~%%+]+\.deb)$`, scheme, regexp.QuoteMeta(strings.TrimSuffix(rest, "/")+"/"))
	},
}).Parse(`# ` + signature + ` from the inventory; changes are overwritten.
pid /run/nucspark-cache/nginx.pid;
error_log stderr error;
worker_processes 2;
worker_rlimit_nofile 16384;
events {
	worker_connections 8192;
}
http {
	# What a node was refused is looked for here (SayPast).
	log_format answers "node=$remote_addr status=$status whole=$request_completion cache=$upstream_cache_status sent=$body_bytes_sent seconds=$request_time outside=$upstream_bytes_received what=$key";
	access_log syslog:server=unix:/run/systemd/journal/dev-log,nohostname,tag=nucspark_cache answers;
	server_tokens off;
	# A file that was cut off ends its connection, and nobody waits for the rest.
	keepalive_timeout 0;
	send_timeout 5m;
	include /run/nucspark-cache/resolver.conf;
	client_body_temp_path /var/cache/nucspark/temp;
	proxy_temp_path /var/cache/nucspark/temp;
	fastcgi_temp_path /var/cache/nucspark/temp;
	uwsgi_temp_path /var/cache/nucspark/temp;
	scgi_temp_path /var/cache/nucspark/temp;
	proxy_cache_path /var/cache/nucspark/files levels=1:2 keys_zone=files:10m max_size=4g inactive=30d use_temp_path=off;
	# Who is refused asks again at once, by every number there is. Outside hears
	# the first ten of them only.
	limit_req_zone "$remote_addr $key" zone=turns:1m rate=30r/m;
	limit_req_log_level info;

	# Where what a node asks for comes from; nothing for all else.
	map $arg_ns $registry {
		default "{{index .Registries ""}}";
{{- range $host, $url := .Registries}}{{if $host}}
		"{{$host}}" "{{$url}}";
{{- end}}{{end}}
	}
	map $request_uri $package {
		default "";
{{- range .Repositories}}
		"{{pattern .}}" $1://$2;
{{- end}}
	}

	server {
		listen {{.Listen}};
{{- range .Nodes}}
		allow {{.}};
{{- end}}
		deny all;
		if ($request_method !~ "^(GET|HEAD)$") {
			return 405;
		}

		proxy_http_version 1.1;
		proxy_set_header Connection "";
		proxy_set_header Accept-Encoding identity;
		proxy_ssl_server_name on;
		proxy_ssl_verify on;
		proxy_ssl_verify_depth 5;
		proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;
		proxy_connect_timeout 10s;
		proxy_read_timeout 5m;
		proxy_cache files;
		proxy_cache_key $key;
		proxy_cache_valid 200 30d;
		proxy_cache_valid 502 504 10s;
		proxy_cache_lock on;
		proxy_cache_lock_timeout 1h;
		proxy_cache_lock_age 1h;
		proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Buffering X-Accel-Expires X-Accel-Limit-Rate X-Accel-Redirect;
		proxy_intercept_errors on;
		recursive_error_pages on;
		error_page 301 302 303 307 308 = @elsewhere;

		location / {
			deny all;
		}
		location ~ "^/[0-9]+(?<content>/v2/[a-z0-9._/-]+/(?<kind>blobs|manifests)/(?<digest>sha256:[0-9a-f]{64}))$" {
			if ($registry = "") {
				return 404;
			}
			set $key "$kind $digest";
			limit_req zone=turns burst=10 nodelay;
			set $from $registry$content;
			proxy_pass $from;
		}
		location /apt/ {
			if ($package = "") {
				return 404;
			}
			set $key $package;
			proxy_pass $package;
		}
		location @elsewhere {
			set $from $upstream_http_location;
			proxy_set_header Connection "";
			proxy_set_header Accept-Encoding identity;
			proxy_set_header Authorization "";
			proxy_pass $from;
		}
	}
}
`))
