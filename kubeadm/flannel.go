package kubeadm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	rbacapi "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	rbac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

const (
	flannelNamespace = "kube-flannel"
	flannelName      = "kube-flannel"
	flannelConfig    = "kube-flannel-cfg"
)

// Namespaces are those that kubeadm and flannel fill.
var Namespaces = []string{"kube-system", flannelNamespace}

// backend is how packets go from machine to machine: by plain routes where all
// of them are in one network, else in VXLAN wherever a router is in between.
// Machines that do not answer count too: it does not change when one is off.
func backend(site *provision.Site) map[string]any {
	for _, m := range site.Machines {
		for _, n := range site.Cluster.Nodes {
			if !contained(m.Prefixes, n.Address) {
				return map[string]any{"Type": "vxlan", "DirectRouting": true}
			}
		}
	}
	return map[string]any{"Type": "host-gw"}
}

func contained(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// flannel are the objects of the pod network, in the order in which they need
// each other. They follow flannel's own manifest
// (github.com/flannel-io/flannel/blob/v0.28.4/Documentation/kube-flannel.yml),
// except that every container names its command.
func flannel(site *provision.Site) []provision.Object {
	labels := map[string]string{"app": "flannel"}
	data := map[string]string{"net-conf.json": indented(map[string]any{
		"Network": site.Cluster.Network.Pods.String(), "EnableNFTables": false, "Backend": backend(site),
	}), "cni-conf.json": indented(map[string]any{
		"name": "cbr0", "cniVersion": "0.3.1",
		"plugins": []any{
			map[string]any{"type": "flannel", "delegate": map[string]any{"hairpinMode": true, "isDefaultGateway": true}},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	})}
	sum := sha256.Sum256([]byte(data["net-conf.json"] + data["cni-conf.json"]))

	images := site.Cluster.Images
	host := func(name, path string, kind corev1.HostPathType) *core.VolumeApplyConfiguration {
		return core.Volume().WithName(name).WithHostPath(core.HostPathVolumeSource().WithPath(path).WithType(kind))
	}
	mount := func(name, path string) *core.VolumeMountApplyConfiguration {
		return core.VolumeMount().WithName(name).WithMountPath(path)
	}
	field := func(name, path string) *core.EnvVarApplyConfiguration {
		return core.EnvVar().WithName(name).WithValueFrom(core.EnvVarSource().WithFieldRef(
			core.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath(path)))
	}
	pod := core.PodSpec().
		WithHostNetwork(true).
		WithNodeSelector(map[string]string{corev1.LabelOSStable: "linux"}).
		WithPriorityClassName("system-node-critical").
		WithServiceAccountName("flannel").
		WithTolerations(core.Toleration().WithOperator(corev1.TolerationOpExists)).
		WithInitContainers(
			core.Container().WithName("install-cni-plugin").WithImage(images.FlannelCNI).
				WithCommand("cp", "-f", "/flannel", "/opt/cni/bin/flannel").
				WithVolumeMounts(mount("cni-plugin", "/opt/cni/bin")),
			core.Container().WithName("install-cni").WithImage(images.Flannel).
				WithCommand("cp", "-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist").
				WithVolumeMounts(mount("cni", "/etc/cni/net.d"), mount("config", "/etc/kube-flannel/")),
		).
		WithContainers(core.Container().WithName("kube-flannel").WithImage(images.Flannel).
			WithCommand("/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr", "--iface=$(HOST_IP)").
			WithEnv(
				field("HOST_IP", "status.hostIP"),
				field("POD_NAME", "metadata.name"),
				field("POD_NAMESPACE", "metadata.namespace"),
				core.EnvVar().WithName("EVENT_QUEUE_DEPTH").WithValue("5000"),
			).
			WithResources(core.ResourceRequirements().WithRequests(corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("50Mi"),
			})).
			WithSecurityContext(core.SecurityContext().WithPrivileged(false).
				WithCapabilities(core.Capabilities().WithAdd("NET_ADMIN", "NET_RAW"))).
			WithVolumeMounts(mount("run", "/run/flannel"), mount("config", "/etc/kube-flannel/"), mount("xtables-lock", "/run/xtables.lock"))).
		WithVolumes(
			host("run", "/run/flannel", corev1.HostPathDirectoryOrCreate),
			host("cni-plugin", "/opt/cni/bin", corev1.HostPathDirectoryOrCreate),
			host("cni", "/etc/cni/net.d", corev1.HostPathDirectoryOrCreate),
			host("xtables-lock", "/run/xtables.lock", corev1.HostPathFileOrCreate),
			core.Volume().WithName("config").WithConfigMap(core.ConfigMapVolumeSource().WithName(flannelConfig)),
		)
	var objects []provision.Object
	for _, o := range []any{
		core.Namespace(flannelNamespace).WithLabels(map[string]string{
			"pod-security.kubernetes.io/enforce": "privileged",
		}),
		core.ServiceAccount("flannel", flannelNamespace).WithLabels(labels),
		rbac.ClusterRole("flannel").WithLabels(labels).WithRules(
			rbac.PolicyRule().WithAPIGroups("").WithResources("pods").WithVerbs("get"),
			rbac.PolicyRule().WithAPIGroups("").WithResources("nodes").WithVerbs("get", "list", "watch"),
			rbac.PolicyRule().WithAPIGroups("").WithResources("nodes/status").WithVerbs("patch"),
		),
		rbac.ClusterRoleBinding("flannel").WithLabels(labels).
			WithRoleRef(rbac.RoleRef().WithAPIGroup(rbacapi.GroupName).WithKind("ClusterRole").WithName("flannel")).
			WithSubjects(rbac.Subject().WithKind(rbacapi.ServiceAccountKind).WithName("flannel").WithNamespace(flannelNamespace)),
		core.ConfigMap(flannelConfig, flannelNamespace).WithLabels(labels).WithData(data),
		apps.DaemonSet(flannelName, flannelNamespace).WithLabels(labels).WithSpec(apps.DaemonSetSpec().
			WithSelector(meta.LabelSelector().WithMatchLabels(map[string]string{"app": "flannel"})).
			WithTemplate(core.PodTemplateSpec().WithLabels(labels).
				// The daemon reads its configuration only when it starts.
				WithAnnotations(map[string]string{"nucspark.io/config": hex.EncodeToString(sum[:8])}).
				WithSpec(pod))),
	} {
		objects = append(objects, kube.Object(o))
	}
	return objects
}

// networkMissing says why pods cannot talk and find each other yet.
func networkMissing(f provision.Facts) string {
	if !f.Known(coreDNS) || coreDNS.In(f) == nil {
		return "CoreDNS is not there"
	}
	status, _ := coreDNS.In(f)["status"].(map[string]any)
	if n, _ := status["availableReplicas"].(int64); n < 1 {
		return "no CoreDNS pod is available"
	}
	return ""
}

var coreDNS = provision.LiveQuery{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "kube-system", Name: "coredns"}

// nodeMissing says why a node cannot run pods yet.
func nodeMissing(name string) func(provision.Facts) string {
	return func(f provision.Facts) string {
		q := liveNode(name)
		if !f.Known(q) || q.In(f) == nil {
			return "the cluster does not know " + name
		}
		status, _ := q.In(f)["status"].(map[string]any)
		conditions, _ := status["conditions"].([]any)
		ready := name + " has not reported yet"
		for _, c := range conditions {
			c, _ := c.(map[string]any)
			switch is := text(c, "status"); {
			case text(c, "type") == "Ready" && is == "True":
				ready = ""
			case text(c, "type") == "Ready":
				ready = fmt.Sprintf("%s is not ready: %s", name, text(c, "message"))
			case text(c, "type") == "NetworkUnavailable" && is == "True":
				return fmt.Sprintf("%s has no pod network: %s", name, text(c, "message"))
			}
		}
		return ready
	}
}
