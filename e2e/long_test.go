package e2e

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"nucspark.io/nucspark/lab"
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
	start := []string{"lab", "up", "--nodes", nodes, "--name", labName, "--subnet", labSubnet, "--dir", b.dir}
	// Where an engine runs, packages may be missing all the same.
	if consent() {
		start = append(start, "--start-engine")
		if err := lab.StartEngine(t.Context(), lab.Options{Progress: func(line string) { t.Log(line) }}); err != nil {
			t.Fatal(err)
		}
	} else if exec.Command("docker", "info").Run() != nil {
		t.Fatal("no container engine runs; start Docker's, or run with YES=1 to have it installed and started")
	}
	b.ok(t, "lab", "down", "--name", labName) // what a run that was killed left
	if up := watched(t, 40*time.Minute, nil, os.Stderr, binary, start...); up.code != 0 {
		t.Fatalf("lab up: exit code %d\n%s", up.code, up)
	}
	if os.Getenv(keepLab) != "1" {
		t.Cleanup(func() { b.ok(t, "lab", "down", "--name", labName) })
	}
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
