package kubeadm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// kubeletFile is the configuration of a node's kubelet. kubeadm makes it of
// the ConfigMap kubelet-config when a node joins.
const kubeletFile = "/var/lib/kubelet/config.yaml"

// newConfigFile stands beside configFile until the cluster was made to agree
// with it: configFile is the record of what the cluster has.
const newConfigFile = dir + "/kubeadm.new.yaml"

// configAnnotation on the pods of kube-proxy is the hash of what they read,
// once it was changed.
const configAnnotation = "nucspark.io/config"

const reconfigureBound = 10 * time.Minute

var (
	kubeletConfig = provision.LiveQuery{APIVersion: "v1", Kind: "ConfigMap", Namespace: "kube-system", Name: "kubelet-config"}
	proxyDaemon   = provision.LiveQuery{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: "kube-system", Name: "kube-proxy"}
	flannelDaemon = provision.LiveQuery{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: flannelNamespace, Name: flannelName}
)

// reconfigured is a step: the cluster's configuration of kubelets and
// kube-proxy is that of the inventory, as kubeadm would have made it. The file
// that kubeadm init read says what it was.
type reconfigured struct {
	provision.Base
	site *provision.Site
}

func (s reconfigured) file() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: configFile, Content: true}
}

func (s reconfigured) state() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: stateFile, Content: true}
}

func (s reconfigured) Reads() []provision.Query { return []provision.Query{s.file(), s.state()} }

// want is the file as it should be, and what it is, by kind of document.
func (s reconfigured) want(f provision.Facts) (content []byte, want, is map[string]map[string]any, err error) {
	if is, err = documents(s.file().In(f).Content); err != nil {
		return nil, nil, nil, fmt.Errorf("%s on %s: %w", configFile, s.Node, err)
	}
	made, err := initConfig(s.site)
	if err != nil {
		return nil, nil, nil, err
	}
	if want, err = documents(made); err != nil {
		return nil, nil, nil, err
	}
	// What init was given once and what changes by other ways stays as it is.
	if doc := is["InitConfiguration"]; doc != nil {
		want["InitConfiguration"] = doc
	}
	keep := func(kind, field string, patch inventory.Patch) {
		if _, patched := patch.Config[field]; !patched && is[kind][field] != nil {
			want[kind][field] = is[kind][field]
		}
	}
	keep("ClusterConfiguration", "kubernetesVersion", inventory.Patch{})
	keep("KubeletConfiguration", "cgroupDriver", s.site.Cluster.Patches["kubelet"])
	content, err = render(want["ClusterConfiguration"], want["InitConfiguration"], want["KubeletConfiguration"], want["KubeProxyConfiguration"])
	return content, want, is, err
}

// reconfigurable are the documents that can be changed in a running cluster.
var reconfigurable = []struct{ kind, shown, detail string }{
	{"KubeletConfiguration", "kubelet configuration", "the kubelets are restarted one after the other; pods go on"},
	{"KubeProxyConfiguration", "kube-proxy configuration", "the pods of kube-proxy are replaced one after the other"},
}

func (s reconfigured) Diff(f provision.Facts) ([]provision.Change, error) {
	if strings.TrimSpace(string(s.state().In(f).Content)) != "done" || !s.file().In(f).Exists {
		return nil, nil // kubeadm init reads what the inventory says
	}
	_, want, is, err := s.want(f)
	if err != nil {
		return nil, err
	}
	if d := leaves("", is["ClusterConfiguration"], want["ClusterConfiguration"]); len(d) > 0 {
		return nil, fmt.Errorf("patch \"kubeadm\" gives %s: this counts only when a cluster is made and is not changed in one that runs: put the block back as it was (it was %s)",
			orNothing(d[0].name, d[0].now), orNothing(d[0].name, d[0].old))
	}
	var changes []provision.Change
	for _, doc := range reconfigurable {
		for _, d := range leaves("", is[doc.kind], want[doc.kind]) {
			changes = append(changes, provision.Change{Kind: doc.shown, Key: d.name, Action: provision.Update,
				Old: shown(d.old), New: shown(d.now), Detail: doc.detail})
		}
	}
	return changes, nil
}

func orNothing(name string, v any) string {
	if v == nil {
		return "no " + name
	}
	return name + " = " + shown(v)
}

func shown(v any) string {
	if v == nil {
		return "the default"
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came out of JSON
	}
	return string(b)
}

func (s reconfigured) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, reconfigureBound)
	defer cancel()
	content, want, _, err := s.want(env.Facts())
	if err != nil {
		return err
	}
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	node := env.Node(s.Node)
	err = node.WriteFile(ctx, provision.Written{Path: newConfigFile, Content: content, Mode: 0o600, Owner: "root", Group: "root"})
	if err != nil {
		return err
	}
	changed := func(shown string) bool {
		return slices.ContainsFunc(changes, func(c provision.Change) bool { return c.Kind == shown })
	}
	script := kubeadmAlone + "set -e\nkubeadm config validate --config " + newConfigFile + "\n"
	if changed(reconfigurable[0].shown) {
		script += "kubeadm init phase upload-config kubelet --config " + newConfigFile + "\n"
	}
	proxy := changed(reconfigurable[1].shown)
	if proxy {
		script += "kubeadm init phase addon kube-proxy --config " + newConfigFile + "\n"
	}
	if err := node.Change(ctx, provision.Entry{Kind: "kubeadm", Key: "configuration"}, script); err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: err, Hint: "correct the patch block in " + s.site.Cluster.File}
	}
	if proxy {
		if err := restartProxy(ctx, k, want["KubeProxyConfiguration"]); err != nil {
			return err
		}
	}
	err = node.WriteFile(ctx, provision.Written{Path: configFile, Content: content, Mode: 0o600, Owner: "root", Group: "root", Before: s.file().In(env.Facts())})
	if err != nil {
		return err
	}
	_, err = node.Run(ctx, "rm -f "+newConfigFile)
	return err
}

// restartProxy replaces the pods of kube-proxy: they read their configuration
// only when they start.
func restartProxy(ctx context.Context, k *kube.Client, config map[string]any) error {
	sum := sha256.Sum256([]byte(indented(config)))
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, configAnnotation, hex.EncodeToString(sum[:8]))
	_, err := k.Clientset().AppsV1().DaemonSets(proxyDaemon.Namespace).Patch(ctx, proxyDaemon.Name, types.StrategicMergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: kube.Manager})
	return err
}

// kubeletConfigured is a step: the kubelet of a member runs with the cluster's
// configuration.
type kubeletConfigured struct {
	provision.Base
	site *provision.Site
}

func (s kubeletConfigured) file() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: kubeletFile, Content: true}
}

func (s kubeletConfigured) Reads() []provision.Query {
	return []provision.Query{s.file(), kubeletConfig}
}

// ownOf are the fields that kubeadm fills in for each node.
var ownOf = []string{"containerRuntimeEndpoint", "resolvConf"}

// want is the file as it should be, nil while the node or the cluster has none.
func (s kubeletConfigured) want(f provision.Facts) (want, is map[string]any, err error) {
	file := s.file().In(f)
	if !file.Exists || !f.Known(kubeletConfig) || kubeletConfig.In(f) == nil {
		return nil, nil, nil
	}
	if err := yaml.Unmarshal(file.Content, &is); err != nil {
		return nil, nil, fmt.Errorf("%s on %s: %w", kubeletFile, s.Node, err)
	}
	if err := yaml.Unmarshal([]byte(text(kubeletConfig.In(f), "data", "kubelet")), &want); err != nil || want == nil {
		return nil, nil, fmt.Errorf("the ConfigMap kube-system/kubelet-config holds no configuration: %w", err)
	}
	for _, field := range ownOf {
		if v, ok := is[field]; ok && (want[field] == nil || want[field] == "") {
			want[field] = v
		}
	}
	return want, is, nil
}

func (s kubeletConfigured) Diff(f provision.Facts) ([]provision.Change, error) {
	want, is, err := s.want(f)
	if err != nil || want == nil {
		return nil, err
	}
	var changes []provision.Change
	for _, d := range leaves("", is, want) {
		changes = append(changes, provision.Change{Kind: "kubelet configuration", Key: d.name, Action: provision.Update, Old: shown(d.old), New: shown(d.now),
			Detail: "the kubelet is restarted; pods go on"})
	}
	return changes, nil
}

// Apply puts the file back that the kubelet started with before, should it not
// start with the new one.
func (s kubeletConfigured) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, reconfigureBound)
	defer cancel()
	want, _, err := s.want(env.Facts())
	if err != nil {
		return err
	}
	content, err := render(want)
	if err != nil {
		return err
	}
	node, before := env.Node(s.Node), s.file().In(env.Facts())
	write := func(ctx context.Context, content []byte) error {
		return node.WriteFile(ctx, provision.Written{Path: kubeletFile, Content: content, Mode: before.Mode.Perm(), Owner: before.Owner, Group: before.Group, Before: before})
	}
	if err := write(ctx, content); err != nil {
		return err
	}
	if _, err := node.Run(ctx, restartKubelet); err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		hint := "its former configuration is in place again; correct patch \"kubelet\" in " + s.site.Cluster.File
		if again := write(after, before.Content); again != nil {
			hint = fmt.Sprintf("its former configuration could not be put back (%v)", again)
		} else if _, again := node.Run(after, restartKubelet); again != nil {
			hint = "it does not start with its former configuration either; journalctl -u kubelet says why"
		}
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: fmt.Errorf("the kubelet does not start with the changed configuration: %w", err), Hint: hint}
	}
	return nil
}

// restartKubelet ends when the kubelet serves its port, which it does after it
// has taken its configuration.
const restartKubelet = `systemctl restart kubelet
for i in $(seq 60); do
  [ -z "$(ss -Hltn 'sport = :10250')" ] || exit 0
  sleep 0.5
done
journalctl --no-pager -n 10 -o cat -u kubelet >&2
exit 1
`

// reconfigureSteps are the steps by which later edits of the patch blocks take
// effect. The kubelets follow one another, the control plane's last.
func reconfigureSteps(site *provision.Site, initID, daemon string) []provision.Step {
	cp := site.Cluster.ControlPlane().Name
	config := reconfigured{provision.Base{Name: cp + "/kubeadm/configuration", Node: cp, After: []string{initID, provision.ClusterAPI}}, site}
	steps := []provision.Step{config}
	before := config.Name
	nodes := slices.Clone(site.Reachable())
	slices.SortStableFunc(nodes, func(a, b *inventory.Node) int {
		rank := map[bool]int{true: 1}
		return rank[a.Name == cp] - rank[b.Name == cp]
	})
	for _, n := range nodes {
		s := kubeletConfigured{provision.Base{Name: n.Name + "/kubeadm/kubelet-configuration", Node: n.Name, After: []string{provision.NodeReady(n.Name), before}}, site}
		steps = append(steps, s)
		before = s.Name
	}
	if !site.Whole() {
		return steps // Kubernetes does not end a rolling change while a machine is off
	}
	return append(steps, provision.WaitFor{
		Base: provision.Base{Name: "cluster/kubeadm/daemons", After: []string{config.Name, daemon}},
		Key:  "kube-proxy and flannel run with their present configuration", Bound: networkBound,
		Queries: []provision.Query{proxyDaemon, flannelDaemon},
		Missing: func(f provision.Facts) string {
			if why := provision.Rolling(proxyDaemon.In(f)); why != "" {
				return why
			}
			return provision.Rolling(flannelDaemon.In(f))
		},
		Hint: "nucspark kubectl -- get pods -A -o wide shows the pods",
	})
}

// documents reads YAML documents by their kind.
func documents(content []byte) (map[string]map[string]any, error) {
	docs := map[string]map[string]any{}
	for _, part := range bytes.Split(content, []byte("\n---\n")) {
		var doc map[string]any
		if err := yaml.Unmarshal(part, &doc); err != nil {
			return nil, err
		}
		docs[text(doc, "kind")] = doc
	}
	return docs, nil
}

// leaf is a value that differs; nil stands for none.
type leaf struct {
	name     string
	old, now any
}

// leaves lists what differs between two maps, in the order of the names.
func leaves(path string, old, now map[string]any) []leaf {
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	var list []leaf
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		name := strings.TrimPrefix(path+"."+k, ".")
		om, oldMap := old[k].(map[string]any)
		nm, nowMap := now[k].(map[string]any)
		switch {
		case oldMap && nowMap, oldMap && now[k] == nil, nowMap && old[k] == nil:
			list = append(list, leaves(name, om, nm)...)
		case !reflect.DeepEqual(old[k], now[k]):
			list = append(list, leaf{name, old[k], now[k]})
		}
	}
	return list
}
