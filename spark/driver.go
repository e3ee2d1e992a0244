package spark

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Application is what to run, and how.
type Application struct {
	File    string   // .py or .jar: a path of this machine, or a URL as "hdfs:///jobs/count.py"
	Args    []string // reach the application as they are
	Name    string   // default the file's name
	Class   string   // with the main method, of a .jar
	Conf    []string // "spark.executor.memory=2g"
	PyFiles []string // paths or URLs: .py, .zip, .egg
	Files   []string // into the working directory of each executor
	Jars    []string // on the class path
	Verbose bool     // Spark's own log from INFO on; else from WARN on
}

// uploadAnnotation on a driver's pod names the directory in HDFS that was made
// for it.
const uploadAnnotation = "nucspark.io/upload"

// url says that a name is that of a file on the cluster's side.
var url = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

// check finds what Spark would find only in the cluster.
func (a Application) check() error {
	if ext := path.Ext(a.File); ext != ".py" && ext != ".jar" {
		return fmt.Errorf("%s is neither a .py nor a .jar file", a.File)
	}
	for _, c := range a.Conf {
		if key, _, ok := strings.Cut(c, "="); !ok || !strings.HasPrefix(key, "spark.") {
			return fmt.Errorf("--conf %q is not of the form spark.KEY=VALUE", c)
		}
	}
	for i, arg := range a.Args {
		if !utf8.ValidString(arg) {
			return fmt.Errorf("argument %d is not UTF-8; Kubernetes cannot carry it", i+1)
		}
	}
	return nil
}

// local are the files of this machine, each once.
func (a Application) local() []string {
	var files []string
	seen := map[string]bool{}
	for _, list := range [][]string{{a.File}, a.PyFiles, a.Files, a.Jars} {
		for _, f := range list {
			if !url.MatchString(f) && !seen[f] {
				seen[f] = true
				files = append(files, f)
			}
		}
	}
	return files
}

// command is that of the driver's container. at gives the URL of a local file.
func (a Application) command(at map[string]string) []string {
	remote := func(f string) string {
		if u, ok := at[f]; ok {
			return u
		}
		return f
	}
	list := func(files []string) string {
		urls := make([]string, len(files))
		for i, f := range files {
			urls[i] = remote(f)
		}
		return strings.Join(urls, ",")
	}
	words := []string{"--deploy-mode", "client"}
	for _, option := range [][2]string{
		{"--name", a.Name}, {"--class", a.Class},
		{"--py-files", list(a.PyFiles)}, {"--files", list(a.Files)}, {"--jars", list(a.Jars)},
	} {
		if option[1] != "" {
			words = append(words, option[0], option[1])
		}
	}
	for _, c := range a.Conf {
		words = append(words, "--conf", c)
	}
	words = append(append(words, remote(a.File)), a.Args...)
	command := []string{"/usr/bin/tini", "--", "/bin/bash", filesMount + "/start.sh", sparkHome + "/bin/spark-submit",
		"--conf", "spark.driver.host=$(POD_IP)", "--conf", "spark.driver.bindAddress=0.0.0.0"}
	for _, w := range words {
		command = append(command, escape(w))
	}
	return command
}

// escape keeps Kubernetes from reading "$(NAME)" in a command as a variable:
// "$$" stands for "$" (API reference of Container, command).
func escape(word string) string { return strings.ReplaceAll(word, "$", "$$") }

// IsApplication says by its labels that a pod is that of an application: what
// it prints belongs to who submitted it.
func IsApplication(podLabels map[string]string) bool {
	return podLabels["app.kubernetes.io/name"] == driver
}

// driverPod is the pod of an application. at gives the URL of a local file.
func driverPod(c *inventory.Cluster, a Application, d *Driver, at map[string]string) (provision.Object, error) {
	heap, err := a.driverMemory(c)
	if err != nil {
		return nil, err
	}
	level := "warn"
	if a.Verbose {
		level = "info"
	}
	container := core.Container().WithName(driver).WithImage(c.Images.Spark).WithImagePullPolicy(corev1.PullIfNotPresent).
		WithCommand(a.command(at)...).
		WithWorkingDir("/tmp").
		WithEnv(
			core.EnvVar().WithName("POD_IP").WithValueFrom(core.EnvVarSource().WithFieldRef(
				core.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath("status.podIP"))),
			env("NUCSPARK_LOG_LEVEL", level)).
		WithEnv(commonEnv()...).
		WithResources(provision.Resources(inventory.Resources{
			// Without a limit of CPUs: it would only slow down the start.
			Requests: inventory.Amount{CPU: inventory.MilliCPU(250 * c.Spark.Driver.Cores), Memory: heap + inventory.JVMOverhead(heap)},
			// A Python driver holds its own data beside the heap; Spark reckons
			// 40 % for it (spark.kubernetes.memoryOverheadFactor).
			Limits: inventory.Amount{Memory: heap + max(heap/5*2, 512*inventory.MiB)},
		})).
		WithSecurityContext(containerSecurity()).
		WithVolumeMounts(fileMounts()...).WithVolumeMounts(secretVolumeMount())
	pod := core.Pod(d.Pod, provision.Namespace).WithLabels(labels(driver)).
		WithSpec(core.PodSpec().WithContainers(container).
			WithRestartPolicy(corev1.RestartPolicyNever).
			WithNodeSelector(map[string]string{workerLabel: "true"}).
			WithEnableServiceLinks(false).WithAutomountServiceAccountToken(false).
			WithTerminationGracePeriodSeconds(30).
			WithSecurityContext(podSecurity()).
			WithVolumes(fileVolumes(driver)...).WithVolumes(secretVolume()))
	if d.upload != "" {
		pod.WithAnnotations(map[string]string{uploadAnnotation: d.upload})
	}
	return kube.Object(pod), nil
}

// driverMemory is the heap of the driver: of --conf, else of the inventory's
// properties, else of its driver block.
func (a Application) driverMemory(c *inventory.Cluster) (inventory.Size, error) {
	const key = "spark.driver.memory"
	value := c.Spark.Properties[key]
	for _, conf := range a.Conf {
		if v, ok := strings.CutPrefix(conf, key+"="); ok {
			value = v
		}
	}
	if value == "" {
		return c.Spark.Driver.Memory, nil
	}
	size, err := sparkSize(value)
	if err != nil {
		return 0, fmt.Errorf("%s=%s: %w", key, value, err)
	}
	return size, nil
}

var sparkSizePattern = regexp.MustCompile(`^([0-9]+)([kmgtp]?)b?$`)

// sparkSize reads a size of memory as Spark does: binary units in any case, and
// MiB where there is none (JavaUtils.byteStringAs, ConfigBuilder.bytesConf).
func sparkSize(s string) (inventory.Size, error) {
	m := sparkSizePattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return 0, errors.New(`sizes of Spark are written "512m" or "2g"`)
	}
	unit := m[2]
	if unit == "" {
		unit = "m"
	}
	return inventory.ParseSize(m[1] + unit)
}
