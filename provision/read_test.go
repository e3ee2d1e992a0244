package provision

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The script of questions is run by a real shell on this computer.
func TestReadNode(t *testing.T) {
	f, _, l := oneNode(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "it's a $(file)")
	body := "line one\n\x00binary\nnucspark-not-a-mark end\n"
	if err := os.WriteFile(text, []byte(body), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(text, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(text, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	file := FileQuery{Node: "nuc01", Path: text, Content: true}
	link := FileQuery{Node: "nuc01", Path: filepath.Join(dir, "link")}
	gone := FileQuery{Node: "nuc01", Path: filepath.Join(dir, "gone"), Content: true}
	folder := FileQuery{Node: "nuc01", Path: dir}
	disk := DiskQuery{Node: "nuc01", Path: dir}
	noDisk := DiskQuery{Node: "nuc01", Path: filepath.Join(dir, "not", "there")}
	sysctl := SysctlQuery{Node: "nuc01", Name: "kernel.ostype"}
	noSysctl := SysctlQuery{Node: "nuc01", Name: "net.no.such"}
	root := UserQuery{Node: "nuc01", Name: "root", UID: 0}
	nobody := UserQuery{Node: "nuc01", Name: "no-such-user", UID: 64999}
	output := OutputQuery{Node: "nuc01", What: "printf 'a\\nb'"}
	missing := OutputQuery{Node: "nuc01", What: "no-such-program --x"}
	facts, err := f.Read(context.Background(), []Query{file, link, gone, folder, disk, noDisk, sysctl, noSysctl, root, nobody, output, missing, file})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.scripts) != 1 {
		t.Errorf("%d round trips, want 1", len(l.scripts))
	}
	got := file.In(facts)
	if !got.Exists || !got.Mode.IsRegular() || got.Mode.Perm() != 0o640 || string(got.Content) != body || got.Owner != me.Username || got.Size != int64(len(body)) {
		t.Errorf("file: %+v", got)
	}
	if len(got.SHA256) != 64 || time.Since(got.Modified) > time.Hour || time.Since(got.Modified) < 0 {
		t.Errorf("file: sum %q, modified %s", got.SHA256, got.Modified)
	}
	if is := link.In(facts); !is.Exists || is.Mode.IsRegular() || is.SHA256 != "" {
		t.Errorf("link: %+v", is)
	}
	if is := gone.In(facts); is.Exists || is.Content != nil {
		t.Errorf("gone: %+v", is)
	}
	if is := folder.In(facts); !is.Mode.IsDir() {
		t.Errorf("folder: %+v", is)
	}
	if is := disk.In(facts); !is.Exists || len(is.Entries) != 2 || is.Total <= 0 || is.Free <= 0 || is.MountPoint == "" {
		t.Errorf("disk: %+v", is)
	}
	if is := noDisk.In(facts); is.Exists || is.Total != disk.In(facts).Total || is.Entries != nil {
		t.Errorf("disk that is not there: %+v", is)
	}
	if is := sysctl.In(facts); is.Value != "Linux" {
		t.Errorf("sysctl: %+v", is)
	}
	if is := noSysctl.In(facts); is.Exists {
		t.Errorf("sysctl that is not there: %+v", is)
	}
	if is := root.In(facts); !is.Exists || is.UID != 0 || is.Holder != "root" || is.Group != "root" {
		t.Errorf("root: %+v", is)
	}
	if is := nobody.In(facts); is.Exists || is.Holder != "" || is.Group != "" {
		t.Errorf("nobody: %+v", is)
	}
	if is := output.In(facts); is.Code != 0 || is.Output != "a\nb" {
		t.Errorf("output: %+v", is)
	}
	if is := missing.In(facts); is.Code != 127 {
		t.Errorf("missing program: %+v", is)
	}
}

func TestAnswersCutOff(t *testing.T) {
	if _, err := answers(nil, "mark", "\nmark stat\n81a4|root"); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v", err)
	}
}

func TestParseUnits(t *testing.T) {
	out := `Id=containerd.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=no
ActiveEnterTimestamp=Sat 2026-11-21 20:44:16.123456 UTC
MainPID=812

Id=nope.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NeedDaemonReload=no
ActiveEnterTimestamp=
MainPID=0
`
	units, err := parseUnits([]string{"containerd.service", "nope.service"}, out)
	if err != nil {
		t.Fatal(err)
	}
	u := units["containerd.service"]
	if u.Active != "active" || u.MainPID != 812 || !u.Since.Equal(time.Date(2026, 11, 21, 20, 44, 16, 123456000, time.UTC)) {
		t.Errorf("%+v", u)
	}
	if n := units["nope.service"]; n.Load != "not-found" || !n.Since.IsZero() {
		t.Errorf("%+v", n)
	}
	if _, err := parseUnits([]string{"a", "b", "c"}, out); err == nil {
		t.Error("a missing answer must be an error")
	}
}

func TestParsePackages(t *testing.T) {
	got := parsePackages("kubelet\thi \t1.36.3-1.1\ncurl\tii \t7.88\nhalf\tiF \t1\nold\trc \t2\n")
	want := map[string]PackageFact{
		"kubelet": {Version: "1.36.3-1.1", Status: "hi", Held: true}, "curl": {Version: "7.88", Status: "ii"},
		"half": {Status: "iF"}, "old": {Status: "rc"},
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: got %+v, want %+v", name, got[name], w)
		}
	}
}

// A unit file of the administrator hides the one of a package, as for systemd.
func TestSwapFiles(t *testing.T) {
	etc, usr := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		filepath.Join(etc, "mine.swap"): "[Swap]\n", filepath.Join(etc, "emptied.swap"): "",
		filepath.Join(usr, "masked.swap"): "[Swap]\n", filepath.Join(usr, "emptied.swap"): "[Swap]\n",
		filepath.Join(usr, "dev-disk-by\\x2dlabel-a b.swap"): "[Swap]\n", filepath.Join(usr, "mine.swap"): "[Swap]\n",
		filepath.Join(usr, "ssh.service"): "[Service]\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/null", filepath.Join(etc, "masked.swap")); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"dash", "bash"} {
		out, err := exec.Command(shell, "-c", swapFiles([]string{etc, filepath.Join(etc, "absent"), usr})).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", shell, err, out)
		}
		if want := "unit mine.swap\nunit dev-disk-by\\x2dlabel-a b.swap\n"; string(out) != want {
			t.Errorf("%s: %q, want %q", shell, out, want)
		}
	}
}

// Ubuntu's zram-config and Debian's zram-tools swap by a unit of their own.
func TestSwapServices(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\n[ \"$1\" = is-enabled ] && [ \"$2\" = zram-config.service ] && echo enabled\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	f, _, _ := oneNode(t)
	q := SwapQuery{Node: "nuc01"}
	facts, err := f.Read(context.Background(), []Query{q})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(q.In(facts).Units, " "); !strings.Contains(got, "zram-config.service") || strings.Contains(got, "zramswap") {
		t.Errorf("units that swap: %q", got)
	}
}
