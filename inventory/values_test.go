package inventory

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		in           string
		bytes        Size
		kube, spark_ string
	}{
		{"50Gi", 50 << 30, "50Gi", "50g"},
		{"8g", 8 << 30, "8Gi", "8g"},
		{"512m", 512 << 20, "512Mi", "512m"},
		{"1.5Gi", 1536 << 20, "1536Mi", "1536m"},
		{"10G", 10e9, "9765625Ki", "9765625k"},
		{"1M", 1e6, "1000000", "1000000b"},
		{"1500", 1500, "1500", "1500b"},
		{"1500b", 1500, "1500", "1500b"},
		{"1024Gi", 1 << 40, "1Ti", "1t"},
		{"0", 0, "0", "0b"},
	} {
		got, err := ParseSize(test.in)
		if err != nil || got != test.bytes || got.String() != test.kube || got.Spark() != test.spark_ {
			t.Errorf("%s: %d bytes, %s, %s, %v", test.in, got, got, got.Spark(), err)
		}
	}
	for _, bad := range []string{"", "Gi", "5 Gi", "-1Gi", "+1Gi", "1e3", "5GB", "5K", "5gi", "0.3Ki", "99999999P", ".5Gi", "5.Gi", "1.2.3Gi", "0x10", "1_0", "５Gi"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("%q is %d bytes", bad, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"50Gi", "8g", "1.5Gi", "10G", "1500", "0", "9223372036854775807", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("%q is %d bytes", s, int64(n))
		}
		for _, written := range []string{n.String(), n.Spark()} {
			if back, err := ParseSize(written); err != nil || back != n {
				t.Errorf("%q is %d bytes, written as %q, read as %d, %v", s, int64(n), written, int64(back), err)
			}
		}
	})
}

func TestParseCPU(t *testing.T) {
	for in, want := range map[string]MilliCPU{"3": 3000, "500m": 500, "1.5": 1500, "0.001": 1, "2000m": 2000} {
		got, err := ParseCPU(in)
		if err != nil || got != want {
			t.Errorf("%s is %d, %v", in, int64(got), err)
		}
		if back, err := ParseCPU(got.String()); err != nil || back != got {
			t.Errorf("%s is written %s, read %d, %v", in, got, int64(back), err)
		}
	}
	for _, bad := range []string{"", "m", "three", "0.0001", "1.5m", "-1", "1e3", "99999999999999999999"} {
		if got, err := ParseCPU(bad); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := NewSecret("hunter2")
	type holder struct {
		Inner  Secret
		Ptr    *Secret
		Map    map[string]Secret
		List   []Secret
		hidden Secret
	}
	h := holder{s, &s, map[string]Secret{"a": s}, []Secret{s}, s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{s, &s, h, &h} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, "hunter2") || strings.Contains(strings.ToLower(text), "68756e74657232") {
				t.Errorf("%s of %T shows %s", verb, v, text)
			}
		}
	}
	text, err := json.Marshal(struct {
		A Secret
		B *Secret
		C map[string]Secret
	}{s, &s, map[string]Secret{"x": s}})
	if err != nil || strings.Contains(string(text), "hunter2") || strings.Count(string(text), sensitive) != 3 {
		t.Errorf("JSON shows %s, %v", text, err)
	}
	if s.Reveal() != "hunter2" || !s.Equal(NewSecret("hunter2")) || s.Equal(Secret{}) || s.IsZero() || !(Secret{}).IsZero() {
		t.Error("the value is lost")
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	home := t.TempDir()
	t.Setenv("HOME", home)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		dir + "/id": pem.EncodeToMemory(block), dir + "/id.pub": ssh.MarshalAuthorizedKey(line),
		home + "/locked": pem.EncodeToMemory(locked), dir + "/empty": nil, dir + "/large": bytes.Repeat([]byte("x"), maxKey+1),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(key, mirrorKey string) (*Cluster, error) {
		return Parse(filepath.Join(dir, "cluster.hcl"), fmt.Appendf(nil, `
cluster "a" { kubernetes = "1.36" }
ssh {
  user        = "ubuntu"
  private_key = %q
}
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
mirror {
  apt  = "http://192.168.1.5/"
  keys = [%q]
}`, key, mirrorKey))
	}
	for given, want := range map[string]string{"id": dir + "/id", "./id": dir + "/id", dir + "/id": dir + "/id", "~/locked": home + "/locked"} {
		c, err := parse(given, "id.pub")
		if err != nil {
			t.Errorf("%s: %v", given, err)
		} else if c.SSH.PrivateKey != want || c.Mirror.Keys[0] != dir+"/id.pub" {
			t.Errorf("%s is %s; keys are %s", given, c.SSH.PrivateKey, c.Mirror.Keys)
		}
	}
	for _, test := range []struct{ key, mirrorKey, want string }{
		{"id.pub", "id.pub", "is a public key"},
		{"empty", "id.pub", "is not a private key"},
		{"~", "id.pub", "is not a file"},
		{"id", "id", "is a private key"},
		{"id", "empty", "is empty"},
		{"id", "large", "larger than 1024 KiB"},
	} {
		if _, err := parse(test.key, test.mirrorKey); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s and %s: %v, want %q", test.key, test.mirrorKey, err, test.want)
		}
	}
}

func TestDataDir(t *testing.T) {
	for _, dir := range []string{"/data", "/data/hdfs", "/srv/nfs", "/mnt/disk1", "/media/disk", "/opt/data", "/var/lib/hdfs",
		"/var/lib/nucspark/namenode", "/var/lib/nucspark/checkpoint", "/etcetera", "/homes/x", "/library"} {
		if _, err := dataDir(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for _, dir := range []string{"/", "//", "/etc", "/etc/x", "/home", "/home/x/y", "/usr", "/usr/local", "/var", "/var/lib", "/var/lib/kubelet/pods",
		"/var/lib/containerd", "/var/lib/etcd", "/var/lib/nucspark", "/var/lib/nucspark/ledger", "/var/lib/nucspark/namenode/x", "/boot/efi", "/proc/1",
		"/sys", "/dev/shm", "/run", "/tmp/x", "/root", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/srv", "/mnt", "/snap",
		"data", "./data", "~/data", "/data/", "/data//x", "/data/./x", "/data/../x", "/data x", "/data*", "/data,x", "/data:x", "/dätä"} {
		if _, err := dataDir(dir); err == nil {
			t.Errorf("%s is accepted", dir)
		}
	}
}
