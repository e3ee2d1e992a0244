package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bare makes the lab's machines anew.
func (b *bench) bare() error {
	if err := b.command(b.nucspark, "lab", "down", "--name", b.name); err != nil {
		return err
	}
	return b.command(b.nucspark, "lab", "up", "--name", b.name, "--subnet", b.subnet, "--dir", b.work)
}

// up compares nucspark up on bare machines with the script.
func (b *bench) up() ([]*Line, error) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return nil, errors.New("bench/cluster was rendered for control groups version 1; this machine has version 2")
	}
	l := &Line{ID: "up", Title: "`up` on three bare machines, against a script of the same commands",
		A:     Side{Name: "nucspark up", Command: "nucspark up -f lab.hcl --yes"},
		B:     Side{Name: "commands over ssh", Command: "bench/up.sh"},
		Limit: 1.15}
	var memory, cpu []float64
	err := l.pairs(b.n(3), func() (time.Duration, error) {
		if err := b.bare(); err != nil {
			return 0, err
		}
		cmd := b.prepared(b.nucspark, "up", "-f", b.hcl(), "--yes", "--progress=plain", "--timings")
		took, err := timed(cmd)
		if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			memory = append(memory, float64(use.Maxrss)*1024/1e6) // in KiB on Linux: getrusage(2)
			cpu = append(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		}
		return took, err
	}, func() (time.Duration, error) {
		if err := b.bare(); err != nil {
			return 0, err
		}
		env, err := b.scriptEnvironment()
		if err != nil {
			return 0, err
		}
		cmd := b.prepared("bash", filepath.Join(b.source, "up.sh"))
		cmd.Env = append(os.Environ(), env...)
		return timed(cmd)
	})
	if err != nil {
		return nil, err
	}
	limit := "met"
	if slices.Max(memory) >= 100 {
		limit = "**missed**"
	}
	l.Notes = []string{
		fmt.Sprintf("nucspark itself took %.0f MB of memory at most (%.0f to %.0f; below 100 MB: %s) and %.1f s of processor time (%.1f to %.1f), by getrusage(2).",
			median(memory), slices.Min(memory), slices.Max(memory), limit, median(cpu), slices.Min(cpu), slices.Max(cpu)),
		"Both end when the same things are true: the machines are ready, the claim is bound, two datanodes are live and HDFS is out of safe mode, two Spark workers are registered, the history server answers. The script looks at nothing first, keeps no ledger, and does not retry.",
		"The lab is taken down and made again before each run; that is not timed. All packages and images come from the lab's mirror on the same machine, whose processors all of the machines share.",
	}
	return []*Line{l}, nil
}

// scriptEnvironment is what up.sh is told, with a new directory for it.
func (b *bench) scriptEnvironment() ([]string, error) {
	c, err := b.cluster()
	if err != nil {
		return nil, err
	}
	work := filepath.Join(b.work, "script")
	if err := os.RemoveAll(work); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	known := filepath.Join(b.work, "known_hosts")
	var keys strings.Builder
	for _, n := range c.Nodes {
		fmt.Fprintf(&keys, "%s %s\n", n.Address, n.HostKey)
	}
	if err := os.WriteFile(known, []byte(keys.String()), fs.FileMode(0o600)); err != nil {
		return nil, err
	}
	return []string{
		"SSH_KEY=" + c.SSH.PrivateKey, "KNOWN_HOSTS=" + known, "WORK=" + work, "CLUSTER=" + c.Name,
		"NET=" + b.net(), "KEY=" + c.Mirror.Keys[0],
	}, nil
}

// net is the first three numbers of the lab's addresses.
func (b *bench) net() string { return b.subnet[:strings.LastIndex(b.subnet, ".")] }
