package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// docker runs one command of the container engine's client and returns what
// it printed. stdin may be nil. A failed command's error ends with the last
// line that the engine said.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("docker %s: %w", args[0], ctx.Err())
		}
		return "", &dockerError{args: args, stderr: strings.TrimSpace(stderr.String()), err: err}
	}
	return strings.TrimSpace(stdout.String()), nil
}

type dockerError struct {
	args   []string
	stderr string
	err    error
}

func (e *dockerError) Error() string {
	said := e.stderr
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	verb := e.args[0]
	if len(e.args) > 1 && !strings.HasPrefix(e.args[1], "-") {
		verb += " " + e.args[1]
	}
	if said == "" {
		said = e.err.Error()
	}
	return fmt.Sprintf("docker %s: %s", verb, said)
}

func (e *dockerError) Unwrap() error { return e.err }

// saidBy reports whether err is a failed docker command whose output contains
// one of the phrases.
func saidBy(err error, phrases ...string) bool {
	var de *dockerError
	if !errors.As(err, &de) {
		return false
	}
	for _, p := range phrases {
		if strings.Contains(strings.ToLower(de.stderr), strings.ToLower(p)) {
			return true
		}
	}
	return false
}

// labelled lists the objects of one kind ("container", "volume", "network")
// that belong to the lab, by name.
func labelled(ctx context.Context, kind, lab string) ([]string, error) {
	args := []string{kind, "ls", "--filter", "label=" + labelKey + "=" + lab, "--format", "{{.Name}}"}
	if kind == "container" {
		args = append(args[:len(args)-1], "{{.Names}}", "--all")
	}
	out, err := docker(ctx, nil, args...)
	return strings.Fields(out), err
}

// containerRuns reports whether a container runs, as far as the engine can tell.
func containerRuns(ctx context.Context, container string) bool {
	out, err := docker(ctx, nil, "container", "inspect", "--format", "{{.State.Running}}", container)
	return err != nil || out == "true"
}
