package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

var floodMetric = regexp.MustCompile(`(\d+(?:\.\d+)?) (cpu-s|blocked-s|longest-ms|late-s)\b`)

// screen compares the processor time of a run whose machines print 10,000
// lines a second, shown on the screen and not at all.
func (b *bench) screen() ([]*Line, error) {
	program := filepath.Join(b.work, "tui.test")
	where := filepath.Join(b.source, "..", "tui")
	build := b.prepared("go", "test", "-c", "-o", program, ".")
	build.Dir = where
	if err := build.Run(); err != nil {
		return nil, named(err, "go", build.Args[1:])
	}
	metrics := map[string][]float64{} // by benchmark and unit
	flood := func(name string) (time.Duration, error) {
		cmd := b.prepared(program, "-test.run", "^$", "-test.bench", "^BenchmarkFlood"+name+"$", "-test.benchtime", "1x")
		cmd.Dir, cmd.Stdout = where, nil
		out, err := cmd.Output()
		b.log.Write(out)
		if err != nil {
			return 0, named(err, program, cmd.Args[1:])
		}
		found := floodMetric.FindAllSubmatch(out, -1)
		if len(found) != 4 {
			return 0, fmt.Errorf("the benchmark %s printed no result; see the log", name)
		}
		for _, m := range found {
			value, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return 0, err
			}
			key := name + " " + string(m[2])
			metrics[key] = append(metrics[key], value)
		}
		used := metrics[name+" cpu-s"]
		return time.Duration(used[len(used)-1] * float64(time.Second)), nil
	}
	command := func(name string) string {
		return fmt.Sprintf("go test -run '^$' -bench Flood%s -benchtime 1x ./tui", name)
	}
	l := &Line{ID: "screen", Title: "Processor time of a run that prints 10,000 lines a second for 10 s, with the screen against `--progress=quiet`", Limit: 2,
		A: Side{Name: "the screen", Command: command("Screen")}, B: Side{Name: "quiet", Command: command("Quiet")}}
	err := l.pairs(b.n(5), func() (time.Duration, error) { return flood("Screen") }, func() (time.Duration, error) { return flood("Quiet") })
	if err != nil {
		return nil, err
	}
	limit := "met"
	if median(metrics["Screen late-s"]) > 0.1 {
		limit = "**missed**"
	}
	of := func(name string) string {
		return fmt.Sprintf("%.2f s in all, %.1f ms for one line at most, and %.2f s late at the end",
			median(metrics[name+" blocked-s"]), slices.Max(metrics[name+" longest-ms"]), median(metrics[name+" late-s"]))
	}
	l.Notes = []string{
		"The times are seconds of the processor, of the whole process.",
		"What the run waited while it handed over 100,000 lines, which are written to its log in both: with the screen " + of("Screen") + "; quiet " + of("Quiet") + ".",
		fmt.Sprintf("At most 0.1 s late with the screen: %s.", limit),
		"The terminal has 160 columns and 40 rows, and takes what it is given at once.",
	}
	return []*Line{l}, nil
}
