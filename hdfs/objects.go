package hdfs

import (
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Names of the objects. Pods carry the same as label app.kubernetes.io/name.
const (
	namenode   = "namenode"
	datanode   = "datanode"
	checkpoint = "checkpoint"
	nodesMap   = "hdfs-nodes" // ConfigMap: racks and states of the machines
	recordMap  = "hdfs"       // ConfigMap: that a file system was made
)

// DisksLabel says on a Node which list of directories its datanode has; the
// DaemonSet for that list runs there. It is set by nucspark's hdfs steps only,
// after the directories were checked, and is not taken away when the inventory
// changes: a node that holds blocks does not stop holding them by an edit.
const DisksLabel = "nucspark.io/hdfs-disks"

// DirsAnnotation lists on a Node the directories that hold blocks, as JSON.
const DirsAnnotation = "nucspark.io/hdfs-dirs"

// configAnnotation on a pod template is the hash of what the pod reads.
const configAnnotation = "nucspark.io/config"

func labels(name string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":    name,
		"app.kubernetes.io/part-of": "hdfs",
	}
}

func configMap(name, app string, data map[string]string) any {
	return core.ConfigMap(name, provision.Namespace).WithLabels(labels(app)).WithData(data)
}

func service(name string, ports map[string]int32) any {
	spec := core.ServiceSpec().WithClusterIP(corev1.ClusterIPNone).WithPublishNotReadyAddresses(true).
		WithSelector(map[string]string{"app.kubernetes.io/name": name})
	for _, port := range sorted(maps.Keys(ports)) {
		spec.WithPorts(core.ServicePort().WithName(port).WithPort(ports[port]).WithTargetPort(intstr.FromInt32(ports[port])))
	}
	return core.Service(name, provision.Namespace).WithLabels(labels(name)).WithSpec(spec)
}

// role is what the three kinds of pods differ in.
type role struct {
	name      string
	config    string // ConfigMap
	hash      string // of the configuration
	image     string
	size      inventory.Resources
	command   []string
	env       []*core.EnvVarApplyConfiguration
	ports     map[string]int32
	mounts    []hostDir
	selector  map[string]string // of nodes
	priority  string
	nodes     bool // mount the ConfigMap hdfs-nodes
	startup   *core.ProbeApplyConfiguration
	readiness *core.ProbeApplyConfiguration
	liveness  *core.ProbeApplyConfiguration
}

// hostDir is a directory of the node in a pod. A pod does not start without it,
// unless it can do without some of them: then one that is not there, since it
// lies on a disk that is not mounted, is an empty directory that is root's.
type hostDir struct {
	name, path, mount string
	optional          bool
}

func tcp(port int32) *core.ProbeApplyConfiguration {
	return core.Probe().WithTCPSocket(core.TCPSocketAction().WithPort(intstr.FromInt32(port)))
}

// answers is a probe that the process serves its status page.
func answers(port int32) *core.ProbeApplyConfiguration {
	return core.Probe().WithTimeoutSeconds(5).
		WithHTTPGet(core.HTTPGetAction().WithPort(intstr.FromInt32(port)).WithPath("/jmx?qry=java.lang:type=Runtime"))
}

// says is a probe that the process's bean matches the patterns.
func says(port int32, bean string, patterns ...string) *core.ProbeApplyConfiguration {
	command := append([]string{"bash", confMount + "/ready.sh", fmt.Sprint(port), bean}, patterns...)
	return core.Probe().WithTimeoutSeconds(5).WithExec(core.ExecAction().WithCommand(command...))
}

func (r role) template() *core.PodTemplateSpecApplyConfiguration {
	container := core.Container().WithName(r.name).WithImage(r.image).WithImagePullPolicy(corev1.PullIfNotPresent).
		WithCommand(r.command...).
		WithEnv(r.env...).
		WithResources(provision.Resources(r.size)).
		WithSecurityContext(core.SecurityContext().WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
			WithCapabilities(core.Capabilities().WithDrop("ALL"))).
		WithStartupProbe(r.startup).WithReadinessProbe(r.readiness).WithLivenessProbe(r.liveness).
		WithVolumeMounts(
			core.VolumeMount().WithName("config").WithMountPath(confMount).WithReadOnly(true),
			core.VolumeMount().WithName("config").WithMountPath("/etc/passwd").WithSubPath("passwd").WithReadOnly(true),
			core.VolumeMount().WithName("config").WithMountPath("/etc/group").WithSubPath("group").WithReadOnly(true),
			core.VolumeMount().WithName("tmp").WithMountPath("/tmp"))
	for _, name := range sorted(maps.Keys(r.ports)) {
		container.WithPorts(core.ContainerPort().WithName(name).WithContainerPort(r.ports[name]))
	}
	pod := core.PodSpec().WithNodeSelector(r.selector).WithPriorityClassName(r.priority).
		WithEnableServiceLinks(false).WithAutomountServiceAccountToken(false).
		WithTerminationGracePeriodSeconds(30).
		WithSecurityContext(core.PodSecurityContext().WithRunAsUser(provision.HDFSUID).WithRunAsGroup(provision.HDFSUID).WithRunAsNonRoot(true)).
		// A pod that is tied to a machine by its disk gains nothing by being
		// thrown off it.
		WithTolerations(
			core.Toleration().WithKey("node-role.kubernetes.io/control-plane").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoSchedule),
			core.Toleration().WithKey("node.kubernetes.io/not-ready").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoExecute),
			core.Toleration().WithKey("node.kubernetes.io/unreachable").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoExecute)).
		WithVolumes(
			core.Volume().WithName("config").WithConfigMap(core.ConfigMapVolumeSource().WithName(r.config).WithDefaultMode(0o555)),
			core.Volume().WithName("tmp").WithEmptyDir(core.EmptyDirVolumeSource()))
	if r.nodes {
		container.WithVolumeMounts(core.VolumeMount().WithName("nodes").WithMountPath(nodesMount).WithReadOnly(true))
		pod.WithVolumes(core.Volume().WithName("nodes").WithConfigMap(core.ConfigMapVolumeSource().WithName(nodesMap)))
	}
	for _, d := range r.mounts {
		container.WithVolumeMounts(core.VolumeMount().WithName(d.name).WithMountPath(d.mount))
		kind := corev1.HostPathDirectory
		if d.optional {
			kind = corev1.HostPathUnset // containerd makes what is missing
		}
		pod.WithVolumes(core.Volume().WithName(d.name).WithHostPath(core.HostPathVolumeSource().WithPath(d.path).WithType(kind)))
	}
	return core.PodTemplateSpec().WithLabels(labels(r.name)).
		WithAnnotations(map[string]string{configAnnotation: r.hash}).
		WithSpec(pod.WithContainers(container))
}

// single is a StatefulSet of one pod, tied to a machine by its selector.
func (r role) single() any {
	return apps.StatefulSet(r.name, provision.Namespace).WithLabels(labels(r.name)).WithSpec(apps.StatefulSetSpec().
		WithReplicas(1).WithServiceName(r.name).
		// Else a pod that never became ready would keep its successor away.
		WithPodManagementPolicy(appsv1.ParallelPodManagement).
		WithSelector(meta.LabelSelector().WithMatchLabels(map[string]string{"app.kubernetes.io/name": r.name})).
		WithUpdateStrategy(apps.StatefulSetUpdateStrategy().WithType(appsv1.RollingUpdateStatefulSetStrategyType)).
		WithTemplate(r.template()))
}

func hostname(node string) map[string]string {
	return map[string]string{"kubernetes.io/hostname": node}
}

func (l *layout) namenodeSet() any {
	data := namenodeFiles(l.site.Resolved.Replication)
	size := sized(l.hdfs.Namenode)
	return role{
		name: namenode, config: "hdfs-namenode", hash: hashOf(data), image: l.image, size: size,
		command:  java(size.Limits.Memory, "namenode.NameNode"),
		ports:    map[string]int32{"rpc": namenodeRPC, "http": namenodeHTTP},
		mounts:   []hostDir{{name: "name", path: l.hdfs.NamenodeDir, mount: nameMount}},
		selector: hostname(l.control.Name), priority: "system-cluster-critical", nodes: true,
		// Reading the image and the edits of a large file system takes long:
		// an hour is allowed.
		startup:   tcp(namenodeRPC).WithPeriodSeconds(2).WithFailureThreshold(1800),
		readiness: says(namenodeHTTP, "NameNode,name=NameNodeInfo", `"Safemode" : ""`).WithPeriodSeconds(10),
		liveness:  tcp(namenodeRPC).WithPeriodSeconds(15).WithFailureThreshold(8).WithTimeoutSeconds(5),
	}.single()
}

func (l *layout) checkpointSet() any {
	data := checkpointFiles()
	size := sized(l.hdfs.Namenode) // it holds the same tree
	return role{
		name: checkpoint, config: "hdfs-checkpoint", hash: hashOf(data), image: l.image, size: size,
		command:  java(size.Limits.Memory, "namenode.SecondaryNameNode"),
		ports:    map[string]int32{"http": checkpointHTTP},
		mounts:   []hostDir{{name: "checkpoint", path: l.hdfs.CheckpointDir, mount: copyMount}},
		selector: hostname(l.second.Name), priority: "system-cluster-critical",
		startup:   answers(checkpointHTTP).WithPeriodSeconds(2).WithFailureThreshold(300),
		readiness: answers(checkpointHTTP).WithPeriodSeconds(15),
		liveness:  answers(checkpointHTTP).WithPeriodSeconds(15).WithFailureThreshold(8),
	}.single()
}

// datanodeSet runs the datanodes that have these directories. It names no node,
// so that one more of them changes nothing on the others.
func (l *layout) datanodeSet(dirs []string) any {
	data := datanodeFiles(l.hdfs.Reserve)
	size := sized(l.hdfs.Datanode)
	field := func(name, path string) *core.EnvVarApplyConfiguration {
		return core.EnvVar().WithName(name).WithValueFrom(core.EnvVarSource().WithFieldRef(core.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath(path)))
	}
	r := role{
		name: datanode, config: "hdfs-datanode", hash: hashOf(data), image: l.image, size: size,
		command: append([]string{"/bin/sh", confMount + "/datanode.sh"}, java(size.Limits.Memory, "datanode.DataNode")...),
		env: []*core.EnvVarApplyConfiguration{
			core.EnvVar().WithName("CLUSTER_UID").WithValue(l.site.Resolved.UID),
			core.EnvVar().WithName("DIRS").WithValue(blanks(dirs)),
			field("NODE_NAME", "spec.nodeName"),
			field("HOST_IP", "status.hostIP"),
		},
		ports:    map[string]int32{"data": datanodeData, "http": datanodeHTTP, "ipc": datanodeIPC},
		selector: map[string]string{DisksLabel: disksOf(dirs)}, priority: "system-node-critical",
		startup: answers(datanodeHTTP).WithPeriodSeconds(2).WithFailureThreshold(300),
		readiness: says(datanodeHTTP, "DataNode,name=DataNodeInfo",
			`"ClusterId" : "`+clusterID(l.site.Resolved.UID)+`"`, `LastHeartbeatResponseTime[^0-9]+[0-5]?[0-9][^0-9]`).WithPeriodSeconds(10),
		liveness: answers(datanodeHTTP).WithPeriodSeconds(15).WithFailureThreshold(8),
	}
	for i, dir := range dirs {
		r.mounts = append(r.mounts, hostDir{fmt.Sprintf("disk-%d", i), dir, fmt.Sprintf("%s/%d", diskMounts, i), true})
	}
	name := datanode + "-" + disksOf(dirs)
	template := r.template().WithLabels(map[string]string{DisksLabel: disksOf(dirs)})
	return apps.DaemonSet(name, provision.Namespace).WithLabels(labels(datanode)).WithSpec(apps.DaemonSetSpec().
		WithSelector(meta.LabelSelector().WithMatchLabels(map[string]string{"app.kubernetes.io/name": datanode, DisksLabel: disksOf(dirs)})).
		WithUpdateStrategy(apps.DaemonSetUpdateStrategy().WithType(appsv1.RollingUpdateDaemonSetStrategyType).
			WithRollingUpdate(apps.RollingUpdateDaemonSet().WithMaxUnavailable(intstr.FromInt32(1)))).
		WithTemplate(template))
}

// object is the step that applies one object.
func object(name string, config any, after ...string) provision.Step {
	return provision.KubeObject{Base: provision.Base{Name: "cluster/hdfs/" + name, After: append([]string{provision.NamespaceReady}, after...)}, Object: kube.Object(config)}
}
