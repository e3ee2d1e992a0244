package provision

import (
	"fmt"
	"io/fs"
	"maps"
	"time"
)

// Query is one read-only question. The kinds are a closed list, so that a plan
// cannot change anything: the types of this file, and [ObjectQuery] and
// [PageQuery] for the cluster.
type Query interface {
	// Key is unique among all questions; equal questions are asked once.
	Key() string
	// On is the node that is asked, "" for the cluster.
	On() string
}

// Facts are the answers to queries. Each query type has a method In that takes
// its own answer out; it panics when the step did not list the query in Reads.
type Facts struct{ answers map[string]any }

// Unknown is the answer of the cluster while its API cannot be asked.
type unknown struct{}

// Known says whether the query was answered. Only queries of the cluster can
// be unanswered: while there is no API server yet, or it is down.
func (f Facts) Known(q Query) bool {
	_, isUnknown := f.answers[q.Key()].(unknown)
	return !isUnknown
}

func take[A any](f Facts, q Query) A {
	a, ok := f.answers[q.Key()]
	if !ok {
		panic(fmt.Sprintf("query %q was not listed in Reads", q.Key()))
	}
	answer, ok := a.(A)
	if !ok {
		var none A // unknown: as if absent
		return none
	}
	return answer
}

// NewFacts makes facts of answers by query, for tests of Diff. The values are
// the Fact types of this package.
func NewFacts(answers map[Query]any) Facts {
	f := Facts{answers: map[string]any{}}
	for q, a := range answers {
		f.answers[q.Key()] = a
	}
	return f
}

// With returns these answers and others; of two for one query the later counts.
func (f Facts) With(others ...Facts) Facts {
	all := Facts{answers: map[string]any{}}
	maps.Copy(all.answers, f.answers)
	for _, o := range others {
		maps.Copy(all.answers, o.answers)
	}
	return all
}

// FileQuery asks for a file, directory or link. Links are not followed.
type FileQuery struct {
	Node, Path string
	Content    bool // read up to 1 MiB of it
}

// FileFact is the answer. The zero value means that nothing is there.
type FileFact struct {
	Exists       bool
	Mode         fs.FileMode // type and permission bits
	Owner, Group string      // names, or numbers where there is no name
	UID, GID     int
	Size         int64
	Modified     time.Time
	SHA256       string // hex; regular files only
	Content      []byte // when asked for
}

func (q FileQuery) Key() string         { return fmt.Sprintf("file %s %s %t", q.Node, q.Path, q.Content) }
func (q FileQuery) On() string          { return q.Node }
func (q FileQuery) In(f Facts) FileFact { return take[FileFact](f, q) }

// DiskQuery asks for what a directory lies on, and what lies in it.
type DiskQuery struct{ Node, Path string }

// DiskFact is the answer. While the directory does not exist, the file system
// is that of the nearest parent that does.
type DiskFact struct {
	Exists      bool
	Entries     []string // names in it, at most 100
	MountPoint  string
	Device      string // "/dev/sda1"
	Type        string // "ext4"
	UUID        string // of the file system, "" where it has none
	Total, Free int64  // bytes
}

func (q DiskQuery) Key() string         { return fmt.Sprintf("disk %s %s", q.Node, q.Path) }
func (q DiskQuery) On() string          { return q.Node }
func (q DiskQuery) In(f Facts) DiskFact { return take[DiskFact](f, q) }

// PackageQuery asks for a Debian package.
type PackageQuery struct{ Node, Name string }

// PackageFact is the answer. The zero value means that it is not installed.
type PackageFact struct {
	Version string // "" unless it is installed completely
	Status  string // dpkg's abbreviation: "ii", "hi" (held), "iF" (half-configured) …
	Held    bool
}

func (q PackageQuery) Key() string            { return fmt.Sprintf("package %s %s", q.Node, q.Name) }
func (q PackageQuery) On() string             { return q.Node }
func (q PackageQuery) In(f Facts) PackageFact { return take[PackageFact](f, q) }

// UnitQuery asks for a systemd unit.
type UnitQuery struct{ Node, Name string }

// UnitFact is the answer, in systemd's words.
type UnitFact struct {
	Load       string    // "loaded", "not-found", "masked"
	Active     string    // "active", "inactive", "failed", "activating"
	Sub        string    // "running", "exited", "dead", "auto-restart"
	Enabled    string    // "enabled", "disabled", "masked", "static", ""
	NeedReload bool      // its file changed since systemd read it
	Since      time.Time // when it became active last; zero when never
	MainPID    int
}

func (q UnitQuery) Key() string         { return fmt.Sprintf("unit %s %s", q.Node, q.Name) }
func (q UnitQuery) On() string          { return q.Node }
func (q UnitQuery) In(f Facts) UnitFact { return take[UnitFact](f, q) }

// ModuleQuery asks whether a kernel module is there: loaded or built in.
type ModuleQuery struct{ Node, Name string }

// ModuleFact is the answer.
type ModuleFact struct{ Present bool }

func (q ModuleQuery) Key() string           { return fmt.Sprintf("module %s %s", q.Node, q.Name) }
func (q ModuleQuery) On() string            { return q.Node }
func (q ModuleQuery) In(f Facts) ModuleFact { return take[ModuleFact](f, q) }

// SysctlQuery asks for a kernel setting by its dotted name.
type SysctlQuery struct{ Node, Name string }

// SysctlFact is the answer. Value is "" when the kernel has no such setting.
type SysctlFact struct {
	Exists   bool
	Value    string // white space between numbers is one space
	Writable bool
}

func (q SysctlQuery) Key() string           { return fmt.Sprintf("sysctl %s %s", q.Node, q.Name) }
func (q SysctlQuery) On() string            { return q.Node }
func (q SysctlQuery) In(f Facts) SysctlFact { return take[SysctlFact](f, q) }

// UserQuery asks for a user by name and for who holds an id.
type UserQuery struct {
	Node, Name string
	UID        int
}

// UserFact is the answer.
type UserFact struct {
	Exists   bool
	UID, GID int
	Holder   string // the name that holds UID, "" when it is free
	Group    string // the group that holds the same number
}

func (q UserQuery) Key() string         { return fmt.Sprintf("user %s %s %d", q.Node, q.Name, q.UID) }
func (q UserQuery) On() string          { return q.Node }
func (q UserQuery) In(f Facts) UserFact { return take[UserFact](f, q) }

// SwapQuery asks what the node swaps to.
type SwapQuery struct{ Node string }

// SwapFact is the answer.
type SwapFact struct {
	Active []string // files and devices of /proc/swaps
	Units  []string // swap units and zram generators that systemd would start, without masked ones
}

func (q SwapQuery) Key() string         { return "swap " + q.Node }
func (q SwapQuery) On() string          { return q.Node }
func (q SwapQuery) In(f Facts) SwapFact { return take[SwapFact](f, q) }

// ImageQuery asks for a container image in containerd's Kubernetes namespace.
type ImageQuery struct{ Node, Ref string }

// ImageFact is the answer.
type ImageFact struct{ Present bool }

func (q ImageQuery) Key() string          { return fmt.Sprintf("image %s %s", q.Node, q.Ref) }
func (q ImageQuery) On() string           { return q.Node }
func (q ImageQuery) In(f Facts) ImageFact { return take[ImageFact](f, q) }

// OutputQuery asks for the output of one command of a short list that only
// looks: see [Lookup].
type OutputQuery struct {
	Node string
	What Lookup
}

// Lookup is a command that only looks.
type Lookup string

// The commands. None takes an argument.
const (
	ContainerdConfig Lookup = "containerd config dump"
	NftTable         Lookup = "nft --stateless list table inet nucspark"
	Exports          Lookup = "exportfs -s"
	UfwStatus        Lookup = "ufw status"
	UfwAdded         Lookup = "ufw show added"
	FirewalldState   Lookup = "firewall-cmd --state"
	FirewalldRules   Lookup = "firewall-cmd --list-all --zone=trusted"
	Links            Lookup = "ip -o link show"
	Routes           Lookup = "ip -4 route show"
	// PacketRules lists the rules of both kinds of iptables and the names of
	// nft's tables.
	PacketRules Lookup = "for c in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do if command -v $c-save >/dev/null; then $c-save; fi; done; if command -v nft >/dev/null; then nft list tables; fi"
)

// OutputFact is the answer.
type OutputFact struct {
	Code   int    // 127 when the program is not installed
	Output string // stdout, at most 1 MiB
}

func (q OutputQuery) Key() string           { return fmt.Sprintf("output %s %s", q.Node, q.What) }
func (q OutputQuery) On() string            { return q.Node }
func (q OutputQuery) In(f Facts) OutputFact { return take[OutputFact](f, q) }

// Object is one Kubernetes object or apply configuration in its JSON form.
type Object = map[string]any

// ObjectQuery asks what server-side apply of an object would change.
type ObjectQuery struct{ Object Object }

// ObjectFact is the answer. The zero value means that it does not exist.
type ObjectFact struct {
	Exists bool
	Live   Object // as it is
	Would  Object // as it would be after apply, by server-side dry-run
	// Refused is why the API would not apply it, such as a field that cannot
	// change; Would is nil then.
	Refused string
}

func (q ObjectQuery) Key() string           { return "object " + ObjectName(q.Object) }
func (q ObjectQuery) On() string            { return "" }
func (q ObjectQuery) In(f Facts) ObjectFact { return take[ObjectFact](f, q) }

// LiveQuery asks for one object as it is. Namespace is "" for objects of the
// whole cluster.
type LiveQuery struct{ APIVersion, Kind, Namespace, Name string }

// In returns the object, nil when it does not exist.
func (q LiveQuery) In(f Facts) Object { return take[Object](f, q) }

func (q LiveQuery) Key() string {
	return fmt.Sprintf("live %s %s %s/%s", q.APIVersion, q.Kind, q.Namespace, q.Name)
}
func (q LiveQuery) On() string { return "" }

// ListQuery asks for all objects of a kind with a label.
type ListQuery struct{ APIVersion, Kind, Namespace, Selector string }

// In returns the objects, in the order of their names.
func (q ListQuery) In(f Facts) []Object { return take[[]Object](f, q) }

func (q ListQuery) Key() string {
	return fmt.Sprintf("list %s %s %s %s", q.APIVersion, q.Kind, q.Namespace, q.Selector)
}
func (q ListQuery) On() string { return "" }

// PageQuery asks for an HTTP page of a pod, through the API server's proxy.
type PageQuery struct {
	Namespace, Pod string
	Port           int
	Path           string // with leading slash, and query
}

// PageFact is the answer. Status is 0 when the pod does not answer.
type PageFact struct {
	Status int
	Body   []byte // at most 16 MiB
	Err    string // why there is no answer
}

func (q PageQuery) Key() string {
	return fmt.Sprintf("page %s/%s:%d%s", q.Namespace, q.Pod, q.Port, q.Path)
}
func (q PageQuery) On() string          { return "" }
func (q PageQuery) In(f Facts) PageFact { return take[PageFact](f, q) }

// ObjectName is "Kind namespace/name", as plans show objects.
func ObjectName(o Object) string {
	kind, _ := o["kind"].(string)
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if ns, _ := meta["namespace"].(string); ns != "" {
		name = ns + "/" + name
	}
	return kind + " " + name
}
