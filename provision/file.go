package provision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is a step: a regular file has this content, mode and owner.
type File struct {
	Base
	Path      string
	Content   []byte
	Mode      fs.FileMode // permission bits
	Owner     string      // name or number; default root
	Group     string      // name or number; default root
	Sensitive bool        // neither its content nor a diff of it is shown, and its old body is not kept
}

func (s File) query() FileQuery {
	return FileQuery{Node: s.Node, Path: s.Path, Content: !s.Sensitive}
}

func (s File) Reads() []Query { return []Query{s.query()} }

func (s File) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	c := Change{Kind: "file", Key: s.Path, Action: Create, New: describeFile(s.Mode, s.owner(), s.group(), len(s.Content))}
	if is.Exists {
		if !is.Mode.IsRegular() {
			return nil, fmt.Errorf("%s on %s is a %s, not a regular file; move it away and run again", s.Path, s.Node, fileType(is.Mode))
		}
		sum := sha256.Sum256(s.Content)
		sameBody := is.SHA256 == hex.EncodeToString(sum[:])
		if sameBody && is.Mode.Perm() == s.Mode.Perm() && is.ownedBy(s.owner(), s.group()) {
			return nil, nil
		}
		c.Action = Update
		c.Old = describeFile(is.Mode, is.Owner, is.Group, int(is.Size))
		if !sameBody && !s.Sensitive {
			c.Detail = LineDiff(is.Content, s.Content)
		}
	}
	return []Change{c}, nil
}

func (s File) Apply(ctx context.Context, env *Env, _ []Change) error {
	is := s.query().In(env.Facts())
	return env.Node(s.Node).WriteFile(ctx, Written{
		Path: s.Path, Content: s.Content, Mode: s.Mode.Perm(), Owner: s.owner(), Group: s.group(),
		Sensitive: s.Sensitive, Before: is,
	})
}

// ownedBy compares owner and group, each a name or a number.
func (f FileFact) ownedBy(owner, group string) bool {
	return (f.Owner == owner || strconv.Itoa(f.UID) == owner) && (f.Group == group || strconv.Itoa(f.GID) == group)
}

func (s File) owner() string { return orRoot(s.Owner) }
func (s File) group() string { return orRoot(s.Group) }

func orRoot(name string) string {
	if name == "" {
		return "root"
	}
	return name
}

// Absent is a step: there is no such file.
type Absent struct {
	Base
	Path string
}

func (s Absent) query() FileQuery { return FileQuery{Node: s.Node, Path: s.Path} }
func (s Absent) Reads() []Query   { return []Query{s.query()} }

func (s Absent) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	if !is.Exists {
		return nil, nil
	}
	if is.Mode.IsDir() {
		return nil, fmt.Errorf("%s on %s is a directory where a file was expected; move it away and run again", s.Path, s.Node)
	}
	return []Change{{Kind: "file", Key: s.Path, Action: Delete, Old: describeFile(is.Mode, is.Owner, is.Group, int(is.Size))}}, nil
}

func (s Absent) Apply(ctx context.Context, env *Env, _ []Change) error {
	return env.Node(s.Node).RemoveFile(ctx, s.Path, s.query().In(env.Facts()))
}

// Directory is a step: a directory exists with this mode and owner. Its
// content is never touched.
type Directory struct {
	Base
	Path  string
	Mode  fs.FileMode // permission bits, fs.ModeSetgid and fs.ModeSticky
	Owner string      // name or number; default root
	Group string      // name or number; default root
	Kind  string      // of the ledger's entry: KindData, KindScratch; default "directory"
}

// Kinds of directories in a ledger, beside "directory", which is removed when
// it is undone and empty by then.
const (
	KindData    = "data"    // stays with all that is in it
	KindScratch = "scratch" // goes with all that is in it: nothing there outlives the cluster
)

func (s Directory) query() FileQuery { return FileQuery{Node: s.Node, Path: s.Path} }
func (s Directory) Reads() []Query   { return []Query{s.query()} }

func (s Directory) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	c := Change{Kind: "directory", Key: s.Path, Action: Create, New: describeFile(s.Mode, orRoot(s.Owner), orRoot(s.Group), -1)}
	if is.Exists {
		if !is.Mode.IsDir() {
			return nil, fmt.Errorf("%s on %s is a %s, not a directory; move it away and run again", s.Path, s.Node, fileType(is.Mode))
		}
		if octal(is.Mode) == octal(s.Mode) && is.ownedBy(orRoot(s.Owner), orRoot(s.Group)) {
			return nil, nil
		}
		c.Action, c.Old = Update, describeFile(is.Mode, is.Owner, is.Group, -1)
	}
	return []Change{c}, nil
}

func (s Directory) Apply(ctx context.Context, env *Env, _ []Change) error {
	is := s.query().In(env.Facts())
	before := ""
	if is.Exists {
		before = describeFile(is.Mode, is.Owner, is.Group, -1)
	}
	// A number alone takes no setgid bit off a directory (chmod(1)).
	script := fmt.Sprintf("mkdir -p -- %[1]s && chown -- %[2]s %[1]s && chmod -- %[3]s %[1]s && chmod -- u-s,g%[4]ss,%[5]st %[1]s",
		Quote(s.Path), Quote(orRoot(s.Owner)+":"+orRoot(s.Group)), octal(s.Mode), plusMinus(s.Mode&fs.ModeSetgid), plusMinus(s.Mode&fs.ModeSticky))
	return env.Node(s.Node).Change(ctx, Entry{Kind: cmp.Or(s.Kind, "directory"), Key: s.Path, Before: before,
		After: describeFile(s.Mode, orRoot(s.Owner), orRoot(s.Group), -1)}, script)
}

func plusMinus(bit fs.FileMode) string {
	if bit != 0 {
		return "+"
	}
	return "-"
}

// octal is a mode as chmod(1) takes it, of four digits.
func octal(m fs.FileMode) string {
	n := m.Perm()
	for bit, v := range map[fs.FileMode]fs.FileMode{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			n |= v
		}
	}
	return fmt.Sprintf("%04o", uint32(n))
}

// describeFile is "0644 root:root 120 bytes"; size is left out when negative.
func describeFile(mode fs.FileMode, owner, group string, size int) string {
	s := fmt.Sprintf("%s %s:%s", octal(mode), owner, group)
	if size >= 0 {
		s += fmt.Sprintf(" %d bytes", size)
	}
	return s
}

func fileType(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m.IsRegular():
		return "regular file"
	}
	return "special file"
}

// LineDiff shows the lines that differ between two texts, "-" before old and
// "+" before new ones, without the common head and tail, at most 40 lines. It
// is "" where one of them is not text.
func LineDiff(before, after []byte) string {
	if !utf8.Valid(before) || !utf8.Valid(after) || bytes.IndexByte(before, 0) >= 0 || bytes.IndexByte(after, 0) >= 0 {
		return ""
	}
	old := strings.Split(strings.TrimSuffix(string(before), "\n"), "\n")
	now := strings.Split(strings.TrimSuffix(string(after), "\n"), "\n")
	for len(old) > 0 && len(now) > 0 && old[0] == now[0] {
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1] == now[len(now)-1] {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	var lines []string
	for _, l := range old {
		lines = append(lines, "- "+l)
	}
	for _, l := range now {
		lines = append(lines, "+ "+l)
	}
	const most = 40
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("… %d more lines", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}
