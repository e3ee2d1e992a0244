package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// insidePorts are what the pods of a cluster and their neighbours listen on,
// and what Hadoop and Spark have used in other releases.
const insidePorts = "22,53,80,443,4040-4050,6443,7077-7079,7100-7110,7337,8020,8080-8081,8181,8485,9000-9001,9092,9153,9820,9864-9871,10250,10256,18080,50010,50020,50070,50075"

// What a pod reaches, whatever its namespace: docs/security.md says the same.
// Network policies would be needed to say less, and flannel knows none.
var (
	podReachesEverywhere   = []int{22, 10250, 10256}            // sshd, kubelet, kube-proxy's health page
	podReachesControlPlane = []int{2379, 2380, 6443}            // etcd and API server
	podReachesWorkers      = []int{7078, 7337, 8081}            // Spark's worker, its shuffle service and its page
	nodesOnly              = []int{111, 662, 2049, 4045, 20048} // NFS
	podReachesPods         = map[string][]int{                  // by the pods' app.kubernetes.io/name
		"namenode": {8020, 9870}, "datanode": {9864, 9866, 9867}, "checkpoint": {9868},
		"spark-master": {7077, 8080}, "spark-history": {18080},
	}
)

// stranger is a machine, or a pod, with the program of that name on it.
type stranger struct {
	exec []string // the command that runs one there
}

func (s stranger) ask(t *testing.T, args ...string) []string {
	t.Helper()
	command := slices.Concat(s.exec, args)
	out := execute(t, 5*time.Minute, nil, command[0], command[1:]...)
	if out.code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(command, " "), out.code, out)
	}
	if out.stdout == "" {
		return nil
	}
	return strings.Split(strings.TrimSpace(out.stdout), "\n")
}

// machine is one node of the lab's inventory.
type machine struct{ name, address string }

func (b *bench) machines(t *testing.T) []machine {
	t.Helper()
	hcl, err := os.ReadFile(b.inventory())
	if err != nil {
		t.Fatal(err)
	}
	var all []machine
	for _, m := range regexp.MustCompile(`(?m)^node "([^"]+)" \{\s+address\s*=\s*"([^"]+)"`).FindAllStringSubmatch(string(hcl), -1) {
		all = append(all, machine{m[1], m[2]})
	}
	if len(all) == 0 {
		t.Fatalf("no nodes in\n%s", hcl)
	}
	return all
}

// knocker builds the program that knocks at doors.
func knocker(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stranger")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./stranger")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs where there is another C library
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// newStranger makes a machine of the lab's network that is no node.
func (b *bench) newStranger(t *testing.T, program string) (s stranger, address string) {
	t.Helper()
	subnet, err := netip.ParsePrefix(labSubnet)
	if err != nil {
		t.Fatal(err)
	}
	four := subnet.Addr().As4()
	four[3] = 200
	address = netip.AddrFrom4(four).String()
	name := container("stranger")
	docker := func(args ...string) string {
		t.Helper()
		out := execute(t, 2*time.Minute, nil, "docker", args...)
		if out.code != 0 {
			t.Fatalf("docker %s: %s", strings.Join(args, " "), out)
		}
		return strings.TrimSpace(out.stdout)
	}
	image := docker("container", "inspect", "--format", "{{.Config.Image}}", container("nuc01"))
	docker("run", "--detach", "--name", name, "--network", "nucspark-"+labName, "--ip", address,
		"--label", "io.nucspark.lab="+labName, "--cap-add", "NET_ADMIN", "--entrypoint", "sleep", image, "infinity")
	t.Cleanup(func() { execute(t, time.Minute, nil, "docker", "rm", "--force", name) })
	docker("cp", "--quiet", program, name+":/stranger")
	return stranger{[]string{"docker", "exec", name, "/stranger"}}, address
}

// throughNode gives the stranger a way into the networks of pods and services.
func throughNode(t *testing.T, gateway string) {
	t.Helper()
	for _, network := range []string{"10.244.0.0/16", "10.96.0.0/16"} {
		if out := execute(t, time.Minute, nil, "docker", "exec", container("stranger"), "ip", "route", "replace", network, "via", gateway); out.code != 0 {
			t.Fatal(out)
		}
	}
}

// insider is one address of the pod or the service network.
type insider struct{ name, node, address, ports string }

func (b *bench) insiders(t *testing.T) (pods, services []insider) {
	t.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec struct {
				NodeName    string
				HostNetwork bool
				ClusterIP   string
				Ports       []struct{ Port int }
			}
			Status struct{ Phase, PodIP string }
		}
	}
	out := b.ok(t, "kubectl", "-f", b.inventory(), "--", "get", "pods,services", "-A", "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Items {
		switch {
		case o.Kind == "Pod" && !o.Spec.HostNetwork && o.Status.Phase == "Running":
			pods = append(pods, insider{o.Metadata.Labels["app.kubernetes.io/name"], o.Spec.NodeName, o.Status.PodIP, insidePorts})
		case o.Kind == "Service" && o.Spec.ClusterIP != "None":
			var ports []string
			for _, p := range o.Spec.Ports {
				ports = append(ports, strconv.Itoa(p.Port))
			}
			services = append(services, insider{o.Metadata.Name, "", o.Spec.ClusterIP, strings.Join(ports, ",")})
		}
	}
	return pods, services
}

// testStrangers: whoever is on the network and not in the inventory gets to no
// port but SSH, whichever way it takes; with access { allow } it gets to what
// docs/security.md says, and nothing that it gets to believes it.
func (b *bench) testStrangers(t *testing.T) {
	program := knocker(t)
	s, address := b.newStranger(t, program)
	nodes := b.machines(t)
	pods, services := b.insiders(t)
	if len(pods) < 6 || len(services) < 2 {
		t.Fatalf("pods %v, services %v", pods, services)
	}
	var all, inside, onlySSH []string
	for _, n := range nodes {
		all = append(all, n.address+":1-65535")
		onlySSH = append(onlySSH, n.address+":22")
	}
	for _, i := range append(slices.Clone(pods), services...) {
		inside = append(inside, i.address+":"+i.ports)
	}
	datagrams := func(addr string) (targets []string) {
		for _, port := range nodesOnly {
			targets = append(targets, net.JoinHostPort(addr, strconv.Itoa(port)))
		}
		return targets
	}

	t.Run("every port of every node", func(t *testing.T) {
		if got := s.ask(t, append([]string{"scan"}, all...)...); !slices.Equal(got, onlySSH) {
			t.Errorf("a stranger is let in at %q, and may be at %q", got, onlySSH)
		}
		for _, n := range nodes {
			if got := s.ask(t, append([]string{"udp"}, datagrams(n.address)...)...); len(got) > 0 {
				t.Errorf("a stranger is answered at %q", got)
			}
			_, err := ssh.Dial("tcp", n.address+":22", &ssh.ClientConfig{User: "nuc", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
			if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
				t.Errorf("sshd of %s lets somebody in without any proof: %v", n.name, err)
			}
		}
	})
	t.Run("pods and services through each node", func(t *testing.T) {
		for _, n := range nodes {
			throughNode(t, n.address)
			if got := s.ask(t, append([]string{"scan"}, inside...)...); len(got) > 0 {
				t.Errorf("through %s a stranger gets to %q", n.name, got)
			}
		}
	})
	t.Run("allowed", func(t *testing.T) {
		f := b.edited(t, "ssh {", "access {\n  allow = [\""+address+"\"]\n}\n\nssh {")
		b.ok(t, "up", "--yes", "-f", f)
		b.saysNothing(t, s, nodes, pods)
		b.ok(t, "up", "--yes", "-f", b.inventory())
		if got := s.ask(t, append([]string{"scan"}, inside...)...); len(got) > 0 {
			t.Errorf("after it is allowed no more, a stranger gets to %q", got)
		}
	})
	t.Run("a node", func(t *testing.T) {
		last := nodes[len(nodes)-1]
		if out := execute(t, time.Minute, nil, "docker", "cp", "--quiet", program, container(last.name)+":/stranger"); out.code != 0 {
			t.Fatal(out)
		}
		defer b.on(t, last.name, "rm /stranger")
		member := stranger{[]string{"docker", "exec", container(last.name), "/stranger"}}
		b.saysNothing(t, member, nodes, pods)
		// What the strangers' silence is worth: nodes are answered.
		eventually(t, 2*time.Minute, "NFS lets a node in", func() bool {
			return len(member.ask(t, "scan", nodes[1].address+":111,2049,20048")) == 3
		})
		eventually(t, 2*time.Minute, "the portmapper answers a node", func() bool {
			return len(member.ask(t, "udp", nodes[1].address+":111")) == 1
		})
	})
	t.Run("a pod of another namespace", func(t *testing.T) { b.testForeignPod(t, program, nodes, pods) })
}

// saysNothing: from where the firewall lets one in, what needs credentials
// refuses who has none.
func (b *bench) saysNothing(t *testing.T, s stranger, nodes []machine, pods []insider) {
	t.Helper()
	control, worker := nodes[0].address, nodes[1].address
	want := map[string]string{
		"https://" + control + ":6443/version":              "200", // system:public-info-viewer
		"https://" + control + ":6443/api/v1/secrets":       "403",
		"https://" + control + ":6443/api/v1/nodes":         "403",
		"https://" + control + ":6443/apis":                 "403",
		"https://" + control + ":10250/pods":                "401",
		"https://" + worker + ":10250/pods":                 "401",
		"https://" + worker + ":10250/metrics":              "401",
		"https://" + worker + ":10250/run/nucspark/x/x":     "401",
		"https://10.96.0.1/api/v1/namespaces/nucspark/pods": "403",
	}
	refused := []string{"https://" + control + ":2379/version", "http://" + control + ":10255/pods",
		"https://" + control + ":10257/metrics", "https://" + control + ":10259/metrics", "http://" + worker + ":10249/metrics"}
	urls := refused
	for u := range want {
		urls = append(urls, u)
	}
	got := map[string]string{}
	for _, line := range s.ask(t, append([]string{"get"}, urls...)...) {
		url, status, _ := strings.Cut(line, " ")
		got[url] = status
	}
	for u, status := range want {
		if got[u] != status {
			t.Errorf("%s without credentials: %q, want %s", u, got[u], status)
		}
	}
	for _, u := range refused {
		if got[u] != "" {
			t.Errorf("%s answers who has no certificate: %s", u, got[u])
		}
	}
	talk := []string{"spark", worker + ":7078", worker + ":7337"}
	for _, p := range pods {
		if p.name == "spark-master" {
			talk = append(talk, p.address+":7077")
		}
	}
	answers := s.ask(t, talk...)
	if len(talk) != 4 || len(answers) != 3 {
		t.Fatalf("%q answered %q", talk, answers)
	}
	for _, a := range answers {
		if !strings.Contains(a, "SaslMessage") { // what it wanted first
			t.Errorf("Spark takes a call without its secret: %s", a)
		}
	}
}

// testForeignPod: a pod of another namespace gets to what the documentation
// says, and never to NFS.
func (b *bench) testForeignPod(t *testing.T, program string, nodes []machine, pods []insider) {
	f := b.inventory()
	kubectl := func(stdin []byte, args ...string) output {
		t.Helper()
		out := execute(t, 3*time.Minute, stdin, b.binary, append([]string{"kubectl", "-f", f, "--", "-n", "strangers"}, args...)...)
		if out.code != 0 {
			t.Fatalf("kubectl %s: %s", strings.Join(args, " "), out)
		}
		return out
	}
	image := regexp.MustCompile(`image: (\S*spark\S*)`).FindStringSubmatch(
		b.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "get", "daemonset", "-l", "app.kubernetes.io/managed-by=nucspark", "-o", "yaml").stdout)
	if image == nil {
		t.Fatal("no image of Spark found")
	}
	last := nodes[len(nodes)-1]
	defer b.run(t, "kubectl", "-f", f, "--", "delete", "namespace", "strangers", "--ignore-not-found", "--wait=false")
	kubectl(fmt.Appendf(nil, `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"strangers"}},
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"guest","namespace":"strangers"},"spec":{"nodeSelector":{"kubernetes.io/hostname":%q},
"terminationGracePeriodSeconds":0,"automountServiceAccountToken":false,
"containers":[{"name":"main","image":%q,"command":["sleep","infinity"],"securityContext":{"runAsUser":0}}]}}]}`, last.name, image[1]), "apply", "-f", "-")
	kubectl(nil, "wait", "--for=condition=Ready", "--timeout=120s", "pod/guest")
	body, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(body, "exec", "-i", "guest", "--", "sh", "-c", "cat >/tmp/stranger && chmod +x /tmp/stranger")
	guest := stranger{[]string{b.binary, "kubectl", "-f", f, "--", "-n", "strangers", "exec", "guest", "--", "/tmp/stranger"}}

	var targets, want []string
	expect := func(address string, ports ...int) {
		for _, p := range ports {
			want = append(want, net.JoinHostPort(address, strconv.Itoa(p)))
		}
	}
	for i, n := range nodes {
		targets = append(targets, n.address+":"+insidePorts+",111,662,2049,2379-2381,4045,10248-10259,10270,20048")
		expect(n.address, podReachesEverywhere...)
		if i == 0 {
			expect(n.address, podReachesControlPlane...)
		} else {
			expect(n.address, podReachesWorkers...)
		}
	}
	for _, p := range pods {
		if ports := podReachesPods[p.name]; ports != nil {
			targets = append(targets, p.address+":"+insidePorts)
			expect(p.address, ports...)
		}
	}
	slices.Sort(want)
	// A busy machine may take longer to let somebody in than a scan waits, so
	// what was found counts for all scans together.
	var got []string
	for deadline := time.Now().Add(2 * time.Minute); len(got) < len(want) && time.Now().Before(deadline); {
		got = append(got, guest.ask(t, append([]string{"scan"}, targets...)...)...)
		slices.Sort(got)
		got = slices.Compact(got) // some ports are in two ranges
	}
	if !slices.Equal(got, want) {
		t.Errorf("a pod of another namespace gets to\n%q\nand the documentation says\n%q", got, want)
	}
	for _, n := range nodes {
		if got := guest.ask(t, "udp", n.address+":111", n.address+":2049"); len(got) > 0 {
			t.Errorf("a pod of another namespace is answered at %q", got)
		}
	}
}
