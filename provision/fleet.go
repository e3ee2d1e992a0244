package provision

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// Remote is one machine over SSH. *host.Host is the real one.
type Remote interface {
	Run(ctx context.Context, c host.Command) (host.Result, error)
	WriteFile(ctx context.Context, path string, content []byte, mode fs.FileMode, owner, group string) error
	ReadFile(ctx context.Context, path string) ([]byte, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	Close() error
}

// Fleet is the machines of one inventory, as far as they answer: one
// connection each for the whole run.
type Fleet struct {
	cluster *inventory.Cluster
	dial    func(ctx context.Context, n *inventory.Node) (Remote, error)
	uid     string // of the cluster, should it not be made yet: the same each time a plan is made

	mu      sync.Mutex
	leaving []inventory.Node // that are not in the inventory any more
	// trusting is a node whose machine may be another one than the recorded: it
	// is being looked at for that.
	trusting string
	remotes  map[string]Remote
	kube     *kube.Client
	timings  Timings
	guard    func(context.Context) error // while a run is carried out: whether it may still change the cluster
	making   bool                        // kubeadm init began on the control plane and has not ended
}

// NewFleet returns a fleet without connections. dial opens one.
func NewFleet(c *inventory.Cluster, dial func(ctx context.Context, n *inventory.Node) (Remote, error)) *Fleet {
	return &Fleet{cluster: c, dial: dial, uid: newUID(), remotes: map[string]Remote{}}
}

// Trusting lets [Fleet.Prepare] look at a node whose machine is another one
// than the record says. What it then is, is for the caller to judge.
func (f *Fleet) Trusting(node string) { f.trusting = node }

// Connect dials the given nodes side by side. The answer holds an error for
// each node that does not answer.
func (f *Fleet) Connect(ctx context.Context, nodes ...*inventory.Node) map[string]error {
	failed := map[string]error{}
	var wg sync.WaitGroup
	for _, n := range nodes {
		if f.remote(n.Name) != nil {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := f.dial(ctx, n)
			f.mu.Lock()
			defer f.mu.Unlock()
			if err != nil {
				failed[n.Name] = err
				return
			}
			f.remotes[n.Name] = r
		}()
	}
	wg.Wait()
	return failed
}

// Remote returns the connection to a node, dialling it if need be.
func (f *Fleet) Remote(ctx context.Context, node string) (Remote, error) {
	if r := f.remote(node); r != nil {
		return r, nil
	}
	n, ok := f.cluster.Node(node)
	if !ok {
		f.mu.Lock()
		i := slices.IndexFunc(f.leaving, func(l inventory.Node) bool { return l.Name == node })
		if ok = i >= 0; ok {
			n = &f.leaving[i]
		}
		f.mu.Unlock()
	}
	if !ok {
		return nil, fmt.Errorf("%s names no node %q", f.cluster.File, node)
	}
	if err := f.Connect(ctx, n)[node]; err != nil {
		return nil, err
	}
	return f.remote(node), nil
}

func (f *Fleet) remote(node string) Remote {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remotes[node]
}

// Unconnected are the names of the inventory's nodes without a connection, with
// their addresses.
func (f *Fleet) Unconnected() []string {
	var names []string
	for _, n := range f.cluster.Nodes {
		if f.remote(n.Name) == nil {
			names = append(names, fmt.Sprintf("%s (%s)", n.Name, n.Address))
		}
	}
	return names
}

// Close closes every connection.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kube != nil {
		f.kube.Close()
	}
	for name, r := range f.remotes {
		r.Close()
		delete(f.remotes, name)
	}
}

// AdminConf is the administrator's kubeconfig on the control plane.
const AdminConf = "/etc/kubernetes/admin.conf"

// InitState is the file on the control plane that says how far kubeadm init
// came: "started" or "done".
const InitState = "/etc/kubernetes/nucspark/init.state"

// ErrNoCluster says that the control plane was not initialised yet.
var ErrNoCluster = errors.New("there is no cluster yet; run nucspark up first")

// Kube returns the client of the cluster's API. Its credentials are read from
// the control plane and held in memory only.
func (f *Fleet) Kube(ctx context.Context) (*kube.Client, error) {
	f.mu.Lock()
	k := f.kube
	f.mu.Unlock()
	if k != nil {
		return k, nil
	}
	r, err := f.Remote(ctx, f.cluster.ControlPlane().Name)
	if err != nil {
		return nil, err
	}
	conf, err := r.ReadFile(ctx, AdminConf)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCluster
	}
	if err != nil {
		return nil, err
	}
	if k, err = kube.Connect(conf, r.DialContext, f.mayChange); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kube = k
	return k, nil
}

// mayChange is asked before each request that may change the cluster.
func (f *Fleet) mayChange(ctx context.Context) error {
	f.mu.Lock()
	guard := f.guard
	f.mu.Unlock()
	if guard == nil {
		return nil
	}
	return guard(ctx)
}

func (f *Fleet) setGuard(guard func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guard = guard
}

// forgetKube makes the next Kube read the credentials again.
func (f *Fleet) forgetKube() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kube != nil {
		f.kube.Close()
		f.kube = nil
	}
	f.making = false
}

// Survey connects to every node and asks what it is, all side by side. It
// returns the machines that answered and an error for each that did not.
func (f *Fleet) Survey(ctx context.Context) (map[string]Machine, map[string]error) {
	return f.survey(ctx, f.cluster.Nodes, func(string) {})
}

// survey also calls connected, when a node's connection stands.
func (f *Fleet) survey(ctx context.Context, nodes []inventory.Node, connected func(node string)) (map[string]Machine, map[string]error) {
	f.mu.Lock()
	f.making = false // until the control plane says so
	f.mu.Unlock()
	return f.surveyEach(ctx, nodes, connected)
}

// surveyEach is survey without forgetting what the control plane said.
func (f *Fleet) surveyEach(ctx context.Context, nodes []inventory.Node, connected func(node string)) (map[string]Machine, map[string]error) {
	machines, failed := map[string]Machine{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			start := time.Now()
			r, err := f.Remote(ctx, n.Name)
			f.slowest(dialled, start)
			var m Machine
			if err == nil {
				connected(n.Name)
				start = time.Now()
				m, err = survey(ctx, n.Name, r, f.cluster)
				f.slowest(surveyed, start)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[n.Name] = err
				return
			}
			machines[n.Name] = m
			if n.Name == f.cluster.ControlPlane().Name {
				f.mu.Lock()
				f.making = m.Kubeadm && !m.Made
				f.mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return machines, failed
}

// SurveyNode connects to one node of the inventory and asks what it is.
func (f *Fleet) SurveyNode(ctx context.Context, node string) (Machine, error) {
	n, ok := f.cluster.Node(node)
	if !ok {
		return Machine{}, fmt.Errorf("%s names no node %q", f.cluster.File, node)
	}
	machines, failed := f.surveyEach(ctx, []inventory.Node{*n}, func(string) {})
	return machines[node], failed[node]
}

// SurveyOne asks a machine that is in no inventory yet what it is. Its error
// names it.
func SurveyOne(ctx context.Context, name string, r Remote) (Machine, error) {
	return survey(ctx, name, r, &inventory.Cluster{})
}

// survey asks one machine. Its error names the node.
func survey(ctx context.Context, node string, r Remote, c *inventory.Cluster) (Machine, error) {
	mark := newMark()
	sent := time.Now()
	res, err := r.Run(ctx, host.Command{Script: surveyScript(mirrorAddresses(c), mark), Root: true})
	if err != nil {
		return Machine{}, err
	}
	m, err := parseSurvey(res.Stdout, mark, sent, time.Now())
	if err != nil {
		return m, fmt.Errorf("%s: %w", node, err)
	}
	return m, nil
}

// Read asks queries of nodes and cluster, each node once.
func (f *Fleet) Read(ctx context.Context, queries []Query) (Facts, error) {
	byNode := map[string][]Query{}
	asked := map[string]bool{}
	for _, q := range queries {
		if key := q.Key(); !asked[key] {
			asked[key] = true
			byNode[q.On()] = append(byNode[q.On()], q)
		}
	}
	facts := Facts{answers: map[string]any{}}
	var mu sync.Mutex
	var errs []error
	var wg, nodes sync.WaitGroup
	start := time.Now()
	for node, qs := range byNode {
		wg.Add(1)
		if node != "" {
			nodes.Add(1)
		}
		go func() {
			defer wg.Done()
			if node != "" {
				defer nodes.Done()
			}
			var a map[string]any
			var err error
			if node == "" {
				a, err = f.readCluster(ctx, qs)
			} else {
				a, err = f.readNode(ctx, node, qs)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			for k, v := range a {
				facts.answers[k] = v
			}
		}()
	}
	nodes.Wait()
	f.timed(askedNodes, start)
	wg.Wait()
	return facts, errors.Join(errs...)
}

func (f *Fleet) readNode(ctx context.Context, node string, queries []Query) (map[string]any, error) {
	r, err := f.Remote(ctx, node)
	if err != nil {
		return nil, err
	}
	mark := newMark()
	res, err := r.Run(ctx, host.Command{Script: questions(queries, mark), Root: true, MaxOutput: 64 << 20})
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", node, err)
	}
	a, err := answers(queries, mark, res.Stdout)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", node, err)
	}
	return a, nil
}

// readCluster asks the API. While there is none, or it does not answer, the
// queries stay unknown: a plan says so, and the steps that need the API look
// again when it is there.
func (f *Fleet) readCluster(ctx context.Context, queries []Query) (map[string]any, error) {
	defer f.timed(askedAPI, time.Now())
	a := map[string]any{}
	for _, q := range queries {
		a[q.Key()] = unknown{}
	}
	k, err := f.Kube(ctx)
	f.mu.Lock()
	making := f.making
	f.mu.Unlock()
	if errors.Is(err, ErrNoCluster) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	api := newReader(ctx, k, queries)
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, q := range queries {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			v, err := api.ask(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				a[q.Key()] = v
			case kube.IsTransient(err) && ctx.Err() == nil:
			case making && apierrors.IsForbidden(err):
			case first == nil:
				first = fmt.Errorf("%s: %w", q.Key(), err)
			}
		}()
	}
	wg.Wait()
	return a, first
}

// newMark is a line start that remote output cannot hold by chance or by will.
func newMark() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err) // the kernel's generator does not fail
	}
	return "nucspark-" + hex.EncodeToString(b)
}
