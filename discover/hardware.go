package discover

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// diskTypes are the file systems that a disk of one's own has. Those of a
// network are not looked into: a server that is gone would hold the question.
const diskTypes = "ext2,ext3,ext4,xfs,btrfs,f2fs,zfs"

// Directories below a mount point that are proposed, and where they are looked
// for on the system's own disk: the first that is no mount point.
const hdfsDir, nfsDir = "hdfs", "nfs"

var systemHDFS, systemNFS = []string{"/data", "/srv", "/opt"}, []string{"/srv", "/data", "/opt"}

// systemMounts are parts of the system, although data could go into them.
var systemMounts = []string{"/opt", "/var", "/var/lib", "/var/opt"}

// hardwareScript asks what provision does not ask of a node. It changes
// nothing. A line that begins with mark starts each part; what may hold any
// byte comes in base64.
func hardwareScript(mark string) string {
	return strings.NewReplacer("MARK", mark, "TYPES", diskTypes).Replace(`exec 2>/dev/null
echo MARK:model
cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name || tr '\0' '\n' < /proc/device-tree/model
echo MARK:processor
sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1
echo MARK:disks
lsblk -J -b -o NAME,PATH,TYPE,SIZE,FSTYPE,MOUNTPOINT,ROTA,TRAN,MODEL,RM
echo MARK:filesystems
findmnt -J -b -l -t TYPES -o TARGET,SOURCE,FSTYPE,SIZE
echo MARK:directories
{ findmnt -n -r -l -t TYPES -o TARGET; echo /data; echo /srv; echo /opt; } | sort -u | while IFS= read -r t; do
	t=$(printf %b "$t")
	for d in "$t" "${t%/}/hdfs" "${t%/}/nfs"; do
		[ -d "$d" ] || continue
		ours=no; [ -f "$d/.nucspark-disk" ] && ours=yes
		echo "$(printf %s "$d" | base64 | tr -d '\n') $ours $(ls -A "$d" | head -n 20 | base64 | tr -d '\n')"
	done
done
echo MARK:links
for i in /sys/class/net/*; do
	n=${i##*/}
	[ "$n" != lo ] || continue
	a=$(ip -o -4 addr show dev "$n" | awk '{sub("/.*", "", $4); printf "%s,", $4}')
	[ -e "$i/device" ] || [ -n "$a" ] || continue
	w=wired; [ -d "$i/wireless" ] || [ -e "$i/phy80211" ] && w=wireless
	echo "$n $(cat "$i/address") $(cat "$i/operstate") $w $(cat "$i/speed" || echo 0) $a"
done
echo MARK:end
`)
}

// newMark is a line start that remote output cannot hold by chance or by will.
func newMark() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err) // the kernel's generator does not fail
	}
	return "nucspark-" + hex.EncodeToString(b)
}

// parseHardware reads the answer.
func (m *Machine) parseHardware(out, mark string) error {
	parts := map[string][]string{}
	part := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, mark+":"); ok {
			part = name
			parts[part] = []string{}
		} else if part != "" {
			parts[part] = append(parts[part], line)
		}
	}
	if parts["end"] == nil {
		return errors.New("the answer of the machine is cut off")
	}
	m.Model = model(parts["model"])
	m.Processor = tidy(strings.Join(parts["processor"], " "))
	if err := m.parseFilesystems(strings.Join(parts["filesystems"], "\n")); err != nil {
		return err
	}
	if err := m.parseDisks(strings.Join(parts["disks"], "\n")); err != nil {
		return err
	}
	m.Directories = map[string]Directory{}
	for _, line := range parts["directories"] {
		f := strings.Split(line, " ")
		if len(f) != 3 {
			return fmt.Errorf("the machine says %q of a directory", host.Clean(line))
		}
		name, err := base64.StdEncoding.DecodeString(f[0])
		entries, err2 := base64.StdEncoding.DecodeString(f[2])
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("the machine says %q of a directory: %w", host.Clean(line), err)
		}
		d := Directory{Ours: f[1] == "yes"}
		for e := range strings.Lines(string(entries)) {
			d.Entries = append(d.Entries, host.Clean(strings.TrimSuffix(e, "\n")))
		}
		m.Directories[string(name)] = d
	}
	m.Links = nil
	for _, line := range parts["links"] {
		f := strings.Fields(host.Clean(line))
		if len(f) < 5 {
			continue
		}
		l := Link{Name: f[0], MAC: f[1], Up: f[2] == "up", Wireless: f[3] == "wireless"}
		// -1 and an error stand for none.
		if n, err := strconv.Atoi(f[4]); err == nil && n > 0 {
			l.Speed = n
		}
		for _, text := range strings.FieldsFunc(strings.Join(f[5:], ","), func(r rune) bool { return r == ',' }) {
			if a, err := netip.ParseAddr(text); err == nil {
				l.Addresses = append(l.Addresses, a)
			}
		}
		m.Links = append(m.Links, l)
	}
	return nil
}

// tidy is one line without doubled spaces and trade marks.
func tidy(s string) string {
	s = strings.NewReplacer("(R)", "", "(TM)", "", "(r)", "", "(tm)", "", " CPU", "").Replace(host.Clean(s))
	if i := strings.Index(s, "@"); i > 0 { // the frequency, which says little now
		s = s[:i]
	}
	return strings.Join(strings.Fields(s), " ")
}

// model joins maker and product; firmware that nobody filled in says so.
func model(lines []string) string {
	var words []string
	for _, l := range lines {
		l = tidy(l)
		switch strings.ToLower(l) {
		case "", "to be filled by o.e.m.", "default string", "system manufacturer", "system product name", "not specified", "unknown":
			continue
		}
		l = strings.TrimSuffix(strings.TrimSuffix(l, " Client Systems"), " Corporation")
		if !slices.Contains(words, l) {
			words = append(words, l)
		}
	}
	// "Intel" and "Intel NUC…" is once too often.
	if len(words) > 1 && strings.HasPrefix(words[1], words[0]) {
		words = words[1:]
	}
	return strings.Join(words, " ")
}

// number is one that older versions of lsblk and findmnt write in quotes.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	*n = number(v)
	return err
}

// truth is true, "1" of older versions too.
type truth bool

func (t *truth) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	*t = text == "true" || text == "1"
	return nil
}

func (m *Machine) parseFilesystems(text string) error {
	m.Filesystems = nil
	if strings.TrimSpace(text) == "" {
		return nil // there is none: findmnt prints nothing then
	}
	var answer struct {
		Filesystems []struct {
			Target, Source, FSType string
			Size                   number
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("the answer of findmnt cannot be read: %w", err)
	}
	for _, f := range answer.Filesystems {
		source, _, part := strings.Cut(f.Source, "[") // what follows is the part that is mounted
		m.Filesystems = append(m.Filesystems, Filesystem{Mount: f.Target, Source: host.Clean(source), Part: part, Type: host.Clean(f.FSType), Size: int64(f.Size)})
	}
	slices.SortFunc(m.Filesystems, func(a, b Filesystem) int { return strings.Compare(a.Mount, b.Mount) })
	return nil
}

type block struct {
	Name, Path, Type, FSType, Mountpoint, Tran, Model string
	Size                                              number
	Rota, RM                                          truth
	Children                                          []block
}

// mount is where a device is mounted. lsblk names any one of several mounts;
// the whole file system counts more than a part of it, the kubelet's bind
// mounts for example, and of parts the one nearest to the root.
func (m *Machine) mount(b block) string {
	best := ""
	whole := false
	for _, f := range m.Filesystems {
		if f.Source == b.Path && (best == "" || !f.Part && !whole || f.Part == !whole && len(f.Mount) < len(best)) {
			best, whole = f.Mount, !f.Part
		}
	}
	if best == "" {
		best = b.Mountpoint
	}
	return best
}

func (m *Machine) parseDisks(text string) error {
	m.Disks = nil
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var answer struct{ Blockdevices []block }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("the answer of lsblk cannot be read: %w", err)
	}
	for _, b := range answer.Blockdevices {
		if b.Type != "disk" || b.Size == 0 || strings.HasPrefix(b.Name, "zram") || strings.HasPrefix(b.Name, "mmcblk") && strings.Contains(b.Name, "boot") {
			continue
		}
		d := Disk{Name: host.Clean(b.Name), Model: tidy(b.Model), Size: int64(b.Size), Content: m.content(b)}
		switch {
		case b.Tran == "nvme" || strings.HasPrefix(b.Name, "nvme"):
			d.Kind = "NVMe"
		case strings.HasPrefix(b.Name, "mmcblk"):
			d.Kind = "eMMC"
		case b.Tran == "usb" || bool(b.RM):
			d.Kind = "USB"
		case bool(b.Rota):
			d.Kind = "HDD"
		default:
			d.Kind = "SSD"
		}
		m.Disks = append(m.Disks, d)
	}
	return nil
}

// content says what is on a disk: where the system is on it, that is all
// there is to say.
func (m *Machine) content(disk block) string {
	var mounts, holds []string
	system := false
	var walk func(b block)
	walk = func(b block) {
		switch mount := m.mount(b); {
		case mount == "/" || mount == "[SWAP]" || mount == "/boot" || mount == "/boot/efi":
			system = true
		case mount != "":
			mounts = append(mounts, host.Clean(mount))
		case b.FSType != "" && len(b.Children) == 0:
			holds = append(holds, host.Clean(b.FSType))
		}
		for _, c := range b.Children {
			walk(c)
		}
	}
	walk(disk)
	slices.Sort(mounts)
	slices.Sort(holds)
	var words []string
	if system {
		words = append(words, "system")
	}
	if len(mounts) > 0 {
		words = append(words, "mounted at "+strings.Join(slices.Compact(mounts), ", "))
	}
	if len(holds) > 0 && !system {
		words = append(words, "holds "+strings.Join(slices.Compact(holds), ", ")+", not mounted")
	}
	if len(words) == 0 {
		if len(disk.Children) > 0 {
			return "partitioned, not mounted"
		}
		return "empty"
	}
	return strings.Join(words, ", ")
}

// Place is a file system that data may go to.
type Place struct {
	Mount  string // "/" for the system's own disk
	HDFS   string // directory for blocks
	Export string // directory for NFS
	Size   int64
	Why    string // why it is not to be proposed: somebody's data lie there; "" if it may
}

// Places are the file systems for data, the largest first. Each disk counts
// once. The system's own comes last.
func (m *Machine) Places() []Place {
	var places []Place
	sources, wholes := map[string]bool{}, map[string]bool{}
	for _, f := range m.Filesystems {
		wholes[f.Source] = wholes[f.Source] || !f.Part
	}
	system := Place{Mount: "/", HDFS: path.Join(m.onRoot(systemHDFS), hdfsDir), Export: path.Join(m.onRoot(systemNFS), nfsDir)}
	for _, f := range m.Filesystems {
		if f.Mount == "/" {
			system.Size = f.Size
			continue
		}
		p := Place{Mount: f.Mount, HDFS: path.Join(f.Mount, hdfsDir), Export: path.Join(f.Mount, nfsDir), Size: f.Size}
		if inventory.CheckDataDir(p.HDFS) != nil || slices.Contains(systemMounts, f.Mount) || sources[f.Source] || f.Part && wholes[f.Source] {
			continue
		}
		sources[f.Source] = true
		if others := m.others(f.Mount); len(others) > 0 {
			p.Why = fmt.Sprintf("%s holds data (%s)", f.Mount, among(others))
		}
		places = append(places, p)
	}
	slices.SortStableFunc(places, func(a, b Place) int { return int(min(1, max(-1, b.Size-a.Size))) })
	for _, dir := range []string{system.HDFS, system.Export} {
		if d := m.Directories[dir]; !d.Ours && len(provision.ForeignEntries(d.Entries)) > 0 {
			system.Why = fmt.Sprintf("%s holds data (%s)", dir, among(d.Entries))
		}
	}
	return append(places, system)
}

// onRoot is the first of some directories that is no mount point, the first of
// all where each is one.
func (m *Machine) onRoot(dirs []string) string {
	for _, dir := range dirs {
		if !slices.ContainsFunc(m.Filesystems, func(f Filesystem) bool { return f.Mount == dir }) {
			return dir
		}
	}
	return dirs[0]
}

// others are the entries of a mount point that are not nucspark's.
func (m *Machine) others(mount string) []string {
	var others []string
	for _, e := range provision.ForeignEntries(m.Directories[mount].Entries) {
		d, known := m.Directories[path.Join(mount, e)]
		if known && (d.Ours || len(provision.ForeignEntries(d.Entries)) == 0) {
			continue
		}
		others = append(others, e)
	}
	return others
}

// among shows the first of many.
func among(entries []string) string {
	if len(entries) > 3 {
		return strings.Join(entries[:3], ", ") + " …"
	}
	return strings.Join(entries, ", ")
}
