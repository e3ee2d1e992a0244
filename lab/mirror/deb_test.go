package mirror

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nucspark.io/nucspark/golden"
)

// TestDebs makes the packages from programs of a few bytes and lets dpkg-deb
// read them: the control data, the list of files and the scripts.
func TestDebs(t *testing.T) {
	bin := t.TempDir()
	for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
		if err := os.WriteFile(filepath.Join(bin, p), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var kubernetes recipe
	for _, r := range recipes {
		if r.Name == "kubernetes" {
			kubernetes = r
		}
	}
	b := &bench{recipe: kubernetes, scratch: t.TempDir(), out: t.TempDir()}
	if err := b.packKubernetes(bin); err != nil {
		t.Fatal(err)
	}
	for _, p := range kubernetes.Packages {
		t.Run(p.Name, func(t *testing.T) {
			deb := filepath.Join(b.out, "debs", p.Name+"_"+p.Version+"_"+debArch()+".deb")
			unpacked := t.TempDir()
			var got strings.Builder
			for _, args := range [][]string{{"--field", deb}, {"--contents", deb}, {"--raw-extract", deb, unpacked}} {
				cmd := exec.CommandContext(t.Context(), "dpkg-deb", args...)
				cmd.Env = append(os.Environ(), "TZ=UTC")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("dpkg-deb %s: %v\n%s", args[0], err, out)
				}
				got.Write(out)
			}
			for _, name := range []string{"conffiles", "md5sums", "postinst"} {
				data, err := os.ReadFile(filepath.Join(unpacked, "DEBIAN", name))
				if err == nil {
					got.WriteString("-- " + name + "\n" + string(data))
				}
			}
			text := strings.ReplaceAll(got.String(), "Architecture: "+debArch(), "Architecture: ARCH")
			golden.Check(t, p.Name+".golden", text)
		})
	}
}

func TestSparkPath(t *testing.T) {
	for name, want := range map[string]string{
		"setup.py":                                 "",
		"pyspark.egg-info/PKG-INFO":                "",
		"deps/":                                    "",
		"deps/bin/":                                "bin/",
		"deps/bin/spark-submit":                    "bin/spark-submit",
		"deps/bin/spark-submit.cmd":                "",
		"deps/jars/spark-core_2.13-4.0.5.jar":      "jars/spark-core_2.13-4.0.5.jar",
		"deps/examples/pi.py":                      "examples/src/main/python/pi.py",
		"pyspark/__init__.py":                      "python/pyspark/__init__.py",
		"lib/py4j-0.10.9.9-src.zip":                "python/lib/py4j-0.10.9.9-src.zip",
		"deps/sbin/start-history-server.sh":        "sbin/start-history-server.sh",
		"pyspark/python/pyspark/python_packaging/": "python/pyspark/python/pyspark/python_packaging/",
	} {
		if got := sparkPath(name); got != want {
			t.Errorf("sparkPath(%q) = %q, want %q", name, got, want)
		}
	}
}
