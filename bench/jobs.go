package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	textSize   = 400e6 // bytes
	sortSize   = 500e6 // bytes
	recordSize = 100   // bytes, as in TeraGen: a key of 10, the rest is payload
)

// data makes a file of size bytes once. The same seed makes the same bytes.
func (b *bench) data(name string, size int64, record func(*rand.Rand, *rand.Zipf, []byte) []byte) (string, error) {
	path := filepath.Join(b.work, name)
	if st, err := os.Stat(path); err == nil && st.Size() >= size {
		return path, nil
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.2, 3, 200000)
	var line []byte
	for n := int64(0); n < size; n += int64(len(line)) {
		line = record(r, zipf, line[:0])
		if _, err := w.Write(line); err != nil {
			return "", err
		}
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return path, os.Rename(path+".part", path)
}

// sentence is a line of ten words; few of them are frequent, as in a language.
func sentence(_ *rand.Rand, zipf *rand.Zipf, line []byte) []byte {
	for range 10 {
		n := zipf.Uint64()
		for k := n*2654435761 + 7; k > 0; k /= 26 {
			line = append(line, byte('a'+k%26))
			if len(line) > 0 && k < 26*26*26 && n < 1000 {
				break // frequent words are short
			}
		}
		line = append(line, ' ')
	}
	line[len(line)-1] = '\n'
	return line
}

// record is one of TeraGen's kind, in printable characters, with its newline.
func record(r *rand.Rand, _ *rand.Zipf, line []byte) []byte {
	for range 10 {
		line = append(line, byte(' '+r.IntN(95)))
	}
	row := r.Uint32()
	for len(line) < recordSize-1 {
		line = append(line, byte('A'+(int(row)+len(line)/10)%26))
	}
	return append(line, '\n')
}

// words compares a word count.
func (b *bench) words() ([]*Line, error) {
	text, err := b.data("text", textSize, sentence)
	if err != nil {
		return nil, err
	}
	return b.application(&Line{ID: "words", Title: "word count of 400 MB, against plain processes"}, text, filepath.Join(b.source, "..", "examples", "wordcount.py"), b.n(3),
		func(fs string, _ int) []string { return []string{fs + "/bench/text"} })
}

// sort compares a sort by key, whose result is written back.
func (b *bench) sort() ([]*Line, error) {
	records, err := b.data("records", sortSize, record)
	if err != nil {
		return nil, err
	}
	return b.application(&Line{ID: "sort", Title: "sort of 5 million records of 100 bytes, against plain processes"}, records, filepath.Join(b.source, "sort.py"), b.n(3),
		func(fs string, run int) []string {
			return []string{fs + "/bench/records", fmt.Sprintf("%s/tmp/sorted-%d", fs, run)}
		})
}

// application compares a Spark application on the cluster with the same on
// plain processes. Both have its data in their HDFS.
func (b *bench) application(l *Line, data, program string, n int, args func(fs string, run int) []string) ([]*Line, error) {
	if err := b.present(); err != nil {
		return nil, err
	}
	bare, err := b.startBare()
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	name := filepath.Base(data)
	if err := b.command(b.nucspark, "hdfs", "put", "-f", b.hcl(), "--force", data, "/bench/"+name); err != nil {
		return nil, err
	}
	if err := bare.files("-put", "-f", data, "/bench/"+name); err != nil {
		return nil, err
	}
	l.Inverse, l.Limit, l.AtLeast = true, 0.9, true
	l.A = Side{Name: "nucspark submit", Command: "nucspark submit -f lab.hcl " + filepath.Base(program) + " " + strings.Join(args("hdfs://", 1), " ")}
	l.B = Side{Name: "plain spark-submit", Command: "spark-submit " + filepath.Base(program) + " " + strings.Join(args("hdfs://", 1), " ")}
	var answers [2]string
	run := 0
	// TOTAL is what the application counted; both sides must agree.
	check := func(side int, out string) error {
		i := strings.Index(out, "TOTAL ")
		if i < 0 {
			return errors.New("the application printed no TOTAL; see the log")
		}
		answers[side], _, _ = strings.Cut(out[i:], "\n")
		if other := answers[1-side]; other != "" && other != answers[side] {
			return fmt.Errorf("the sides disagree: %q and %q", answers[0], answers[1])
		}
		return nil
	}
	measure := func(side int, cmd string, argv ...string) (time.Duration, error) {
		start := time.Now()
		out, err := b.output(cmd, argv...)
		took := time.Since(start)
		if err != nil {
			return took, err
		}
		return took, check(side, out)
	}
	err = l.pairs(n, func() (time.Duration, error) {
		run++
		return measure(0, b.nucspark, append([]string{"submit", "-f", b.hcl(), program}, args("hdfs://", run)...)...)
	}, func() (time.Duration, error) {
		run++
		submit := append([]string{bare.home + "/opt/spark/bin/spark-submit", program}, args("hdfs://", run)...)
		for i, a := range submit {
			submit[i] = strings.Replace(a, "hdfs:///", fmt.Sprintf("hdfs://127.0.0.1:%d/", barePort), 1)
		}
		return measure(1, "env", bare.env(submit)...)
	})
	if err != nil {
		return nil, err
	}
	l.Notes = []string{
		"Both: one driver with 1 GiB, two executors with 2 cores and 1 GiB each, two datanodes, replication 2, event log on, the same Hadoop, Spark and Java 17. The plain processes run on this machine itself, with their data on the same disk as the lab's.",
		"The cluster also starts a pod for the driver, uploads the program, authenticates and uses the shuffle service; the plain processes do not. Neither side is stopped while the other runs: an idle cluster slows the plain processes a little.",
	}
	return []*Line{l}, nil
}
