package provision

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

// Record is the ConfigMap in [Namespace] that holds what the cluster knows of
// itself.
const (
	Record         = "nucspark"
	RecordCluster  = "cluster.json" // [Resolved]
	RecordMembers  = "members.json" // map of node name to [Member]
	RecordManifest = "inventory.json"
)

// Member is one machine that belongs to the cluster.
type Member struct {
	MachineID string `json:"machine_id"`
	Address   string `json:"address"`
	Port      int    `json:"port,omitempty"`     // of sshd, where the inventory gives the node one of its own
	HostKey   string `json:"host_key,omitempty"` // where the inventory has it
	Leaving   bool   `json:"leaving,omitempty"`  // somebody agreed to its removal, which is not finished
	// Replacement is the machine-id of the one other machine that may take its
	// name: somebody agreed to that, and it has not joined yet.
	Replacement string `json:"replacement,omitempty"`
}

// RecordCopyFile is a copy of the record on the control plane, for the time
// when the API server does not answer and must be put right.
const RecordCopyFile = StateDir + "/record.json"

// RecordCopy is its content.
type RecordCopy struct {
	Cluster Resolved          `json:"cluster"`
	Members map[string]Member `json:"members"`
}

// Prepare surveys the machines and works out what steps are made from. It
// changes nothing. A [RefusedError] says what must be put right first. The map
// holds the nodes that cannot be worked on now, and why; the others can.
func (f *Fleet) Prepare(ctx context.Context, supported func(os, version, arch string) error) (*Site, map[string]error, error) {
	return f.prepare(ctx, f.cluster.Nodes, map[string]error{}, supported)
}

// PrepareAgain is Prepare for the nodes of a site, to be asked once they are
// locked: another run may have ended since, and have added a member or made
// the cluster. A node that answered neither then nor now stays left out, and
// so does one that answers only now, for it is not locked.
func (f *Fleet) PrepareAgain(ctx context.Context, site *Site, failed map[string]error, supported func(os, version, arch string) error) (*Site, map[string]error, error) {
	var nodes []inventory.Node
	for _, n := range site.Reachable() {
		nodes = append(nodes, *n)
	}
	missing := map[string]error{}
	for _, n := range site.Missing() {
		missing[n.Name] = failed[n.Name]
	}
	return f.prepare(ctx, nodes, missing, supported)
}

// prepare surveys nodes; missing are those that did not answer before.
func (f *Fleet) prepare(ctx context.Context, nodes []inventory.Node, missing map[string]error, supported func(os, version, arch string) error) (*Site, map[string]error, error) {
	x, err := f.examine(ctx, nodes, missing, supported)
	if err != nil {
		return nil, nil, err
	}
	var reasons []string
	for _, n := range f.cluster.Nodes {
		if err := x.Failed[n.Name]; err != nil && !Unreachable(err) {
			reasons = append(reasons, err.Error())
		}
	}
	for _, p := range x.Problems {
		reasons = append(reasons, p.String())
	}
	if len(reasons) > 0 {
		return nil, x.Failed, &RefusedError{Reasons: reasons}
	}
	if err := x.Failed[f.cluster.ControlPlane().Name]; err != nil {
		return nil, x.Failed, fmt.Errorf("nothing can be done without the control plane: %w", err)
	}
	return x.Site, x.Failed, x.Err
}

// Examination is all that can be said of a cluster before any step is made.
type Examination struct {
	Machines map[string]Machine // that answered
	Failed   map[string]error   // the others, and why
	Problems []Problem          // what somebody must put right first
	Err      error              // what could not be found out about the cluster as a whole
	Site     *Site              // nil where the control plane did not answer, and where Err is not
}

// Plannable says whether steps can be made of the site. Memory, ports or a
// clock do not change them; what a machine is, and whose, does.
func (x *Examination) Plannable() bool {
	for _, err := range x.Failed {
		if !Unreachable(err) {
			return false
		}
	}
	return x.Site != nil && !slices.ContainsFunc(x.Problems, func(p Problem) bool {
		return slices.Contains([]string{CheckSystem, CheckMachineID, CheckCluster, CheckData, CheckRecord}, p.Check)
	})
}

// Examine is Prepare for who wants to know everything that is wrong. Its error
// is that of the context.
func (f *Fleet) Examine(ctx context.Context, supported func(os, version, arch string) error) (*Examination, error) {
	return f.examine(ctx, f.cluster.Nodes, map[string]error{}, supported)
}

func (f *Fleet) examine(ctx context.Context, nodes []inventory.Node, missing map[string]error, supported func(os, version, arch string) error) (*Examination, error) {
	// The record is read while the machines are asked: where there is a
	// cluster, it is wanted.
	control := f.cluster.ControlPlane().Name
	record := make(chan recordRead, 1)
	machines, failed := f.survey(ctx, nodes, func(node string) {
		if node == control {
			go func() {
				facts, err := f.Read(ctx, []Query{recordQuery})
				record <- recordRead{facts, err}
			}()
		}
	})
	maps.Copy(failed, missing)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x := &Examination{Machines: machines, Failed: failed, Problems: Check(f.cluster, machines, supported)}
	if failed[control] != nil {
		return x, nil
	}
	site := &Site{Cluster: f.cluster, Machines: machines}
	// judge keeps what is wrong; both are asked, whatever the other said.
	judge := func(check string, err error) {
		reasons := Reasons(err)
		for _, r := range reasons {
			x.Problems = append(x.Problems, Reason(f.cluster, check, r))
		}
		if len(reasons) == 0 && x.Err == nil {
			x.Err = err
		}
	}
	uid := uidOf(machines)
	var err error
	if uid == "" {
		uid, site.Adopted, err = f.adopt(ctx, machines)
		judge(CheckData, err)
	}
	site.Resolved, site.Members, err = f.resolve(machines, cmp.Or(uid, f.uid), <-record)
	judge(CheckRecord, err)
	if x.Err == nil {
		x.Site = site
	}
	return x, ctx.Err()
}

// recordRead is what the API answered about [recordQuery].
type recordRead struct {
	facts Facts
	err   error
}

// Unreachable says that a machine did not answer, which leaves the others
// free; an answer that was wrong (another key, no right) stops everything.
func Unreachable(err error) bool {
	var conn *host.ConnectError
	return errors.As(err, &conn) && conn.Transient
}

// uidOf is that of the cluster to which machines belong, "" where none does.
func uidOf(machines map[string]Machine) string {
	for _, m := range machines {
		if m.Identity != nil {
			return m.Identity.UID
		}
	}
	return ""
}

// resolve returns the values fixed at the first up, and computes those that
// are not fixed yet. uid is that of the cluster while there is no record.
func (f *Fleet) resolve(machines map[string]Machine, uid string, record recordRead) (Resolved, map[string]Member, error) {
	c := f.cluster
	r := Resolved{UID: uid}
	members := map[string]Member{}
	if cp := machines[c.ControlPlane().Name]; cp.Kubeadm || cp.Made {
		facts := record.facts
		// kubeadm gives the administrator the right to ask near its end.
		if record.err != nil && (cp.Made || !apierrors.IsForbidden(record.err)) {
			return r, nil, record.err
		}
		// Unknown is not absent: values computed anew would upgrade packages,
		// change the replication and forget members.
		switch {
		case !cp.Made || facts.Known(recordQuery):
		case cp.Record != nil:
			r, members = cp.Record.Cluster, cp.Record.Members
		default:
			return r, nil, fmt.Errorf("the cluster on %s was made, but its API server does not answer and what was fixed at the first up cannot be read; nothing was changed; "+
				"if %[1]s has just started, run again in a minute, else journalctl -u kubelet -u containerd there says why", c.ControlPlane().Name)
		}
		if live := recordQuery.In(facts); live != nil {
			data, _ := live["data"].(map[string]any)
			for key, v := range map[string]any{RecordCluster: &r, RecordMembers: &members} {
				text, _ := data[key].(string)
				if err := json.Unmarshal([]byte(text), v); err != nil {
					return r, nil, fmt.Errorf("the cluster's record %s/%s is damaged (%s): %w", Namespace, Record, key, err)
				}
			}
		}
	}
	version, err := kubernetesVersion(c.Kubernetes, r.Kubernetes)
	reasons := Reasons(err) // it fails in no other way
	r.Kubernetes = version
	if c.HDFS.Replication != 0 {
		r.Replication = c.HDFS.Replication
	} else if r.Replication == 0 {
		r.Replication = c.DefaultReplication()
	}
	if reasons = append(reasons, checkRecord(c, &r, members, machines, f.trusting)...); len(reasons) > 0 {
		return r, nil, &RefusedError{Reasons: reasons}
	}
	return r, members, nil
}

// checkRecord compares the inventory with what the cluster was made with, and
// completes the record. Of the node trusting, another machine may answer.
func checkRecord(c *inventory.Cluster, r *Resolved, members map[string]Member, machines map[string]Machine, trusting string) []string {
	var reasons []string
	for _, network := range []struct {
		name, want string
		is         *string
	}{{"pods", c.Network.Pods.String(), &r.Pods}, {"services", c.Network.Services.String(), &r.Services}} {
		if *network.is == "" {
			*network.is = network.want
		}
		if *network.is != network.want {
			reasons = append(reasons, fmt.Sprintf("the network of %s is %s since the cluster was made and cannot become %s; put it back in %s",
				network.name, *network.is, network.want, c.File))
		}
	}
	for _, n := range c.Nodes {
		was, ok := members[n.Name]
		if !ok {
			continue
		}
		if was.Address != n.Address.String() {
			reasons = append(reasons, fmt.Sprintf("%s: its address is %s in the cluster and %s in %s; give the machine its old address back, and the file too",
				n.Name, was.Address, n.Address, c.File))
		}
		if m, here := machines[n.Name]; here && was.MachineID != m.MachineID && was.Replacement != m.MachineID && n.Name != trusting {
			remedy := fmt.Sprintf("if it was replaced or installed anew, nucspark trust %s lets it join in the place of the old one", n.Name)
			if n.Role == inventory.ControlPlane {
				remedy = "the control plane cannot be replaced: bring the old machine back"
			}
			reasons = append(reasons, fmt.Sprintf("%s: another machine answers than the one that joined (machine-id %s, now %s); %s",
				n.Name, was.MachineID, m.MachineID, remedy))
		}
	}
	return reasons
}

var recordQuery = LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: Namespace, Name: Record}

// kubernetesVersion is the exact version for what the inventory asks, given
// what the cluster runs ("" before the first up).
func kubernetesVersion(want, runs string) (string, error) {
	exact := strings.Count(want, ".") == 2
	switch {
	case runs == "" && exact:
		return want, nil
	case runs == "":
		newest := inventory.KubernetesReleases[want]
		if newest == "" {
			return "", &RefusedError{Reasons: []string{fmt.Sprintf("this nucspark has no patch release for Kubernetes %q; write an exact version, such as \"%s.1\"", want, want)}}
		}
		return newest, nil
	case want == runs, !exact && strings.HasPrefix(runs, want+"."):
		return runs, nil
	}
	return "", &RefusedError{Reasons: []string{fmt.Sprintf("the cluster runs Kubernetes %s and the inventory asks for %s; upgrades are not supported yet: write kubernetes = %q", runs, want, runs)}}
}

// newUID is a random UUID (RFC 9562, version 4).
func newUID() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err) // the kernel's generator does not fail
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Foreign returns the recorded members that the inventory does not name any
// more and that do not leave: nothing is done to them without being asked.
func (s *Site) Foreign() []string {
	var names []string
	for _, name := range sortedKeys(s.Members) {
		if _, ok := s.Cluster.Node(name); !ok && !s.Leaves(name) {
			names = append(names, name)
		}
	}
	return names
}

// Whole says that every machine that the inventory or the cluster knows
// answered. Kubernetes does not end a rolling change while one is off.
func (s *Site) Whole() bool { return len(s.Missing()) == 0 && len(s.Foreign()) == 0 }
