package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision"
)

// changing is a lab of three machines, and the text of its inventory as it is
// now.
type changing struct {
	*bench
	now string
}

// TestLongChange edits the file and the machines: up does what follows from it,
// and nothing else. Its parts build on each other.
func TestLongChange(t *testing.T) {
	c := &changing{bench: longLab(t, "3")}
	c.now = c.text(t)
	part(t, "up", func(t *testing.T) { c.ok(t, "up", "--yes", "-f", c.inventory()) })
	part(t, "executor memory", c.testExecutor)
	part(t, "replication", c.testReplication)
	part(t, "a second directory", c.testDirectory)
	part(t, "another image", c.testImage)
	part(t, "drift", c.testDrift)
}

// edit changes the inventory everywhere where it says old, and writes it.
func (c *changing) edit(t *testing.T, old, text string) string {
	t.Helper()
	if !strings.Contains(c.now, old) {
		t.Fatalf("the inventory does not hold %q:\n%s", old, c.now)
	}
	c.now = strings.ReplaceAll(c.now, old, text)
	return c.file(t, "now.hcl", c.now)
}

func (c *changing) all(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, n := range []string{"nuc01", "nuc02", "nuc03"} {
		all[n] = c.processes(t, n)
	}
	return all
}

// settled: a second up has nothing to do.
func (c *changing) settled(t *testing.T, f string) {
	t.Helper()
	if out := c.ok(t, "up", "--yes", "-f", f); !strings.HasPrefix(out.stdout, "Nothing to change") {
		t.Errorf("a second up:\n%s", out)
	}
}

// testExecutor: drivers read it when they start, and no process needs to start
// for it.
func (c *changing) testExecutor(t *testing.T) {
	before := c.all(t)
	f := c.edit(t, `memory = "1g"`, `memory = "900m"`)
	plan := c.ok(t, "plan", "-f", f)
	if !strings.Contains(plan.stdout, "900m") {
		t.Errorf("the plan does not show it:\n%s", plan.stdout)
	}
	c.ok(t, "up", "--yes", "-f", f)
	c.kept(t, before)
	c.settled(t, f)
}

// copies is what each file is to have.
func (c *changing) copies(t *testing.T) map[string]int {
	t.Helper()
	var list []struct {
		Name        string `json:"pathSuffix"`
		Replication int    `json:"replication"`
	}
	out := c.ok(t, "hdfs", "ls", "--json", "-f", c.inventory(), "/many")
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := map[string]int{}
	for _, f := range list {
		all[f.Name] = f.Replication
	}
	return all
}

// testReplication: files that are there get it, those with a number of their
// own do not, and only the namenode starts anew.
func (c *changing) testReplication(t *testing.T) {
	files := []string{"hdfs", "put", "-f", c.inventory()}
	for i := range 20 {
		files = append(files, c.file(t, fmt.Sprintf("file-%d", i), strings.Repeat("x", 1000*i+1)))
	}
	c.ok(t, append(files, "/many/")...)
	c.ok(t, "hdfs", "put", "-f", c.inventory(), "--replication", "3", c.inventory(), "/many/own")
	for _, n := range []int{1, 2} {
		before := c.all(t)
		delete(before, "nuc01") // the namenode's
		f := c.edit(t, fmt.Sprintf("replication = %d", 3-n), fmt.Sprintf("replication = %d", n))
		plan := c.ok(t, "plan", "-f", f)
		for _, words := range []string{fmt.Sprintf("%d cop", 3-n), fmt.Sprintf("%d cop", n)} {
			if !strings.Contains(plan.stdout, words) {
				t.Errorf("the plan does not say %q:\n%s", words, plan.stdout)
			}
		}
		out := c.ok(t, "up", "--yes", "--progress=json", "-f", f)
		if !slices.ContainsFunc(events(t, out), func(e provision.Event) bool {
			return e.Kind == provision.StepProgress && e.Step == "cluster/hdfs/replication"
		}) {
			t.Errorf("it does not say how far it is:\n%s", out)
		}
		c.kept(t, before)
		for name, has := range c.copies(t) {
			if want := map[bool]int{true: 3, false: n}[name == "own"]; has != want {
				t.Errorf("%s is to have %d copies, and should %d", name, has, want)
			}
		}
		for i := range 20 {
			if at := c.hosts(t, fmt.Sprintf("/many/file-%d", i)); n == 2 && len(at) != 2 {
				t.Errorf("file %d lies at %v", i, at)
			}
			if i == 2 {
				break // a look takes a second
			}
		}
		c.settled(t, f)
	}
}

// events are those of a run with --progress=json.
func events(t *testing.T, out output) []provision.Event {
	t.Helper()
	var all []provision.Event
	for line := range strings.Lines(out.stdout) {
		var e provision.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in event %q", err, line)
		}
		all = append(all, e)
	}
	return all
}

// testDirectory: the datanodes get it one after the other, keep their blocks
// and who they are, and use it.
func (c *changing) testDirectory(t *testing.T) {
	identity := func() string {
		ids := ""
		for _, n := range []string{"nuc02", "nuc03"} {
			ids += c.on(t, n, "grep -h datanodeUuid /data/hdfs/dn/current/VERSION; find /data/hdfs/dn -name 'blk_*' ! -name '*.meta' | sed 's|.*/||' | sort")
		}
		return ids
	}
	before, was := c.all(t), identity()
	delete(before, "nuc02") // checked by name
	delete(before, "nuc03")
	workers := map[string]string{}
	for _, n := range []string{"nuc02", "nuc03"} {
		workers[n] = c.on(t, n, "pgrep -f '[o]rg.apache.spark.deploy.worker.Worker'")
	}
	f := c.edit(t, `dirs = ["/data/hdfs"]`, `dirs = ["/data/hdfs", "/data/more"]`)
	out := c.ok(t, "up", "--yes", "--progress=json", "-f", f)
	var order []string
	for _, e := range events(t, out) {
		if strings.HasSuffix(e.Step, "/hdfs/label") && (e.Kind == provision.StepStarted || e.Kind == provision.StepDone) {
			order = append(order, fmt.Sprint(e.Kind, " ", e.Node))
		}
	}
	want := []string{fmt.Sprint(provision.StepStarted, " nuc02"), fmt.Sprint(provision.StepDone, " nuc02"), fmt.Sprint(provision.StepStarted, " nuc03"), fmt.Sprint(provision.StepDone, " nuc03")}
	if !slices.Equal(order, want) {
		t.Errorf("the order was %q", order)
	}
	c.kept(t, before)
	for n, pid := range workers {
		if is := c.on(t, n, "pgrep -f '[o]rg.apache.spark.deploy.worker.Worker'"); is != pid {
			t.Errorf("%s: the Spark worker had the PID %s and has %s", n, pid, is)
		}
		if id := c.on(t, n, "grep -h datanodeUuid /data/more/dn/current/VERSION"); !strings.Contains(was, id) {
			t.Errorf("%s: the second directory belongs to another datanode: %s", n, id)
		}
	}
	if is := identity(); is != was {
		t.Errorf("the first directories held\n%s\nand hold\n%s", was, is)
	}
	sets := c.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "get", "daemonsets", "-l", "app.kubernetes.io/name=datanode", "-o", "name").stdout
	if n := strings.Count(sets, "\n"); n != 1 {
		t.Errorf("sets of datanodes:\n%s", sets)
	}
	c.ok(t, "hdfs", "fsck", "-f", f)
	c.ok(t, "status", "-f", f)
	c.settled(t, f)
}

// testImage: another name of Hadoop's image, by its digest. Its pods are
// replaced, and no others.
func (c *changing) testImage(t *testing.T) {
	image := c.on(t, "nuc01", `CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 ctr -n k8s.io images ls name~=docker.io/apache/hadoop: | awk 'NR > 1 { split($1, a, ":"); print a[1] "@" $3; exit }'`)
	if !strings.Contains(image, "@sha256:") {
		t.Fatalf("the image of Hadoop is %q", image)
	}
	spark := func() (all string) {
		for _, n := range []string{"nuc01", "nuc02", "nuc03"} {
			all += n + " " + c.on(t, n, "pgrep -f '[o]rg.apache.spark.deploy' | paste -s")
		}
		return all
	}
	was := spark()
	f := c.edit(t, "\nmirror {", "\nimages {\n  hadoop = \""+image+"\"\n}\n\nmirror {")
	c.ok(t, "up", "--yes", "-f", f)
	images := c.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "get", "pods", "-l", "app.kubernetes.io/part-of=hdfs", "-o", "jsonpath={range .items[*]}{.spec.containers[0].image}{'\\n'}{end}").stdout
	if n := strings.Count(images, image); n != 4 || strings.Count(images, "\n") != 4 {
		t.Errorf("the pods have the images\n%s", images)
	}
	if is := spark(); is != was {
		t.Errorf("Spark's processes were\n%s\nand are\n%s", was, is)
	}
	c.ok(t, "hdfs", "fsck", "-f", f)
	c.settled(t, f)
}

// testDrift: what somebody changed by hand is in the plan, with what is and
// what should be, and up puts it right.
func (c *changing) testDrift(t *testing.T) {
	f := filepath.Join(c.dir, "now.hcl")
	c.on(t, "nuc02", "echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/nucspark.conf; systemctl stop nfs-ganesha; nft flush table inet nucspark")
	c.on(t, "nuc03", "systemctl disable --now kubelet; nft delete table inet nucspark")
	c.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "delete", "service", "datanode")
	c.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "label", "service", "namenode", "app.kubernetes.io/name=mine", "--overwrite")
	// A later kubectl, as apt-get upgrade would bring it were it not held.
	c.on(t, "nuc02", `mkdir -p /tmp/k/DEBIAN && printf 'Package: kubectl\nVersion: 1.36.99-1.1\nArchitecture: '"$(dpkg --print-architecture)"'\nMaintainer: x <x@example.com>\nDescription: x\n' > /tmp/k/DEBIAN/control &&
dpkg-deb -b /tmp/k /tmp/k.deb >/dev/null && dpkg -i /tmp/k.deb >/dev/null`)
	plan := c.refused(t, 3, nil, "plan", "--exit-code", "-f", f)
	for _, words := range []string{
		`/etc/sysctl\.d/nucspark\.conf`, `- net\.ipv4\.ip_forward = 0`, `\+ net\.ipv4\.ip_forward = 1`,
		`nfs-ganesha\.service.*inactive`, `kubelet\.service.*inactive.*disabled`,
		`table inet nucspark.*0 of its rules`, `kubectl.*1\.36\.99-1\.1.*1\.36\.3-`,
		`Service.*nucspark/datanode`, `- .*mine`, `\+ .*namenode`,
	} {
		if !regexp.MustCompile(words).MatchString(plan.stdout) {
			t.Errorf("the plan does not show %q:\n%s", words, plan.stdout)
		}
	}
	c.ok(t, "up", "--yes", "-f", f)
	c.settled(t, f)
	c.ok(t, "status", "-f", f)
	if got := c.on(t, "nuc02", "dpkg-query -W -f '${Version} ${db:Status-Want}' kubectl; kubectl version --client | head -n 1"); !strings.HasPrefix(got, "1.36.3-1.1 hold") {
		t.Errorf("kubectl is %s", got)
	}
	if rules := c.on(t, "nuc02", "nft list table inet nucspark"); !strings.Contains(rules, "drop") {
		t.Errorf("the rules are\n%s", rules)
	}
}
