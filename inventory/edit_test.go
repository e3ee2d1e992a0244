package inventory

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const edited = `# The cluster of the third floor.
cluster "nucs" {
  kubernetes = "1.36"
}
ssh { user = "ubuntu" }

# Brains first.
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
} # in the cupboard

# Then
# the rest.
node "nuc02" { # this line and

  # this one go with it
  address = "192.168.1.12"
  hdfs { dirs = ["/data/hdfs"] }
}


# not formatted,   but ours
node   "nuc03" {
  address="192.168.1.13"
  nfs { export = "/srv/nfs" }
  hdfs { dirs = ["/data/hdfs"] }
}
volume "shared" { # stays
  node = "nuc03"
  size = "50Gi"
}
`

func TestAddNode(t *testing.T) {
	n := Node{Name: "nuc04", Address: netip.MustParseAddr("192.168.1.14"), Role: Worker, HostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGCFki6obKSeVy30JGRvhN6XaEdaQYyYFdPj/4lSby8",
		MAC: "1c:69:7a:01:02:03", NFS: &NodeNFS{Export: "/data/nfs"}, HDFS: &NodeHDFS{Dirs: []string{"/data/hdfs", "/data2/hdfs"}}}
	want := strings.Replace(edited, `volume "shared"`, `
node "nuc04" {
  # Intel NUC
  address  = "192.168.1.14"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGCFki6obKSeVy30JGRvhN6XaEdaQYyYFdPj/4lSby8"
  mac      = "1c:69:7a:01:02:03"

  nfs {
    export = "/data/nfs"
  }

  hdfs {
    dirs = ["/data/hdfs", "/data2/hdfs"]
  }
}

volume "shared"`, 1)
	src := []byte(edited)
	got, err := AddNode("cluster.hcl", src, n, "Intel NUC")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if string(src) != edited {
		t.Error("the text that was given has changed")
	}
	back, err := RemoveNode("cluster.hcl", got, "nuc04")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Replace(edited, "}\nvolume", "}\n\nvolume", 1), string(back)); diff != "" {
		t.Errorf("added and removed (-want +got):\n%s", diff)
	}
}

// TestAddNodeToExamples: the examples keep every line that they have.
func TestAddNodeToExamples(t *testing.T) {
	environment(t)
	for _, file := range files(t, "../examples/*.hcl") {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		added, err := AddNode(file, src, Node{Name: "nuc99", Address: netip.MustParseAddr("192.168.1.99")})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		removed, err := RemoveNode(file, added, "nuc99")
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if diff := cmp.Diff(string(src), string(removed)); diff != "" {
			t.Errorf("%s, added and removed (-want +got):\n%s", file, diff)
		}
	}
}

func TestRemoveNode(t *testing.T) {
	got, err := RemoveNode("cluster.hcl", []byte(edited), "nuc02")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := strings.Index(edited, `node "nuc02"`), strings.Index(edited, "\n\n# not formatted")
	if diff := cmp.Diff(edited[:begin]+edited[end:], string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	last := edited[:strings.Index(edited, `volume "shared"`)]
	got, err = RemoveNode("cluster.hcl", []byte(last), "nuc03")
	if want := last[:strings.Index(last, `node   "nuc03"`)]; err != nil || string(got) != want {
		t.Errorf("the last block: %v\n%s", err, got)
	}
}

func TestEditRefuses(t *testing.T) {
	add := func(name, address string) func() ([]byte, error) {
		return func() ([]byte, error) {
			return AddNode("cluster.hcl", []byte(edited), Node{Name: name, Address: netip.MustParseAddr(address)})
		}
	}
	remove := func(path, src, name string) func() ([]byte, error) {
		return func() ([]byte, error) { return RemoveNode(path, []byte(src), name) }
	}
	for want, edit := range map[string]func() ([]byte, error){
		`there is no node "nuc03"`:     remove("cluster.hcl", edited, "nuc03"), // its volume
		`no node is the control plane`: remove("cluster.hcl", edited, "nuc01"),
		`did you mean "nuc02"?`:        remove("cluster.hcl", edited, "nuc022"),
		`has no node "elsewhere"`:      remove("cluster.hcl", edited, "elsewhere"),
		`unknown attribute "adress"`:   remove("cluster.hcl", strings.Replace(edited, "address", "adress", 1), "nuc02"),
		`is JSON`:                      remove("cluster.hcl.json", "{}", "nuc02"),
		`"nuc02"`:                      add("nuc02", "192.168.1.14"),
		`192.168.1.13`:                 add("nuc04", "192.168.1.13"),
		`node name "Nuc04" is not`:     add("Nuc04", "192.168.1.14"),
		`cannot be the address`:        add("nuc04", "127.0.0.1"),
	} {
		if out, err := edit(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q\n%s", err, want, out)
		}
	}
}
