package lab

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nucspark.io/nucspark/golden"
)

func TestContainers(t *testing.T) {
	o, nodes := testLab(t, 2)
	for _, c := range []struct {
		golden string
		args   []string
	}{
		{"node-bare-kernel.txt", createArgs(o, nodes[1], "image:1", hostFacts{CgroupV1: true})},
		{"node-modules.txt", createArgs(o, nodes[0], "image:1", hostFacts{SysResource: true, Modules: "/lib/modules"})},
	} {
		golden.Check(t, c.golden, strings.Join(c.args, "\n")+"\n")
	}
	args := mirrorArgs(o, "/cache/server/nucspark-1", "/cache/mirror")
	i := slices.Index(args, "--user")
	args[i+1] = "UID:GID" // whoever runs the test
	golden.Check(t, "mirror.txt", strings.Join(args, "\n")+"\n")
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string // part of the error, "" for none
	}{
		{Options{}, ""},
		{Options{Name: "second", Nodes: 99, Subnet: netip.MustParsePrefix("10.1.2.3/24")}, ""},
		{Options{Name: "Lab"}, `"Lab" is no name for a lab`},
		{Options{Name: "../lab"}, "is no name for a lab"},
		{Options{Nodes: 100}, "1 to 99 nodes"},
		{Options{Nodes: -1}, "1 to 99 nodes"},
		{Options{Subnet: netip.MustParsePrefix("8.8.8.0/24")}, "private IPv4 /24"},
		{Options{Subnet: netip.MustParsePrefix("172.31.0.0/16")}, "private IPv4 /24"},
	} {
		o, err := c.o.withDefaults()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.o, err)
		case c.want == "" && o.Subnet != o.Subnet.Masked():
			t.Errorf("%+v: the subnet %s has host bits", c.o, o.Subnet)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: got error %v, want one with %q", c.o, err, c.want)
		}
	}
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got := o.mirrorAddress().String(); got != "172.31.77.2" {
		t.Errorf("the mirror is at %s", got)
	}
	if got := o.object("nuc01") + " " + o.object(""); got != "nucspark-lab-nuc01 nucspark-lab" {
		t.Errorf("objects are named %s", got)
	}
}

// A client that fails in a known way stands in for docker.
func TestEngineErrors(t *testing.T) {
	for _, c := range []struct {
		name, client string // shell script, "" for none
		want         []string
	}{
		{"none", "", []string{"no container engine is installed", "--start-engine"}},
		{"stopped", `echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1`,
			[]string{"no container engine is running", "--start-engine"}},
		{"refused", `echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1`,
			[]string{"does not let this user in", "usermod -aG docker"}},
		{"running", `echo 28.2.2`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeDocker(t, c.client)
			err := engineRunning(t.Context())
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var ee *EngineError
			if !errors.As(err, &ee) {
				t.Fatalf("got %v, want an EngineError", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}
