package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"nucspark.io/nucspark/inventory"
)

// bench is one run of the program.
type bench struct {
	ctx      context.Context
	nucspark string // the program, an absolute path
	source   string // this folder
	name     string // of the lab
	subnet   string
	work     string // a directory for data, on a disk
	cache    string // of the lab
	pairs    int    // in place of the number that a line has of itself; 0 for none
	log      io.Writer
}

// lines are in the order in which they are measured; the first leaves the
// cluster that the others use.
var lines = []struct {
	id  string
	run func(*bench) ([]*Line, error)
}{{"up", (*bench).up}, {"noop", (*bench).noop}, {"words", (*bench).words}, {"sort", (*bench).sort}, {"hdfs", (*bench).hdfs}, {"fleet", (*bench).fleet}, {"screen", (*bench).screen}}

func main() {
	// The plain processes end with the thread that started them (prctl(2),
	// PR_SET_PDEATHSIG): it must be there until the end.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx}
	only := flag.String("lines", "", "what to measure, with commas: up, noop, words, sort, hdfs, fleet, screen; everything by default")
	doc := flag.String("doc", "docs/performance.md", "the document to write")
	flag.StringVar(&b.name, "name", "bench", "name of the lab")
	flag.StringVar(&b.subnet, "subnet", "172.31.75.0/24", "its network")
	flag.StringVar(&b.work, "work", "/var/tmp/nucspark-bench", "directory for data")
	flag.StringVar(&b.nucspark, "nucspark", "bin/nucspark", "the program")
	flag.IntVar(&b.pairs, "pairs", 0, "pairs of each line; 5 by default, 3 where a run takes more than a minute")
	keep := flag.Bool("keep", false, "leave the lab up")
	flag.Parse()
	chosen := strings.Split(cmp.Or(*only, "up,noop,words,sort,hdfs,fleet,screen"), ",")
	for _, id := range chosen {
		if !slices.ContainsFunc(lines, func(l struct {
			id  string
			run func(*bench) ([]*Line, error)
		}) bool {
			return l.id == id
		}) {
			return fmt.Errorf("there is no line %q", id)
		}
	}
	var err error
	if b.nucspark, err = filepath.Abs(b.nucspark); err != nil {
		return err
	}
	if b.source, err = filepath.Abs("bench"); err != nil {
		return err
	}
	home, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	b.cache = filepath.Join(home, "nucspark", "lab")
	if err := os.MkdirAll(b.work, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.work, "bench.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	b.log = log
	fmt.Printf("what the commands print is in %s\n%s\n", log.Name(), machine())

	results := filepath.Join(b.work, "results.json")
	measured := map[string]*Line{}
	if text, err := os.ReadFile(results); err == nil && *only != "" {
		if err := json.Unmarshal(text, &measured); err != nil {
			return fmt.Errorf("%s: %w", results, err)
		}
	}
	// Two lines measure what answers in a process of their own.
	inLab := slices.ContainsFunc(chosen, func(id string) bool { return id != "fleet" && id != "screen" })
	if inLab {
		if err := b.command(b.nucspark, "lab", "up", "--name", b.name, "--subnet", b.subnet, "--dir", b.work); err != nil {
			return err
		}
	}
	if inLab && !*keep {
		defer func() { _ = exec.Command(b.nucspark, "lab", "down", "--name", b.name).Run() }()
	}
	var failed []error
	for _, l := range lines {
		if !slices.Contains(chosen, l.id) {
			continue
		}
		fmt.Printf("%s: measuring since %s\n", l.id, time.Now().Format("15:04:05"))
		got, err := l.run(b)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			failed = append(failed, fmt.Errorf("%s: %w", l.id, err))
		}
		for _, line := range got {
			line.Stage, line.When, line.Machine = l.id, time.Now().UTC().Truncate(time.Minute), machine()
			measured[line.ID] = line
			fmt.Printf("%s: %.2f (%s; %s)\n", line.Title, line.Ratio(), line.Spread(), line.Verdict())
		}
		text, err := json.MarshalIndent(measured, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(results, text, 0o644); err != nil {
			return err
		}
	}
	if err := write(*doc, measured); err != nil {
		return err
	}
	fmt.Println("wrote", *doc)
	return errors.Join(failed...)
}

//go:embed performance.md.tmpl
var document string

// write makes the document of what was measured.
func write(path string, measured map[string]*Line) error {
	var all []*Line
	for _, id := range []string{"up", "noop", "words", "sort", "hdfs-write", "hdfs-read", "fleet", "screen"} {
		if l := measured[id]; l != nil {
			all = append(all, l)
		}
	}
	t, err := template.New("performance.md").Parse(document)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := t.Execute(f, all); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// machine says what all was measured on.
func machine() string {
	field := func(file, key string) string {
		text, _ := os.ReadFile(file)
		for _, l := range strings.Split(string(text), "\n") {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
				return strings.TrimSpace(v)
			}
		}
		return "unknown"
	}
	text, _ := os.ReadFile("/proc/cpuinfo")
	cores := strings.Count(string(text), "processor\t:")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d × %s, %s of memory, Linux %s", cores, field("/proc/cpuinfo", "model name"),
		field("/proc/meminfo", "MemTotal"), strings.TrimSpace(string(release)))
}

// hcl is the lab's inventory.
func (b *bench) hcl() string { return filepath.Join(b.work, "lab.hcl") }

func (b *bench) cluster() (*inventory.Cluster, error) { return inventory.Load(b.hcl()) }

// prepared is a command whose output goes to the log.
func (b *bench) prepared(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	// Interrupted, not killed: nucspark releases its locks.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	fmt.Fprintf(b.log, "\n== %s %s %s\n", time.Now().Format(time.TimeOnly), name, strings.Join(args, " "))
	return cmd
}

func (b *bench) command(name string, args ...string) error {
	return named(b.prepared(name, args...).Run(), name, args)
}

// output is what a command prints to its standard output.
func (b *bench) output(name string, args ...string) (string, error) {
	cmd := b.prepared(name, args...)
	var out strings.Builder
	cmd.Stdout = io.MultiWriter(&out, b.log)
	err := cmd.Run()
	return out.String(), named(err, name, args)
}

func named(err error, name string, args []string) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}

// timed runs a command and says how long it took.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	start := time.Now()
	err := cmd.Run()
	return time.Since(start), named(err, cmd.Path, cmd.Args[1:])
}

// n is the number of pairs of a line.
func (b *bench) n(usual int) int { return cmp.Or(b.pairs, usual) }
