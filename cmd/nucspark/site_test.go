package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// Who sits at a terminal while a machine does not answer is told which one.
func TestSaysWhoIsSilent(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer tty.Close()
	file := filepath.Join(t.TempDir(), "lab.hcl")
	if err := os.WriteFile(file, []byte(`cluster "lab" {
  kubernetes = "1.36"
}

ssh {
  user = "nuc"
}

node "nuc01" {
  address = "192.0.2.11"
  role    = "control-plane"
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	app := &App{File: file, In: strings.NewReader(""), Out: tty, Err: tty,
		dial: func(_ context.Context, _ host.Options) (provision.Remote, error) {
			line, err := bufio.NewReader(terminal).ReadString('\n')
			told <- line
			return nil, errors.Join(errors.New("silent"), err)
		}}
	if _, err := app.survey(t.Context()); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Fatal(err)
	}
	if line := <-told; strings.TrimSpace(line) != "waiting for an answer of nuc01 (192.0.2.11)" {
		t.Errorf("it says %q", line)
	}
}
