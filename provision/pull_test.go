package provision

import (
	"errors"
	"strings"
	"testing"

	"nucspark.io/nucspark/provision/host"
)

// The lines are those of ctr 2.3.6.
func TestPullError(t *testing.T) {
	warning := `time="2026-11-22T00:25:56Z" level=warning msg="DEPRECATION: The support for cgroup v1 is deprecated"`
	for _, c := range []struct {
		line, means string
		transient   bool
	}{
		{"ctr: failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/8f/data: no space left on device", "the disk is full", false},
		{"ctr: failed to resolve image: docker.io/apache/spark:nonexistent: not found", "the registry does not have it", false},
		{`ctr: failed to resolve image: pull access denied, repository does not exist or may require authorization`, "the registry refuses it", false},
		{`ctr: failed to resolve image: failed to do request: Head "https://ghcr.io/v2/x": dial tcp: lookup ghcr.io: i/o timeout`, "did not answer", true},
		{`ctr: failed to resolve image: failed to do request: Head "https://m/v2/x": tls: failed to verify certificate: x509: certificate signed by unknown authority`, "certificate", false},
	} {
		cmd := &host.CommandError{Node: "nuc02", Command: "ctr images pull x", Code: 1, Tail: []string{warning, c.line}}
		err := PullError("nuc02", "nuc02/spark/image", "pulling x", cmd)
		for _, w := range []string{"nuc02/spark/image: pulling x: ", c.means, strings.TrimPrefix(c.line, "ctr: ")} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v does not say %q", err, w)
			}
		}
		if IsTransient(err) != c.transient {
			t.Errorf("%v: transient %t", err, !c.transient)
		}
		if f := Failed(err); f.Command != cmd.Command || f.Code != 1 || len(f.Tail) != 1 || f.Tail[0] != c.line || f.Hint == "" {
			t.Errorf("%+v", f)
		}
	}
	lost := &host.ConnectError{Node: "nuc02", Transient: true, Err: errors.New("lost")}
	if err := PullError("nuc02", "s", "pulling x", lost); err != error(lost) {
		t.Errorf("a lost connection became %v", err)
	}
}
