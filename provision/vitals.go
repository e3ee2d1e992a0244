package provision

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// Vitals are how a machine does at one moment. What it does not tell is the
// zero value, or nil.
type Vitals struct {
	CPUs       int       `json:"cpus"`
	Load       float64   `json:"load"`              // tasks that run or wait to, the mean of a minute
	Use        *float64  `json:"cpu_use,omitempty"` // share of all its processors since the look before, 0 to 1
	Memory     int64     `json:"memory"`            // bytes
	MemoryUsed int64     `json:"memory_used"`       // bytes that are not to be had for programs
	Celsius    float64   `json:"celsius,omitempty"` // of its hottest processor
	Critical   float64   `json:"critical,omitempty"`
	Disks      []DiskUse `json:"disks,omitempty"` // in the order in which they were asked for
	Link       *Link     `json:"link,omitempty"`

	at          time.Time // when the answer came
	busy, ticks uint64    // of all processors since it started
}

// DiskUse is how full the file system is that a directory lies on. Bytes.
type DiskUse struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Used int64  `json:"used"`
	Free int64  `json:"free"` // for those who are not root
}

// Share is how much of what somebody who is not root could ever use is in use,
// 0 to 1, as df reckons.
func (d DiskUse) Share() float64 { return Share(d.Used, d.Used+d.Free) }

// Link is the network interface with the default route.
type Link struct {
	Name     string   `json:"name"`
	Up       bool     `json:"up"`
	Megabits int64    `json:"megabits,omitempty"` // a second
	In       *float64 `json:"in,omitempty"`       // bytes a second since the look before
	Out      *float64 `json:"out,omitempty"`

	received, sent uint64
}

// Share is used of total, 0 to 1; 0 where there is nothing to use.
func Share(used, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return min(max(float64(used)/float64(total), 0), 1)
}

// Vitals asks a machine how it does. It takes no right of an administrator and
// starts two short processes there. paths are directories whose file systems
// are to be told of; those that are not there are left out.
func (f *Fleet) Vitals(ctx context.Context, node string, paths []string) (Vitals, error) {
	r, err := f.Remote(ctx, node)
	if err != nil {
		return Vitals{}, err
	}
	res, err := r.Run(ctx, host.Command{Script: vitalsScript(paths)})
	if err != nil {
		return Vitals{}, err
	}
	v, err := parseVitals(res.Stdout)
	if err != nil {
		return v, fmt.Errorf("%s: %w", node, err)
	}
	v.at = time.Now()
	return v, nil
}

// vitalsScript asks for all of it. A sensor of a disk is not read: that keeps
// some disks from resting (kernel documentation, hwmon/drivetemp).
func vitalsScript(paths []string) string {
	var b strings.Builder
	b.WriteString(`exec 2>/dev/null
read -r l </proc/loadavg && echo "load $l"
grep -hE '^(cpu|MemTotal:|MemAvailable:)' /proc/stat /proc/meminfo
for d in /sys/class/hwmon/hwmon*; do
n=; read -r n <$d/name
case $n in coretemp|k10temp|zenpower|cpu_thermal) for f in $d/temp*_input; do
v= c=; read -r c <${f%_input}_crit; read -r v <$f && echo "temp 1 $v $c"; done;; esac; done
for d in /sys/class/thermal/thermal_zone*; do
n= v=; read -r n <$d/type
case $n in x86_pkg_temp|cpu*|soc*) read -r v <$d/temp && echo "temp 2 $v";; acpitz) read -r v <$d/temp && echo "temp 3 $v";; esac; done
while read -r i d r; do if [ "$d" = 00000000 ]; then
o= s= a= b=; read -r o </sys/class/net/$i/operstate; read -r s </sys/class/net/$i/speed
read -r a </sys/class/net/$i/statistics/rx_bytes; read -r b </sys/class/net/$i/statistics/tx_bytes
echo "link $i ${o:-unknown} ${s:-0} ${a:-0} ${b:-0}"; break; fi; done </proc/net/route
`)
	if len(paths) > 0 {
		fmt.Fprintf(&b, "df -B1 --output=size,used,avail,file -- %s | while read -r s u a f; do printf 'disk %%s %%s %%s %%s\\n' \"$s\" \"$u\" \"$a\" \"$f\"; done\n", quoteAll(paths))
	}
	b.WriteString("echo end\n")
	return b.String()
}

// parseVitals reads the answer.
func parseVitals(out string) (Vitals, error) {
	var v Vitals
	var available int64
	ended := false
	sensors := 0 // the kind that Celsius is of; a lower number knows better
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		number := func(i int) int64 {
			if i >= len(f) {
				return 0
			}
			n, _ := strconv.ParseInt(f[i], 10, 64)
			return max(n, 0)
		}
		switch key := f[0]; {
		case key == "load" && len(f) > 1:
			if l, err := strconv.ParseFloat(f[1], 64); err == nil && l >= 0 && l < 1e6 { // no NaN either
				v.Load = l
			}
		case key == "cpu":
			// user nice system idle iowait irq softirq steal; what follows is
			// in user already (proc_stat(5)).
			for i := 1; i <= 8; i++ {
				v.ticks += uint64(number(i))
			}
			v.busy = v.ticks - uint64(number(4)) - uint64(number(5))
		case strings.HasPrefix(key, "cpu"):
			v.CPUs++
		case key == "MemTotal:":
			v.Memory = number(1) * 1024
		case key == "MemAvailable:":
			available = number(1) * 1024
		case key == "temp":
			// Thousandths of a degree (kernel documentation, hwmon/sysfs-interface).
			// A sensor that is not connected says nonsense.
			kind, is := int(number(1)), float64(number(2))/1000
			if is < 1 || is > 150 || sensors != 0 && kind > sensors || kind == sensors && is <= v.Celsius {
				continue
			}
			sensors, v.Celsius, v.Critical = kind, is, float64(number(3))/1000
		case key == "link" && len(f) > 5:
			v.Link = &Link{Name: host.Clean(f[1]), Up: f[2] == "up" || f[2] == "unknown", Megabits: number(3), received: uint64(number(4)), sent: uint64(number(5))}
		case key == "disk":
			words := strings.SplitN(strings.TrimRight(line, "\n"), " ", 5)
			if len(words) == 5 && strings.HasPrefix(words[4], "/") {
				v.Disks = append(v.Disks, DiskUse{Path: host.Clean(words[4]), Size: number(1), Used: number(2), Free: number(3)})
			}
		case key == "end":
			ended = true
		}
	}
	if !ended || v.Memory == 0 || v.ticks == 0 {
		return Vitals{}, fmt.Errorf("it does not say how it does, but %q", host.Clean(out[:min(len(out), 200)]))
	}
	v.MemoryUsed = max(v.Memory-available, 0)
	return v, nil
}

// Since adds what only two looks tell: the use of processors and network
// between an earlier look and this one. A machine that started anew between
// them tells nothing.
func (v Vitals) Since(before Vitals) Vitals {
	if v.ticks > before.ticks && v.busy >= before.busy && before.ticks > 0 {
		use := min(float64(v.busy-before.busy)/float64(v.ticks-before.ticks), 1)
		v.Use = &use
	}
	seconds := v.at.Sub(before.at).Seconds()
	if v.Link == nil || before.Link == nil || v.Link.Name != before.Link.Name || seconds <= 0 || before.at.IsZero() ||
		v.Link.received < before.Link.received || v.Link.sent < before.Link.sent {
		return v
	}
	link := *v.Link
	in, out := float64(link.received-before.Link.received)/seconds, float64(link.sent-before.Link.sent)/seconds
	link.In, link.Out = &in, &out
	v.Link = &link
	return v
}

// From here on something is worth a word.
const (
	fullDisk   = 0.90 // kubelet evicts pods when less than a tenth is free (its default nodefs.available)
	fullMemory = 0.95
	hot        = 90 // degrees, of a sensor that does not say what it can bear
	nearHot    = 5  // below what it says
)

// Full says that a file system is nearly full.
func (d DiskUse) Full() bool { return d.Share() > fullDisk }

// Tight says that a machine is nearly out of memory.
func (v Vitals) Tight() bool { return Share(v.MemoryUsed, v.Memory) > fullMemory }

// Hot says that a machine is about to slow down for its heat.
func (v Vitals) Hot() bool {
	limit := float64(hot)
	if v.Critical > nearHot {
		limit = v.Critical - nearHot
	}
	return v.Celsius >= limit
}

// Warnings are what somebody should look at.
func (v Vitals) Warnings() []string {
	var all []string
	for _, d := range v.Disks {
		if d.Full() {
			all = append(all, fmt.Sprintf("%s is %.0f %% full, %s are free", d.Path, d.Share()*100, inventory.Size(d.Free).Human()))
		}
	}
	if v.Tight() {
		all = append(all, fmt.Sprintf("%s of its memory of %s are left", inventory.Size(v.Memory-v.MemoryUsed).Human(), inventory.Size(v.Memory).Human()))
	}
	if v.Hot() {
		all = append(all, fmt.Sprintf("it is %.0f °C hot", v.Celsius))
	}
	if v.Link != nil && !v.Link.Up {
		all = append(all, "its network interface "+v.Link.Name+" is down")
	}
	return all
}

// Info is the same as [Health] tells it.
func (v Vitals) Info() map[string]string {
	info := map[string]string{"load": fmt.Sprintf("%.2f", v.Load), "memory_used": inventory.Size(v.MemoryUsed).Human()}
	if v.Use != nil {
		info["cpu_use"] = fmt.Sprintf("%.0f %%", *v.Use*100)
	}
	if v.Celsius > 0 {
		info["temperature"] = fmt.Sprintf("%.0f °C", v.Celsius)
	}
	var disks []string
	for _, d := range v.Disks {
		disks = append(disks, fmt.Sprintf("%s %.0f %% of %s", d.Path, d.Share()*100, inventory.Size(d.Size).Human()))
	}
	if len(disks) > 0 {
		info["disks"] = strings.Join(disks, "; ")
	}
	return info
}

// DataPaths are the directories of a node whose file systems matter: those of
// its data, and where images and logs are.
func DataPaths(n *inventory.Node) []string {
	var paths []string
	if n.HDFS != nil {
		paths = append(paths, n.HDFS.Dirs...)
	}
	if n.NFS != nil && !slices.Contains(paths, n.NFS.Export) {
		paths = append(paths, n.NFS.Export)
	}
	return append(paths, "/var")
}
