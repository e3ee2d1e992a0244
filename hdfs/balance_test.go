package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/golden"
	"nucspark.io/nucspark/inventory"
)

// fakeBalancer is a cluster of which the balancer's pod shows one state after
// the other, and logs what Hadoop 3.5.0 was seen to.
type fakeBalancer struct {
	t      *testing.T
	states []map[string]any // of the pod, one for each look after it was made
	log    []string         // lines; each stream begins at its beginning
	cut    int              // the first stream ends after so many lines, in the middle of one
	there  map[string]any
	done   []string
	opened int
	nodes  map[string]map[string]any // of the namenode
}

func (f *fakeBalancer) Get(context.Context, string, string, string, string) (map[string]any, error) {
	if f.there != nil && len(f.states) > 0 {
		f.there["status"] = f.states[0]
		f.states = f.states[1:]
	}
	return f.there, nil
}

func (f *fakeBalancer) Apply(_ context.Context, obj map[string]any) (map[string]any, error) {
	f.done, f.there = append(f.done, "apply"), obj
	return obj, nil
}

func (f *fakeBalancer) Delete(_ context.Context, _, kind, _, name string) error {
	f.done, f.there = append(f.done, "delete "+kind+" "+name), nil
	return nil
}

func (f *fakeBalancer) Page(context.Context, string, string, int, string) (int, []byte, error) {
	live, err := json.Marshal(f.nodes)
	if err != nil {
		f.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"beans": []any{map[string]any{"LiveNodes": string(live), "Safemode": ""}}})
	return 200, body, err
}

func (f *fakeBalancer) Log(context.Context, *time.Time) (io.ReadCloser, error) {
	f.opened++
	text := strings.Join(f.log, "\n") + "\n"
	if f.opened == 1 && f.cut > 0 {
		text = strings.Join(f.log[:f.cut], "\n") + "\n" + f.log[f.cut][:40]
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func stamped(lines ...string) []string {
	at := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	for i := range lines {
		lines[i] = at.Add(time.Duration(i)*time.Millisecond).Format(time.RFC3339Nano) + " " + lines[i]
	}
	return lines
}

func ended(phase string, code int64) map[string]any {
	return map[string]any{"phase": phase, "containerStatuses": []any{map[string]any{"state": map[string]any{"terminated": map[string]any{"exitCode": code}}}}}
}

var running = map[string]any{"phase": "Running"}

func moved(n int, size int64) string {
	return fmt.Sprintf("2026-11-22 07:00:00,000 INFO Dispatcher: Successfully moved blk_%d_1001 with size=%d from 10.244.1.5:9866:DISK to 10.244.2.4:9866:DISK through 10.244.1.5:9866", n, size)
}

func newBalancing(t *testing.T, f *fakeBalancer) (*Balancing, *[]string) {
	f.t = t
	if f.nodes == nil {
		f.nodes = map[string]map[string]any{"172.31.77.12:9866": {"usedSpace": 400, "capacity": 1000}, "172.31.77.13:9866": {"usedSpace": 50, "capacity": 1000}}
	}
	var said []string
	return &Balancing{API: f, Inventory: testSite([]string{"/data/hdfs"}, []string{"/data/hdfs"}).Cluster, Bandwidth: 50 * inventory.MiB, Threshold: 5,
		Note: func(line string) { said = append(said, line) }, Progress: func(moved, of int64) { said = append(said, fmt.Sprint(moved, "/", of)) },
		Tick: time.Millisecond}, &said
}

func TestBalance(t *testing.T) {
	f := &fakeBalancer{states: []map[string]any{{"phase": "Pending"}, running, running, ended("Succeeded", 0)}, cut: 3, log: stamped(
		"Balancer bandwidth is set to 52428800",
		"2026-11-22 07:00:00,000 INFO Balancer: Need to move 48.00 MB to make the cluster balanced.",
		moved(1, 16<<20),
		moved(2, 16<<20),
		"Nov 22, 2026, 7:00:10 AM           0             32 MB            48 MB             32 MB                  2  hdfs://namenode",
		"2026-11-22 07:00:10,000 INFO Balancer: Need to move 1 KB to make the cluster balanced.",
		moved(3, 1<<20),
		"The cluster is balanced. Exiting...")}
	b, said := newBalancing(t, f)
	got, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &Balanced{Balanced: true, Bytes: 33 << 20, Blocks: 3, Datanodes: []Datanode{{"nuc02", 400, 1000}, {"nuc03", 50, 1000}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	mib := func(n int64) string { return fmt.Sprint(n << 20) }
	if d := cmp.Diff([]string{"0/" + mib(48), mib(16) + "/" + mib(48), mib(32) + "/" + mib(48), mib(32) + "/" + fmt.Sprint(32<<20+1024), mib(33) + "/" + mib(33)}, *said); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"apply", "delete Pod hdfs-balance"}, f.done); d != "" {
		t.Error(d)
	}
}

func TestBalanceEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		code   int64
		last   string
		reason string // "" for an error
		words  string
	}{
		"no block can be moved": {254, "No block can be moved. Exiting...", "no block can be moved", ""},
		"no progress":           {253, "", "no block was moved", ""},
		"another one":           {255, "java.io.IOException: Another Balancer is running..  Exiting ...", "", "Another Balancer is running"},
		"no namenode":           {252, "java.net.ConnectException: refused", "", "exit code 252: java.net.ConnectException: refused"},
		"killed":                {-1, "", "", "exit code -1"},
	} {
		f := &fakeBalancer{states: []map[string]any{ended("Failed", tt.code)}, log: stamped("2026-11-22 07:00:00,000 INFO Balancer: x", tt.last)}
		b, _ := newBalancing(t, f)
		r, err := b.Run(t.Context())
		switch {
		case tt.reason != "" && (err != nil || r.Balanced || !strings.HasPrefix(r.Reason, tt.reason)):
			t.Errorf("%s: %+v, %v", name, r, err)
		case tt.reason == "" && (err == nil || !strings.Contains(err.Error(), tt.words)):
			t.Errorf("%s: %v", name, err)
		}
		if f.there != nil {
			t.Errorf("%s: the pod is left over", name)
		}
	}
	f := &fakeBalancer{nodes: map[string]map[string]any{"172.31.77.12:9866": {}}}
	b, _ := newBalancing(t, f)
	if _, err := b.Run(t.Context()); err == nil || len(f.done) > 0 {
		t.Errorf("one datanode: %v, %v", err, f.done)
	}
}

// A balancing that runs is followed and left with its own settings; one that
// has ended is taken away first. Ctrl-C ends either.
func TestBalanceAgain(t *testing.T) {
	f := &fakeBalancer{there: map[string]any{}, states: []map[string]any{running, running, ended("Succeeded", 0)}, log: stamped("The cluster is balanced. Exiting...")}
	b, said := newBalancing(t, f)
	if r, err := b.Run(t.Context()); err != nil || !r.Balanced {
		t.Errorf("%+v, %v", r, err)
	}
	if d := cmp.Diff([]string{"delete Pod hdfs-balance"}, f.done); d != "" || len(*said) != 1 || !strings.Contains((*said)[0], "runs already") {
		t.Errorf("%s%q", d, *said)
	}
	f = &fakeBalancer{there: map[string]any{}, states: []map[string]any{ended("Succeeded", 0), running, ended("Succeeded", 0)}, log: stamped("The cluster is balanced. Exiting...")}
	b, _ = newBalancing(t, f)
	if r, err := b.Run(t.Context()); err != nil || !r.Balanced {
		t.Errorf("%+v, %v", r, err)
	}
	if d := cmp.Diff([]string{"delete Pod hdfs-balance", "apply", "delete Pod hdfs-balance"}, f.done); d != "" {
		t.Error(d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f = &fakeBalancer{states: []map[string]any{running}, log: stamped(moved(1, 5))}
	b, _ = newBalancing(t, f)
	b.Progress = func(int64, int64) { cancel() }
	if _, err := b.Run(ctx); !errors.Is(err, context.Canceled) || f.there != nil {
		t.Errorf("%v, and the pod is there: %v", err, f.there != nil)
	}
}

func TestBalancePod(t *testing.T) {
	b, _ := newBalancing(t, &fakeBalancer{})
	text, err := json.MarshalIndent(b.pod(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "balance.json", string(text)+"\n")
}

func TestHadoopBytes(t *testing.T) {
	for s, want := range map[string]int64{"0 B": 0, "512 B": 512, "1.50 KB": 1536, "48.00 MB": 48 << 20, "2 GB": 2 << 30, "1 TB": 1 << 40} {
		if got := hadoopBytes(s); got != want {
			t.Errorf("%s: %d, want %d", s, got, want)
		}
	}
}
