package provision

import (
	"archive/tar"
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// maxContent bounds the content of a file, in bytes; of a larger one only the
// hash is known.
const maxContent = 1 << 20

// unitDirectories are where systemd finds unit files, the first one first:
// systemd.unit(5), without the generators' (what they make of /etc/fstab goes
// with its line).
var unitDirectories = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}

// swapFiles is the script that names the swap units of some directories, those
// that are masked excepted: empty, or links to /dev/null. To list unit files by
// systemctl makes systemd read all of them, which takes it longer than all
// other questions together.
func swapFiles(directories []string) string {
	return fmt.Sprintf(`seen=/
for d in %s; do for f in "$d"/*.swap; do
u=${f##*/}; case $seen in */"$u"/*) continue;; esac
{ [ -e "$f" ] || [ -L "$f" ]; } || continue
seen=$seen$u/; [ ! -s "$f" ] || printf 'unit %%s\n' "$u"; done; done
`, quoteAll(directories))
}

// questions renders the queries of one node as one script. Each kind is asked
// once for all its objects, so that the cost is a few processes, not a few per
// object. The answers come back in sections that start with a line of the
// given mark, which cannot occur in them by chance.
func questions(queries []Query, mark string) string {
	var paths, contents, disks, units, packages, modules, sysctls, images []string
	var users []UserQuery
	var outputs []OutputQuery
	var purges []PurgeQuery
	swap := false
	seen := map[string]bool{}
	for _, q := range queries {
		if seen[q.Key()] {
			continue
		}
		seen[q.Key()] = true
		switch q := q.(type) {
		case FileQuery:
			paths = append(paths, q.Path)
			if q.Content {
				contents = append(contents, q.Path)
			}
		case DiskQuery:
			disks = append(disks, q.Path)
		case UnitQuery:
			units = append(units, q.Name)
		case PackageQuery:
			packages = append(packages, q.Name)
		case ModuleQuery:
			modules = append(modules, q.Name)
		case SysctlQuery:
			sysctls = append(sysctls, q.Name)
		case UserQuery:
			users = append(users, q)
		case ImageQuery:
			images = append(images, q.Ref)
		case SwapQuery:
			swap = true
		case OutputQuery:
			outputs = append(outputs, q)
		case PurgeQuery:
			purges = append(purges, q)
		default:
			panic(fmt.Sprintf("%T is no query of a node", q))
		}
	}
	var b strings.Builder
	section := func(name string) { fmt.Fprintf(&b, "printf '\\n%%s %%s\\n' %s %s\n", mark, Quote(name)) }
	if len(paths) > 0 {
		section("stat")
		fmt.Fprintf(&b, "stat -c '%%f|%%U|%%u|%%G|%%g|%%s|%%y|%%n' -- %s 2>/dev/null\n", quoteAll(paths))
		section("sums")
		// What is no regular file only makes it complain.
		fmt.Fprintf(&b, "sha256sum -- %s 2>/dev/null\n", quoteAll(paths))
	}
	if len(contents) > 0 {
		section("contents")
		fmt.Fprintf(&b, "find %s -maxdepth 0 -type f -size -%dk -print0 2>/dev/null | tar --null -T - -P --no-recursion --format=pax -cf - 2>/dev/null | base64 -w0\n",
			quoteAll(contents), maxContent/1024+1)
	}
	for _, p := range disks {
		section("disk " + p)
		fmt.Fprintf(&b, `p=%s; if [ -d "$p" ]; then echo exists; else echo absent; fi
d=$p; while [ ! -d "$d" ]; do d=$(dirname -- "$d"); done
df -B1 --output=size,avail,fstype,source,target -- "$d" | tail -n 1
src=$(df --output=source -- "$d" | tail -n 1); echo "$(blkid -s UUID -o value "$src" 2>/dev/null)"
[ ! -d "$p" ] || ls -A -- "$p" | head -n 100
`, Quote(p))
	}
	if len(units) > 0 {
		section("units")
		fmt.Fprintf(&b, "systemctl show --timestamp=us+utc -p Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,MainPID -- %s\n", quoteAll(units))
	}
	if len(packages) > 0 {
		section("packages")
		fmt.Fprintf(&b, "dpkg-query -W -f '${Package}\\t${db:Status-Abbrev}\\t${Version}\\n' -- %s 2>/dev/null\n", quoteAll(packages))
	}
	if len(modules) > 0 {
		section("modules")
		// A module counts as present when it is loaded, built in, or when what
		// it brings is there (containers see no module of their host).
		fmt.Fprintf(&b, `for m in %s; do
if [ -d "/sys/module/$m" ] || grep -qsE "/$m\.ko" "/lib/modules/$(uname -r)/modules.builtin"; then echo "$m"
elif [ "$m" = br_netfilter ] && [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo "$m"
elif grep -qsw "$m" /proc/filesystems; then echo "$m"; fi; done
`, quoteAll(modules))
	}
	if len(sysctls) > 0 {
		section("sysctls")
		for _, k := range sysctls {
			fmt.Fprintf(&b, "f=%s; if [ -e $f ]; then w=r; [ -w $f ] && ! grep -qE '^[^ ]+ /proc/sys [^ ]+ ro[, ]' /proc/mounts && w=w; printf '%%s|%%s|%%s\\n' %s $w \"$(tr '\\t\\n' '  ' < $f 2>/dev/null)\"; fi\n", Quote(SysctlPath(k)), Quote(k))
		}
	}
	for _, u := range users {
		section(fmt.Sprintf("user %s %d", u.Name, u.UID))
		fmt.Fprintf(&b, "echo \"$(getent passwd -- %[1]s)\"; echo \"$(getent passwd -- %[2]d)\"; echo \"$(getent group -- %[2]d)\"\n", Quote(u.Name), u.UID)
	}
	if swap {
		section("swap")
		b.WriteString("tail -n +2 /proc/swaps | awk '{print \"active\", $1}'\n")
		b.WriteString("systemctl list-units --type=swap --state=active --no-legend --plain 2>/dev/null | awk '{print \"unit\", $1}'\n")
		b.WriteString(swapFiles(unitDirectories))
		// Debian's zram-tools and Ubuntu's zram-config.
		b.WriteString("for u in zramswap.service zram-config.service; do [ \"$(systemctl is-enabled $u 2>/dev/null)\" = enabled ] && echo \"unit $u\"; done\n")
		b.WriteString("for f in /etc/systemd/zram-generator.conf /usr/lib/systemd/zram-generator.conf /usr/lib/systemd/zram-generator.conf.d/*.conf; do [ -s \"$f\" ] && [ ! -L /etc/systemd/zram-generator.conf ] && echo 'unit zram-generator' && break; done\n")
	}
	if len(images) > 0 {
		section("images")
		b.WriteString("ctr -n k8s.io images ls -q 2>/dev/null\n")
	}
	for _, o := range outputs {
		section("output " + string(o.What))
		fmt.Fprintf(&b, "out=$(%s 2>/dev/null </dev/null); code=$?; echo $code; printf '%%s' \"$out\" | head -c 1048576 | base64 | tr -d '\\n'\n", o.What)
	}
	for _, p := range purges {
		section("purge " + p.Packages)
		b.WriteString(purgeScript(p.Packages))
	}
	section("end")
	return b.String()
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}

// answers parses what the script of questions printed.
func answers(queries []Query, mark, out string) (map[string]any, error) {
	sections := map[string]string{}
	parts := strings.Split(out, "\n"+mark+" ")
	if len(parts) == 0 || !strings.HasPrefix(parts[len(parts)-1], "end\n") {
		return nil, fmt.Errorf("the answer is cut off after %d bytes", len(out))
	}
	for _, p := range parts[1:] {
		name, body, _ := strings.Cut(p, "\n")
		sections[name] = body
	}
	files := parseStat(sections["stat"], sections["sums"])
	contents, err := parseContents(sections["contents"])
	if err != nil {
		return nil, err
	}
	unitNames := []string{}
	seen := map[string]bool{}
	for _, q := range queries {
		if u, ok := q.(UnitQuery); ok && !seen[u.Name] {
			seen[u.Name] = true
			unitNames = append(unitNames, u.Name)
		}
	}
	units, err := parseUnits(unitNames, sections["units"])
	if err != nil {
		return nil, err
	}
	packages := parsePackages(sections["packages"])
	lines := func(section string) map[string]bool {
		set := map[string]bool{}
		for _, l := range strings.Split(sections[section], "\n") {
			if l != "" {
				set[l] = true
			}
		}
		return set
	}
	modules, images := lines("modules"), lines("images")
	sysctls := map[string]SysctlFact{}
	for _, l := range strings.Split(sections["sysctls"], "\n") {
		if f := strings.SplitN(l, "|", 3); len(f) == 3 {
			sysctls[f[0]] = SysctlFact{Exists: true, Writable: f[1] == "w", Value: strings.Join(strings.Fields(f[2]), " ")}
		}
	}
	a := map[string]any{}
	for _, q := range queries {
		var v any
		switch q := q.(type) {
		case FileQuery:
			f := files[q.Path]
			if q.Content {
				f.Content = contents[q.Path]
			}
			v = f
		case DiskQuery:
			if v, err = parseDisk(sections["disk "+q.Path]); err != nil {
				return nil, fmt.Errorf("disk of %s: %w", q.Path, err)
			}
		case UnitQuery:
			v = units[q.Name]
		case PackageQuery:
			v = packages[q.Name]
		case ModuleQuery:
			v = ModuleFact{Present: modules[q.Name]}
		case SysctlQuery:
			v = sysctls[q.Name]
		case UserQuery:
			v = parseUser(sections[fmt.Sprintf("user %s %d", q.Name, q.UID)])
		case SwapQuery:
			var s SwapFact
			unit := map[string]bool{}
			for _, l := range strings.Split(sections["swap"], "\n") {
				switch kind, name, _ := strings.Cut(l, " "); {
				case kind == "active":
					s.Active = append(s.Active, name)
				case kind == "unit" && !unit[name]:
					unit[name] = true
					s.Units = append(s.Units, name)
				}
			}
			v = s
		case ImageQuery:
			v = ImageFact{Present: images[q.Ref]}
		case OutputQuery:
			code, body, _ := strings.Cut(sections["output "+string(q.What)], "\n")
			n, err := strconv.Atoi(code)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q.What, err)
			}
			text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q.What, err)
			}
			v = OutputFact{Code: n, Output: string(text)}
		case PurgeQuery:
			v = parsePurge(sections["purge "+q.Packages])
		}
		a[q.Key()] = v
	}
	return a, nil
}

// parseContents reads the tar archive of the files whose content was asked
// for.
func parseContents(encoded string) (map[string][]byte, error) {
	contents := map[string][]byte{}
	archive := tar.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.TrimSpace(encoded))))
	for encoded != "" {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the contents of files: %w", err)
		}
		if contents[h.Name], err = io.ReadAll(archive); err != nil {
			return nil, fmt.Errorf("the content of %s: %w", h.Name, err)
		}
	}
	return contents, nil
}

func parseStat(stat, sums string) map[string]FileFact {
	files := map[string]FileFact{}
	for _, l := range strings.Split(stat, "\n") {
		f := strings.SplitN(l, "|", 8)
		if len(f) != 8 {
			continue
		}
		raw, err := strconv.ParseUint(f[0], 16, 32)
		if err != nil {
			continue
		}
		is := FileFact{Exists: true, Mode: unixMode(uint32(raw)), Owner: f[1], Group: f[3]}
		is.UID, _ = strconv.Atoi(f[2])
		is.GID, _ = strconv.Atoi(f[4])
		if is.Owner == "UNKNOWN" {
			is.Owner = f[2]
		}
		if is.Group == "UNKNOWN" {
			is.Group = f[4]
		}
		is.Size, _ = strconv.ParseInt(f[5], 10, 64)
		is.Modified, _ = time.Parse("2006-01-02 15:04:05.999999999 -0700", f[6])
		files[f[7]] = is
	}
	for _, l := range strings.Split(sums, "\n") {
		sum, path, ok := strings.Cut(l, "  ")
		if f := files[path]; ok && f.Mode.IsRegular() && f.Exists {
			f.SHA256 = sum
			files[path] = f
		}
	}
	return files
}

// unixMode turns st_mode of Linux into Go's form.
func unixMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o100000:
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= is
		}
	}
	return mode
}

func parseUnits(names []string, out string) (map[string]UnitFact, error) {
	units := map[string]UnitFact{}
	if len(names) == 0 {
		return units, nil
	}
	blocks := strings.Split(strings.TrimSpace(out), "\n\n")
	if len(blocks) != len(names) {
		return nil, fmt.Errorf("systemctl answered for %d units of %d", len(blocks), len(names))
	}
	for i, b := range blocks {
		var u UnitFact
		sc := bufio.NewScanner(strings.NewReader(b))
		for sc.Scan() {
			k, v, _ := strings.Cut(sc.Text(), "=")
			switch k {
			case "LoadState":
				u.Load = v
			case "ActiveState":
				u.Active = v
			case "SubState":
				u.Sub = v
			case "UnitFileState":
				u.Enabled = v
			case "NeedDaemonReload":
				u.NeedReload = v == "yes"
			case "MainPID":
				u.MainPID, _ = strconv.Atoi(v)
			case "ActiveEnterTimestamp":
				u.Since, _ = time.Parse("Mon 2006-01-02 15:04:05.999999 MST", v)
			}
		}
		units[names[i]] = u
	}
	return units, nil
}

func parsePackages(out string) map[string]PackageFact {
	packages := map[string]PackageFact{}
	for _, l := range strings.Split(out, "\n") {
		f := strings.Split(l, "\t")
		if len(f) != 3 {
			continue
		}
		p := PackageFact{Status: strings.TrimSpace(f[1])}
		if strings.HasSuffix(p.Status, "i") {
			p.Version, p.Held = f[2], strings.HasPrefix(p.Status, "h")
		}
		packages[f[0]] = p
	}
	return packages
}

func parseDisk(out string) (DiskFact, error) {
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) < 3 {
		return DiskFact{}, fmt.Errorf("unexpected answer %q", out)
	}
	f := strings.Fields(lines[1])
	if len(f) < 5 {
		return DiskFact{}, fmt.Errorf("unexpected answer %q", lines[1])
	}
	d := DiskFact{Exists: lines[0] == "exists", Type: f[2], Device: f[3], MountPoint: strings.Join(f[4:], " "), UUID: lines[2]}
	var err1, err2 error
	d.Total, err1 = strconv.ParseInt(f[0], 10, 64)
	d.Free, err2 = strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil {
		return DiskFact{}, fmt.Errorf("unexpected answer %q", lines[1])
	}
	for _, e := range lines[3:] {
		if e != "" {
			d.Entries = append(d.Entries, e)
		}
	}
	return d, nil
}

func parseUser(out string) UserFact {
	lines := append(strings.Split(out, "\n"), "", "", "")
	var u UserFact
	if f := strings.Split(lines[0], ":"); len(f) > 3 {
		u.Exists = true
		u.UID, _ = strconv.Atoi(f[2])
		u.GID, _ = strconv.Atoi(f[3])
	}
	u.Holder, _, _ = strings.Cut(lines[1], ":")
	u.Group, _, _ = strings.Cut(lines[2], ":")
	return u
}
