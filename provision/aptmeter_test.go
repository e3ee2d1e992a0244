package provision

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What apt-get printed on Debian 12, shortened.
const aptPrinted = `Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]
Fetched 6592 kB in 3s (2294 kB/s)
Reading package lists...
0 upgraded, 3 newly installed, 0 to remove and 0 not upgraded.
Need to get 59.8 MB of archives.
After this operation, 377 MB of additional disk space will be used.
Get:1 http://172.31.75.2 ./ containerd.io 2.3.6-1~debian.12~bookworm [36.3 MB]
Get:2 http://deb.debian.org/debian bookworm/main amd64 socat amd64 1.7.4.4-2 [375 kB]
Get:3 http://172.31.75.2 ./ kubeadm 1.36.3-1.1 [23.1 MB]
Fetched 59.8 MB in 1s (237 MB/s)
Selecting previously unselected package socat.
Unpacking socat (1.7.4.4-2) ...
Unpacking containerd.io (2.3.6-1~debian.12~bookworm) ...
Unpacking kubeadm (1.36.3-1.1) ...
Setting up containerd.io (2.3.6-1~debian.12~bookworm) ...
Setting up socat (1.7.4.4-2) ...
Setting up kubeadm (1.36.3-1.1) ...
Processing triggers for libc-bin (2.36-9+deb12u14) ...`

func TestAptMeter(t *testing.T) {
	var told []string
	m := &aptMeter{tell: func(done, total int64, unit, what string) {
		told = append(told, strings.TrimSpace(fmt.Sprintf("%d/%d %s %s", done, total, unit, what)))
	}}
	for line := range strings.Lines(aptPrinted) {
		m.line(strings.TrimSuffix(line, "\n"))
	}
	want := []string{"0/59800000 bytes containerd.io", "36300000/59800000 bytes socat", "36675000/59800000 bytes kubeadm", "59800000/59800000 bytes",
		"1/3 packages unpacked socat", "2/3 packages unpacked containerd.io", "3/3 packages unpacked kubeadm",
		"1/3 packages set up containerd.io", "2/3 packages set up socat", "3/3 packages set up kubeadm"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for s, want := range map[string]int64{"15.1 kB": 15100, "684 B": 684, "1,234 kB": 1234000, "2.5 GB": 2500000000, "x MB": 0, "": 0} {
		if got := aptSize(s); got != want {
			t.Errorf("%q is %d, want %d", s, got, want)
		}
	}
}
