package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/golden"
)

// environment sets what the test files refer to.
func environment(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", "/home/someone")
	t.Setenv("NUCSPARK_TEST_PASSWORD", "hunter2")
	t.Setenv("NUCSPARK_TEST_PORT", "2222")
	t.Setenv("NUCSPARK_SUDO_PASSWORD", "hunter2")
	t.Setenv("NUCSPARK_REGISTRY_PASSWORD", "hunter2")
}

// here replaces the folder of the test files, which differs by machine.
func here(t *testing.T, s string) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(s, wd, "$HERE")
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return found
}

func TestValid(t *testing.T) {
	for _, file := range append(files(t, "testdata/valid-*.hcl"), files(t, "testdata/valid-*.hcl.json")...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			environment(t)
			c, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(got), "hunter2") {
				t.Error("a secret is shown")
			}
			golden.Check(t, strings.TrimPrefix(file, "testdata/")+".golden", here(t, string(got))+"\n")
		})
	}
}

func TestInvalid(t *testing.T) {
	for _, file := range append(files(t, "testdata/invalid-*.hcl"), files(t, "testdata/invalid-*.hcl.json")...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			environment(t)
			c, err := Load(file)
			diags, ok := err.(Diagnostics)
			if !ok || c != nil {
				t.Fatalf("got %v and %v, want no cluster and diagnostics", c, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("a secret is shown")
			}
			for _, d := range diags {
				if d.Line < 1 || d.Column < 1 || d.File != file || d.Summary == "" {
					t.Errorf("a diagnostic without a place: %#v", d)
				}
			}
			golden.Check(t, strings.TrimPrefix(file, "testdata/")+".golden", here(t, err.Error()))
		})
	}
}

func TestExamples(t *testing.T) {
	for _, file := range files(t, "../examples/*.hcl") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			environment(t)
			c, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("an example warns:\n%v", c.Warnings)
			}
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			formatted, err := Format(file, src)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(src), string(formatted)); diff != "" {
				t.Errorf("not in canonical form (-is +canonical):\n%s", diff)
			}
		})
	}
}

func TestLoadOfWhatCannotBeRead(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "cluster.hcl")
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), "nucspark init") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was loaded")
	}
}
