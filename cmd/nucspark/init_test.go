package main

import (
	"strings"
	"testing"

	"nucspark.io/nucspark/wizard"
)

// The file of answers that --help shows is one that --from reads.
func TestInitHelp(t *testing.T) {
	var answers strings.Builder
	for line := range strings.Lines(newInitCommand(&App{}).Long) {
		if strings.HasPrefix(line, "  ") {
			answers.WriteString(line)
		}
	}
	var s wizard.State
	keys, err := s.Preseed("answers.hcl", []byte(answers.String()))
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d host keys, %v:\n%s", len(keys), err, answers.String())
	}
	if got := s.Text(wizard.KeyPrivateKey); got != "~/.ssh/id_ed25519" {
		t.Errorf("the key file is %q", got)
	}
}
