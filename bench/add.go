package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var lastNode = regexp.MustCompile(`(?ms)^node "nuc03" \{.*?^\}\n`)

// add compares nucspark up, where a node block was added to the file, with the
// commands for that machine. The cluster before is made by nucspark in both
// cases, which is not timed.
func (b *bench) add() ([]*Line, error) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return nil, errors.New("bench/cluster was rendered for control groups version 1; this machine has version 2")
	}
	l := &Line{ID: "add", Title: "`up` with one machine more, against the commands for that machine",
		A:     Side{Name: "nucspark up", Command: "nucspark up -f lab.hcl --yes"},
		B:     Side{Name: "commands over ssh", Command: "bench/add.sh"},
		Limit: 1.15,
		Notes: []string{
			"The cluster has two machines before, made by nucspark on bare ones; that is not timed. The last one is bare.",
			"Both end when the third machine is ready, its datanode and its Spark worker are registered, and the two others know its address (names, firewall, exports).",
		}}
	small, whole := filepath.Join(b.work, "small.hcl"), filepath.Join(b.work, "whole.hcl")
	before := func() error {
		if err := b.bare(); err != nil {
			return err
		}
		text, err := os.ReadFile(b.hcl())
		if err != nil {
			return err
		}
		// With one datanode there is one copy of each block.
		one := strings.Replace(string(text), "replication = 2", "replication = 1", 1)
		if err := os.WriteFile(whole, []byte(one), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(small, []byte(lastNode.ReplaceAllString(one, "")), 0o600); err != nil {
			return err
		}
		return b.command(b.nucspark, "up", "-f", small, "--yes", "--progress=plain")
	}
	err := l.pairs(b.n(3), func() (time.Duration, error) {
		if err := before(); err != nil {
			return 0, err
		}
		return timed(b.prepared(b.nucspark, "up", "-f", whole, "--yes", "--progress=plain", "--timings"))
	}, func() (time.Duration, error) {
		if err := before(); err != nil {
			return 0, err
		}
		record, err := b.output(b.nucspark, "kubectl", "-f", small, "--", "-n", "nucspark", "get", "configmap", "nucspark", "-o", `jsonpath={.data.cluster\.json}`)
		if err != nil {
			return 0, err
		}
		var made struct{ UID string }
		if err := json.Unmarshal([]byte(record), &made); err != nil {
			return 0, fmt.Errorf("the cluster's record: %w", err)
		}
		env, err := b.scriptEnvironment()
		if err != nil {
			return 0, err
		}
		cmd := b.prepared("bash", filepath.Join(b.source, "add.sh"))
		cmd.Env = append(append(os.Environ(), env...), "UID_="+made.UID)
		return timed(cmd)
	})
	if err != nil {
		return nil, err
	}
	return []*Line{l}, nil
}
