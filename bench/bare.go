package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// bareCluster is HDFS and Spark as plain processes on this machine: a
// namenode, two datanodes, a master and two workers, as the lab has them.
type bareCluster struct {
	b      *bench
	home   string // of what is unpacked
	conf   string // Hadoop's and Spark's configuration
	daemon []*exec.Cmd
}

const (
	barePort   = 18020 // of the namenode
	bareHTTP   = 18070
	masterPort = 17077
	masterHTTP = 18080
)

// startBare unpacks Hadoop and Spark from the images of the lab and starts
// them with an empty file system.
func (b *bench) startBare() (*bareCluster, error) {
	c := &bareCluster{b: b, home: filepath.Join(b.work, "bare"), conf: filepath.Join(b.work, "bare", "conf")}
	for _, part := range []string{"hadoop", "spark"} {
		if _, err := os.Stat(filepath.Join(c.home, "opt", part)); err == nil {
			continue
		}
		found, err := filepath.Glob(filepath.Join(b.cache, "built", part+"-*", "oci"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%s holds no %s; nucspark lab up builds it", b.cache, part)
		}
		if err := unpack(found[len(found)-1], "opt/"+part+"/", c.home); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{"name", "data1", "data2", "local1", "local2"} {
		if err := os.RemoveAll(filepath.Join(c.home, dir)); err != nil {
			return nil, err
		}
	}
	if err := c.configure(); err != nil {
		return nil, err
	}
	if err := b.command("env", c.env(c.hadoop("server.namenode.NameNode", 640, "-format", "-nonInteractive", "-force"))...); err != nil {
		return nil, err
	}
	start := func(env []string, argv []string) error {
		cmd := b.prepared("env", c.env(append(env, argv...))...)
		cmd.Cancel = func() error { return cmd.Process.Kill() }
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		c.daemon = append(c.daemon, cmd)
		return cmd.Start()
	}
	var errs []error
	errs = append(errs, start(nil, c.hadoop("server.namenode.NameNode", 640)))
	for i := 1; i <= 2; i++ {
		errs = append(errs, start(nil, c.hadoop("server.datanode.DataNode", 640,
			fmt.Sprintf("-Ddfs.datanode.data.dir=file://%s/data%d", c.home, i),
			fmt.Sprintf("-Ddfs.datanode.address=127.0.0.1:%d", 19000+i), fmt.Sprintf("-Ddfs.datanode.http.address=127.0.0.1:%d", 19010+i),
			fmt.Sprintf("-Ddfs.datanode.ipc.address=127.0.0.1:%d", 19020+i))))
	}
	errs = append(errs, start(nil, []string{c.sparkClass(), "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1",
		"--port", fmt.Sprint(masterPort), "--webui-port", fmt.Sprint(masterHTTP)}))
	for i := 1; i <= 2; i++ {
		errs = append(errs, start([]string{fmt.Sprintf("SPARK_LOCAL_DIRS=%s/local%d", c.home, i)}, []string{c.sparkClass(), "org.apache.spark.deploy.worker.Worker",
			"--host", "127.0.0.1", "--cores", "2", "--memory", "1g", "--webui-port", fmt.Sprint(masterHTTP + i),
			"--work-dir", fmt.Sprintf("%s/local%d", c.home, i), fmt.Sprintf("spark://127.0.0.1:%d", masterPort)}))
	}
	errs = append(errs,
		c.wait("two datanodes", fmt.Sprintf("http://127.0.0.1:%d/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState", bareHTTP), `"NumLiveDataNodes" : 2`),
		c.wait("two workers", fmt.Sprintf("http://127.0.0.1:%d/json/", masterHTTP), `"aliveworkers" : 2`))
	if err := errors.Join(errs...); err != nil {
		c.stop()
		return nil, err
	}
	return c, c.files("-mkdir", "-p", "/bench", "/spark-events")
}

func (c *bareCluster) stop() {
	for _, d := range c.daemon {
		if d.Process != nil {
			_ = d.Process.Kill()
			_ = d.Wait()
		}
	}
}

// wait returns when a page holds a text.
func (c *bareCluster) wait(what, url, text string) error {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end) && c.b.ctx.Err() == nil; {
		if r, err := http.Get(url); err == nil {
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if strings.Contains(string(body), text) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-c.b.ctx.Done():
		}
	}
	if err := c.b.ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the plain processes have not become %s within 3 minutes; the log says why", what)
}

func (c *bareCluster) sparkClass() string { return filepath.Join(c.home, "opt/spark/bin/spark-class") }

// env are the arguments of env(1) for a command of Hadoop or Spark.
func (c *bareCluster) env(argv []string) []string {
	return append([]string{"-C", c.home, "SPARK_HOME=" + c.home + "/opt/spark", "SPARK_CONF_DIR=" + c.conf, "HADOOP_CONF_DIR=" + c.conf,
		"SPARK_LOCAL_IP=127.0.0.1", "SPARK_DAEMON_MEMORY=384m", "HADOOP_USER_NAME=hdfs", "PYSPARK_PYTHON=python3"}, argv...)
}

// hadoop is the command line of one of Hadoop's classes, as in the pods. heap
// is in MiB.
func (c *bareCluster) hadoop(class string, heap int, args ...string) []string {
	share := c.home + "/opt/hadoop/share/hadoop/"
	if strings.HasPrefix(class, "server.") {
		class = "hdfs." + class
	}
	return append([]string{"java", fmt.Sprintf("-Xmx%dm", heap), "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true",
		"-cp", strings.Join([]string{c.conf, share + "common/*", share + "common/lib/*", share + "hdfs", share + "hdfs/*", share + "hdfs/lib/*"}, ":"),
		"org.apache.hadoop." + class}, args...)
}

// files runs Hadoop's client.
func (c *bareCluster) files(args ...string) error {
	return c.b.command("env", c.env(c.hadoop("fs.FsShell", 256, args...))...)
}

// configure writes what the pods read too, without what is Kubernetes' or
// nucspark's own: names of pods, secrets, the shuffle service.
func (c *bareCluster) configure() error {
	if err := os.MkdirAll(c.conf, 0o755); err != nil {
		return err
	}
	fs := fmt.Sprintf("hdfs://127.0.0.1:%d", barePort)
	site := func(properties ...string) string {
		var w strings.Builder
		w.WriteString("<configuration>\n")
		for i := 0; i < len(properties); i += 2 {
			fmt.Fprintf(&w, "<property><name>%s</name><value>%s</value></property>\n", properties[i], properties[i+1])
		}
		return w.String() + "</configuration>\n"
	}
	log4j, err := os.ReadFile(filepath.Join(c.b.source, "..", "spark", "log4j2.properties"))
	errs := []error{err}
	for name, text := range map[string]string{
		"log4j2.properties": string(log4j),
		"core-site.xml":     site("fs.defaultFS", fs, "hadoop.tmp.dir", c.home+"/tmp"),
		"hdfs-site.xml": site("dfs.replication", "2", "dfs.namenode.name.dir", "file://"+c.home+"/name",
			"dfs.namenode.rpc-address", fmt.Sprintf("127.0.0.1:%d", barePort), "dfs.namenode.http-address", fmt.Sprintf("127.0.0.1:%d", bareHTTP),
			"dfs.permissions.superusergroup", "hdfs", "dfs.permissions.enabled", "false"),
		"log4j.properties": "log4j.rootLogger=WARN,console\nlog4j.appender.console=org.apache.log4j.ConsoleAppender\n" +
			"log4j.appender.console.target=System.err\nlog4j.appender.console.layout=org.apache.log4j.PatternLayout\n",
		"spark-defaults.conf": strings.Join([]string{
			fmt.Sprintf("spark.master spark://127.0.0.1:%d", masterPort), "spark.driver.memory 1g", "spark.executor.memory 1g", "spark.executor.cores 2",
			"spark.cores.max 4", "spark.eventLog.enabled true", "spark.eventLog.rolling.enabled true", "spark.eventLog.dir " + fs + "/spark-events",
			"spark.driver.host 127.0.0.1", "spark.ui.enabled true",
		}, "\n") + "\n",
	} {
		errs = append(errs, os.WriteFile(filepath.Join(c.conf, name), []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// unpack writes what an image of an OCI layout has below a folder.
func unpack(oci, folder, dir string) error {
	index, err := layout.ImageIndexFromPath(oci)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	r := mutate.Extract(image)
	defer r.Close()
	// Unpacked beside and renamed, so that half of it is not taken for it.
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.Clean("/"+h.Name), "/")
		if !strings.HasPrefix(name+"/", folder) {
			continue
		}
		path := filepath.Join(part, name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeReg:
			err = writeFile(path, t, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
	to := filepath.Join(dir, filepath.Clean(folder))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(part, filepath.Clean(folder)), to)
}

func writeFile(path string, r io.Reader, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
