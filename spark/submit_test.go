package spark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// expand does what Kubernetes does to a command: "$$" becomes "$", "$(NAME)"
// the variable's value; all else stays.
func expand(s string, value string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "$$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(s[i:], "$(") && strings.Contains(s[i:], ")"):
			b.WriteString(value)
			i += strings.Index(s[i:], ")")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func TestArgumentsStay(t *testing.T) {
	args := []string{"a b", `"quoted"`, "it's", "$(POD_IP)", "$$(POD_IP)", "$", "$$", "$$$(", "a$", "$(", "$()", "", "new\nline",
		"--conf", "spark.x=y", "--", "-h", `back\slash`, "ünï→", "*", "~", "`id`", "${HOME}"}
	a := Application{File: "hdfs:///a$(x).py", Args: args, Conf: []string{"spark.a=$(x)"}}
	var got []string
	for _, word := range a.command(nil) {
		got = append(got, expand(word, "10.244.1.7"))
	}
	want := append([]string{"/usr/bin/tini", "--", "/bin/bash", "/etc/nucspark/spark/start.sh", "/opt/spark/bin/spark-submit",
		"--conf", "spark.driver.host=10.244.1.7", "--conf", "spark.driver.bindAddress=0.0.0.0",
		"--deploy-mode", "client", "--conf", "spark.a=$(x)", "hdfs:///a$(x).py"}, args...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		a    Application
		want string
	}{
		{Application{File: "count.py"}, ""},
		{Application{File: "hdfs:///x/count.jar", Conf: []string{"spark.a=b=c"}}, ""},
		{Application{File: "count.sh"}, "neither a .py nor a .jar"},
		{Application{File: "count.py", Conf: []string{"executor.memory=1g"}}, "spark.KEY=VALUE"},
		{Application{File: "count.py", Conf: []string{"spark.memory"}}, "spark.KEY=VALUE"},
		{Application{File: "count.py", Args: []string{"caf\xe9"}}, "not UTF-8"},
	} {
		err := test.a.check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.a, err, test.want)
		}
	}
}

func TestDriverMemory(t *testing.T) {
	for _, test := range []struct {
		property, conf string
		want           inventory.Size // 0 for an error
	}{
		{"", "", inventory.GiB},
		{"2g", "", 2 * inventory.GiB},
		{"2g", "3G", 3 * inventory.GiB},
		{"", "900m", 900 * inventory.MiB},
		{"", "900", 900 * inventory.MiB},
		{"", "900mb", 900 * inventory.MiB},
		{"", "much", 0},
		{"", "1.5g", 0},
	} {
		c := &inventory.Cluster{Spark: inventory.Spark{Driver: inventory.Executor{Memory: inventory.GiB}, Properties: map[string]string{}}}
		a := Application{}
		if test.property != "" {
			c.Spark.Properties["spark.driver.memory"] = test.property
		}
		if test.conf != "" {
			a.Conf = []string{"spark.driver.memory=" + test.conf}
		}
		got, err := a.driverMemory(c)
		if got != test.want || (err != nil) != (test.want == 0) {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
}

func TestPodName(t *testing.T) {
	for want, a := range map[string]Application{
		"app-wordcount-RUN":   {File: "examples/wordcount.py"},
		"app-nightly-etl-RUN": {File: "x.py", Name: "Nightly ETL!"},
		"app-RUN":             {File: "дело.py"},
		"app-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-RUN": {File: strings.Repeat("a", 80) + ".py"},
	} {
		if got := podName(a, "RUN"); got != want {
			t.Errorf("%+v: %s, want %s", a, got, want)
		}
	}
}

// stamped is a log as Kubernetes sends it.
type stampedLine struct {
	at   time.Time
	text string
}

func stamped(lines []stampedLine, since *time.Time) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		if since == nil || !l.at.Before(since.Truncate(time.Second)) {
			fmt.Fprintf(&b, "%s %s\n", l.at.UTC().Format("2006-01-02T15:04:05.000000000Z07:00"), l.text)
		}
	}
	return b.Bytes()
}

// The log comes out whole and once, wherever the stream breaks.
func TestFollower(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 999_999_000, time.UTC)
	lines := []stampedLine{
		{at, "first"},
		{at, "of the same time"},
		{at, ""},
		{at.Add(2 * time.Microsecond), strings.Repeat("long ", 30000)}, // longer than the buffer
		{at.Add(1 * time.Microsecond), "of the other output, out of order"},
		{at.Add(3 * time.Microsecond), "in order again"},
		{at.Add(3 * time.Second), "later"},
		{at.Add(3 * time.Second), "last ünï"},
	}
	var want strings.Builder
	for _, l := range lines {
		want.WriteString(l.text + "\n")
	}
	whole := stamped(lines, nil)
	for _, err := range []error{io.ErrUnexpectedEOF, io.EOF} {
		for cut := 0; cut <= len(whole); cut++ {
			if cut > 400 && cut < len(whole)-400 && cut%4093 != 0 {
				continue // inside the long line
			}
			var out bytes.Buffer
			f := &follower{out: &out}
			first := io.MultiReader(bytes.NewReader(whole[:cut]), &failing{err})
			_ = f.copy(first)
			if err := f.copy(bytes.NewReader(stamped(lines, f.since()))); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if out.String() != want.String() {
				t.Fatalf("cut at %d with %v: %d bytes instead of %d", cut, err, out.Len(), want.Len())
			}
		}
	}
}

// What the machine has thrown away meanwhile is missing; all else is there.
func TestFollowerRotated(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	f := &follower{out: &out}
	if err := f.copy(bytes.NewReader(stamped([]stampedLine{{at, "old"}}, nil))); err != nil {
		t.Fatal(err)
	}
	if err := f.copy(bytes.NewReader(stamped([]stampedLine{{at.Add(time.Minute), "new"}, {at.Add(time.Minute), "newer"}}, nil))); err != nil {
		t.Fatal(err)
	}
	if out.String() != "old\nnew\nnewer\n" {
		t.Errorf("%q", out.String())
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// fake is a cluster with one driver, whose pod goes through these states: one a
// look, the last for ever.
type fake struct {
	refuses error            // of Apply, which does its work all the same
	states  []map[string]any // nil for an API that is too busy
	logs    []func() (io.ReadCloser, error)
	applied provision.Object
	deleted []string
	pods    []map[string]any
}

func (f *fake) Get(context.Context, string, string, string, string) (map[string]any, error) {
	s := f.states[0]
	if len(f.states) > 1 {
		f.states = f.states[1:]
	}
	if s == nil {
		return nil, apierrors.NewTooManyRequestsError("busy")
	}
	return map[string]any{"status": s}, nil
}

func (f *fake) List(_ context.Context, _, kind, _, _ string) ([]map[string]any, error) {
	if kind == "Pod" {
		return f.pods, nil
	}
	return nil, nil
}

func (f *fake) Apply(_ context.Context, o map[string]any) (map[string]any, error) {
	f.applied = o
	return o, f.refuses
}

func (f *fake) Delete(_ context.Context, _, kind, _, name string) error {
	f.deleted = append(f.deleted, kind+" "+name)
	return nil
}

func (f *fake) Log(context.Context, string, *time.Time, bool) (io.ReadCloser, error) {
	l := f.logs[0]
	if len(f.logs) > 1 {
		f.logs = f.logs[1:]
	}
	return l()
}

// files is a fake HDFS.
type files map[string]string

func (h files) Put(_ context.Context, r io.Reader, size int64, path string, _ func(int64)) error {
	b, err := io.ReadAll(r)
	if int64(len(b)) != size {
		return errors.New("another size")
	}
	h[path] = string(b)
	return err
}

func (h files) Remove(_ context.Context, path string, _ bool) error {
	found := false
	for name := range h {
		if strings.HasPrefix(name, path+"/") {
			delete(h, name)
			found = true
		}
	}
	if !found {
		return fs.ErrNotExist
	}
	return nil
}

func (h files) Names(_ context.Context, path string) ([]string, error) {
	var names []string
	for name := range h {
		if rest, ok := strings.CutPrefix(name, path+"/"); ok {
			run, _, _ := strings.Cut(rest, "/")
			names = append(names, run)
		}
	}
	return names, nil
}

func ended(code int64, reason string) map[string]any {
	return map[string]any{"phase": "Failed", "containerStatuses": []any{map[string]any{"state": map[string]any{
		"terminated": map[string]any{"exitCode": code, "reason": reason, "finishedAt": "2026-01-02T03:04:05Z"}}}}}
}

var (
	pendingState = map[string]any{"phase": "Pending"}
	runningState = map[string]any{"phase": "Running"}
)

func logOf(lines []stampedLine, cut int, err error) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		b := stamped(lines, nil)
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)-cut]), &failing{err})), nil
	}
}

func TestSubmit(t *testing.T) {
	dir := t.TempDir()
	app, lib := filepath.Join(dir, "count words.py"), filepath.Join(dir, "lib.zip")
	for _, f := range []string{app, lib} {
		if err := os.WriteFile(f, []byte(filepath.Base(f)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := []stampedLine{{time.Unix(1, 0), "one"}, {time.Unix(1, 5), "two"}, {time.Unix(3, 0), "three"}}
	busy := func() (io.ReadCloser, error) { return nil, apierrors.NewTooManyRequestsError("busy") }
	hdfs := files{}
	k := &fake{
		states: []map[string]any{pendingState, nil, pendingState, runningState, runningState, runningState, nil, ended(7, "Error")},
		logs:   []func() (io.ReadCloser, error){busy, logOf(lines, 9, io.ErrUnexpectedEOF), logOf(lines, 0, io.EOF)},
	}
	var notes []string
	s := &Submitter{Inventory: all(t, nil).Cluster, Cluster: k, Files: hdfs, Note: func(l string) { notes = append(notes, l) }, tick: time.Microsecond}
	d, err := s.Start(t.Context(), Application{File: app, PyFiles: []string{lib, "hdfs:///other.py"}, Args: []string{"x y"}})
	if err != nil {
		t.Fatal(err)
	}
	spec := object(k.applied, "spec")
	container := spec["containers"].([]any)[0].(map[string]any)
	command := container["command"].([]any)
	base := defaultFS + d.upload
	if got := fmt.Sprint(command[len(command)-4:]); got != fmt.Sprint([]string{"--py-files", base + "/1/lib.zip,hdfs:///other.py", base + "/0/count_words.py", "x y"}) {
		t.Errorf("the command ends with %s", got)
	}
	if hdfs[d.upload+"/0/count_words.py"] != "count words.py" || len(hdfs) != 2 {
		t.Errorf("uploaded: %v", hdfs)
	}
	var out bytes.Buffer
	code, err := s.Follow(t.Context(), d, &out)
	if code != 7 || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
	if out.String() != "one\ntwo\nthree\n" {
		t.Errorf("log: %q", out.String())
	}
	if err := s.Remove(t.Context(), d); err != nil || len(hdfs) != 0 || len(k.deleted) != 1 || k.deleted[0] != "Pod "+d.Pod {
		t.Errorf("left: %v, %v, %v", err, hdfs, k.deleted)
	}
	if err := s.Remove(t.Context(), d); err != nil {
		t.Errorf("removing twice: %v", err)
	}
}

// The reason of an end that the exit code does not tell is told.
func TestFollowKilled(t *testing.T) {
	k := &fake{states: []map[string]any{ended(137, "OOMKilled")}, logs: []func() (io.ReadCloser, error){logOf(nil, 0, io.EOF)}}
	var notes []string
	s := &Submitter{Cluster: k, Note: func(l string) { notes = append(notes, l) }, tick: time.Microsecond}
	code, err := s.Follow(t.Context(), &Driver{Pod: "p"}, io.Discard)
	if code != 137 || err != nil || !strings.Contains(strings.Join(notes, "\n"), "more memory") {
		t.Errorf("%d, %v, %q", code, err, notes)
	}
}

func TestStartTrouble(t *testing.T) {
	for _, test := range []struct {
		state map[string]any
		why   string
		bad   bool
	}{
		{pendingState, "", false},
		{waiting("nuc02", "ContainerCreating")["status"].(map[string]any), "", false},
		{waiting("nuc02", "ImagePullBackOff")["status"].(map[string]any), "ImagePullBackOff: <nil>", true},
		{map[string]any{"conditions": []any{map[string]any{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}}},
			"no machine has room for it: 0/3 nodes", false},
	} {
		why, bad := startTrouble(map[string]any{"status": test.state})
		if why != test.why || bad != test.bad {
			t.Errorf("%v: %q, %t", test.state, why, bad)
		}
	}
}

func TestSubmitWithoutHDFS(t *testing.T) {
	s := &Submitter{Inventory: all(t, nil).Cluster, Cluster: &fake{}, tick: time.Microsecond}
	if _, err := s.Start(t.Context(), Application{File: "x.py"}); err == nil || !strings.Contains(err.Error(), "hdfs block") {
		t.Errorf("%v", err)
	}
}

// A failed submit leaves nothing in HDFS.
func TestSubmitFails(t *testing.T) {
	dir := t.TempDir()
	app := filepath.Join(dir, "a.py")
	if err := os.WriteFile(app, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hdfs := files{}
	s := &Submitter{Inventory: all(t, nil).Cluster, Cluster: &fake{}, Files: hdfs}
	_, err := s.Start(t.Context(), Application{File: app, PyFiles: []string{filepath.Join(dir, "missing.py")}})
	if !errors.Is(err, fs.ErrNotExist) || len(hdfs) != 0 {
		t.Errorf("%v, left %v", err, hdfs)
	}
}

func TestPrune(t *testing.T) {
	now := time.Now().UTC()
	driverPod := func(name, upload string, end time.Time) map[string]any {
		p := map[string]any{"metadata": map[string]any{"name": name, "annotations": map[string]any{uploadAnnotation: upload}}, "status": runningState}
		if !end.IsZero() {
			e := ended(0, "Completed")
			e["containerStatuses"].([]any)[0].(map[string]any)["state"].(map[string]any)["terminated"].(map[string]any)["finishedAt"] = end.Format(time.RFC3339)
			p["status"] = e
		}
		return p
	}
	old, young := now.Add(-25*time.Hour), now.Add(-time.Hour)
	run := func(at time.Time, n string) string { return uploads + "/" + at.Format(runTime) + "-" + n }
	hdfs := files{
		run(old, "ended") + "/0/a.py": "", run(old, "runs") + "/0/a.py": "", run(old, "orphan") + "/0/a.py": "",
		run(young, "orphan") + "/0/a.py": "", uploads + "/notes/0/a.py": "", "/user/spark/data": "",
	}
	k := &fake{pods: []map[string]any{
		driverPod("ended", run(old, "ended"), old), driverPod("runs", run(old, "runs"), time.Time{}),
		driverPod("young", "", young), driverPod("strange", "/user/spark", old),
	}}
	s := &Submitter{Cluster: k, Files: hdfs}
	if err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Pod ended", "Pod strange"}, k.deleted); diff != "" {
		t.Error(diff)
	}
	want := files{run(old, "runs") + "/0/a.py": "", run(young, "orphan") + "/0/a.py": "", uploads + "/notes/0/a.py": "", "/user/spark/data": ""}
	if diff := cmp.Diff(want, hdfs); diff != "" {
		t.Error(diff)
	}
}

// An answer that got lost, as by Ctrl-C, leaves no application that runs.
func TestSubmitAnswerLost(t *testing.T) {
	k := &fake{refuses: context.Canceled}
	s := &Submitter{Inventory: all(t, nil).Cluster, Cluster: k, Files: files{}}
	_, err := s.Start(t.Context(), Application{File: "hdfs:///jobs/a.py"})
	if !errors.Is(err, context.Canceled) || len(k.deleted) != 1 {
		t.Errorf("%v, deleted %v", err, k.deleted)
	}
}

// A driver whose machine is off keeps its pod in the phase Running: that is
// told, and not waited for without end.
func TestFollowMachineOff(t *testing.T) {
	off := func() (io.ReadCloser, error) { return nil, apierrors.NewInternalError(errors.New("no route to host")) }
	k := &fake{states: []map[string]any{runningState}, logs: []func() (io.ReadCloser, error){off}}
	var notes []string
	s := &Submitter{Cluster: k, Note: func(l string) { notes = append(notes, l) }, tick: time.Microsecond, lost: 20 * time.Millisecond}
	_, err := s.Follow(t.Context(), &Driver{Pod: "p"}, io.Discard)
	var lost *LostError
	if !errors.As(err, &lost) || !strings.Contains(err.Error(), "no route to host") || len(notes) != 1 {
		t.Errorf("%v, said %q", err, notes)
	}
	k.states = []map[string]any{ended(3, "Error")}
	// Many times: an application that ended has its code however the bound
	// falls between two looks at the clock.
	s.lost = 100 * time.Microsecond
	for range 3000 {
		if code, err := s.Follow(t.Context(), &Driver{Pod: "p"}, io.Discard); code != 3 || err != nil {
			t.Fatalf("the application had ended: code %d, %v", code, err)
		}
	}
}
