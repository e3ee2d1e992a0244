package hdfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	ssh "nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
)

// balancer is the name of the pod that balances. There is one at a time: Hadoop
// allows no second balancer either.
const balancer = "hdfs-balance"

// balanceMemory is for the list of blocks that may move, some thousand at a time.
const balanceMemory = inventory.GiB

// balanceMoves is how many blocks a datanode sends or takes at a time. With
// Hadoop's 100 all of them would share the bandwidth, and none would arrive for
// a long time.
const balanceMoves = 10

// BalanceAPI is what a Balancing needs of the Kubernetes API. [kube.Client] is
// the real one, by [NewBalanceAPI].
type BalanceAPI interface {
	Get(ctx context.Context, apiVersion, kind, ns, name string) (map[string]any, error)
	Apply(ctx context.Context, obj map[string]any) (map[string]any, error)
	Delete(ctx context.Context, apiVersion, kind, ns, name string) error
	Page(ctx context.Context, ns, pod string, port int, path string) (status int, body []byte, err error)
	// Log is the log of the balancer's pod as it is written, with times.
	Log(ctx context.Context, since *time.Time) (io.ReadCloser, error)
}

type balanceAPI struct{ *kube.Client }

// NewBalanceAPI makes the interface of the client.
func NewBalanceAPI(k *kube.Client) BalanceAPI { return balanceAPI{k} }

func (a balanceAPI) Log(ctx context.Context, since *time.Time) (io.ReadCloser, error) {
	o := corev1.PodLogOptions{Follow: true, Timestamps: true}
	if since != nil {
		t := metav1.NewTime(*since)
		o.SinceTime = &t
	}
	return a.Logs(ctx, provision.Namespace, balancer, o)
}

// Balancing moves blocks from datanodes that are fuller than others to those
// that are emptier. It is Hadoop's own balancer, in a pod beside the namenode.
type Balancing struct {
	API       BalanceAPI
	Inventory *inventory.Cluster
	// Bytes a second that each datanode may use for it. One that had a higher
	// limit may first send what 1.5 s of that were (DataTransferThrottler).
	Bandwidth inventory.Size
	Threshold float64               // percent of its capacity by which a datanode may differ from the average, 1 to 100
	Note      func(line string)     // a line for the person who waits
	Progress  func(moved, of int64) // bytes; of is what Hadoop reckons
	Tick      time.Duration         // between two looks; default half a second
}

// Balanced is what came of it.
type Balanced struct {
	Balanced  bool       `json:"balanced"`
	Reason    string     `json:"reason,omitempty"` // why not
	Bytes     int64      `json:"moved_bytes"`
	Blocks    int64      `json:"moved_blocks"`
	Datanodes []Datanode `json:"datanodes"` // in the order of the inventory
}

// Datanode is how full one is.
type Datanode struct {
	Node     string `json:"node"`
	Used     int64  `json:"used_bytes"` // by HDFS
	Capacity int64  `json:"capacity_bytes"`
}

// Percent is how full it is.
func (d Datanode) Percent() float64 {
	if d.Capacity == 0 {
		return 0
	}
	return 100 * float64(d.Used) / float64(d.Capacity)
}

// datanodes asks the namenode how full they are.
func (b *Balancing) datanodes(ctx context.Context) ([]Datanode, error) {
	status, body, err := b.API.Page(ctx, infoQuery.Namespace, infoQuery.Pod, infoQuery.Port, infoQuery.Path)
	if err != nil {
		return nil, err
	}
	info, err := parseInfo(provision.PageFact{Status: status, Body: body})
	if err != nil {
		return nil, fmt.Errorf("namenode: %w", err)
	}
	if info.Safemode != "" {
		return nil, fmt.Errorf("the file system is read-only: %s", info.Safemode)
	}
	var all []Datanode
	for _, n := range b.Inventory.Datanodes() {
		if d, ok := info.live[n.Address.String()]; ok {
			all = append(all, Datanode{n.Name, d.Used, d.Capacity})
		}
	}
	return all, nil
}

// pod is the balancer's. It reads the configuration of the datanodes, which is
// that of any client, and runs where the image is and the namenode is near.
func (b *Balancing) pod() map[string]any {
	l := newLayout(&provision.Site{Cluster: b.Inventory})
	size := inventory.Resources{Requests: inventory.Amount{CPU: 100, Memory: 256 * inventory.MiB}, Limits: inventory.Amount{Memory: balanceMemory}}
	balance := java(balanceMemory, "balancer.Balancer")
	admin := append(slices.Clone(balance[:len(balance)-1]), "org.apache.hadoop.hdfs.tools.DFSAdmin")
	script := fmt.Sprintf("trap 'exit 143' TERM\n%s -setBalancerBandwidth %d && exec %s -Ddfs.datanode.balance.max.concurrent.moves=%d -threshold %s",
		quoteAll(admin), int64(b.Bandwidth), quoteAll(balance), balanceMoves, strconv.FormatFloat(b.Threshold, 'f', -1, 64))
	spec := role{
		name: balancer, config: "hdfs-datanode", image: l.image, size: size,
		command: []string{"bash", "-c", script}, selector: hostname(l.control.Name),
	}.template().Spec.WithRestartPolicy(corev1.RestartPolicyNever)
	return kube.Object(core.Pod(balancer, provision.Namespace).WithLabels(labels(balancer)).WithSpec(spec))
}

// startBound is how long the balancer's pod may take to run, and how long the
// API server may be silent.
const startBound = 5 * time.Minute

// Run balances until the balancer has ended. One that runs already, from
// another computer or a run that was killed, is followed. When the context is
// done, the balancer is stopped; blocks that are on their way arrive.
func (b *Balancing) Run(ctx context.Context) (*Balanced, error) {
	all, err := b.datanodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("%d datanodes are registered with the namenode: there is nothing to balance between; nucspark status says more", len(all))
	}
	is, err := b.API.Get(ctx, "v1", "Pod", provision.Namespace, balancer)
	if err != nil {
		return nil, err
	}
	if is != nil && !b.ended(is) {
		b.Note("A balancing runs already, with what was asked for then; this follows it.")
	} else {
		if is != nil {
			if err := b.remove(ctx); err != nil {
				return nil, err
			}
		}
		if _, err := b.API.Apply(ctx, b.pod()); err != nil {
			// It may be there all the same, where the answer got lost.
			return nil, errors.Join(err, b.remove(ctx))
		}
	}
	r := &Balanced{}
	log := &balanceLog{result: r, progress: b.Progress}
	code, err := b.follow(ctx, log)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), b.remove(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("lost sight of the balancer: %w; where it still runs, the next nucspark hdfs balance follows it", err)
	}
	if err := b.remove(ctx); err != nil {
		return nil, err
	}
	if r.Balanced, r.Reason, err = outcome(code, log.last); err != nil {
		return nil, err
	}
	r.Datanodes, err = b.datanodes(ctx)
	return r, err
}

// remove ends the pod, if it still runs, and waits until it is gone.
func (b *Balancing) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return b.API.Delete(ctx, "v1", "Pod", provision.Namespace, balancer)
}

// ended says whether a pod has ended.
func (b *Balancing) ended(pod map[string]any) bool {
	status, _ := pod["status"].(map[string]any)
	return status["phase"] == "Succeeded" || status["phase"] == "Failed"
}

// follow reads the balancer's log until it has ended, and returns its exit
// code.
func (b *Balancing) follow(ctx context.Context, log *balanceLog) (code int64, err error) {
	pause := b.Tick
	if pause == 0 {
		pause = time.Second / 2
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	begun, heard := time.Now(), time.Now()
	for {
		pod, err := b.API.Get(ctx, "v1", "Pod", provision.Namespace, balancer)
		switch {
		case err == nil:
			heard = time.Now()
		case !kube.IsTransient(err) || time.Since(heard) > startBound:
			return 0, err
		}
		if err == nil && pod == nil {
			return 0, errors.New("the balancer's pod was deleted by somebody else; what was moved stays where it is")
		}
		status, _ := pod["status"].(map[string]any)
		over := b.ended(pod)
		if over || status["phase"] == "Running" {
			if err := log.read(ctx, b.API); err != nil {
				return 0, err
			}
		} else if time.Since(begun) > startBound {
			return 0, fmt.Errorf("the balancer did not start within %s; nucspark kubectl -- -n %s describe pod %s says why", startBound, provision.Namespace, balancer)
		}
		if over {
			return exitCode(status), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

// exitCode is that of a pod's container, -1 where it has none: it was evicted.
func exitCode(status map[string]any) int64 {
	containers, _ := status["containerStatuses"].([]any)
	for _, c := range containers {
		m, _ := c.(map[string]any)
		state, _ := m["state"].(map[string]any)
		if t, ok := state["terminated"].(map[string]any); ok {
			code, _ := t["exitCode"].(int64)
			return code
		}
	}
	return -1
}

// outcome says what an exit code of the balancer means (ExitStatus of
// org.apache.hadoop.hdfs.server.balancer: 0 to -7, of which a process returns
// the last eight bits). last is what it said last.
func outcome(code int64, last []string) (balanced bool, reason string, err error) {
	switch code {
	case 0:
		return true, "", nil
	case 254: // NO_MOVE_BLOCK
		return false, "no block can be moved: what is left is smaller than 10 MiB, or its copies lie where they must", nil
	case 253: // NO_MOVE_PROGRESS
		return false, "no block was moved in five rounds", nil
	case 255: // ALREADY_RUNNING, and IOException at the start
		return false, "", fmt.Errorf("the balancer did not begin: %s; one that was killed counts as running for a minute", strings.Join(last, "; "))
	}
	return false, "", fmt.Errorf("the balancer ended with exit code %d: %s", code, strings.Join(last, "; "))
}

// balanceLog reads what the balancer says.
type balanceLog struct {
	result   *Balanced
	progress func(moved, of int64)
	seen     time.Time // in front of the latest line
	last     []string  // at most three
	of       int64
}

// The balancer's log (Balancer and Dispatcher of Hadoop 3.5).
var (
	needLine  = regexp.MustCompile(` Need to move ([0-9.]+ [KMGTPE]?B) to make the cluster balanced`)
	movedLine = regexp.MustCompile(` Successfully moved .* with size=(\d+) ?from `)
	logLine   = regexp.MustCompile(`^\S+ \S+ (INFO|DEBUG) `)
)

// read copies what is new, until the log ends or breaks off.
func (l *balanceLog) read(ctx context.Context, api BalanceAPI) error {
	var since *time.Time
	if !l.seen.IsZero() {
		since = &l.seen
	}
	stream, err := api.Log(ctx, since)
	if err != nil {
		if kube.IsTransient(err) || ctx.Err() != nil {
			return nil // the next look says whether the pod is there
		}
		return err
	}
	defer stream.Close()
	lines := bufio.NewReader(stream)
	for {
		text, err := lines.ReadString('\n')
		if err != nil {
			return nil // the line is read again if it was cut
		}
		stamp, line, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return fmt.Errorf("a line of the log begins with %q instead of its time", stamp)
		}
		if at.After(l.seen) { // since is rounded down to a second
			l.seen = at
			l.line(ssh.Clean(line))
		}
	}
}

func (l *balanceLog) line(line string) {
	if m := needLine.FindStringSubmatch(line); m != nil {
		l.of = l.result.Bytes + hadoopBytes(m[1])
		l.progress(l.result.Bytes, l.of)
	}
	if m := movedLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64) // digits only
		l.result.Bytes, l.result.Blocks = l.result.Bytes+n, l.result.Blocks+1
		l.progress(l.result.Bytes, max(l.of, l.result.Bytes))
	}
	if line = strings.TrimSpace(line); line != "" && !logLine.MatchString(line) {
		if l.last = append(l.last, line); len(l.last) > 3 {
			l.last = l.last[1:]
		}
	}
}

// hadoopBytes reads "1.50 GB", by which Hadoop means binary units
// (StringUtils.byteDesc).
func hadoopBytes(s string) int64 {
	number, unit, _ := strings.Cut(s, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	for range strings.Index("BKMGTPE", unit[:1]) {
		n *= 1024
	}
	return int64(n)
}
