package lab

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeDocker puts a shell script in place of the client; "" takes it away.
func fakeDocker(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestHostFacts(t *testing.T) {
	const header = "Filename\tType\tSize\tUsed\tPriority\n"
	if swapOn(header) {
		t.Error("a header alone counts as swap")
	}
	if !swapOn(header + "/swap.img file 2097148 0 -2\n") {
		t.Error("a swap file is not seen")
	}
	if hasCapability("Name:\tx\nCapBnd:\t000001fffeffffff\n", unix.CAP_SYS_RESOURCE) {
		t.Error("CAP_SYS_RESOURCE is seen where its bit is clear")
	}
	if !hasCapability("CapBnd:\t000001ffffffffff\n", unix.CAP_SYS_RESOURCE) {
		t.Error("CAP_SYS_RESOURCE is not seen")
	}
	const route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"br0\t004D1FAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\n" +
		"eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n"
	if got := defaultInterface(route); got != "eth0" {
		t.Errorf("the default route leads out of %q", got)
	}
	var got []string
	for _, a := range resolvers("# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\nnameserver 2001:db8::1\n") {
		got = append(got, a.String())
	}
	if want := []string{"192.0.2.1", "2001:db8::1"}; !slices.Equal(got, want) {
		t.Errorf("name servers %v, want %v", got, want)
	}
}

func TestProxyLines(t *testing.T) {
	const dump = `APT "";
Acquire::http::Proxy "http://192.0.2.7:3142";
Acquire::https::Proxy "";
Acquire::Check-Date "false";
Acquire::http::User-Agent "x";
DPkg::Post-Invoke:: "rm";
`
	const want = "Acquire::http::Proxy \"http://192.0.2.7:3142\";\nAcquire::Check-Date \"false\";\n"
	if got := proxyLines(dump); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProcessNow(t *testing.T) {
	self, started := processNow(os.Getpid())
	if self == "" || started == "" {
		t.Errorf("this process is %q since %q", self, started)
	}
	if comm, _ := processNow(0); comm != "" {
		t.Errorf("process 0 is %q", comm)
	}
}
