package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cachePort is that of docs/security.md.
const cachePort = "10270"

// TestLongCache counts what leaves the mirror while clusters of one, three and
// five machines are made: what nodes download comes from outside once.
func TestLongCache(t *testing.T) {
	var one int64
	t.Run("one machine", func(t *testing.T) {
		c := &cacheTest{bench: longLab(t, "1"), seen: map[string]bool{}}
		one = c.up(t, c.inventory())
		// Kubernetes, Hadoop and Spark with their Java: a smaller count is none.
		if one < 500<<20 {
			t.Errorf("that cannot be all that one machine needs")
		}
	})
	if t.Failed() || t.Skipped() || one == 0 {
		return
	}
	t.Run("three machines", func(t *testing.T) {
		c := &cacheTest{bench: longLab(t, "4"), one: one, seen: map[string]bool{}}
		all := c.text(t)
		c.write(t, block("node", "nuc04").ReplaceAllString(all, ""))
		part(t, "up", func(t *testing.T) { c.once(t, c.up(t, c.inventory())) })
		part(t, "strangers and pods", c.testStrangers)
		part(t, "a broken cache", func(t *testing.T) { c.testBroken(t, all) })
		part(t, "off", c.testOff)
	})
	t.Run("five machines, the last one later", func(t *testing.T) {
		c := &cacheTest{bench: longLab(t, "5"), one: one, seen: map[string]bool{}}
		four := c.up(t, c.file(t, "four.hcl", block("node", "nuc05").ReplaceAllString(c.text(t), "")))
		fifth := c.up(t, c.inventory())
		c.once(t, four+fifth)
		if fifth > one/20 {
			t.Errorf("the last machine fetched %s from outside", mib(fifth))
		}
	})
}

type cacheTest struct {
	*bench
	one  int64           // what one machine fetches, in bytes
	seen map[string]bool // paths that the mirror was asked for
	read [2]int          // lines of the mirror's and of the cache's log that were accounted for
}

// sent is what the mirror has sent so far, in bytes, as its network card counts.
func (c *cacheTest) sent(t *testing.T) int64 {
	t.Helper()
	out := execute(t, time.Minute, nil, "docker", "container", "inspect", "--format", "{{.State.Pid}}", container("mirror"))
	if out.code != 0 {
		t.Fatal(out)
	}
	counters, err := os.ReadFile("/proc/" + strings.TrimSpace(out.stdout) + "/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	// The ninth number of a card is the bytes that it sent (proc_net(5)).
	m := regexp.MustCompile(`eth0:\s*(?:\d+\s+){8}(\d+)`).FindSubmatch(counters)
	if m == nil {
		t.Fatalf("the mirror has no card:\n%s", counters)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// up makes it so and returns what the mirror sent meanwhile.
func (c *cacheTest) up(t *testing.T, inventory string) int64 {
	t.Helper()
	sent, _ := c.told(t, inventory)
	return sent
}

// told is up, with the events of the run.
func (c *cacheTest) told(t *testing.T, inventory string) (int64, output) {
	t.Helper()
	before, began := c.sent(t), time.Now()
	out := c.ok(t, "up", "--yes", "--progress=json", "-f", inventory)
	sent := c.sent(t) - before
	t.Logf("up took %.0f s; the mirror sent %s", time.Since(began).Seconds(), mib(sent))
	c.account(t)
	return sent, out
}

// account says which machine got how much from the mirror and from the cache
// since it was last called, and what the mirror sent that it had sent before:
// that went past the cache. The cache fetches as the control plane.
func (c *cacheTest) account(t *testing.T) {
	t.Helper()
	type sums struct{ mirror, again, cache int64 }
	got := map[[2]string]*sums{} // by machine and kind
	names := map[string]string{}
	for _, m := range c.machines(t) {
		names[m.address] = m.name
		for _, kind := range []string{"packages", "images", "lists"} {
			got[[2]string{m.name, kind}] = &sums{}
		}
	}
	var said []string
	sum := func(address, what string) *sums {
		kind := "lists"
		switch {
		case strings.HasSuffix(what, ".deb"):
			kind = "packages"
		case strings.HasPrefix(what, "/v2/"), strings.HasPrefix(what, "blobs "), strings.HasPrefix(what, "manifests "):
			kind = "images"
		}
		s := got[[2]string{names[address], kind}]
		if s == nil {
			said = append(said, fmt.Sprintf("%s, which is no machine of the lab, fetched %s", address, what))
			s = &sums{}
		}
		return s
	}
	for _, l := range c.next(t, 0, execute(t, time.Minute, nil, "docker", "logs", container("mirror"))) {
		// By whom, status, bytes, path: Serve in lab/mirror.
		f := strings.Fields(l)
		if len(f) != 4 {
			t.Fatalf("the mirror says %q", l)
		}
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			t.Fatalf("the mirror says %q: %v", l, err)
		}
		s := sum(f[0], f[3])
		s.mirror += n
		if n > 0 && c.seen[f[3]] {
			s.again += n
			if n > 1<<20 {
				said = append(said, fmt.Sprintf("again to %s: %s %s", names[f[0]], mib(n), f[3]))
			}
		}
		c.seen[f[3]] = c.seen[f[3]] || n > 0
	}
	gaveUp := map[string]int{}
	answer := regexp.MustCompile(`^node=(\S+) status=(\d+) whole=(?:OK|) .* sent=(\d+) .* what=(.*)$`) // log_format in provision/ubuntu
	for _, l := range c.next(t, 1, execute(t, time.Minute, nil, "docker", "exec", container("nuc01"), "journalctl", "-q", "--no-pager", "-o", "cat", "-u", "nucspark-cache")) {
		f := answer.FindStringSubmatch(l)
		switch {
		case f == nil:
			if !strings.Contains(l, "nucspark-cache.service") { // systemd's own
				said = append(said, "the cache says: "+l)
			}
			continue
		case f[2] == "499", f[2] < "300" && strings.Contains(l, " whole= "):
			gaveUp[names[f[1]]]++
		case f[2] >= "400" && f[2] != "401" && f[4] != "":
			said = append(said, "the cache refused "+names[f[1]]+": "+l)
		}
		if n, err := strconv.ParseInt(f[3], 10, 64); err == nil && f[2] < "300" && f[4] != "" {
			sum(f[1], f[4]).cache += n
		}
	}
	for _, m := range c.machines(t) {
		for _, kind := range []string{"packages", "images", "lists"} {
			s := got[[2]string{m.name, kind}]
			t.Logf("%s %-8s %9s from the mirror, %9s of it again; %9s from the cache", m.name, kind, mib(s.mirror), mib(s.again), mib(s.cache))
		}
		if n := gaveUp[m.name]; n > 0 {
			t.Logf("%s did not wait for the cache %d times, and asked again", m.name, n)
		}
	}
	if len(said) > 40 {
		said = append(said[:40], fmt.Sprintf("… and %d more lines", len(said)-40))
	}
	if len(said) > 0 {
		t.Log(strings.Join(said, "\n"))
	}
}

// next are the lines of the log of that number which were not there before.
func (c *cacheTest) next(t *testing.T, log int, out output) []string {
	t.Helper()
	if out.code != 0 {
		t.Fatal(out)
	}
	all := lines(out.stdout)
	if len(all) < c.read[log] {
		t.Fatalf("a log that had %d lines has %d", c.read[log], len(all))
	}
	fresh := all[c.read[log]:]
	c.read[log] = len(all)
	return fresh
}

// write changes the lab's inventory.
func (c *cacheTest) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(c.inventory(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *cacheTest) once(t *testing.T, sent int64) {
	t.Helper()
	ratio := float64(sent) / float64(c.one)
	t.Logf("%.2f of what one machine fetches", ratio)
	if ratio > 1.2 {
		t.Errorf("from outside came %s, %.2f of %s; at most 1.2 was promised", mib(sent), ratio, mib(c.one))
	}
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// testStrangers: who is no node gets nothing from the cache, also where the
// rest of the cluster is open to them.
func (c *cacheTest) testStrangers(t *testing.T) {
	cache := c.machines(t)[0].address
	s, address := c.newStranger(t, knocker(t))
	if got := s.ask(t, "scan", cache+":1-65535"); !slices.Equal(got, []string{cache + ":22"}) {
		t.Errorf("a stranger is let in at %q", got)
	}
	c.ok(t, "up", "--yes", "-f", c.edited(t, "ssh {", "access {\n  allow = [\""+address+"\"]\n}\n\nssh {"))
	eventually(t, time.Minute, "whom access lets in gets to the API server", func() bool {
		return len(s.ask(t, "scan", cache+":6443")) == 1
	})
	if got := s.ask(t, "scan", cache+":"+cachePort); len(got) > 0 {
		t.Errorf("whom access lets in gets to %q", got)
	}
	c.ok(t, "up", "--yes", "-f", c.inventory())

	inside := func(port string) int {
		return c.run(t, "kubectl", "-f", c.inventory(), "--", "-n", "nucspark", "exec", "statefulset/namenode", "--",
			"timeout", "10", "bash", "-c", "exec 3<>/dev/tcp/"+cache+"/"+port).code
	}
	if inside("6443") != 0 || inside(cachePort) == 0 {
		t.Errorf("a pod gets to the API server: %d, to the cache: %d (0 is yes)", inside("6443"), inside(cachePort))
	}
	// A node gets what a digest names, and nothing else.
	for path, want := range map[string]string{"/": "403", "/v2/": "403", "/v2/apache/spark/tags/list": "403", "/apt/http/192.0.2.1/a.deb": "404"} {
		got := c.on(t, "nuc02", `bash -c 'exec 3<>/dev/tcp/`+cache+`/`+cachePort+`; printf "GET `+path+` HTTP/1.0\r\n\r\n" >&3; head -n 1 <&3' | cut -d ' ' -f 2`)
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// testBroken: what lies in the cache is not believed, and stops nothing. A
// machine that joins the others then gets all it needs from outside.
func (c *cacheTest) testBroken(t *testing.T, all string) {
	c.on(t, "nuc01", `find /var/cache/nucspark/files -type f -size +100k | while read -r f; do printf broken | dd of="$f" bs=1 seek=50000 conv=notrunc status=none; done`)
	c.write(t, all)
	sent, out := c.told(t, c.inventory())
	if sent < 500<<20 {
		t.Errorf("that cannot be all that a machine needs")
	}
	for _, said := range []string{"docker.io/apache/spark", "kubelet_"} {
		if !regexp.MustCompile(regexp.QuoteMeta(said) + `[^"]* does not come from the cache`).MatchString(out.stdout) {
			t.Errorf("up does not say that %s went past the cache", said)
		}
	}
	if got := c.on(t, "nuc04", "ctr -n k8s.io images check | awk 'NR > 1 && !/ complete / { print } END { if (NR < 2) print \"no image at all\" }'"); got != "" {
		t.Errorf("on nuc04 is not complete:\n%s", got)
	}
	for _, h := range c.status(t) {
		if !h.OK {
			t.Errorf("%s %s: %s", h.Component, h.Name, h.Reason)
		}
	}
}

// testOff: cache = false takes it away, and the default brings it back.
func (c *cacheTest) testOff(t *testing.T) {
	off := c.edited(t, `kubernetes = "1.36"`, "kubernetes = \"1.36\"\n  cache = false")
	c.ok(t, "up", "--yes", "-f", off)
	if got := c.on(t, "nuc01", "systemctl is-active nucspark-cache || ls -d /var/cache/nucspark /etc/nucspark/cache.conf 2>/dev/null || ss -Hltn 'sport = "+cachePort+"'"); got != "inactive" {
		t.Errorf("left over: %s", got)
	}
	if out := c.ok(t, "up", "--yes", "-f", off); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
	c.ok(t, "up", "--yes", "-f", c.inventory())
	if got := c.on(t, "nuc01", "systemctl is-active nucspark-cache"); got != "active" {
		t.Errorf("the cache is %s", got)
	}
}
