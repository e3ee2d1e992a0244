package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// nodesStep keeps the ConfigMap from which the namenode learns about machines:
// which addresses belong to one machine, and which datanodes are to leave. The
// namenode reads it while it runs.
type nodesStep struct {
	provision.Base
	site    *provision.Site
	leaving bool // those that leave have not left: they keep their racks, and their datanodes are named
}

func nodesStepOf(l *layout, after []string) nodesStep {
	return nodesStep{Base: provision.Base{Name: nodesName, After: after}, site: l.site}
}

var nodesMapQuery = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: provision.Namespace, Name: nodesMap}

func (s nodesStep) Reads() []provision.Query {
	if s.leaving {
		return []provision.Query{nodesQuery, nodesMapQuery, datanodePods}
	}
	return []provision.Query{nodesQuery, nodesMapQuery}
}

// racks is the table that topology.sh reads.
func (s nodesStep) racks(nodes []provision.Object) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -\n", s.site.Cluster.Network.Pods)
	for _, o := range nodes {
		if !s.leaving && s.site.Leaves(nameOf(o)) {
			continue
		}
		status, _ := o["status"].(map[string]any)
		addresses, _ := status["addresses"].([]any)
		for _, a := range addresses {
			m, _ := a.(map[string]any)
			if m["type"] == "InternalIP" {
				fmt.Fprintf(&b, "%s/32 /%s\n", m["address"], nameOf(o))
			}
		}
		if cidr := podNetwork(o); cidr != "" {
			fmt.Fprintf(&b, "%s /%s\n", cidr, nameOf(o))
		}
	}
	return b.String()
}

func podNetwork(node provision.Object) string {
	spec, _ := node["spec"].(map[string]any)
	cidr, _ := spec["podCIDR"].(string)
	return cidr
}

// host is one line of hosts.json, in the form of Hadoop's
// CombinedHostFileManager. Where no line has the state NORMAL, a datanode that
// is not listed is in service.
type host struct {
	Name  string `json:"hostName"`
	State string `json:"adminState"`
}

// noHosts says that every machine may store blocks and none is to leave.
const noHosts = "[]"

// hostsRead is the key of the ConfigMap with the hosts that the namenode has
// read, absent for none: a run may end before it was told to.
const hostsRead = "hosts.read"

// state is what the ConfigMap says.
func (s nodesStep) state(live provision.Object) (racks, hosts, read string) {
	data, _ := live["data"].(map[string]any)
	racks, _ = data["racks"].(string)
	hosts, _ = data["hosts.json"].(string)
	if read, _ = data[hostsRead].(string); read == "" {
		read = noHosts
	}
	return racks, hosts, read
}

// hosts names the datanodes that are to leave. The namenode compares the
// address under which a datanode registers, which is its pod's; a pod that is
// made anew has another one, so an address that was listed once stays so. It is
// dropped when it belongs to the pod network of a node that stays: the node
// that was to leave stays after all, or a later one was given that network.
// dropped are those.
func (s nodesStep) hosts(f provision.Facts) (text string, dropped []string) {
	var listed []host
	_, is, _ := s.state(nodesMapQuery.In(f))
	_ = json.Unmarshal([]byte(is), &listed) // what cannot be read is written anew
	var addresses []string
	for _, h := range listed {
		if slices.ContainsFunc(nodesQuery.In(f), func(o provision.Object) bool {
			return !s.site.Leaves(nameOf(o)) && within(podNetwork(o), h.Name)
		}) {
			dropped = append(dropped, h.Name)
			continue
		}
		addresses = append(addresses, h.Name)
	}
	if s.leaving {
		for _, p := range datanodePods.In(f) {
			if node, address := placeOf(p); address != "" && s.site.Leaves(node) {
				addresses = append(addresses, address)
			}
		}
	}
	slices.Sort(addresses)
	hosts := []host{}
	for _, a := range slices.Compact(addresses) {
		hosts = append(hosts, host{a, "DECOMMISSIONED"})
	}
	b, err := json.Marshal(hosts)
	if err != nil {
		panic(err) // strings only
	}
	return string(b), dropped
}

func within(network, address string) bool {
	p, err := netip.ParsePrefix(network)
	a, aerr := netip.ParseAddr(address)
	return err == nil && aerr == nil && p.Contains(a)
}

// placeOf is the node of a pod and the address it has there, "" for none.
func placeOf(pod provision.Object) (node, address string) {
	spec, _ := pod["spec"].(map[string]any)
	status, _ := pod["status"].(map[string]any)
	node, _ = spec["nodeName"].(string)
	address, _ = status["podIP"].(string)
	return node, address
}

func (s nodesStep) Diff(f provision.Facts) ([]provision.Change, error) {
	c := provision.Change{Kind: "ConfigMap", Key: provision.Namespace + "/" + nodesMap, Action: provision.Create}
	if !f.Known(nodesQuery) || !f.Known(nodesMapQuery) {
		c.After = provision.ClusterAPI
		return []provision.Change{c}, nil
	}
	live := nodesMapQuery.In(f)
	if live == nil {
		c.New = s.racks(nodesQuery.In(f))
		return []provision.Change{c}, nil
	}
	racks, hosts, read := s.state(live)
	wantRacks := s.racks(nodesQuery.In(f))
	wantHosts, _ := s.hosts(f)
	if racks == wantRacks && hosts == wantHosts && read == wantHosts {
		return nil, nil
	}
	if hosts == wantHosts && read != wantHosts {
		c.Old = "not read by the namenode yet"
	}
	c.Action = provision.Update
	c.Detail = strings.TrimSpace(provision.LineDiff([]byte(racks), []byte(wantRacks)) + "\n" + provision.LineDiff([]byte(hosts+"\n"), []byte(wantHosts+"\n")))
	return []provision.Change{c}, nil
}

// forgetBound is how long the namenode may take to count a datanode as dead
// that ended: 10.5 min with Hadoop's defaults (twice
// dfs.namenode.heartbeat.recheck-interval and ten heartbeats), and some.
const forgetBound = 15 * time.Minute

func (s nodesStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	return s.write(ctx, env, env.Facts())
}

// write puts racks and hosts in place. Where the hosts changed, the namenode is
// told to read them.
func (s nodesStep) write(ctx context.Context, env *provision.Env, f provision.Facts) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	hosts, dropped := s.hosts(f)
	if len(dropped) > 0 {
		if err := forgotten(ctx, env, dropped); err != nil {
			return err
		}
	}
	data := map[string]string{"racks": s.racks(nodesQuery.In(f)), "hosts.json": hosts}
	_, _, read := s.state(nodesMapQuery.In(f))
	put := func(read string) error {
		delete(data, hostsRead)
		if read != noHosts {
			data[hostsRead] = read
		}
		_, err := k.Apply(ctx, kube.Object(configMap(nodesMap, namenode, data)))
		return err
	}
	if err := put(read); err != nil {
		return err
	}
	if err := nudge(ctx, k); err != nil || read == hosts {
		return err
	}
	if err := readHosts(ctx, env, hosts); err != nil {
		return err
	}
	return put(hosts)
}

// serviceStep is a step: every datanode of the inventory is in service. The
// namenode remembers by its UUID one that left, or was to, and is back; it
// takes it in again when it reads the hosts.
type serviceStep struct {
	provision.Base
	layout *layout
}

func (serviceStep) Reads() []provision.Query { return []provision.Query{infoQuery, nodesMapQuery} }

func (s serviceStep) Diff(f provision.Facts) ([]provision.Change, error) {
	info, err := parseInfo(infoQuery.In(f))
	if err != nil {
		return nil, nil // the steps before say what is the matter
	}
	var changes []provision.Change
	for _, n := range s.layout.stores {
		if d, ok := info.live[n.Address.String()]; ok && s.layout.reachable(n) && (d.State == hasLeft || d.State == isLeaving) {
			changes = append(changes, provision.Change{Kind: "datanode", Key: n.Name, Action: provision.Update, Old: d.State, New: inService})
		}
	}
	return changes, nil
}

func (s serviceStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	_, hosts, _ := nodesStep{}.state(nodesMapQuery.In(env.Facts()))
	return readHosts(ctx, env, hosts)
}

// forgotten waits until no datanode that ended is alive to the namenode under
// one of the addresses: it would count the blocks of that one once more, and
// might remove other copies as too many.
func forgotten(ctx context.Context, env *provision.Env, addresses []string) error {
	wait := provision.WaitFor{Base: provision.Base{Name: nodesName}, Key: "the namenode counts datanodes that left as dead",
		Queries: []provision.Query{infoQuery, datanodePods}, Bound: forgetBound, Hint: seePods,
		Missing: func(f provision.Facts) string {
			info, err := parseInfo(infoQuery.In(f))
			if err != nil {
				return "namenode: " + err.Error()
			}
			for label, d := range info.live {
				address, _, _ := strings.Cut(d.Address, ":")
				if slices.Contains(addresses, address) && !slices.ContainsFunc(datanodePods.In(f), func(p provision.Object) bool {
					_, at := placeOf(p)
					return at == address
				}) {
					return "the datanode of " + label + " is alive to it"
				}
			}
			return ""
		}}
	return wait.Apply(ctx, env, nil)
}

// readHosts makes the namenode read hosts.json, as soon as its pod has it. There
// is no other way than Hadoop's own program: neither WebHDFS nor the status
// page can do it.
func readHosts(ctx context.Context, env *provision.Env, hosts string) error {
	control := env.Site().Cluster.ControlPlane().Name
	_, err := env.Node(control).Run(ctx, "kubectl --kubeconfig "+provision.AdminConf+" -n "+provision.Namespace+" exec "+namenode+"-0 -c "+namenode+
		" -- bash -c "+provision.Quote(readHostsScript)+" - "+provision.Quote(hosts)+" </dev/null")
	if err != nil {
		return &provision.StepError{Node: control, Step: nodesName, Err: fmt.Errorf("the namenode did not read %s/hosts.json: %w", nodesMount, err), Transient: true, Hint: seePods}
	}
	return nil
}

// readHostsScript waits up to two minutes for the file: the kubelet brings it
// within one (its sync period).
var readHostsScript = `for ((i = 0; i < 240; i++)); do
	if [[ $(<` + nodesMount + `/hosts.json) == "$1" ]]; then
		exec java -Xmx64m -XX:-UsePerfData -Djava.net.preferIPv4Stack=true -cp '` + classPath + `' org.apache.hadoop.hdfs.tools.DFSAdmin -refreshNodes
	fi
	sleep 0.5
done
echo "the pod has not got the new hosts.json" >&2
exit 75`

// nudge makes the namenode's kubelet look at its pod, and so at the ConfigMaps
// in it, at once instead of within a minute. Without a namenode nothing is to
// be done.
func nudge(ctx context.Context, k *kube.Client) error {
	pod, err := k.Get(ctx, "v1", "Pod", provision.Namespace, namenode+"-0")
	if err != nil || pod == nil {
		return err
	}
	meta, _ := pod["metadata"].(map[string]any)
	version, _ := meta["resourceVersion"].(string)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"nucspark.io/looked":%q}}}`, version)
	_, err = k.Clientset().CoreV1().Pods(provision.Namespace).Patch(ctx, namenode+"-0", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"})
	return err
}
