package main

import (
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/tui"
)

func TestDurationsAreRemembered(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if d := readDurations("lab"); d != nil {
		t.Errorf("a first run remembers %v", d)
	}
	want := tui.Durations{"nuc01/kubeadm/init": 14340 * time.Millisecond, "cluster/hdfs": time.Minute}
	if err := writeDurations("lab", want); err != nil {
		t.Fatal(err)
	}
	if got := readDurations("lab"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := readDurations("other"); d != nil {
		t.Errorf("another cluster remembers %v", d)
	}
	path, err := durationsFile("lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := readDurations("lab"); d != nil {
		t.Errorf("half a file remembers %v", d)
	}
}

func TestSSHCommand(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state of mine")
	c := &inventory.Cluster{SSH: inventory.SSH{User: "ubuntu", KnownHosts: "/k"}, Nodes: []inventory.Node{
		{Name: "nuc01", Address: netip.MustParseAddr("192.168.1.11"), Port: 22, Role: inventory.ControlPlane},
		{Name: "nuc02", Address: netip.MustParseAddr("192.168.1.12"), Port: 2222, Role: inventory.Worker, HostKey: "ssh-ed25519 AAAA"}}}
	for node, want := range map[string]string{
		"nuc01": "ssh -o UserKnownHostsFile=/k ubuntu@192.168.1.11",
		"":      "ssh -o UserKnownHostsFile=/k ubuntu@192.168.1.11",
		"nuc02": "ssh -p 2222 ubuntu@192.168.1.12",
		"nuc09": "",
	} {
		if got := sshCommand(c, node); got != want {
			t.Errorf("%q: %q, want %q", node, got, want)
		}
	}
	c.SSH.KnownHosts, c.SSH.PrivateKey = "", "/my keys/it's"
	if got, want := sshCommand(c, "nuc01"), `ssh -i '/my keys/it'\''s' -o 'UserKnownHostsFile="/state of mine/nucspark/known_hosts"' ubuntu@192.168.1.11`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
