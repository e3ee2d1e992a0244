package provision

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	e := func(step string, p Phase, kind, key, before, after string) Entry {
		return Entry{Step: step, Phase: p, Kind: kind, Key: key, Before: before, After: after}
	}
	got := Origins([]Entry{
		e("n/a", Intent, "file", "/a", "", "one"),
		e("n/a", Done, "file", "/a", "", "one"),
		e("n/b", Intent, "package", "b", "", "1"), // interrupted: it may be there
		e("n/a", Intent, "file", "/a", "was one", "two"),
		e("n/a", Done, "file", "/a", "was one", "two"),
		e("n/c", Done, "file", "/c", "was mine", "x"),
		e("n/undo/file/c", Intent, "file", "/c", "x", "mine"),
		e("n/undo/file/c", Done, "file", "/c", "x", "mine"),
		e("n/undo/file/a", Intent, "file", "/a", "two", ""), // interrupted: still to be undone
		e("n/d", Done, "file", "/d", "", "x"),
		e("n/undo/file/d", Done, "file", "/d", "x", ""),
		e("n/d", Done, "file", "/d", "somebody's", "y"), // made again later, from something else
	})
	want := []Origin{
		{"file", "/a", "", []string{"one", "two"}},
		{"package", "b", "", []string{"1"}},
		{"file", "/d", "somebody's", []string{"y"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseLedgerAfterPowerCut(t *testing.T) {
	entries, err := ParseLedger([]byte("{\"v\":1,\"kind\":\"a\"}\n{\"v\":1,\"ki\n{\"v\":1,\"kind\":\"b\"}\n{\"v\""))
	if err != nil || len(entries) != 2 || entries[1].Kind != "b" {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestUndoneAsBefore changes files and a directory in earnest, and puts them
// back from the ledger that this wrote.
func TestUndoneAsBefore(t *testing.T) {
	f, site, l := oneNode(t)
	ctx := context.Background()
	dir := t.TempDir()
	owner, group := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		b, err := os.ReadFile(at(name))
		if err != nil {
			return "absent"
		}
		return string(b)
	}
	write("mine", "mine\n")
	write("purged", "of a package\n")
	base := func(id string, after ...string) Base {
		return Base{Name: "nuc01/" + id, Node: "nuc01", After: after}
	}
	steps := []Step{
		Directory{Base: base("made"), Path: at("made"), Mode: 0o755, Owner: owner, Group: group},
		Directory{Base: base("used"), Path: at("used"), Mode: 0o755, Owner: owner, Group: group},
	}
	for _, name := range []string{"mine", "new", "purged", "changed", "gone", "made/in"} {
		steps = append(steps, File{Base: base(name, "nuc01/made"), Path: at(name), Content: []byte("nucspark's " + name + "\n"), Mode: 0o640, Owner: owner, Group: group})
	}
	steps = append(steps, File{Base: base("secret"), Path: at("secret"), Content: []byte("password"), Mode: 0o600, Owner: owner, Group: group, Sensitive: true})
	run := func(steps []Step) *Plan {
		t.Helper()
		p, err := MakePlan(ctx, f, steps)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(ctx, f, site, p, Options{ID: "r"}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	run(steps)
	undo := func() []Step {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(l.state, "ledger.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := ParseLedger(b)
		if err != nil {
			t.Fatal(err)
		}
		var steps []Step
		var files []string
		for _, o := range Origins(entries) {
			if o.Kind == "file" {
				files = append(files, o.Key)
				steps = append(steps, Restored{base("undo/file" + o.Key), site.Resolved.UID, o})
			}
		}
		for _, o := range Origins(entries) {
			if o.Kind == "directory" {
				d := DirectoryBack{Base: base("undo/directory" + o.Key), Origin: o, Files: files}
				for _, s := range steps {
					d.After = append(d.After, s.ID())
				}
				steps = append(steps, d)
			}
		}
		return steps
	}
	write("changed", "by somebody\n")
	write("secret", "of somebody\n")
	write("used/by", "somebody\n")
	if err := os.Remove(at("purged")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at("gone")); err != nil {
		t.Fatal(err)
	}
	p := run(undo())
	for name, want := range map[string]string{"mine": "mine\n", "new": "absent", "purged": "absent", "changed": "absent", "gone": "absent",
		"changed" + KeptSuffix: "by somebody\n", "secret": "absent", "secret" + KeptSuffix: "of somebody\n", "used/by": "somebody\n"} {
		if got := read(name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if is, err := os.Stat(at("mine")); err != nil || is.Mode().Perm() != 0o640 {
		t.Errorf("mode of mine: %v, %v", is.Mode(), err)
	}
	if _, err := os.Stat(at("made")); !os.IsNotExist(err) {
		t.Errorf("the directory that was made: %v", err)
	}
	told, made := false, false
	for _, s := range p.Steps {
		for _, c := range s.Changes {
			told = told || c.Key == at("changed") && strings.Contains(c.Detail, "kept as")
			made = made || c.Key == at("made") && c.Action == Delete
		}
	}
	if !told || !made {
		t.Errorf("the plan tells of the changed file: %t, that the directory goes: %t", told, made)
	}
	again, err := MakePlan(ctx, f, undo())
	if err != nil || again.Changes() != 0 {
		t.Errorf("a second undo: %d changes, %v", again.Changes(), err)
	}
}

func TestEmptyFunction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.MkdirAll(filepath.Join(dir, "x", "y"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip("there is no /proc here")
	}
	run := func(mounts string) (string, error) {
		file := filepath.Join(t.TempDir(), "mountinfo")
		if err := os.WriteFile(file, []byte(mounts), 0o600); err != nil {
			t.Fatal(err)
		}
		script := strings.ReplaceAll(EmptyFunction, "/proc/self/mountinfo", file) + "empty " + Quote(dir) + "\n"
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		return string(out), err
	}
	escaped := strings.ReplaceAll(dir, " ", `\040`)
	out, err := run(string(info) + "1 2 0:1 / " + escaped + "/x rw - ext4 /dev/x rw\n")
	if err == nil || !strings.Contains(out, "mounted below") {
		t.Errorf("with a mount below: %v, %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "x", "y")); err != nil {
		t.Error("something was deleted below a mount")
	}
	// The directory itself may be one.
	if out, err := run(string(info) + "1 2 0:1 / " + escaped + " rw - ext4 /dev/x rw\n"); err != nil {
		t.Errorf("%v, %s", err, out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "lost+found" {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestPurge asks dpkg itself, about packages of a database of its own.
func TestPurge(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("there is no dpkg here")
	}
	admin := t.TempDir()
	var status bytes.Buffer
	add := func(name, state, depends string) {
		fmt.Fprintf(&status, "Package: %s\nStatus: %s\nPriority: optional\nSection: misc\nMaintainer: x <x@example.org>\nArchitecture: all\nVersion: 1\n", name, state)
		if depends != "" {
			fmt.Fprintf(&status, "Depends: %s\n", depends)
		}
		status.WriteString("Description: x\n\n")
	}
	ok := "install ok installed"
	add("kubelet", "hold ok installed", "tool, alone")
	add("tool", ok, "lib")
	add("lib", ok, "")
	add("alone", ok, "")
	add("theirs", ok, "tool")
	add("rest", "deinstall ok config-files", "")
	if err := os.WriteFile(filepath.Join(admin, "status"), status.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"info", "updates", "triggers"} {
		if err := os.Mkdir(filepath.Join(admin, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", purgeScript("kubelet tool lib alone rest absent"))
	cmd.Env = append(os.Environ(), "DPKG_ADMINDIR="+admin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := parsePurge(string(out))
	want := PurgeFact{Free: []string{"kubelet", "alone", "rest"}, Needed: map[string]string{"tool": "theirs", "lib": "tool"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v\n%s", got, want, out)
	}

	origin := func(name, before string) Origin {
		return Origin{"package", name, before, []string{"1"}}
	}
	s := Purged{Base{Name: "n/undo/packages", Node: "n"}, []Origin{origin("kubelet", ""), origin("tool", ""), origin("lib", ""), origin("alone", ""), origin("rest", ""), origin("old", "0")},
		[]Origin{{"hold", "kubelet", "", []string{"held"}}, {"hold", "old", "", []string{"held"}}}}
	facts := map[Query]any{s.Query(): got}
	for name, is := range map[string]PackageFact{"kubelet": {"1", "hi", true}, "tool": {"1", "ii", false}, "lib": {"1", "ii", false}, "alone": {"1", "ii", false}, "rest": {"", "rc", false}, "old": {"1", "hi", true}} {
		facts[s.query(name)] = is
	}
	f := NewFacts(facts)
	changes, err := s.Diff(f)
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	for _, c := range changes {
		did = append(did, fmt.Sprintf("%s %s %s", c.Action, c.Kind, c.Key))
	}
	if got := strings.Join(did, ", "); got != "delete package kubelet, delete package alone, delete package rest, update hold old" {
		t.Errorf("changes: %s", got)
	}
	notes := strings.Join(s.Notes(f), "\n")
	if !strings.Contains(notes, "theirs needs it") || !strings.Contains(notes, "old stays at version 1; it had 0") {
		t.Errorf("notes: %s", notes)
	}
}

func TestUnitBack(t *testing.T) {
	for _, c := range []struct {
		before string
		is     UnitFact
		want   string
	}{
		{"not-found inactive", UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, "stop, disable"},
		{"not-found inactive", UnitFact{Load: "not-found"}, ""},
		{"loaded inactive disabled", UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, "stop, disable"},
		{"loaded active enabled", UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, ""},
		{"loaded inactive enabled", UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, "stop"},
		{"loaded inactive static", UnitFact{Load: "loaded", Active: "inactive", Enabled: "static"}, ""},
		{"masked inactive masked", UnitFact{Load: "loaded", Active: "active", Enabled: "enabled"}, "stop, disable, mask"},
		{"masked inactive masked", UnitFact{Load: "masked", Active: "inactive", Enabled: "masked"}, ""},
	} {
		s := UnitBack{Base{Name: "n/undo/unit/x", Node: "n"}, Origin{"unit", "x.service", c.before, []string{"active enabled"}}}
		changes, err := s.Diff(NewFacts(map[Query]any{s.query(): c.is}))
		got := ""
		if len(changes) > 0 {
			got = changes[0].New
		}
		if err != nil || got != c.want {
			t.Errorf("before %q, is %+v: %q, want %q (%v)", c.before, c.is, got, c.want, err)
		}
	}
}

func TestUserAndSysctlBack(t *testing.T) {
	u := UserGone{Base{Name: "n/undo/user/spark", Node: "n"}, Origin{"user", "spark", "", []string{"871"}}}
	for _, c := range []struct {
		is   UserFact
		want int
	}{
		{UserFact{Exists: true, UID: 871, GID: 871, Holder: "spark", Group: "spark"}, 1},
		{UserFact{}, 0},
		{UserFact{Group: "spark"}, 1},                                 // its group was left
		{UserFact{Exists: true, UID: 1001, GID: 1001}, 0},             // somebody made it again
		{UserFact{Holder: "other", Group: "other", Exists: false}, 0}, // the number is another's
	} {
		changes, err := u.Diff(NewFacts(map[Query]any{u.query(): c.is}))
		if err != nil || len(changes) != c.want {
			t.Errorf("%+v: %v, %v", c.is, changes, err)
		}
	}
	s := SysctlBack{Base{Name: "n/undo/sysctl/x", Node: "n"}, Origin{"sysctl", "net.ipv4.ip_forward", "0", []string{"1"}}}
	for is, want := range map[string]int{"1": 1, "0": 0, "2": 0} {
		changes, err := s.Diff(NewFacts(map[Query]any{s.query(): SysctlFact{Exists: true, Writable: true, Value: is}}))
		if err != nil || len(changes) != want {
			t.Errorf("%s: %v, %v", is, changes, err)
		}
	}
}
