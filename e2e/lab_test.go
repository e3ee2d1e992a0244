package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const keepLab = "NUCSPARK_LAB_KEEP"

// Two people at one computer give their labs a name and a network each.
var (
	labName   = cmp.Or(os.Getenv("NUCSPARK_LAB_NAME"), "test")
	labSubnet = cmp.Or(os.Getenv("NUCSPARK_LAB_SUBNET"), "172.31.79.0/24")
)

// bench is a lab and the binary that drives it.
type bench struct {
	binary string
	dir    string        // of lab.hcl
	bound  time.Duration // of one command; default 20 minutes
	held   string        // pod of the application that runs until it is let go

	secrets *secrets        // planted after the refusals
	heard   strings.Builder // what nucspark printed, but for kubeconfig
}

// inventory is the file that lab up wrote.
func (b *bench) inventory() string { return filepath.Join(b.dir, "lab.hcl") }

// output of one command.
type output struct {
	stdout, stderr string
	code           int
}

func (o output) String() string {
	return "stdout:\n" + tail(o.stdout) + "\nstderr:\n" + tail(o.stderr)
}

func tail(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > 60 {
		lines = append([]string{"…"}, lines[len(lines)-60:]...)
	}
	return strings.Join(lines, "\n")
}

// run runs nucspark with the given arguments and waits for it, bounded.
func (b *bench) run(t *testing.T, args ...string) output {
	t.Helper()
	out := execute(t, cmp.Or(b.bound, 20*time.Minute), nil, b.binary, args...)
	if args[0] != "kubeconfig" {
		b.heard.WriteString(out.stdout + out.stderr)
	}
	return out
}

// ok runs nucspark and fails the test unless it exits with 0.
func (b *bench) ok(t *testing.T, args ...string) output {
	t.Helper()
	out := b.run(t, args...)
	if out.code != 0 {
		t.Fatalf("nucspark %s: exit code %d\n%s", strings.Join(args, " "), out.code, out)
	}
	return out
}

// refused runs nucspark and expects an exit code and words on stderr.
func (b *bench) refused(t *testing.T, code int, words []string, args ...string) output {
	t.Helper()
	out := b.run(t, args...)
	if out.code != code {
		t.Errorf("nucspark %s: exit code %d, want %d\n%s", strings.Join(args, " "), out.code, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out.stderr, w) {
			t.Errorf("nucspark %s does not say %q:\n%s", strings.Join(args, " "), w, out.stderr)
		}
	}
	return out
}

// container is the name by which the engine knows a machine of the lab.
func container(machine string) string { return "nucspark-" + labName + "-" + machine }

// on runs a script as root inside a machine of the lab, past SSH and nucspark.
func (b *bench) on(t *testing.T, node, script string) string {
	t.Helper()
	out := execute(t, 2*time.Minute, nil, "docker", "exec", container(node), "sh", "-c", script)
	if out.code != 0 {
		t.Fatalf("on %s: %s: exit code %d\n%s", node, script, out.code, out)
	}
	return strings.TrimSpace(out.stdout)
}

// edited writes a copy of the lab's inventory with replacements and returns
// its path.
func (b *bench) edited(t *testing.T, oldnew ...string) string {
	t.Helper()
	src, err := os.ReadFile(b.inventory())
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("lab.hcl does not hold %q:\n%s", oldnew[i], text)
		}
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	path := filepath.Join(t.TempDir(), "edited.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func execute(t *testing.T, bound time.Duration, stdin []byte, name string, args ...string) output {
	t.Helper()
	return watched(t, bound, stdin, io.Discard, name, args...)
}

// watched runs a command like execute and shows what it says on stderr while
// it runs.
func watched(t *testing.T, bound time.Duration, stdin []byte, watch io.Writer, name string, args ...string) output {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &stdout, io.MultiWriter(&stderr, watch), bytes.NewReader(stdin)
	cmd.WaitDelay = 10 * time.Second // a program that it started may keep the pipes open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("%s %s did not end within %s\n%s", name, strings.Join(args, " "), bound, output{stdout.String(), stderr.String(), -1})
	}
	out := output{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out
}

// eventually asks until the answer is yes or the bound is over.
func eventually(t *testing.T, bound time.Duration, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(bound)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %s", what, bound)
		}
		<-tick.C
	}
}
