package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/hdfs"
)

func TestHDFSPath(t *testing.T) {
	h := &hdfsCommand{user: "spark"}
	for given, want := range map[string]string{
		"/data/x":            "/data/x",
		"/data//x/../y/":     "/data/y",
		"x":                  "/user/spark/x",
		".":                  "/user/spark",
		"":                   "", // as of a shell variable that is not set
		"hdfs:///data/x":     "/data/x",
		"hdfs:///data/a?b#c": "/data/a?b#c", // Hadoop's paths have neither query nor escapes
		"hdfs:///data/a%20b": "/data/a%20b",
		"hdfs:/data/x":       "/data/x",
		"hdfs:data/x":        "",
		"hdfs://namenode":    "",
		"hdfs://n/x":         "",
		"../hdfs":            "/user/hdfs",
		hdfs.DefaultFS + "/": "/",
		"hdfs://elsewhere/":  "",
	} {
		got, err := h.path(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q (%v), want %q", given, got, err, want)
		}
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	for _, name := range []string{"a", "b/c"} {
		p := filepath.Join(logs, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names := func(files []local) (below []string) {
		for _, f := range files {
			below = append(below, f.base+": "+f.below)
		}
		return below
	}
	files, err := sources([]string{logs, filepath.Join(logs, "a")}, true)
	if d := cmp.Diff([]string{"logs: logs/a", "logs: logs/b/c", "a: a"}, names(files)); d != "" || err != nil {
		t.Errorf("error is %v, files:\n%s", err, d)
	}
	for what, args := range map[string][]string{"-r puts it": {logs}, "no such file": {filepath.Join(dir, "nope")}, "standard input": {"-", logs}} {
		if _, err := sources(args, false); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: error is %v, want %q", args, err, what)
		}
	}
	twin := filepath.Join(dir, "a")
	if err := os.WriteFile(twin, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sources([]string{filepath.Join(logs, "a"), twin}, false); err == nil || !strings.Contains(err.Error(), "the same file") {
		t.Errorf("two files of one name: %v", err)
	}
}

func TestListing(t *testing.T) {
	list := []hdfs.FileStatus{
		{Name: "logs", Type: "DIRECTORY", Owner: "hdfs", Group: "hdfs", Permission: "1777", Modified: 1795296679912},
		{Name: "evil\x1b[2J\nname", Type: "FILE", Owner: "spark", Group: "spark", Permission: "644", Length: 1234, Replication: 2, Modified: 1795296679912},
		{Name: "Übung", Type: "FILE"},
	}
	var b bytes.Buffer
	if err := writeListing(&b, list, false); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("logs/\nevil\\x1b[2J\\nname\nÜbung\n", b.String()); d != "" {
		t.Error(d)
	}
	b.Reset()
	if err := writeListing(&b, list[:2], true); err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1795296679912).Format("2006-01-02 15:04")
	want := "drwxrwxrwt  0  hdfs   hdfs   0     " + at + "  logs/\n-rw-r--r--  2  spark  spark  1234  " + at + "  evil\\x1b[2J\\nname\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// Without a terminal a meter writes few lines, each whole.
func TestMeter(t *testing.T) {
	var b bytes.Buffer
	m := newMeter(&b, "a → /b")
	for i := range int64(100) {
		m.show(i<<20, 100<<20)
	}
	m.show(100<<20, 100<<20)
	m.end(true)
	if d := cmp.Diff("a → /b  100.0 MiB of 100.0 MiB (100 %)\n", b.String()); d != "" {
		t.Error(d)
	}
}
