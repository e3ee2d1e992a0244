package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

var (
	benchTime   = regexp.MustCompile(`(\d+(?:\.\d+)?) ns/op`)
	benchMemory = regexp.MustCompile(`(\d+(?:\.\d+)?) peak-MB`)
)

// fleet compares an up that changes nothing on 300 nodes with one on 100. The
// nodes answer in the benchmark's own process, as a lab of three was recorded
// to answer, so that its time and memory hold their side, too.
func (b *bench) fleet() ([]*Line, error) {
	program := filepath.Join(b.work, "fleet.test")
	where := filepath.Join(b.source, "..", "cmd", "nucspark")
	build := b.prepared("go", "test", "-c", "-o", program, ".")
	build.Dir = where
	if err := build.Run(); err != nil {
		return nil, named(err, "go", build.Args[1:])
	}
	memory := map[int][]float64{}
	noop := func(size int) (time.Duration, error) {
		cmd := b.prepared(program, "-test.run", "^$", "-test.bench", fmt.Sprintf("^BenchmarkNoop%d$", size), "-test.benchtime", "1x")
		cmd.Dir, cmd.Stdout = where, nil
		out, err := cmd.Output()
		b.log.Write(out)
		if err != nil {
			return 0, named(err, program, cmd.Args[1:])
		}
		took, peak := benchTime.FindSubmatch(out), benchMemory.FindSubmatch(out)
		if took == nil || peak == nil {
			return 0, fmt.Errorf("the benchmark of %d nodes printed no result; see the log", size)
		}
		ns, err := strconv.ParseFloat(string(took[1]), 64)
		if err != nil {
			return 0, err
		}
		mb, err := strconv.ParseFloat(string(peak[1]), 64)
		memory[size] = append(memory[size], mb)
		return time.Duration(ns), err
	}
	command := func(size int) string {
		return fmt.Sprintf("go test -run '^$' -bench Noop%d -benchtime 1x ./cmd/nucspark", size)
	}
	l := &Line{ID: "fleet", Title: "`up` where nothing differs, on 300 nodes against 100", Limit: 3,
		A: Side{Name: "300 nodes", Command: command(300)}, B: Side{Name: "100 nodes", Command: command(100)}}
	err := l.pairs(b.n(5), func() (time.Duration, error) { return noop(300) }, func() (time.Duration, error) { return noop(100) })
	if err != nil {
		return nil, err
	}
	limit := "met"
	if slices.Max(l.B.Seconds) >= 5 {
		limit = "**missed**"
	}
	l.Notes = []string{
		fmt.Sprintf("Under 5 s for 100 nodes: %s. Three times the nodes may take three times as long.", limit),
		fmt.Sprintf("Heap in use at most, with the nodes' side: %.0f MB for 100 nodes, %.0f MB for 300, a ratio of %.2f.",
			median(memory[100]), median(memory[300]), median(memory[300])/median(memory[100])),
		"The nodes are SSH servers and an API server in the same process; they answer at once, as a lab of three nodes was recorded to. `TestHundredNodes` bounds what each is asked: one connection and two sessions.",
	}
	return []*Line{l}, nil
}
