package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"nucspark.io/nucspark/provision"
)

// Arguments reach kubectl as they are.
func TestKubectlScript(t *testing.T) {
	bin := t.TempDir()
	fake := "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 3\n"
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(bin, "admin.conf")
	run := func(args ...string) (string, int) {
		cmd := exec.Command("sh", "-s")
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(kubectlScript(args), provision.AdminConf, conf))
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run("get", "nodes"); code != 1 || !strings.Contains(out, "nucspark up") {
		t.Errorf("without a cluster: code %d, %q", code, out)
	}
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"get", "-o", "jsonpath={.items[*]['a b']}", "it's", "$(id)", "", "--", "-f"}
	want := "--kubeconfig\n" + conf + "\n" + strings.Join(args, "\n") + "\n"
	if out, code := run(args...); code != 3 || out != want {
		t.Errorf("code %d, %q; want 3, %q", code, out, want)
	}
}

func TestKubeconfig(t *testing.T) {
	in := api.NewConfig()
	in.Clusters["nucs"] = &api.Cluster{Server: "https://control-plane.nucs.nucspark.internal:6443", CertificateAuthorityData: []byte("CA")}
	b, err := clientcmd.Write(*in)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = withServer(b, "192.168.1.11"); err != nil {
		t.Fatal(err)
	}
	out, err := clientcmd.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	if c := out.Clusters["nucs"]; c.Server != "https://192.168.1.11:6443" || string(c.CertificateAuthorityData) != "CA" {
		t.Errorf("cluster %+v", c)
	}

	file := filepath.Join(t.TempDir(), "conf")
	if err := writeNew(file, b); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := writeNew(file, nil); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("an existing file: %v", err)
	}
}
