package nfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// shell is a machine whose scripts run in this computer's shell.
type shell struct{ state string }

func (l shell) Run(ctx context.Context, c host.Command) (host.Result, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", strings.ReplaceAll(c.Script, provision.StateDir, l.state))
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = c.Stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Writer(&out), &errs
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if err := cmd.Run(); err != nil {
		return host.Result{Code: -1}, &host.CommandError{Node: "local", Command: c.Script, Tail: []string{errs.String()}, Err: err}
	}
	return host.Result{Stdout: out.String()}, nil
}
func (l shell) WriteFile(_ context.Context, path string, b []byte, mode fs.FileMode, _, _ string) error {
	return os.WriteFile(path, b, mode)
}
func (l shell) ReadFile(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }
func (l shell) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no forwarding in this test")
}
func (l shell) Close() error { return nil }

// copying is a step that only copies.
type copying struct {
	moved
	there bool
	got   *string
}

func (s copying) Reads() []provision.Query { return []provision.Query{s.export().diskQuery()} }
func (s copying) Diff(provision.Facts) ([]provision.Change, error) {
	if *s.got != "" {
		return nil, nil
	}
	return []provision.Change{{Kind: "copy", Key: s.source()}}, nil
}
func (s copying) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) (err error) {
	*s.got, err = s.copy(ctx, env, env.Node("nuc02"), env.Node("nuc03"), s.there)
	return err
}

// Every file comes over with its mode, its links and its odd name, and a copy
// that is not the same is not taken for one.
func TestCopy(t *testing.T) {
	st := site()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for i, dir := range dirs {
		st.Cluster.Nodes[i+1].NFS = &inventory.NodeNFS{Export: dir}
	}
	from, to := &st.Cluster.Nodes[1], &st.Cluster.Nodes[2]
	source := filepath.Join(dirs[0], "shared")
	for name, body := range map[string]string{"a b/$(touch x)/'q\"": "one", "-rf": "two", "line\nend": "", ".hidden": "three"} {
		name = filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(body), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/nowhere", filepath.Join(source, "link")), os.Mkdir(filepath.Join(source, "empty"), 0o700), os.Chmod(source, 0o775)); err != nil {
		t.Fatal(err)
	}
	run := func(there bool) (string, error) {
		t.Helper()
		fleet := provision.NewFleet(st.Cluster, func(context.Context, *inventory.Node) (provision.Remote, error) { return shell{t.TempDir()}, nil })
		defer fleet.Close()
		if failed := fleet.Connect(t.Context(), from, to); len(failed) > 0 {
			t.Fatal(failed)
		}
		var got string
		s := copying{moved{Base: provision.Base{Name: "cluster/nfs/move/shared"}, site: st, volume: st.Cluster.Volumes[0], from: from, to: to}, there, &got}
		p, err := provision.MakePlan(t.Context(), fleet, []provision.Step{s})
		if err != nil {
			t.Fatal(err)
		}
		_, err = provision.Run(t.Context(), fleet, st, p, provision.Options{ID: "test"})
		return got, err
	}
	got, err := run(false)
	if err != nil || len(got) != 64 {
		t.Fatalf("digest %q, %v", got, err)
	}
	work := filepath.Join(dirs[1], ".nucspark-move-shared")
	if b, err := os.ReadFile(filepath.Join(work, "a b/$(touch x)/'q\"")); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	if l, err := os.Readlink(filepath.Join(work, "link")); err != nil || l != "/nowhere" {
		t.Errorf("%q, %v", l, err)
	}
	if fi, err := os.Stat(work); err != nil || fi.Mode().Perm() != 0o775 {
		t.Errorf("%v, %v", fi, err)
	}
	// An interrupted copy is begun anew.
	if err := os.WriteFile(filepath.Join(work, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := run(false); err != nil || again != got {
		t.Errorf("again: %q, %v", again, err)
	}
	// In its place it is only compared.
	target := filepath.Join(dirs[1], "shared")
	if err := os.Rename(work, target); err != nil {
		t.Fatal(err)
	}
	if again, err := run(true); err != nil || again != got {
		t.Errorf("in its place: %q, %v", again, err)
	}
	if err := os.WriteFile(filepath.Join(target, "-rf"), []byte("twO"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := run(true); err == nil || !strings.Contains(err.Error(), "are not the same") {
		t.Errorf("another content: %v", err)
	}
}

func TestMoveDiff(t *testing.T) {
	at := func(server, path string) provision.Object {
		return provision.Object{"metadata": map[string]any{"name": "nucspark-shared"}, "spec": map[string]any{"nfs": map[string]any{"server": server, "path": path}}}
	}
	there := at("192.168.1.12", "/srv/nfs/shared")
	note := func(node string) provision.FileFact {
		return provision.FileFact{Exists: true, Content: []byte(`{"volume":"shared","node":"` + node + `","digest":"d"}`)}
	}
	sentinel := provision.FileFact{Exists: true, Content: provision.Disk{Cluster: "uid", Node: "nuc03", Path: "/srv/nfs", Filesystem: "11-22"}.Encode()}
	for name, tt := range map[string]struct {
		live           provision.Object
		pods           []provision.Object
		sentinel       provision.FileFact
		entries        []string
		oldAt2, oldAt3 provision.FileFact
		want           int
		err            string
	}{
		"to be moved":            {live: there, sentinel: sentinel, want: 1},
		"gone from its place":    {sentinel: sentinel},
		"moved":                  {live: at("192.168.1.13", "/srv/nfs/shared"), sentinel: sentinel},
		"in use":                 {live: there, sentinel: sentinel, pods: []provision.Object{podWith("app", "shared", "Running")}, err: "pods use it: nucspark/app;"},
		"was in use":             {live: there, sentinel: sentinel, pods: []provision.Object{podWith("app", "shared", "Succeeded")}, want: 1},
		"no export there":        {live: there, err: "/srv/nfs on nuc03 is not in use yet"},
		"somebody's files":       {live: there, sentinel: sentinel, entries: []string{"photos"}, err: "is not empty (photos)"},
		"its old copy is there":  {live: there, sentinel: sentinel, entries: []string{"a"}, oldAt3: note("nuc02"), err: "holds its old copy; nucspark volume move shared nuc02 --drop-old"},
		"interrupted at the end": {live: there, sentinel: sentinel, entries: []string{"a"}, oldAt2: note("nuc03"), want: 1},
	} {
		st := site()
		st.Cluster.Volumes[0].Node = "nuc03"
		s := Move(st, st.Cluster.Volumes[0], &st.Cluster.Nodes[1])[0].(moved)
		e := s.export()
		changes, err := s.Diff(provision.NewFacts(map[provision.Query]any{
			placeQuery(s.volume): tt.live, allPods: tt.pods, s.targetDisk(): provision.DiskFact{Entries: tt.entries}, e.sentinelQuery(): tt.sentinel,
			e.diskQuery(): provision.DiskFact{UUID: "11-22"}, oldQuery(s.from, "shared"): tt.oldAt2, oldQuery(s.to, "shared"): tt.oldAt3}))
		if len(changes) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", name, changes, err)
		}
	}
}

// A volume whose node changed in the file is not made at the new place while
// its files are at the old one.
func TestVolumeElsewhere(t *testing.T) {
	st := site()
	old := persistentVolume(st.Cluster, &st.Cluster.Nodes[1], st.Cluster.Volumes[0])
	st.Cluster.File = "cluster.hcl"
	st.Cluster.Volumes[0].Node = "nuc03"
	for _, s := range Steps(st) {
		v, ok := s.(volumeObject)
		if !ok {
			continue
		}
		_, err := v.Diff(provision.NewFacts(map[provision.Query]any{&provision.ObjectQuery{Object: v.Object}: provision.ObjectFact{Exists: true, Live: old, Refused: "spec is immutable"}}))
		if err == nil || !strings.Contains(err.Error(), "the volume shared is at nuc02:/srv/nfs/shared in the cluster and at nuc03:/srv/nfs/shared in cluster.hcl: nucspark volume move shared nuc03") {
			t.Errorf("%v", err)
		}
		return
	}
	t.Error("no step makes the volume")
}

func TestFrom(t *testing.T) {
	for name, tt := range map[string]struct {
		server, path string
		exists, off  bool
		from, err    string
	}{
		"elsewhere":             {"192.168.1.12", "/srv/nfs/shared", false, false, "nuc02", ""},
		"in its place":          {"192.168.1.13", "/srv/nfs/shared", true, false, "", ""},
		"interrupted":           {"", "", true, false, "", ""},
		"never made":            {"", "", false, false, "", "not made yet"},
		"on a strange node":     {"192.168.1.99", "/srv/nfs/shared", false, false, "", "is no node of"},
		"on a node that is off": {"192.168.1.12", "/srv/nfs/shared", false, true, "", "nuc02, which does not answer"},
		"another export":        {"192.168.1.12", "/mnt/shared", false, false, "", "not below the export of nuc02"},
	} {
		st := site()
		v := &st.Cluster.Volumes[0]
		v.Node = "nuc03"
		if tt.off {
			delete(st.Machines, "nuc02")
		}
		var live provision.Object
		if tt.server != "" {
			live = provision.Object{"spec": map[string]any{"nfs": map[string]any{"server": tt.server, "path": tt.path}}}
		}
		from, err := From(st, *v, provision.NewFacts(map[provision.Query]any{placeQuery(*v): live, targetOf(st.Cluster, *v): provision.DiskFact{Exists: tt.exists}}))
		got := ""
		if from != nil {
			got = from.Name
		}
		if got != tt.from || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
