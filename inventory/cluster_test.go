package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// build makes a cluster of one control plane and some workers.
func build(t *testing.T, controlPlane string, workers ...string) *Cluster {
	t.Helper()
	var b strings.Builder
	b.WriteString("cluster \"a\" { kubernetes = \"1.36\" }\nssh { user = \"ubuntu\" }\n")
	for i, blocks := range append([]string{controlPlane}, workers...) {
		role := "worker"
		if i == 0 {
			role = "control-plane"
		}
		fmt.Fprintf(&b, "node \"n%d\" {\n address = \"192.168.1.%d\"\n role = %q\n%s\n}\n", i, i+1, role, blocks)
	}
	c, err := Parse("cluster.hcl", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Secrets knows every place of an inventory that a secret may be in.
func TestSecretsAreAll(t *testing.T) {
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch {
		case !v.CanSet():
		case v.Type() == reflect.TypeFor[Secret]():
			v.Set(reflect.ValueOf(NewSecret(fmt.Sprint("secret ", n))))
			n++
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case v.Kind() == reflect.Map:
			e := reflect.New(v.Type().Elem()).Elem()
			fill(e)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.Zero(v.Type().Key()), e)
		}
	}
	var c Cluster
	fill(reflect.ValueOf(&c).Elem())
	var got []string
	for _, s := range c.Secrets() {
		got = append(got, s.Reveal())
	}
	slices.Sort(got)
	if got = slices.Compact(got); n == 0 || len(got) != n {
		t.Errorf("an inventory has %d places for secrets, and Secrets returns %q", n, got)
	}
}

func names(nodes []*Node) string {
	var s []string
	for _, n := range nodes {
		s = append(s, n.Name)
	}
	return strings.Join(s, " ")
}

func TestSelections(t *testing.T) {
	const hdfs, nfs = "hdfs { dirs = [\"/data\"] }\n", "nfs { export = \"/srv/nfs\" }\n"
	for _, test := range []struct {
		name                           string
		c                              *Cluster
		workers, exporters, datanodes_ string
		replication                    int
		hdfs                           bool
	}{
		{"one machine", build(t, ""), "n0", "", "", 0, false},
		{"one machine that stores", build(t, hdfs+nfs), "n0", "n0", "n0", 1, true},
		{"control plane apart", build(t, "", hdfs, nfs), "n1 n2", "n2", "n1", 1, true},
		{"control plane stores", build(t, nfs, hdfs, hdfs), "n0 n1 n2", "n0", "n1 n2", 2, true},
		{"three datanodes", build(t, "", hdfs, hdfs, hdfs), "n1 n2 n3", "", "n1 n2 n3", 2, true},
		{"five datanodes", build(t, "", hdfs, hdfs, hdfs, hdfs, hdfs), "n1 n2 n3 n4 n5", "", "n1 n2 n3 n4 n5", 3, true},
	} {
		c := test.c
		if got := names(c.Workers()); got != test.workers {
			t.Errorf("%s: workers %s, want %s", test.name, got, test.workers)
		}
		if got := names(c.Exporters()); got != test.exporters {
			t.Errorf("%s: exporters %s, want %s", test.name, got, test.exporters)
		}
		if got := names(c.Datanodes()); got != test.datanodes_ {
			t.Errorf("%s: datanodes %s, want %s", test.name, got, test.datanodes_)
		}
		if got := c.DefaultReplication(); got != test.replication || c.HDFS.Enabled != test.hdfs {
			t.Errorf("%s: replication %d, want %d; hdfs %v", test.name, got, test.replication, c.HDFS.Enabled)
		}
		if c.ControlPlane() != &c.Nodes[0] {
			t.Errorf("%s: the control plane is %v", test.name, c.ControlPlane())
		}
		if n, ok := c.Node("n0"); !ok || n != &c.Nodes[0] {
			t.Errorf("%s: n0 is %v", test.name, n)
		}
		if _, ok := c.Node("n9"); ok {
			t.Errorf("%s: n9 was found", test.name)
		}
	}
}

// TestWarnings looks at what is allowed but worth a word.
func TestWarnings(t *testing.T) {
	const base = `cluster "a" { kubernetes = "1.36" }
ssh {
  user     = "ubuntu"
  password = "hunter2"
}
node "a" {
  address  = "192.168.1.11"
  role     = "control-plane"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBO5tSOK9ePUxrcX3m6ZMVwUb2ViznG4yQMlEv5iMfDS"
  hdfs { dirs = ["/data"] }
}
node "b" {
  address  = "192.168.1.12"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBO5tSOK9ePUxrcX3m6ZMVwUb2ViznG4yQMlEv5iMfDS"
  hdfs { dirs = ["/data"] }
}
node "c" { address = "192.168.1.13" }
access { allow = ["0.0.0.0/0"] }
hdfs { replication = 1 }
`
	c, err := Parse("cluster.hcl", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		if w.Severity != Warning {
			t.Errorf("no warning: %v", w)
		}
		got = append(got, fmt.Sprintf("%d %s", w.Line, w.Summary))
	}
	want := []string{
		"4 password stands in the file for everybody who can read it",
		"14 two machines have one host key",
		`17 node "c" stores nothing`,
		"18 everybody who reaches the machines may reach the cluster",
		"19 every block has one copy only",
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(c.Warnings.Error(), "hunter2") {
		t.Errorf("a password is shown:\n%s", c.Warnings.Error())
	}
}

// TestSnippets looks at lines that are hard to show.
func TestSnippets(t *testing.T) {
	for _, test := range []struct{ name, src, want, never string }{
		{"tab and wide characters", "ssh {\n\tuser = \"日本\"\n}", "\n  2 | \tuser = \"日本\"\n    | \t       ^^^^^^\n", ""},
		{"escape sequence", "ssh {\n  user = \"a\x1b[2J\"\n}", "a�[2J", "\x1b"},
		{"password with a mistake behind it", "ssh {\n  password = \"hunter2\" x\n}", "(sensitive)", "hunter2"},
		{"password that is a template", "ssh {\n  password = \"hunter2${var.x}\"\n}", "(sensitive)", "hunter2"},
		{"windows line end", "ssh {\r\n  port = \"22\"\r\n}\r\n", "\n  2 |   port = \"22\"\n", "\r"},
		{"nesting without end", strings.Repeat("a {\n", 100_000), "100000 brackets inside each other", ""},
		{"no file at all", "\x00\xff", "error:", "\x00"},
	} {
		_, err := Parse("cluster.hcl", []byte(test.src))
		if err == nil || !strings.Contains(err.Error(), test.want) || test.never != "" && strings.Contains(err.Error(), test.never) {
			t.Errorf("%s: want %q, never %q:\n%v", test.name, test.want, test.never, err)
		}
	}
}

// FuzzParse looks for input that brings the parser down, and checks what
// everybody relies on where there is a cluster.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.hcl", "testdata/*.json", "../examples/*.hcl"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range found {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src, strings.HasSuffix(file, ".json"))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, isJSON bool) {
		path := "cluster.hcl"
		if isJSON {
			path += ".json"
		}
		c, err := Parse(path, src)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Fatalf("cluster %v with error %v", c, err)
			}
			return
		}
		if c.ControlPlane() == nil || c.Name == "" || c.SSH.User == "" || c.Spark.Executor.Cores < 1 {
			t.Fatalf("an incomplete cluster: %+v", c)
		}
		for _, v := range c.Volumes {
			if n, ok := c.Node(v.Node); !ok || n.NFS == nil {
				t.Fatalf("volume %s lies on %s", v.Name, v.Node)
			}
		}
		if isJSON {
			return
		}
		once, err := Format(path, src)
		if err != nil {
			t.Fatalf("parses but does not format: %v", err)
		}
		if _, err := Parse(path, once); err != nil {
			t.Fatalf("formatting breaks it: %v\n%s", err, once)
		}
	})
}
