package provision

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// Machine is what the survey found on a node, before any step is made.
type Machine struct {
	Hostname    string
	MachineID   string // /etc/machine-id
	ProductUUID string // of the firmware; "" where it tells none
	OS          string // ID of os-release: "ubuntu", "debian"
	Version     string // VERSION_ID: "24.04", "12"
	Codename    string // VERSION_CODENAME: "noble", "bookworm"
	Arch        string // dpkg's name: "amd64", "arm64"
	Kernel      string
	CPUs        int
	Memory      int64 // bytes
	CgroupV2    bool
	Systemd     bool
	CloudInit   string         // "running", "done", "" where there is none
	Prefixes    []netip.Prefix // addresses of its interfaces
	ClockOffset time.Duration  // its clock minus this computer's
	VarFree     int64          // bytes free below /var, or where images are kept if that is less
	VarPlace    string         // the mount point that VarFree is of
	NFSD        bool           // the kernel has an NFS server
	NFSServer   string         // the server that nucspark chose there: "kernel", "ganesha", "" when none yet
	Resolvers   []string       // name servers that its pods will ask
	Identity    *Identity      // nil: not ours yet
	Holder      *Holder        // the run that works on it at this moment, nil: none
	Runtimes    []string       // container runtimes and kubelets found
	Listening   map[int]string // by TCP port, what listens there: "nginx (pid 812)", "" where the system does not tell
	Kubeadm     bool           // the control plane was initialised here, at least in part
	Made        bool           // the same, to its end
	Record      *RecordCopy    // on the control plane; nil where there is none
	Joined      bool           // its kubelet belongs to a cluster
	Unreachable []string       // "HOST:PORT" of mirrors it cannot open
}

// Identity says to which cluster a node belongs. It is written before
// anything else, and never changed.
type Identity struct {
	Cluster   string `json:"cluster"`
	UID       string `json:"uid"` // of the cluster
	Node      string `json:"node"`
	MachineID string `json:"machine_id"`
}

// Where the chosen NFS server has its exports; which of them is there is the
// record of the choice.
const (
	NFSExportsFile = "/etc/exports.d/nucspark.exports" // beside /etc/exports, which belongs to the machine's owner
	GaneshaFile    = "/etc/ganesha/ganesha.conf"       // of nfs-ganesha's unit
)

// IdentityFile is where a node keeps it.
const IdentityFile = StateDir + "/identity.json"

// IdentityStep is the first step of every node. An identity that is there is
// never replaced. Where members leave it comes after that, and with it all
// that is made for the others.
func IdentityStep(site *Site, node string) Step {
	id := Identity{Cluster: site.Cluster.Name, UID: site.Resolved.UID, Node: node, MachineID: site.Machines[node].MachineID}
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	var after []string
	if len(site.Leaving) > 0 {
		after = []string{Left}
	}
	return identityStep{File{Base: Base{Name: node + "/identity", Node: node, After: after}, Path: IdentityFile, Content: append(b, '\n'), Mode: 0o600}}
}

type identityStep struct{ File }

func (s identityStep) Diff(f Facts) ([]Change, error) {
	if is := s.query().In(f); is.Exists && !bytes.Equal(is.Content, s.Content) {
		return nil, fmt.Errorf("%s got another identity since it was looked at: somebody else set it up meanwhile; run again", s.Node)
	}
	return s.File.Diff(f)
}

// surveyScript asks everything about a machine in one go. It runs as root and
// changes nothing. Mirrors are probed from the node, since the node must reach
// them.
func surveyScript(mirrors []string, mark string) string {
	var b strings.Builder
	b.WriteString("exec 2>/dev/null\n")
	field := func(name, command string) { fmt.Fprintf(&b, "echo %s:%s=\"$(%s)\"\n", mark, name, command) }
	field("clock", "date +%s%N")
	field("hostname", "hostname")
	field("machine-id", "cat /etc/machine-id")
	field("product-uuid", "cat /sys/class/dmi/id/product_uuid")
	for _, k := range []string{"ID", "VERSION_ID", "VERSION_CODENAME"} {
		field(k, ". /etc/os-release; echo $"+k)
	}
	field("arch", "dpkg --print-architecture")
	field("kernel", "uname -r")
	field("cpus", "nproc")
	field("memory", `awk '/^MemTotal:/ {printf "%.0f", $2*1024}' /proc/meminfo`) // mawk prints large numbers as floats
	field("cgroup", "stat -fc %T /sys/fs/cgroup")
	field("systemd", "[ -d /run/systemd/system ] && echo yes")
	// Its last stage writes the result (https://docs.cloud-init.io, "status");
	// the command takes a Python's start to say so.
	field("cloud-init", "command -v cloud-init >/dev/null && { [ -e /run/cloud-init/result.json ] && echo done || cloud-init status | sed -n 's/^status: //p'; }")
	field("prefixes", "ip -o -4 addr show | awk '{print $4}' | tr '\\n' ' '")
	// Both may be file systems of their own.
	field("var-free", "df -B1 --output=avail,target /var /var/lib/containerd | tail -n +2 | sort -n | head -n 1")
	field("nfsd", "grep -qw nfsd /proc/filesystems && echo yes || { modprobe -n nfsd && echo yes; }")
	field("nfs-server", "if [ -e "+NFSExportsFile+" ]; then echo kernel; elif grep -qs '^# Written by nucspark' "+GaneshaFile+"; then echo ganesha; fi")
	// kubeadm tells the kubelet to take resolved's list where that runs.
	field("resolvers", "f=/etc/resolv.conf; systemctl -q is-active systemd-resolved && f=/run/systemd/resolve/resolv.conf; awk '$1 == \"nameserver\" {print $2}' $f | tr '\\n' ' '")
	field("identity", "[ -f "+IdentityFile+" ] && base64 < "+IdentityFile+" | tr -d '\\n'")
	// Who has the lock, without taking it from anybody who tries at this moment.
	field("holder", fmt.Sprintf("[ -s %[1]s/lock.holder ] && ( flock -n -s 8 || base64 < %[1]s/lock.holder | tr -d '\\n' ) 8< %[1]s/lock", StateDir))
	field("runtimes", "{ dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' docker.io docker-ce containerd containerd.io cri-o kubelet podman-docker | sed -n 's/^.i[^ ]*  *//p'; "+
		"for x in k3s k0s rke2 microk8s.kubectl; do for d in /usr/local/bin /usr/bin /snap/bin; do [ -e $d/$x ] && echo $x; done; done; } | sort -u | tr '\\n' ' '; "+
		// Ubuntu's installer offers it. It drops what is forwarded, pods' packets too.
		"[ -e /snap/bin/docker ] && echo docker-snap")
	field("listening", "ss -Hltnp | awk '$1 == \"LISTEN\" {n=split($4,a,\":\"); $1=$2=$3=$4=$5=\"\"; print a[n] $0}' | sort -un | tr '\\n' '\\t'")
	field("kubeadm", "[ -f /etc/kubernetes/admin.conf ] && echo yes")
	field("record", "[ -f "+RecordCopyFile+" ] && base64 < "+RecordCopyFile+" | tr -d '\\n'")
	field("made", "[ \"$(cat "+InitState+")\" = done ] && echo yes")
	field("joined", "[ -f /etc/kubernetes/kubelet.conf ] && echo yes")
	for _, m := range mirrors {
		host, port, _ := strings.Cut(m, " ")
		// bash opens a TCP connection by itself, so no program needs to be there.
		field("mirror", fmt.Sprintf(`timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' - %s %s || echo %s`, Quote(host), Quote(port), Quote(host+":"+port)))
	}
	field("clock-end", "date +%s%N")
	fmt.Fprintf(&b, "echo %s:end=\n", mark)
	return b.String()
}

// mirrorAddresses are the "HOST PORT" pairs that nodes will fetch from when
// the inventory names mirrors.
func mirrorAddresses(c *inventory.Cluster) []string {
	var list []string
	for _, raw := range []string{c.Mirror.Apt, c.Mirror.Registry} {
		u, err := url.Parse(raw)
		if raw == "" || err != nil {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		list = append(list, u.Hostname()+" "+port)
	}
	return list
}

// parseSurvey reads the answer. sent and came are this computer's clock before
// and after the round trip.
func parseSurvey(out, mark string, sent, came time.Time) (Machine, error) {
	var m Machine
	var clock, clockEnd time.Time
	ended := false
	var bad error
	num := func(name, v string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		if err != nil && bad == nil {
			bad = fmt.Errorf("the machine says %s=%q, which is no number", name, v)
		}
		return n
	}
	for _, line := range strings.Split(out, "\n") {
		rest, ok := strings.CutPrefix(line, mark+":")
		if !ok {
			continue
		}
		k, v, _ := strings.Cut(rest, "=")
		if k != "listening" { // its tabs part one from the next
			v = host.Clean(v)
		}
		switch k {
		case "clock":
			clock = time.Unix(0, num(k, v))
		case "clock-end":
			clockEnd = time.Unix(0, num(k, v))
		case "hostname":
			m.Hostname = v
		case "machine-id":
			m.MachineID = v
		case "product-uuid":
			m.ProductUUID = strings.ToLower(v)
		case "ID":
			m.OS = v
		case "VERSION_ID":
			m.Version = v
		case "VERSION_CODENAME":
			m.Codename = v
		case "arch":
			m.Arch = v
		case "kernel":
			m.Kernel = v
		case "cpus":
			m.CPUs = int(num(k, v))
		case "memory":
			m.Memory = num(k, v)
		case "cgroup":
			m.CgroupV2 = v == "cgroup2fs"
		case "systemd":
			m.Systemd = v == "yes"
		case "cloud-init":
			m.CloudInit = v
		case "prefixes":
			for _, p := range strings.Fields(v) {
				if prefix, err := netip.ParsePrefix(p); err == nil && !prefix.Addr().IsLoopback() {
					m.Prefixes = append(m.Prefixes, prefix)
				}
			}
		case "var-free":
			free, place, _ := strings.Cut(strings.TrimSpace(v), " ")
			m.VarFree, m.VarPlace = num(k, free), place
		case "nfsd":
			m.NFSD = v == "yes"
		case "nfs-server":
			m.NFSServer = v
		case "resolvers":
			m.Resolvers = strings.Fields(v)
		case "identity":
			if v == "" {
				break
			}
			var id Identity
			if err := decodeField(v, &id); err != nil {
				return m, fmt.Errorf("%s is damaged: %w; look at it, and remove it only if this machine belongs to no cluster", IdentityFile, err)
			}
			m.Identity = &id
		case "holder":
			if v != "" {
				m.Holder = new(Holder)
				_ = decodeField(v, m.Holder) // a damaged name makes the lock no less held
			}
		case "runtimes":
			m.Runtimes = strings.Fields(v)
		case "listening":
			m.Listening = map[int]string{}
			for _, l := range strings.FieldsFunc(v, func(r rune) bool { return r == '\t' }) {
				port, users, _ := strings.Cut(l, " ")
				m.Listening[int(num(k, port))] = listener(users)
			}
		case "kubeadm":
			m.Kubeadm = v == "yes"
		case "record":
			if v == "" {
				break
			}
			m.Record = new(RecordCopy)
			if err := decodeField(v, m.Record); err != nil {
				return m, fmt.Errorf("%s is damaged: %w; remove it, nucspark up writes it anew", RecordCopyFile, err)
			}
		case "made":
			m.Made = v == "yes"
		case "joined":
			m.Joined = v == "yes"
		case "mirror":
			if v != "" {
				m.Unreachable = append(m.Unreachable, v)
			}
		case "end":
			ended = true
		}
	}
	if !ended {
		return m, fmt.Errorf("the answer of the machine is cut off")
	}
	m.ClockOffset = clockOffset(sent, came, clock, clockEnd).Round(time.Millisecond)
	return m, bad
}

// listener reads the processes of a line of ss -p, such as
//
//	users:(("nginx",pid=812,fd=6),("nginx",pid=811,fd=6))
//
// A process may call itself anything.
func listener(users string) string {
	m := listenerForm.FindStringSubmatch(users)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%s (pid %s)", host.Clean(m[1]), m[2])
}

var listenerForm = regexp.MustCompile(`\(\("(.*?)",pid=(\d+),`)

// clockOffset is by how much a machine's clock surely differs from this
// computer's: it was asked at begin, not before sent, and at end, not after
// came. sudo may take seconds before the script begins, where the machine's
// own name is looked up in vain, and that is no fault of the clock.
func clockOffset(sent, came, begin, end time.Time) time.Duration {
	most, least := begin.Sub(sent), end.Sub(came)
	switch {
	case least > 0:
		return least
	case most < 0:
		return most
	}
	return 0
}

// decodeField reads JSON that the survey carried in base64.
func decodeField(text string, v any) error {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// limits below which a machine is refused. kubeadm's own preflight asks for
// 1700 MB and two CPUs on a control plane.
const (
	leastMemory  = 1700 << 20
	leastVarFree = 4 << 30
)

// MostOffset is by how much a machine's clock may differ from this computer's.
const MostOffset = 5 * time.Second

// Check compares what the survey found with the inventory and with itself. The
// answers are reasons to refuse. supported says why a system is not supported,
// nil when it is; what its error says after the first "; " is the remedy.
func Check(c *inventory.Cluster, machines map[string]Machine, supported func(os, version, arch string) error) []Problem {
	var problems []Problem
	byID := map[string]string{}
	uid := ""
	for _, n := range c.Nodes {
		m, ok := machines[n.Name]
		if !ok {
			continue
		}
		refuse := func(check, remedy, format string, args ...any) {
			problems = append(problems, Problem{Check: check, Node: n.Name, Text: fmt.Sprintf(format, args...), Remedy: remedy})
		}
		if err := supported(m.OS, m.Version, m.Arch); err != nil {
			text, remedy, _ := strings.Cut(err.Error(), "; ")
			refuse(CheckSystem, remedy, "%s", text)
		}
		if !m.Systemd {
			refuse(CheckSystem, "boot it with systemd, as Ubuntu and Debian do", "systemd is not running there")
		}
		if m.MachineID == "" {
			refuse(CheckMachineID, "run systemd-machine-id-setup there", "/etc/machine-id is empty")
		} else if other := byID[m.MachineID]; other != "" {
			refuse(CheckMachineID, "where these are two entries for one machine, take one out; where one is a cloned disk, run rm /etc/machine-id && systemd-machine-id-setup there, and reboot it",
				"it has the machine-id %s, as %s has", m.MachineID, other)
		}
		byID[m.MachineID] = n.Name
		if len(m.Prefixes) > 0 && !slices.ContainsFunc(m.Prefixes, func(p netip.Prefix) bool { return p.Addr() == n.Address }) {
			refuse(CheckAddress, "Kubernetes needs an address that the machine has and the others reach: no forwarding, no NAT",
				"the machine at %s has no such address itself (it has %s)", n.Address, joined(m.Prefixes))
		}
		if m.Memory < leastMemory {
			refuse(CheckMemory, "add memory, or take another machine", "it has %d MiB of memory: at least %d MiB are needed", m.Memory>>20, int64(leastMemory)>>20)
		}
		if m.CPUs < 2 && n.Role == inventory.ControlPlane {
			refuse(CheckCPUs, "give the role to another machine", "it has one CPU: a control plane needs two")
		}
		if m.VarFree < leastVarFree && m.Identity == nil {
			refuse(CheckDisk, "make room there, or give it a larger disk",
				"%d MiB are free in %s, which holds /var or container images: at least %d MiB are needed", m.VarFree>>20, m.VarPlace, int64(leastVarFree)>>20)
		}
		if m.ClockOffset > MostOffset || m.ClockOffset < -MostOffset {
			refuse(CheckClock, "set it, or switch on systemd-timesyncd there and here", "its clock differs from this computer's by %s", m.ClockOffset.Round(time.Second))
		}
		// A machine that is set up needs the mirror only where something new
		// comes; the step that fetches it says so then.
		for _, u := range m.Unreachable {
			if m.Identity != nil {
				break
			}
			refuse(CheckMirror, "start the mirror, or correct the mirror block of "+c.File, "it cannot reach the mirror %s", u)
		}
		id := m.Identity
		if id == nil {
			if len(m.Runtimes) > 0 {
				refuse(CheckRuntime, "remove it (apt-get purge, or snap remove), or take another machine",
					"%s is installed there and is not nucspark's: it is not taken over", strings.Join(m.Runtimes, ", "))
			}
			for _, r := range m.Resolvers {
				// The kubelet hands the list to CoreDNS, where such an address is
				// the pod itself: it stops with "Loop detected".
				if a, err := netip.ParseAddr(r); err == nil && a.IsLoopback() && c.Patches["kubelet"].Config["resolvConf"] == nil {
					refuse(CheckResolver, "name one there that the network reaches, switch on systemd-resolved, or give another file as resolvConf in patch \"kubelet\"",
						"its /etc/resolv.conf names the resolver %s, which is another one inside a pod", r)
				}
			}
			for _, p := range neededPorts(c, n) {
				if who, used := m.Listening[p]; used {
					refuse(CheckPorts, "stop that service, or take another machine", "port %d is needed and in use there by %s", p, cmp.Or(who, "something that ss does not name"))
				}
			}
			continue
		}
		if why := foreign(c, &n, m, uid); why != nil {
			problems = append(problems, *why)
		}
		uid = id.UID
	}
	return append(problems, checkControlPlane(c, machines)...)
}

func joined(prefixes []netip.Prefix) string {
	var texts []string
	for _, p := range prefixes {
		texts = append(texts, p.Addr().String())
	}
	return strings.Join(texts, ", ")
}

// checkControlPlane refuses to make a second control plane because the role
// moved in the inventory.
func checkControlPlane(c *inventory.Cluster, machines map[string]Machine) []Problem {
	control := c.ControlPlane().Name
	m, ok := machines[control]
	if !ok || m.Kubeadm {
		return nil
	}
	for _, n := range c.Nodes {
		switch other := machines[n.Name]; {
		case n.Name == control:
		case other.Kubeadm:
			return []Problem{{CheckCluster, control, fmt.Sprintf("the control plane is on %s, and it cannot move", n.Name), "give the role back in " + c.File}}
		case other.Joined:
			return []Problem{{CheckCluster, control, n.Name + " belongs to a cluster already, but not to one with its control plane here",
				"give the role back in " + c.File + " to the machine that had it"}}
		}
	}
	return nil
}

// neededPorts are the ports that must be free on a machine that is not ours
// yet.
func neededPorts(c *inventory.Cluster, n inventory.Node) []int {
	ports := []int{10250}
	if n.Role == inventory.ControlPlane {
		ports = append(ports, 6443, 2379, 2380, 10257, 10259)
		if c.Cached() {
			ports = append(ports, CachePort)
		}
	} else {
		ports = append(ports, 7078, 8081)
	}
	if n.NFS != nil {
		ports = append(ports, 2049)
	}
	return ports
}
