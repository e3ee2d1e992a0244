package spark

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Uploader puts files into HDFS, and takes them out again.
type Uploader interface {
	// Put writes a file of size bytes; it must not exist yet. progress gets
	// the bytes written so far.
	Put(ctx context.Context, r io.Reader, size int64, path string, progress func(int64)) error
	// Remove removes a file or, if recursive, a directory with all in it.
	Remove(ctx context.Context, path string, recursive bool) error
	// Names lists what is in a directory.
	Names(ctx context.Context, path string) ([]string, error)
}

// Cluster is what a Submitter needs of the Kubernetes API. [kube.Client] is the
// real one, by [NewCluster].
type Cluster interface {
	Get(ctx context.Context, apiVersion, kind, ns, name string) (map[string]any, error)
	List(ctx context.Context, apiVersion, kind, ns, selector string) ([]map[string]any, error)
	Apply(ctx context.Context, obj map[string]any) (map[string]any, error)
	Delete(ctx context.Context, apiVersion, kind, ns, name string) error
	// Log is the log of a driver's pod with times, from since on.
	Log(ctx context.Context, pod string, since *time.Time, follow bool) (io.ReadCloser, error)
}

type cluster struct{ *kube.Client }

// NewCluster makes the interface of the client.
func NewCluster(c *kube.Client) Cluster { return cluster{c} }

func (c cluster) Log(ctx context.Context, pod string, since *time.Time, follow bool) (io.ReadCloser, error) {
	o := corev1.PodLogOptions{Container: driver, Follow: follow, Timestamps: true}
	if since != nil {
		t := metav1.NewTime(*since)
		o.SinceTime = &t
	}
	return c.Logs(ctx, provision.Namespace, pod, o)
}

// Submitter runs applications.
type Submitter struct {
	Inventory *inventory.Cluster
	Cluster   Cluster
	Files     Uploader                   // nil: the cluster has no HDFS
	Note      func(string)               // a line for the person who waits
	Progress  func(string, int64, int64) // file, bytes sent, all; may be nil

	tick time.Duration // between two looks; default half a second
	lost time.Duration // default lostBound
}

// Driver is an application that was submitted.
type Driver struct {
	Pod    string
	upload string // directory in HDFS, "" for none
}

// uploads holds a directory for each run. Relative names in HDFS are below
// /user/spark.
const uploads = "/user/" + provision.SparkUser + "/.nucspark/uploads"

// runTime is the beginning of a run's name, which is that of its directory and
// the end of that of its pod.
const runTime = "060102-150405"

// kept is how long the pod of an application that ended is kept when nobody
// followed it to its end.
const kept = 24 * time.Hour

// Start uploads the files of an application and makes its driver pod.
func (s *Submitter) Start(ctx context.Context, a Application) (_ *Driver, err error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	run := time.Now().UTC().Format(runTime) + "-" + randomHex(2)
	upload, at := "", map[string]string{}
	clean := func(remove func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, remove(ctx))
	}
	if files := a.local(); len(files) > 0 {
		if s.Files == nil {
			return nil, fmt.Errorf("%s must go through HDFS to get to the cluster, and no node has an hdfs block; add one, or name a file of the image: local:///PATH", files[0])
		}
		upload = path.Join(uploads, run)
		defer func() {
			if err != nil {
				clean(func(ctx context.Context) error { return s.removeUpload(ctx, upload) })
			}
		}()
		for i, f := range files {
			to := path.Join(upload, fmt.Sprint(i), safeName(filepath.Base(f)))
			if err := s.put(ctx, f, to); err != nil {
				return nil, fmt.Errorf("uploading %s: %w", f, err)
			}
			at[f] = defaultFS + to
		}
	}
	d := &Driver{Pod: podName(a, run), upload: upload}
	pod, err := driverPod(s.Inventory, a, d, at)
	if err != nil {
		return nil, err
	}
	if _, err = s.Cluster.Apply(ctx, pod); err != nil {
		// It may be there all the same, where the answer got lost.
		clean(func(ctx context.Context) error { return s.Cluster.Delete(ctx, "v1", "Pod", provision.Namespace, d.Pod) })
		return nil, err
	}
	return d, nil
}

func (s *Submitter) put(ctx context.Context, from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	return s.Files.Put(ctx, f, info.Size(), to, func(sent int64) {
		if s.Progress != nil {
			s.Progress(from, sent, info.Size())
		}
	})
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

var (
	unsafe    = regexp.MustCompile(`[^A-Za-z0-9._-]`)
	notInName = regexp.MustCompile(`[^a-z0-9]+`)
)

// safeName is a file name that needs no escape in a URL.
func safeName(name string) string { return unsafe.ReplaceAllString(name, "_") }

// podName is an RFC 1123 label with the application's name in it.
func podName(a Application, run string) string {
	base := a.Name
	if base == "" {
		base = strings.TrimSuffix(path.Base(a.File), path.Ext(a.File))
	}
	base = notInName.ReplaceAllString(strings.ToLower(base), "-")
	if len(base) > 36 { // and "-060102-150405-abcd" and a prefix fit into 63
		base = base[:36]
	}
	return strings.Trim("app-"+strings.Trim(base, "-"), "-") + "-" + run
}

// Remove ends an application, if it still runs, and removes what was made for
// it.
func (s *Submitter) Remove(ctx context.Context, d *Driver) error {
	err := s.Cluster.Delete(ctx, "v1", "Pod", provision.Namespace, d.Pod)
	return errors.Join(err, s.removeUpload(ctx, d.upload))
}

func (s *Submitter) removeUpload(ctx context.Context, dir string) error {
	// The name comes back from the cluster: nothing else is ever removed.
	if dir == "" || s.Files == nil || path.Dir(path.Clean(dir)) != uploads {
		return nil
	}
	if err := s.Files.Remove(ctx, dir, true); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Prune removes what is left of applications that ended a day ago and that
// nobody followed to their end, and of uploads that came to nothing.
func (s *Submitter) Prune(ctx context.Context) error {
	pods, err := s.Cluster.List(ctx, "v1", "Pod", provision.Namespace, "app.kubernetes.io/name="+driver)
	if err != nil {
		return err
	}
	var errs []error
	used := map[string]bool{}
	for _, p := range pods {
		upload := text(object(p, "metadata", "annotations")[uploadAnnotation])
		used[upload] = true
		if e := endOf(p); e != nil && time.Since(e.at) > kept {
			errs = append(errs, s.Remove(ctx, &Driver{Pod: text(object(p, "metadata")["name"]), upload: upload}))
		}
	}
	if s.Files == nil {
		return errors.Join(errs...)
	}
	runs, err := s.Files.Names(ctx, uploads)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, run := range runs {
		dir := path.Join(uploads, run)
		at, err := time.Parse(runTime, run[:min(len(run), len(runTime))])
		if err == nil && time.Since(at) > kept && !used[dir] {
			errs = append(errs, s.removeUpload(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

// end is how the driver ended.
type end struct {
	code   int
	reason string // "Completed", "Error", "OOMKilled", "Evicted" …
	at     time.Time
}

// endOf reads a pod, nil while it has not ended.
func endOf(p map[string]any) *end {
	status := object(p, "status")
	containers, _ := status["containerStatuses"].([]any)
	for _, c := range containers {
		c, _ := c.(map[string]any)
		if t := object(c, "state", "terminated"); t != nil {
			code, _ := t["exitCode"].(int64)
			at, _ := time.Parse(time.RFC3339, text(t["finishedAt"]))
			return &end{code: int(code), reason: text(t["reason"]), at: at}
		}
	}
	switch status["phase"] {
	case "Failed": // without its container: evicted, or its machine went away
		at, _ := time.Parse(time.RFC3339, text(object(p, "metadata")["creationTimestamp"]))
		return &end{code: 1, reason: strings.TrimSpace(text(status["reason"]) + " " + text(status["message"])), at: at}
	case "Succeeded":
		return &end{reason: "Completed"}
	}
	return nil
}
