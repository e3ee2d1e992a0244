package kubeadm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	"sigs.k8s.io/yaml"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

const (
	apiVersion = "kubeadm.k8s.io/v1beta4"
	apiPort    = 6443
	criSocket  = "unix:///run/containerd/containerd.sock"

	// controlPlaneTaint keeps pods off a machine that only carries the control
	// plane. It is kubeadm's own.
	controlPlaneTaint = "node-role.kubernetes.io/control-plane"
)

// What follows are the parts of kubeadm's v1beta4 configuration that nucspark
// sets (k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/v1beta4/types.go).

type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

type initConfiguration struct {
	head
	// kubeadm makes up the token itself; without an entry it would live a day.
	BootstrapTokens  []bootstrapToken `json:"bootstrapTokens"`
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	LocalAPIEndpoint apiEndpoint      `json:"localAPIEndpoint"`
	SkipPhases       []string         `json:"skipPhases"`
	Timeouts         timeouts         `json:"timeouts"`
}

// timeouts are kubeadm's own, of 1 and 4 minutes, made longer: a small
// processor that unpacks images at the same time takes its time to start an API
// server.
type timeouts struct {
	ControlPlaneComponentHealthCheck string `json:"controlPlaneComponentHealthCheck"`
	KubernetesAPICall                string `json:"kubernetesAPICall"`
}

var patient = timeouts{ControlPlaneComponentHealthCheck: "8m", KubernetesAPICall: "5m"}

type bootstrapToken struct {
	Description string `json:"description"`
	TTL         string `json:"ttl"`
}

type apiEndpoint struct {
	AdvertiseAddress string `json:"advertiseAddress"`
	BindPort         int    `json:"bindPort"`
}

type nodeRegistration struct {
	Name                  string   `json:"name"`
	CRISocket             string   `json:"criSocket"`
	Taints                []taint  `json:"taints"` // an empty list is not the same as none
	KubeletExtraArgs      []arg    `json:"kubeletExtraArgs"`
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
}

type taint struct {
	Key    string `json:"key"`
	Effect string `json:"effect"`
}

type arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type clusterConfiguration struct {
	head
	ClusterName          string     `json:"clusterName"`
	KubernetesVersion    string     `json:"kubernetesVersion"`
	ControlPlaneEndpoint string     `json:"controlPlaneEndpoint"`
	Networking           networking `json:"networking"`
	APIServer            apiServer  `json:"apiServer"`
	Etcd                 etcd       `json:"etcd"`
}

type networking struct {
	PodSubnet     string `json:"podSubnet"`
	ServiceSubnet string `json:"serviceSubnet"`
	DNSDomain     string `json:"dnsDomain"`
}

type apiServer struct {
	CertSANs []string `json:"certSANs"`
}

type etcd struct {
	Local localEtcd `json:"local"`
}

type localEtcd struct {
	DataDir string `json:"dataDir"`
}

type kubeletConfiguration struct {
	head
	CgroupDriver string `json:"cgroupDriver"`
}

type kubeProxyConfiguration struct{ head }

type joinConfiguration struct {
	head
	NodeRegistration nodeRegistration `json:"nodeRegistration"`
	Discovery        discovery        `json:"discovery"`
	Timeouts         timeouts         `json:"timeouts"`
}

type discovery struct {
	BootstrapToken bootstrapDiscovery `json:"bootstrapToken"`
}

type bootstrapDiscovery struct {
	APIServerEndpoint string   `json:"apiServerEndpoint"`
	Token             string   `json:"token"`
	CACertHashes      []string `json:"caCertHashes"`
}

// registration is how a node presents itself.
func registration(site *provision.Site, n *inventory.Node) nodeRegistration {
	r := nodeRegistration{
		Name: n.Name, CRISocket: criSocket, Taints: []taint{},
		KubeletExtraArgs:      []arg{{"node-ip", n.Address.String()}},
		IgnorePreflightErrors: site.Cluster.Patches["kubeadm"].IgnorePreflight,
	}
	if n.Role == inventory.ControlPlane && !runsPods(site.Cluster, n) {
		r.Taints = []taint{{controlPlaneTaint, "NoSchedule"}}
	}
	return r
}

// runsPods says whether workloads may run on a node.
func runsPods(c *inventory.Cluster, n *inventory.Node) bool {
	for _, w := range c.Workers() {
		if w.Name == n.Name {
			return true
		}
	}
	return false
}

// endpoint is the host and port under which everything knows the API server.
func endpoint(c *inventory.Cluster) string {
	return net.JoinHostPort(provision.ControlPlaneEndpoint(c.Name), strconv.Itoa(apiPort))
}

// cluster is the ClusterConfiguration after the inventory's patch.
func cluster(site *provision.Site) (map[string]any, error) {
	c := site.Cluster
	return document(clusterConfiguration{
		head:                 head{apiVersion, "ClusterConfiguration"},
		ClusterName:          c.Name,
		KubernetesVersion:    "v" + site.Resolved.Kubernetes,
		ControlPlaneEndpoint: endpoint(c),
		Networking: networking{
			PodSubnet: c.Network.Pods.String(), ServiceSubnet: c.Network.Services.String(), DNSDomain: "cluster.local",
		},
		APIServer: apiServer{CertSANs: []string{
			provision.ControlPlaneEndpoint(c.Name), c.ControlPlane().Address.String(), "localhost", "127.0.0.1",
		}},
		Etcd: etcd{localEtcd{DataDir: "/var/lib/etcd"}},
	}, c.Patches["kubeadm"])
}

// initConfig is the file for kubeadm init: four documents. The patches of the
// inventory come after nucspark's own values; that of kubeadm goes into the
// ClusterConfiguration.
func initConfig(site *provision.Site) ([]byte, error) {
	c := site.Cluster
	cp := c.ControlPlane()
	driver := "cgroupfs"
	if site.Machines[cp.Name].CgroupV2 {
		driver = "systemd"
	}
	clusterDoc, err := cluster(site)
	if err != nil {
		return nil, err
	}
	docs := []map[string]any{clusterDoc}
	for _, d := range []struct {
		doc   any
		patch inventory.Patch
	}{
		{initConfiguration{
			head:             head{apiVersion, "InitConfiguration"},
			BootstrapTokens:  []bootstrapToken{{Description: tokenNote + "init", TTL: tokenLife.String()}},
			NodeRegistration: registration(site, cp),
			LocalAPIEndpoint: apiEndpoint{cp.Address.String(), apiPort},
			SkipPhases:       []string{"show-join-command"}, // nobody joins by hand
			Timeouts:         patient,
		}, inventory.Patch{}},
		{kubeletConfiguration{head{"kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"}, driver}, c.Patches["kubelet"]},
		{kubeProxyConfiguration{head{"kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"}}, c.Patches["kube-proxy"]},
	} {
		doc, err := document(d.doc, d.patch)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return render(docs...)
}

// joinConfig is the file for kubeadm join. It holds the token.
func joinConfig(site *provision.Site, n *inventory.Node, token, caHash string) ([]byte, error) {
	doc, err := document(joinConfiguration{
		head:             head{apiVersion, "JoinConfiguration"},
		NodeRegistration: registration(site, n),
		Discovery: discovery{bootstrapDiscovery{
			APIServerEndpoint: endpoint(site.Cluster), Token: token, CACertHashes: []string{caHash},
		}},
		Timeouts: patient,
	}, inventory.Patch{})
	if err != nil {
		return nil, err
	}
	return render(doc)
}

// document is a configuration as a map, with a patch merged into it.
func document(config any, patch inventory.Patch) (map[string]any, error) {
	b, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	return merged(doc, patch.Config), nil
}

// merged is base with patch over it: maps deeply, everything else replaced.
// Neither argument is changed.
func merged(base, patch map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range patch {
		below, isMap := v.(map[string]any)
		if old, ok := out[k].(map[string]any); ok && isMap {
			v = merged(old, below)
		}
		out[k] = v
	}
	return out
}

// render writes documents as YAML, keys sorted.
func render(docs ...map[string]any) ([]byte, error) {
	var b bytes.Buffer
	for i, doc := range docs {
		if i > 0 {
			b.WriteString("---\n")
		}
		y, err := yaml.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("rendering %v: %w", doc["kind"], err)
		}
		b.Write(y)
	}
	return b.Bytes(), nil
}

// text returns the string at a path of maps, "" when there is none.
func text(o map[string]any, path ...string) string {
	for _, k := range path[:len(path)-1] {
		o, _ = o[k].(map[string]any)
	}
	s, _ := o[path[len(path)-1]].(string)
	return s
}
