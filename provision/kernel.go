package provision

import (
	"context"
	"fmt"
	"strings"
)

// Module is a step: a kernel module is loaded now. That it is loaded at boot
// is the matter of a file in modules-load.d.
type Module struct {
	Base
	Module string
}

func (s Module) query() ModuleQuery { return ModuleQuery{Node: s.Node, Name: s.Module} }
func (s Module) Reads() []Query     { return []Query{s.query()} }

func (s Module) Diff(f Facts) ([]Change, error) {
	if s.query().In(f).Present {
		return nil, nil
	}
	return []Change{{Kind: "module", Key: s.Module, Action: Start, New: "loaded"}}, nil
}

func (s Module) Apply(ctx context.Context, env *Env, _ []Change) error {
	return env.Node(s.Node).Change(ctx, Entry{Kind: "module", Key: s.Module, After: "loaded"}, "modprobe -- "+Quote(s.Module))
}

// Sysctl is a step: a kernel setting has this value now. That it has it after
// a reboot is the matter of a file in sysctl.d.
type Sysctl struct {
	Base
	Key, Value string
	AtLeast    bool // a larger number is fine too
}

func (s Sysctl) query() SysctlQuery { return SysctlQuery{Node: s.Node, Name: s.Key} }
func (s Sysctl) Reads() []Query     { return []Query{s.query()} }

func (s Sysctl) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	if is.Exists && (is.Value == s.Value || s.AtLeast && atLeast(is.Value, s.Value)) {
		return nil, nil
	}
	return []Change{{Kind: "sysctl", Key: s.Key, Action: Update, Old: is.Value, New: s.Value}}, nil
}

func (s Sysctl) Apply(ctx context.Context, env *Env, _ []Change) error {
	return env.Node(s.Node).Change(ctx, Entry{Kind: "sysctl", Key: s.Key, Before: s.query().In(env.Facts()).Value, After: s.Value},
		"printf '%s\\n' "+Quote(s.Value)+" > "+Quote(SysctlPath(s.Key)))
}

// SysctlPath is the file of /proc/sys for a dotted name.
func SysctlPath(key string) string { return "/proc/sys/" + strings.ReplaceAll(key, ".", "/") }

func atLeast(is, want string) bool {
	var a, b int64
	if _, err := fmt.Sscan(is, &a); err != nil {
		return false
	}
	if _, err := fmt.Sscan(want, &b); err != nil {
		return false
	}
	return a >= b
}

// User is a step: a system user with a fixed id and a group of the same name
// and number exists, without a home and without a shell.
type User struct {
	Base
	User string
	UID  int
}

func (s User) query() UserQuery { return UserQuery{Node: s.Node, Name: s.User, UID: s.UID} }
func (s User) Reads() []Query   { return []Query{s.query()} }

func (s User) Diff(f Facts) ([]Change, error) {
	is := s.query().In(f)
	switch {
	case is.Exists && is.UID == s.UID && is.GID == s.UID:
		return nil, nil
	case is.Exists:
		return nil, fmt.Errorf("user %s on %s has id %d:%d, but %d:%d is needed; it is not changed, because files may belong to it: rename that user or give its files to another",
			s.User, s.Node, is.UID, is.GID, s.UID, s.UID)
	case is.Holder != "":
		return nil, fmt.Errorf("id %d on %s belongs to user %s, but %s needs it; give %s another id", s.UID, s.Node, is.Holder, s.User, is.Holder)
	case is.Group != "" && is.Group != s.User:
		return nil, fmt.Errorf("group id %d on %s belongs to group %s, but %s needs it; give %s another id", s.UID, s.Node, is.Group, s.User, is.Group)
	}
	return []Change{{Kind: "user", Key: s.User, Action: Create, New: fmt.Sprintf("system user with id %d", s.UID)}}, nil
}

func (s User) Apply(ctx context.Context, env *Env, _ []Change) error {
	script := fmt.Sprintf("getent group %[1]s >/dev/null || groupadd --system --gid %[2]d %[1]s; "+
		"useradd --system --uid %[2]d --gid %[2]d --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin %[1]s", Quote(s.User), s.UID)
	return env.Node(s.Node).Change(ctx, Entry{Kind: "user", Key: s.User, After: fmt.Sprint(s.UID)}, script)
}
