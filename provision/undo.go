package provision

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// KeptSuffix ends the name under which a file stays that somebody changed
// after nucspark wrote it.
const KeptSuffix = ".nucspark-kept"

// Restored is a step: a file is as it was before nucspark wrote it, or gone
// where there was none. What somebody changed since is kept beside it. A file
// that is gone stays gone: it went with its package, or somebody removed it.
type Restored struct {
	Base
	UID    string // of the cluster: hashes of secret files are salted with it
	Origin Origin // of kind "file"
}

// former is what a ledger's Before says of a file or directory.
type former struct{ mode, owner, sum string }

// parseFormer reads "0644 root:root 120 bytes sha256:…"; ok is false for
// anything else.
func parseFormer(before string) (f former, ok bool) {
	words := strings.Fields(before)
	if len(words) < 2 || len(words[0]) != 4 || strings.Trim(words[0], "01234567") != "" || !strings.Contains(words[1], ":") {
		return f, false
	}
	f.mode, f.owner = words[0], words[1]
	if sum, found := strings.CutPrefix(words[len(words)-1], "sha256:"); found {
		f.sum = sum
	}
	return f, true
}

func (f former) same(is FileFact) bool {
	return f.mode == octal(is.Mode) && f.owner == is.Owner+":"+is.Group
}

func (s Restored) sensitive() bool { return strings.HasPrefix(s.Origin.Last(), "salted:") }

func (s Restored) query() FileQuery {
	return FileQuery{Node: s.Node, Path: s.Origin.Key, Content: s.sensitive()}
}

func (s Restored) Reads() []Query { return []Query{s.query()} }

// Gone says whether there will be no such file.
func (s Restored) Gone() bool { return s.Origin.Before == "" && s.Origin.Last() != "" }

// ours says whether a file is one that nucspark wrote, or the one before it.
func (s Restored) ours(is FileFact, was former) bool {
	sum := is.SHA256
	if s.sensitive() {
		sum = saltedHash(s.UID, is.Content)
	}
	return is.Mode.IsRegular() && (slices.Contains(s.Origin.Wrote, sum) || was.sum != "" && is.SHA256 == was.sum)
}

func (s Restored) Diff(f Facts) ([]Change, error) {
	is, o := s.query().In(f), s.Origin
	was, ok := parseFormer(o.Before)
	switch {
	case o.Before != "" && (!ok || was.sum == ""):
		return nil, nil // no regular file, or a secret one of which no copy was kept
	case !is.Exists && (o.Before == "" || o.Last() != ""), is.Exists && o.Before == "" && o.Last() == "":
		return nil, nil
	case is.Exists && is.SHA256 == was.sum && was.same(is):
		return nil, nil
	}
	c := Change{Kind: "file", Key: o.Key, Action: Delete}
	if o.Before != "" {
		c.Action, c.New = Update, "as it was: "+o.Before[:strings.Index(o.Before, " sha256:")]
	}
	if is.Exists {
		c.Old = describeFile(is.Mode, is.Owner, is.Group, int(is.Size))
		if !s.ours(is, was) {
			c.Detail = "somebody changed it since nucspark wrote it: it is kept as " + o.Key + KeptSuffix
		}
	}
	return []Change{c}, nil
}

func (s Restored) Apply(ctx context.Context, env *Env, _ []Change) error {
	is, o := s.query().In(env.Facts()), s.Origin
	was, _ := parseFormer(o.Before)
	p, after := Quote(o.Key), ""
	script := "set -e\n"
	if is.Exists && !s.ours(is, was) {
		kept := o.Key + KeptSuffix
		script += fmt.Sprintf("mv --backup=numbered -T -- %s %s\n", p, Quote(kept))
		env.Log(fmt.Sprintf("%s was changed by somebody and is kept as %s", o.Key, kept))
	}
	if o.Before == "" {
		script += "rm -f -- " + p + "\n"
	} else {
		after = was.sum
		tmp := Quote(o.Key + ".nucspark-undo")
		script += fmt.Sprintf("cp -- %s %s\nchown -- %s %[2]s\nchmod -- %[4]s %[2]s\nsync %[2]s\nmv -f -T -- %[2]s %[5]s\n",
			Quote(StateDir+"/before/"+was.sum), tmp, Quote(was.owner), was.mode, p)
	}
	// Some programs read a file only when they are told to.
	switch {
	case strings.HasPrefix(o.Key, "/etc/systemd/system/"):
		script += "systemctl daemon-reload\n"
	case o.Key == NFSExportsFile:
		script += "if command -v exportfs >/dev/null; then exportfs -ra; fi\n"
	}
	return env.Node(s.Node).Change(ctx, Entry{Kind: "file", Key: o.Key, Before: fileBefore(is, s.sensitive()), After: after}, script)
}

// DirectoryBack is a step: a directory that was made is gone once it is empty,
// and one that was there has its mode and owner again. What others put into it
// keeps it.
type DirectoryBack struct {
	Base
	Origin Origin
	Files  []string // in it or below it, that other steps remove
	Below  []Origin // directories below it that go when they are empty, too
}

func (s DirectoryBack) disk(dir string) DiskQuery { return DiskQuery{Node: s.Node, Path: dir} }
func (s DirectoryBack) file() FileQuery           { return FileQuery{Node: s.Node, Path: s.Origin.Key} }

func (s DirectoryBack) Reads() []Query {
	reads := []Query{s.file(), s.disk(s.Origin.Key)}
	for _, o := range s.Below {
		reads = append(reads, s.disk(o.Key))
	}
	return reads
}

// empty says whether nothing will be left in a directory.
func (s DirectoryBack) empty(f Facts, dir string) bool {
	is := s.disk(dir).In(f)
	for _, e := range is.Entries {
		p := strings.TrimSuffix(dir, "/") + "/" + e
		if slices.Contains(s.Files, p) {
			continue
		}
		if !slices.ContainsFunc(s.Below, func(o Origin) bool { return o.Key == p && o.Before == "" }) || !s.empty(f, p) {
			return false
		}
	}
	return is.MountPoint != dir
}

func (s DirectoryBack) Diff(f Facts) ([]Change, error) {
	is, o := s.file().In(f), s.Origin
	if !is.Exists || !is.Mode.IsDir() {
		return nil, nil
	}
	c := Change{Kind: "directory", Key: o.Key, Old: describeFile(is.Mode, is.Owner, is.Group, -1)}
	if o.Before == "" {
		if c.Action = Delete; s.empty(f, o.Key) {
			return []Change{c}, nil
		}
		return nil, nil
	}
	// One that somebody changed since is left.
	was, ok := parseFormer(o.Before)
	if !ok || was.same(is) || !slices.Contains(o.Wrote, c.Old) {
		return nil, nil
	}
	c.Action, c.New = Update, was.mode+" "+was.owner
	return []Change{c}, nil
}

func (s DirectoryBack) Apply(ctx context.Context, env *Env, c []Change) error {
	p := Quote(s.Origin.Key)
	script := "rmdir -- " + p
	if c[0].Action == Update {
		was, _ := parseFormer(s.Origin.Before)
		script = fmt.Sprintf("chown -- %s %[2]s && chmod -- %[3]s %[2]s", Quote(was.owner), p, was.mode)
	}
	return env.Node(s.Node).Change(ctx, Entry{Kind: "directory", Key: s.Origin.Key, Before: c[0].Old, After: c[0].New}, script)
}

// Emptied is a step: a directory and all that is in it are gone. Where a file
// system is mounted on it, that stays, empty. It fails where anything is
// mounted below, which may be somebody's data.
type Emptied struct {
	Base
	Path   string
	Kind   string // of the ledger's entry
	Before string // as in the ledger: a directory that was there before stays, empty
	Why    string // shown in the plan
	// If is asked with the facts, which have the answers of Also; nil: always.
	If   func(Facts) bool
	Also []Query
}

func (s Emptied) query() DiskQuery { return DiskQuery{Node: s.Node, Path: s.Path} }
func (s Emptied) Reads() []Query   { return append([]Query{s.query()}, s.Also...) }

func (s Emptied) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	full := slices.ContainsFunc(is.Entries, func(e string) bool { return e != "lost+found" })
	switch stays := s.Before != "" || is.MountPoint == s.Path; {
	case !is.Exists, stays && !full, s.If != nil && !s.If(f):
		return nil, nil
	}
	return []Change{{Kind: "directory", Key: s.Path, Action: Delete, Old: "with all that is in it", Detail: s.Why}}, nil
}

func (s Emptied) Apply(ctx context.Context, env *Env, _ []Change) error {
	script := "set -e\n" + EmptyFunction + "empty " + Quote(s.Path) + "\n"
	was, ok := parseFormer(s.Before)
	switch {
	case ok:
		script += fmt.Sprintf("chown -- %s %[2]s\nchmod -- %[3]s %[2]s\n", Quote(was.owner), Quote(s.Path), was.mode)
	case s.Before == "":
		script += fmt.Sprintf("mountpoint -q -- %[1]s || rmdir -- %[1]s\n", Quote(s.Path))
	}
	return env.Node(s.Node).Change(ctx, Entry{Kind: s.Kind, Key: s.Path, Before: "present"}, script)
}

// EmptyFunction is a function of the shell that empties directories, and fails
// where something is mounted below one: a container that still runs may have a
// data directory there, and rm would go through to it. /proc writes blanks and
// backslashes as octal escapes (proc_pid_mountinfo(5)).
const EmptyFunction = `empty() {
	for d; do
		[ -d "$d" ] && [ ! -L "$d" ] || continue
		below=$(BELOW=$(printf '%s/' "$d" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g') awk 'index($5, ENVIRON["BELOW"]) == 1 { print $5 }' /proc/self/mountinfo)
		[ -z "$below" ] || { echo "$d is not emptied, because something is mounted below it: $below" >&2; return 1; }
		find "$d" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf --one-file-system -- {} +
	done
}
`

// UnitBack is a step: a unit starts at boot and runs as it did before, or not
// at all where it was not there.
type UnitBack struct {
	Base
	Origin Origin // of kind "unit"; Before is "LOAD ACTIVE ENABLED" in systemd's words
}

func (s UnitBack) query() UnitQuery { return UnitQuery{Node: s.Node, Name: s.Origin.Key} }
func (s UnitBack) Reads() []Query   { return []Query{s.query()} }

func (s UnitBack) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	if is.Load == "" || is.Load == "not-found" {
		return nil, nil
	}
	var verbs []string
	words := append(strings.Fields(s.Origin.Before), "", "", "")
	if was := words[1]; was != "active" && was != "activating" && (is.Active == "active" || is.Active == "activating") {
		verbs = append(verbs, "stop")
	}
	switch was := words[2]; {
	case words[0] == "masked" && is.Load != "masked":
		verbs = append(verbs, "disable", "mask")
	case !enabled(was) && (is.Enabled == "enabled" || is.Enabled == "enabled-runtime"):
		verbs = append(verbs, "disable")
	}
	if len(verbs) == 0 {
		return nil, nil
	}
	return []Change{{Kind: "unit", Key: s.Origin.Key, Action: Update, Old: is.Active + ", " + is.Enabled, New: strings.Join(verbs, ", ")}}, nil
}

func (s UnitBack) Apply(ctx context.Context, env *Env, c []Change) error {
	script := "set -e\n"
	for _, verb := range strings.Split(c[0].New, ", ") {
		script += "systemctl " + verb + " -- " + Quote(s.Origin.Key) + "\n"
	}
	// A unit that failed while it was stopped is forgotten, too.
	script += "systemctl reset-failed -- " + Quote(s.Origin.Key) + " 2>/dev/null || :\n"
	return env.Node(s.Node).Change(ctx, Entry{Kind: "unit", Key: s.Origin.Key, Before: c[0].Old, After: c[0].New}, script)
}

// UserGone is a step: a system user that was made, and its group, are gone.
// Files that are left keep the number.
type UserGone struct {
	Base
	Origin Origin // of kind "user"; written is the id
}

func (s UserGone) query() UserQuery {
	uid := 0
	_, _ = fmt.Sscan(s.Origin.Last(), &uid) // 0: nobody's that nucspark made
	return UserQuery{Node: s.Node, Name: s.Origin.Key, UID: uid}
}

func (s UserGone) Reads() []Query { return []Query{s.query()} }

func (s UserGone) Diff(f Facts) ([]Change, error) {
	q := s.query()
	is := q.In(f)
	user, group := is.Exists && is.UID == q.UID, is.Group == q.Name
	if s.Origin.Before != "" || q.UID == 0 || !user && !group {
		return nil, nil
	}
	return []Change{{Kind: "user", Key: q.Name, Action: Delete, Old: fmt.Sprintf("system user with id %d", q.UID)}}, nil
}

func (s UserGone) Apply(ctx context.Context, env *Env, c []Change) error {
	// userdel(8) takes the user's own group along where login.defs says so.
	script := fmt.Sprintf("set -e\nif getent passwd %[1]s >/dev/null; then userdel -- %[1]s; fi\nif getent group %[1]s >/dev/null; then groupdel -- %[1]s; fi\n", Quote(s.Origin.Key))
	return env.Node(s.Node).Change(ctx, Entry{Kind: "user", Key: s.Origin.Key, Before: c[0].Old}, script)
}

// SysctlBack is a step: a kernel setting that was changed has its old value
// again, unless somebody gave it another one since.
type SysctlBack struct {
	Base
	Origin Origin
}

func (s SysctlBack) query() SysctlQuery { return SysctlQuery{Node: s.Node, Name: s.Origin.Key} }
func (s SysctlBack) Reads() []Query     { return []Query{s.query()} }

func (s SysctlBack) Diff(f Facts) ([]Change, error) {
	is, o := s.query().In(f), s.Origin
	if o.Before == "" || !is.Writable || is.Value == o.Before || !slices.Contains(o.Wrote, is.Value) {
		return nil, nil
	}
	return []Change{{Kind: "sysctl", Key: o.Key, Action: Update, Old: is.Value, New: o.Before}}, nil
}

func (s SysctlBack) Apply(ctx context.Context, env *Env, c []Change) error {
	return env.Node(s.Node).Change(ctx, Entry{Kind: "sysctl", Key: s.Origin.Key, Before: c[0].Old, After: c[0].New},
		"printf '%s\\n' "+Quote(s.Origin.Before)+" > "+Quote(SysctlPath(s.Origin.Key)))
}

// Forgotten is a step, the last one of a node: it has no ledger any more, and
// belongs to no cluster. Data directories of the cluster that lie in StateDir
// stay. The identity goes last: as long as it is there, the node is to be
// undone.
type Forgotten struct{ Base }

func (s Forgotten) queries() []FileQuery {
	var queries []FileQuery
	for _, p := range []string{IdentityFile, Ledger, RecordCopyFile} {
		queries = append(queries, FileQuery{Node: s.Node, Path: p})
	}
	return queries
}

func (s Forgotten) Reads() []Query {
	var reads []Query
	for _, q := range s.queries() {
		reads = append(reads, q)
	}
	return reads
}

func (s Forgotten) Diff(f Facts) ([]Change, error) {
	if !slices.ContainsFunc(s.queries(), func(q FileQuery) bool { return q.In(f).Exists }) {
		return nil, nil
	}
	return []Change{{Kind: "ledger", Key: StateDir, Action: Delete, Old: "ledger, identity, and copies of former files"}}, nil
}

// Apply writes no ledger: it ends here.
func (s Forgotten) Apply(ctx context.Context, env *Env, _ []Change) error {
	_, err := env.Node(s.Node).Run(ctx, fmt.Sprintf(`set -e
cd %[1]s
rm -rf before
rm -f record.json apt-updated apt-updated-own ledger.jsonl
sync .
rm -f identity.json lock.holder lock
cd /
rmdir --ignore-fail-on-non-empty %[1]s
`, StateDir))
	return err
}
