package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/tui"
)

// fakeFleet is a converged cluster of any size in this process: SSH servers
// and an API server that answer as a lab of three nodes was recorded to answer.
// A node beyond the third answers as the third did, with its own name, address
// and machine-id.
type fakeFleet struct {
	t       testing.TB
	app     *App
	out     bytes.Buffer
	cluster *inventory.Cluster
	nodes   map[string]*fakeNode
	api     *fakeAPI
}

// The recorded network gives way to one that holds more nodes.
const (
	recordedNetwork, fakeNetwork = "172.31.79.", "10.76.0."
	recordedPods, fakePods       = "10.244.0.0/16", "10.244.0.0/14"
)

// numbered tells what names the i-th node, i from 1.
type numbered struct{ name, address, pods, machineID string }

func number(i int) numbered {
	return numbered{fmt.Sprintf("nuc%02d", i), fmt.Sprintf("10.76.%d.%d", i/240, 10+i%240),
		fmt.Sprintf("10.%d.%d.0/24", 244+i/250, i%250), fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i >> 8), byte(i)}))[:32]}
}

func newFakeFleet(t testing.TB, size int) *fakeFleet {
	t.Helper()
	b, err := os.ReadFile(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(recordedNetwork, fakeNetwork, recordedPods, fakePods).Replace(string(b))
	var rec recording
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		t.Fatal(err)
	}
	f := &fakeFleet{t: t, nodes: map[string]*fakeNode{},
		api: &fakeAPI{t: t, objects: rec.Objects, pages: rec.Pages, requests: map[string]int{}}}
	server := newAPIServer(f.api)
	t.Cleanup(server.Close)
	signer := f.writeKey()
	f.startNodes(&rec, size, signer, server)
	f.growAPI(size)
	f.writeInventory(&rec, size)
	f.settle()
	return f
}

// last is the recorded node that the added ones are like.
const last = "nuc03"

// asNumber makes of what the recorded node said what the i-th says.
func asNumber(rec *recording, name string, i int) *strings.Replacer {
	to := number(i)
	is := recordedID(rec, name)
	if i <= 3 {
		to.machineID = is
	}
	return strings.NewReplacer(
		strings.Replace(address(name), fakeNetwork, recordedNetwork, 1), to.address,
		number(3).address+"/24", to.address+"/16", number(1).address+"/24", number(1).address+"/16", number(2).address+"/24", number(2).address+"/16",
		recordedNetwork, fakeNetwork, recordedPods, fakePods,
		is, to.machineID, name, to.name, address(name), to.address)
}

func address(name string) string {
	i, err := strconv.Atoi(strings.TrimPrefix(name, "nuc"))
	if err != nil {
		panic(err)
	}
	return number(i).address
}

func recordedID(rec *recording, name string) string {
	_, rest, _ := strings.Cut(rec.Nodes[name].Survey, recordedMark+":machine-id=")
	id, _, _ := strings.Cut(rest, "\n")
	return id
}

func (f *fakeFleet) startNodes(rec *recording, size int, client ssh.PublicKey, server *httptest.Server) {
	for i := 1; i <= size; i++ {
		like := number(min(i, 3)).name
		n := newFakeNode(f.t, rec.Nodes[like], asNumber(rec, like, i))
		if i == 1 {
			n.conf, n.api = adminConf(server), server.Listener.Addr().String()
		}
		n.start(client)
		f.nodes[number(i).name] = n
	}
}

// growAPI adds the objects and the lines of pages that belong to a node.
func (f *fakeFleet) growAPI(size int) {
	var racks strings.Builder
	fmt.Fprintf(&racks, "%s -\n", fakePods)
	copyOf := func(v any, i int) any {
		b, err := json.Marshal(v)
		if err != nil {
			f.t.Fatal(err)
		}
		to := number(i)
		text := strings.NewReplacer(last, to.name, number(3).address, to.address).Replace(string(b))
		var out any
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			f.t.Fatal(err)
		}
		return out
	}
	for at, o := range maps.Clone(f.api.objects) {
		spec, _ := o["spec"].(map[string]any)
		isNode, isPod := at == "/api/v1/nodes/"+last, o["kind"] == "Pod" && spec["nodeName"] == last
		for i := 4; i <= size && (isNode || isPod); i++ {
			c := copyOf(o, i).(map[string]any)
			meta := c["metadata"].(map[string]any)
			if isPod {
				meta["name"] = fmt.Sprint(meta["name"], "-", i)
			}
			f.api.objects[path.Join(path.Dir(at), meta["name"].(string))] = c
		}
	}
	byName := map[string]numbered{}
	for i := 1; i <= size; i++ {
		n := number(i)
		byName[n.name] = n
		f.api.objects["/api/v1/nodes/"+n.name]["spec"].(map[string]any)["podCIDR"] = n.pods
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		fmt.Fprintf(&racks, "%s/32 /%s\n%s /%s\n", byName[name].address, name, byName[name].pods, name)
	}
	for at, o := range f.api.objects {
		data, _ := o["data"].(map[string]any)
		if data["racks"] != nil {
			f.api.objects[at]["data"].(map[string]any)["racks"] = racks.String()
		}
	}
	for at, raw := range f.api.pages {
		var page map[string]any
		if json.Unmarshal(raw, &page) != nil {
			continue
		}
		if workers, ok := page["workers"].([]any); ok {
			for _, w := range workers {
				for i := 4; i <= size && w.(map[string]any)["host"] == number(3).address; i++ {
					workers = append(workers, copyOf(w, i))
				}
			}
			page["workers"] = workers
		}
		beans, _ := page["beans"].([]any)
		for _, bean := range beans {
			bean := bean.(map[string]any)
			var live map[string]any
			if text, _ := bean["LiveNodes"].(string); json.Unmarshal([]byte(text), &live) != nil {
				continue
			}
			for name, n := range maps.Clone(live) {
				for i := 4; i <= size && strings.HasPrefix(name, number(3).address); i++ {
					live[strings.Replace(name, number(3).address, number(i).address, 1)] = copyOf(n, i)
				}
			}
			bean["LiveNodes"] = string(f.marshal(live))
		}
		f.api.pages[at] = f.marshal(page)
	}
}

func (f *fakeFleet) marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// writeKey writes the key that all nodes let in.
func (f *fakeFleet) writeKey() ssh.PublicKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		f.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.app = &App{File: filepath.Join(f.t.TempDir(), "cluster.hcl"), In: strings.NewReader(""), Out: &f.out, Err: &f.out}
	f.write("id", pem.EncodeToMemory(block))
	return signer.PublicKey()
}

func (f *fakeFleet) write(name string, content []byte) {
	if err := os.WriteFile(filepath.Join(filepath.Dir(f.app.File), name), content, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// writeInventory gives the recorded inventory more nodes like the last one.
// The nodes' addresses are dialled on this computer.
func (f *fakeFleet) writeInventory(rec *recording, size int) {
	f.write("key.asc", []byte(rec.Key))
	blocks := strings.SplitAfter(rec.Inventory, "\n}\n")
	var b strings.Builder
	for _, block := range blocks {
		i := 1
		for ; i <= 3 && !strings.Contains(block, fmt.Sprintf("node %q {", number(i).name)); i++ {
		}
		if i > 3 {
			b.WriteString(block)
			continue
		}
		from := number(i)
		for ; i <= size; i++ {
			to := number(i)
			for line := range strings.Lines(block) {
				if strings.Contains(line, "host_key") {
					line = fmt.Sprintf("host_key = %q\n", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(f.nodes[to.name].hostKey.PublicKey()))))
				}
				b.WriteString(strings.NewReplacer(from.name, to.name, from.address, to.address).Replace(line))
			}
			if from.name != last {
				break
			}
		}
	}
	fmt.Fprintf(&b, "network {\n  pods = %q\n}\n", fakePods)
	f.write("cluster.hcl", []byte(b.String()))
	f.app.dial = func(ctx context.Context, o host.Options) (provision.Remote, error) {
		o.Address = f.nodes[o.Name].listener.Addr().String()
		return host.Dial(ctx, o)
	}
}

// settle makes true what depends on how many nodes there are, as an up would.
func (f *fakeFleet) settle() {
	s, err := f.app.survey(f.t.Context())
	if err != nil {
		f.t.Fatalf("%v\n%s", err, f.out.String())
	}
	defer s.fleet.Close()
	f.cluster = s.cluster
	var hosts strings.Builder
	for _, n := range s.cluster.Nodes {
		fmt.Fprintf(&hosts, "%s %s\n", n.Address, n.Name)
	}
	for _, step := range s.steps() {
		if file, ok := step.(provision.File); ok {
			f.nodes[file.Node].settle(file)
		}
		for _, q := range step.Reads() {
			if o, ok := q.(provision.ObjectQuery); ok {
				f.api.apply(o.Object)
			}
		}
	}
	control := s.cluster.ControlPlane()
	for _, n := range f.nodes {
		if h := n.files["/etc/hosts"]; h != nil {
			before, rest, _ := strings.Cut(string(h.content), "# nucspark begin")
			begin, rest, _ := strings.Cut(rest, "\n")
			_, after, _ := strings.Cut(rest, "# nucspark end")
			n.write("/etc/hosts", []byte(before+"# nucspark begin"+begin+"\n"+hosts.String()+
				fmt.Sprintf("%s %s\n", control.Address, provision.ControlPlaneEndpoint(s.cluster.Name))+"# nucspark end"+after))
		}
		_, rules, _ := strings.Cut(string(n.files["/etc/nucspark/nftables.nft"].content), "chain rules_")
		rules, _, _ = strings.Cut(rules, " ")
		n.output(provision.NftTable, func(table string) string {
			before, after, _ := strings.Cut(table, "chain rules_")
			_, after, _ = strings.Cut(after, " ")
			return before + "chain rules_" + rules + " " + after
		})
	}
}

// noop runs up as a person does. It must find nothing to change.
func (f *fakeFleet) noop() {
	f.out.Reset()
	if err := up(f.t.Context(), f.app, provision.Removal{}, false, false, tui.Plain); err != nil || !strings.HasPrefix(f.out.String(), "Nothing to change: ") {
		f.t.Fatalf("%v\n%.4000s\nWhere up asks for something new, record it: see scale_record_test.go", err, f.out.String())
	}
}

// roundTrips is what one up asked of a fleet.
type roundTrips struct {
	worker, control map[string]int // of each worker, and of the control plane
	api             map[string]int // by verb and collection
	bytes           float64        // allocated, with those of the servers, which are in this process
}

func (f *fakeFleet) count() roundTrips {
	for _, n := range f.nodes {
		n.connections.Store(0)
		n.sessions.Store(0)
		n.forwards.Store(0)
	}
	f.api.requests = map[string]int{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f.noop()
	runtime.ReadMemStats(&after)
	r := roundTrips{api: f.api.requests, bytes: float64(after.TotalAlloc - before.TotalAlloc)}
	for name, n := range f.nodes {
		is := map[string]int{"connections": int(n.connections.Load()), "sessions": int(n.sessions.Load()), "forwards": int(n.forwards.Load())}
		switch {
		case n.conf != nil:
			r.control = is
		case r.worker == nil:
			r.worker = is
		case !maps.Equal(r.worker, is):
			f.t.Errorf("%s was asked %v, another node %v", name, is, r.worker)
		}
	}
	return r
}

// An up that changes nothing asks every node the same, however many there are:
// once what it is and once whether its steps hold, over one connection. Of the
// API it asks once more for each node: what applying its labels would change.
// One more node costs no more memory among many than among few.
func TestHundredNodes(t *testing.T) {
	sizes := []int{10, 40, 100}
	var trips []roundTrips
	for _, size := range sizes {
		trips = append(trips, newFakeFleet(t, size).count())
	}
	const perNode = "PATCH /api/v1/nodes"
	few := trips[0].api
	for i, r := range trips {
		if want := map[string]int{"connections": 1, "sessions": 2, "forwards": 0}; !maps.Equal(r.worker, want) {
			t.Errorf("of %d nodes a worker was asked %v, not %v", sizes[i], r.worker, want)
		}
		// It also reads the credentials of the API there, and reaches it there.
		if want := map[string]int{"connections": 1, "sessions": 3, "forwards": 1}; !maps.Equal(r.control, want) {
			t.Errorf("of %d nodes the control plane was asked %v, not %v", sizes[i], r.control, want)
		}
		if r.api[perNode] != sizes[i] {
			t.Errorf("%d requests for the labels of %d nodes", r.api[perNode], sizes[i])
		}
		delete(r.api, perNode)
		if !maps.Equal(r.api, few) {
			t.Errorf("requests for %d nodes: %v; for %d: %v", sizes[i], r.api, sizes[0], few)
		}
	}
	total := 0
	for _, n := range few {
		total += n
	}
	t.Logf("%d requests of the API, and one for each node", total)
	if total > mostRequests {
		t.Errorf("%d requests of the API, without those for each node; at most %d: %v", total, mostRequests, few)
	}
	first := (trips[1].bytes - trips[0].bytes) / float64(sizes[1]-sizes[0])
	then := (trips[2].bytes - trips[1].bytes) / float64(sizes[2]-sizes[1])
	t.Logf("bytes allocated for one more node: %.0f up to %d nodes, %.0f up to %d", first, sizes[1], then, sizes[2])
	if then > 1.5*first {
		t.Errorf("one more node takes %.0f bytes up to %d nodes, and %.0f up to %d", first, sizes[1], then, sizes[2])
	}
}

// mostRequests is what the lists, the pages and the objects of one cluster may
// come to.
const mostRequests = 70

// benchmarkNoop measures an up that changes nothing. peak-MB is the most of the
// heap that was seen in use. Both hold the servers, which are in this process.
func benchmarkNoop(b *testing.B, size int) {
	f := newFakeFleet(b, size)
	f.noop()
	runtime.GC()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	var peak uint64
	ended, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(heap)
			peak = max(peak, heap[0].Value.Uint64())
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		f.noop()
	}
	close(ended)
	<-sampled
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

func BenchmarkNoop3(b *testing.B)   { benchmarkNoop(b, 3) }
func BenchmarkNoop100(b *testing.B) { benchmarkNoop(b, 100) }
func BenchmarkNoop300(b *testing.B) { benchmarkNoop(b, 300) }
