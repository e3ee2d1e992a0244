package spark

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Roles, which are the names of the objects too. Pods carry them as label
// app.kubernetes.io/name, ConfigMaps are called so.
const (
	master  = "spark-master"
	worker  = "spark-worker"
	history = "spark-history"
	driver  = "spark-driver"
)

// Secret with the key "secret", which all parts of Spark know.
const secretName = "spark-secret"

// configAnnotation on a pod template is the hash of what the pod reads.
const configAnnotation = "nucspark.io/config"

// Directories on the nodes.
const (
	masterDir = provision.StateDir + "/spark-master" // on the control plane
	localDir  = provision.StateDir + "/spark-local"  // on each worker machine: shuffle files and work directories
)

// Where pods see their files.
const (
	filesMount  = "/etc/nucspark/spark"
	secretMount = "/etc/nucspark/secret"
	confMount   = "/run/spark" // SPARK_CONF_DIR, in memory
	stateMount  = "/var/lib/spark"
	sparkHome   = "/opt/spark"
)

func labels(name string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       name,
		"app.kubernetes.io/part-of":    "spark",
		"app.kubernetes.io/managed-by": kube.Manager,
	}
}

// secret holds a new random value. It is applied only where there is none.
func secret() any {
	value := make([]byte, 32)
	rand.Read(value) // never fails
	return core.Secret(secretName, provision.Namespace).WithLabels(labels(secretName)).
		WithData(map[string][]byte{"secret": []byte(hex.EncodeToString(value))})
}

func configMap(name string, data map[string]string) any {
	return core.ConfigMap(name, provision.Namespace).WithLabels(labels(name)).WithData(data)
}

func service(name string, ports map[string]int32) any {
	spec := core.ServiceSpec().WithClusterIP(corev1.ClusterIPNone).WithPublishNotReadyAddresses(true).
		WithSelector(map[string]string{"app.kubernetes.io/name": name})
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		spec.WithPorts(core.ServicePort().WithName(port).WithPort(ports[port]).WithTargetPort(intstr.FromInt32(ports[port])))
	}
	return core.Service(name, provision.Namespace).WithLabels(labels(name)).WithSpec(spec)
}

// daemon is what the three kinds of pods differ in.
type daemon struct {
	name     string // role
	hash     string // of the configuration
	image    string
	size     inventory.Resources
	heap     inventory.Size
	class    string
	args     []string
	env      []*core.EnvVarApplyConfiguration
	secret   bool
	disk     string // directory on the node, seen as stateMount; "" for none
	selector map[string]string
	ui       int32 // port of its page
	page     string
	port     int32 // that is open while it lives
}

func env(name, value string) *core.EnvVarApplyConfiguration {
	return core.EnvVar().WithName(name).WithValue(value)
}

func (d daemon) template() *core.PodTemplateSpecApplyConfiguration {
	probe := func(period, failures int32) *core.ProbeApplyConfiguration {
		return core.Probe().WithTimeoutSeconds(5).WithPeriodSeconds(period).WithFailureThreshold(failures)
	}
	page := core.HTTPGetAction().WithPort(intstr.FromInt32(d.ui)).WithPath(d.page)
	container := core.Container().WithName(d.name).WithImage(d.image).WithImagePullPolicy(corev1.PullIfNotPresent).
		WithCommand(append([]string{"/usr/bin/tini", "--", "/bin/bash", filesMount + "/start.sh",
			sparkHome + "/bin/spark-class", d.class}, d.args...)...).
		WithWorkingDir("/tmp").
		WithEnv(
			env("SPARK_DAEMON_MEMORY", fmt.Sprintf("%dm", d.heap/inventory.MiB)),
			// Pods change their addresses; Java would remember one for 30 s.
			env("SPARK_DAEMON_JAVA_OPTS", "-XX:+ExitOnOutOfMemoryError -XX:-UsePerfData -Dsun.net.inetaddr.ttl=5")).
		WithEnv(commonEnv()...).
		WithEnv(d.env...).
		WithResources(provision.Resources(d.size)).
		WithSecurityContext(containerSecurity()).
		WithStartupProbe(probe(2, 120).WithTCPSocket(core.TCPSocketAction().WithPort(intstr.FromInt32(d.port)))).
		WithReadinessProbe(probe(10, 3).WithHTTPGet(page)).
		WithLivenessProbe(probe(15, 8).WithTCPSocket(core.TCPSocketAction().WithPort(intstr.FromInt32(d.port)))).
		WithVolumeMounts(fileMounts()...)
	pod := core.PodSpec().WithNodeSelector(d.selector).
		WithEnableServiceLinks(false).WithAutomountServiceAccountToken(false).
		WithTerminationGracePeriodSeconds(30).
		WithSecurityContext(podSecurity()).
		// A pod that is tied to a machine gains nothing by being thrown off it.
		WithTolerations(
			core.Toleration().WithKey("node-role.kubernetes.io/control-plane").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoSchedule),
			core.Toleration().WithKey("node.kubernetes.io/not-ready").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoExecute),
			core.Toleration().WithKey("node.kubernetes.io/unreachable").WithOperator(corev1.TolerationOpExists).WithEffect(corev1.TaintEffectNoExecute)).
		WithVolumes(fileVolumes(d.name)...)
	if d.secret {
		container.WithVolumeMounts(secretVolumeMount())
		pod.WithVolumes(secretVolume())
	}
	if d.disk != "" {
		container.WithVolumeMounts(core.VolumeMount().WithName("state").WithMountPath(stateMount))
		pod.WithVolumes(core.Volume().WithName("state").WithHostPath(core.HostPathVolumeSource().WithPath(d.disk).WithType(corev1.HostPathDirectory)))
	}
	return core.PodTemplateSpec().WithLabels(labels(d.name)).
		WithAnnotations(map[string]string{configAnnotation: d.hash}).
		WithSpec(pod.WithContainers(container))
}

// commonEnv is the environment of every pod of Spark, drivers too.
func commonEnv() []*core.EnvVarApplyConfiguration {
	return []*core.EnvVarApplyConfiguration{
		env("SPARK_HOME", sparkHome), env("SPARK_CONF_DIR", confMount), env("HADOOP_CONF_DIR", confMount),
		env("PYSPARK_PYTHON", "python3"), env("HOME", "/tmp"),
		env("LANG", "C.UTF-8"), // else Java reads arguments as ASCII
	}
}

func containerSecurity() *core.SecurityContextApplyConfiguration {
	return core.SecurityContext().WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
		WithCapabilities(core.Capabilities().WithDrop("ALL"))
}

func podSecurity() *core.PodSecurityContextApplyConfiguration {
	return core.PodSecurityContext().WithRunAsUser(provision.SparkUID).WithRunAsGroup(provision.SparkUID).
		WithFSGroup(provision.SparkUID).WithRunAsNonRoot(true)
}

// fileMounts are the mounts that every pod of Spark has, drivers too.
func fileMounts() []*core.VolumeMountApplyConfiguration {
	return []*core.VolumeMountApplyConfiguration{
		core.VolumeMount().WithName("files").WithMountPath(filesMount).WithReadOnly(true),
		core.VolumeMount().WithName("files").WithMountPath("/etc/passwd").WithSubPath("passwd").WithReadOnly(true),
		core.VolumeMount().WithName("files").WithMountPath("/etc/group").WithSubPath("group").WithReadOnly(true),
		core.VolumeMount().WithName("conf").WithMountPath(confMount),
		core.VolumeMount().WithName("tmp").WithMountPath("/tmp"),
	}
}

func fileVolumes(configMap string) []*core.VolumeApplyConfiguration {
	return []*core.VolumeApplyConfiguration{
		core.Volume().WithName("files").WithConfigMap(core.ConfigMapVolumeSource().WithName(configMap)),
		core.Volume().WithName("conf").WithEmptyDir(core.EmptyDirVolumeSource().WithMedium(corev1.StorageMediumMemory).
			WithSizeLimit(resource.MustParse("1Mi"))),
		core.Volume().WithName("tmp").WithEmptyDir(core.EmptyDirVolumeSource()),
	}
}

func secretVolumeMount() *core.VolumeMountApplyConfiguration {
	return core.VolumeMount().WithName("secret").WithMountPath(secretMount).WithReadOnly(true)
}

// secretVolume is readable for the group of the pod, which is Spark's.
func secretVolume() *core.VolumeApplyConfiguration {
	return core.Volume().WithName("secret").WithSecret(core.SecretVolumeSource().WithSecretName(secretName).WithDefaultMode(0o440))
}

// single is a StatefulSet of one pod on the control-plane machine.
func (d daemon) single() any {
	return apps.StatefulSet(d.name, provision.Namespace).WithLabels(labels(d.name)).WithSpec(apps.StatefulSetSpec().
		WithReplicas(1).WithServiceName(d.name).
		// Else a pod that never became ready would keep its successor away.
		WithPodManagementPolicy(appsv1.ParallelPodManagement).
		WithSelector(meta.LabelSelector().WithMatchLabels(map[string]string{"app.kubernetes.io/name": d.name})).
		WithUpdateStrategy(apps.StatefulSetUpdateStrategy().WithType(appsv1.RollingUpdateStatefulSetStrategyType)).
		WithTemplate(d.template()))
}

// onControlPlane selects the machine of the control plane.
func (l *layout) onControlPlane() map[string]string {
	return map[string]string{corev1.LabelHostname: l.control.Name}
}

func (l *layout) masterSet() any {
	size := sized(l.spark.Master)
	return daemon{
		name: master, hash: hashOf(l.files(master)), image: l.image, secret: true, size: size,
		heap:  size.Limits.Memory - max(size.Limits.Memory/4, 256*inventory.MiB),
		class: "org.apache.spark.deploy.master.Master",
		args:  []string{"--host", MasterHost, "--port", fmt.Sprint(masterPort), "--webui-port", fmt.Sprint(masterUI)},
		disk:  masterDir, selector: l.onControlPlane(),
		ui: masterUI, page: "/json/", port: masterPort,
	}.single()
}

func (l *layout) historySet() any {
	return daemon{
		name: history, hash: hashOf(l.files(history)), image: l.image,
		size: inventory.Resources{
			Requests: inventory.Amount{CPU: 50, Memory: 256 * inventory.MiB},
			Limits:   inventory.Amount{Memory: inventory.GiB},
		},
		heap: 640 * inventory.MiB, class: "org.apache.spark.deploy.history.HistoryServer",
		selector: l.onControlPlane(),
		ui:       historyUI, page: "/api/v1/version", port: historyUI,
	}.single()
}

// workerSet runs a worker on every labelled node. It names no node, so that one
// more of them changes nothing on the others.
func (l *layout) workerSet() any {
	size := l.spark.Worker
	// A request that is not written is what the worker itself takes. Kubernetes
	// would take the limit for it, and a machine a little smaller than the limit
	// would get no worker at all.
	if size.Requests.CPU == 0 {
		size.Requests.CPU = min(100, size.Limits.CPU)
	}
	if size.Requests.Memory == 0 {
		size.Requests.Memory = min(inventory.WorkerSelf, size.Limits.Memory)
	}
	d := daemon{
		name: worker, hash: hashOf(l.files(worker)), image: l.image, secret: true, size: size,
		heap: workerHeap, class: "org.apache.spark.deploy.worker.Worker",
		args: []string{"--host", "$(HOST_IP)", "--port", fmt.Sprint(workerPort), "--webui-port", fmt.Sprint(workerUI), masterURL},
		env: []*core.EnvVarApplyConfiguration{
			core.EnvVar().WithName("HOST_IP").WithValueFrom(core.EnvVarSource().WithFieldRef(
				core.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath("status.hostIP"))),
			env("SPARK_LOCAL_IP", "$(HOST_IP)"),
			env("SPARK_WORKER_CORES", fmt.Sprint(l.workerCores())),
			env("SPARK_WORKER_MEMORY", fmt.Sprintf("%dm", l.offered()/inventory.MiB)),
			env("SPARK_LOCAL_DIRS", stateMount+"/local"),
			env("SPARK_WORKER_DIR", stateMount+"/work"),
			env("WAIT_FOR", fmt.Sprintf("%s/%d", MasterHost, masterPort)),
		},
		disk: localDir, selector: map[string]string{workerLabel: "true"},
		ui: workerUI, page: "/json/", port: workerPort,
	}
	template := d.template()
	template.Spec.WithHostNetwork(true).WithDNSPolicy(corev1.DNSClusterFirstWithHostNet).WithTerminationGracePeriodSeconds(90)
	template.Spec.Containers[0].WithLifecycle(core.Lifecycle().WithPreStop(core.LifecycleHandler().WithExec(
		core.ExecAction().WithCommand("/bin/bash", filesMount+"/decommission.sh"))))
	return apps.DaemonSet(worker, provision.Namespace).WithLabels(labels(worker)).WithSpec(apps.DaemonSetSpec().
		WithSelector(meta.LabelSelector().WithMatchLabels(map[string]string{"app.kubernetes.io/name": worker})).
		WithUpdateStrategy(apps.DaemonSetUpdateStrategy().WithType(appsv1.RollingUpdateDaemonSetStrategyType).
			WithRollingUpdate(apps.RollingUpdateDaemonSet().WithMaxUnavailable(intstr.FromInt32(1)))).
		WithTemplate(template))
}

// sized fills in what the inventory left open of the master.
func sized(r inventory.Resources) inventory.Resources {
	if r.Limits.Memory == 0 {
		r.Limits.Memory = max(inventory.GiB, r.Requests.Memory)
	}
	if r.Requests.Memory == 0 {
		r.Requests.Memory = min(512*inventory.MiB, r.Limits.Memory)
	}
	if r.Requests.CPU == 0 {
		r.Requests.CPU = 100
	}
	return r
}
