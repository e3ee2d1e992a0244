package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// longLab starts a lab of its own for a test of make test-long, and takes it
// down at the end.
func longLab(t *testing.T, nodes string) *bench {
	t.Helper()
	binary := os.Getenv("NUCSPARK")
	if os.Getenv("NUCSPARK_LONG") != "1" || binary == "" {
		t.Skip("tests that take many minutes are not asked for: make test-long runs this")
	}
	b := &bench{binary: binary, dir: t.TempDir()}
	b.start(t, "--nodes", nodes)
	return b
}

// part runs one part of a long test, says how long it took, and ends the test
// where it fails.
func part(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	began := time.Now()
	if !t.Run(name, f) {
		t.FailNow()
	}
	t.Logf("%s: %.0f s", name, time.Since(began).Seconds())
}

// lines are those of a text that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// file makes an inventory beside the lab's.
func (b *bench) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// block matches a labelled block of the lab's inventory.
func block(kind, label string) *regexp.Regexp {
	return regexp.MustCompile(`(?ms)^` + kind + ` "` + label + `" \{.*?^\}\n`)
}
