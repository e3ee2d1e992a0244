package support

import (
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// Lines are how many of a log are taken, the last ones.
const Lines = 400

// nodeFiles are what a machine is asked. Each command only looks, and has half
// a minute. Nothing asks for arguments or environments of processes, where
// others may have put what is secret.
var nodeFiles = []struct{ name, about, command string }{
	{"system.txt", "system, kernel, time since the boot", "uname -a; cat /etc/os-release; uptime; timedatectl show"},
	{"memory.txt", "memory and swap", "free -m; cat /proc/swaps; cat /proc/pressure/memory"},
	// A file system of the network whose server is gone would hold the answer.
	{"disk.txt", "room on the machine's own file systems", "df -l -h -T; df -l -i; cat /proc/pressure/io"},
	{"packages.txt", "packages and their versions", `dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'`},
	{"units.txt", "services of the cluster, and what has failed", "systemctl show --no-pager -p Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts,ActiveEnterTimestamp " +
		"containerd.service kubelet.service nucspark-firewall.service nucspark-cache.service nfs-server.service nfs-ganesha.service rpcbind.service; systemctl list-units --failed --no-legend --plain --no-pager"},
	{"kubelet.log", "last lines of the kubelet", fmt.Sprintf("journalctl --no-pager -q -o short-iso -n %d -u kubelet", Lines)},
	{"containerd.log", "last lines of containerd", fmt.Sprintf("journalctl --no-pager -q -o short-iso -n %d -u containerd", Lines)},
	{"cache.log", "last answers of the cache on the control plane", fmt.Sprintf("journalctl --no-pager -q -o short-iso -n %d -u nucspark-cache", Lines)},
	{"oom.txt", "processes that the kernel ended for want of memory", "{ journalctl --no-pager -q -k -o short-iso || dmesg; } | grep -iE 'out of memory|oom-kill|oom_reaper|killed process' | tail -n 50"},
}

// NodeScript asks a machine, as root, for its files. mark begins a line that
// its answer cannot hold by chance.
func NodeScript(mark string) string {
	var b strings.Builder
	for _, f := range nodeFiles {
		fmt.Fprintf(&b, "printf '\\n%%s %%s\\n' %s %s\ntimeout 30 sh -c %s 2>&1 </dev/null\n", mark, f.name, host.Quote(f.command))
	}
	fmt.Fprintf(&b, "printf '\\n%%s end\\n' %s\n", mark)
	return b.String()
}

// AddNode puts the answer to [NodeScript] into the bundle.
func (b *Bundle) AddNode(node, mark, answer string) error {
	parts := strings.Split(answer, "\n"+mark+" ")
	if parts[len(parts)-1] != "end\n" {
		return fmt.Errorf("the answer of the machine is cut off after %d bytes", len(answer))
	}
	said := map[string]string{}
	for _, p := range parts[1:] {
		name, body, _ := strings.Cut(p, "\n")
		said[name] = body
	}
	for _, f := range nodeFiles {
		b.Add("nodes/"+node+"/"+f.name, f.about, []byte(said[f.name]))
	}
	return nil
}

// AddLedger puts what was changed on a machine into the bundle: kinds and keys,
// not what was there or came there.
func (b *Bundle) AddLedger(node string, entries []provision.Entry) {
	var w strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&w, "%s %s %s %s %s %s\n", e.Time.UTC().Format(time.RFC3339), e.Run, e.Step, e.Phase, e.Kind, e.Key)
	}
	b.Add("nodes/"+node+"/ledger.txt", "what nucspark changed: run, step, phase, kind and key", []byte(w.String()))
}
