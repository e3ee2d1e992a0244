package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// present makes the cluster that the lines need, where it is not there yet.
func (b *bench) present() error {
	return b.command(b.nucspark, "up", "-f", b.hcl(), "--yes", "--progress=plain")
}

// remote runs a script as root on a node.
func (b *bench) remote(env []string, address, script string) (string, error) {
	value := func(name string) string {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}
	return b.output("ssh", "-i", value("SSH_KEY"), "-o", "UserKnownHostsFile="+value("KNOWN_HOSTS"), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"nuc@"+address, "sudo", "-n", "sh", "-c", "'"+strings.ReplaceAll(script, "'", `'\''`)+"'")
}

// managed are the files of a node that both tools compare.
func managed(stores bool) []string {
	paths := []string{
		"/etc/apt/keyrings/nucspark.gpg", "/etc/apt/sources.list.d/nucspark.list",
		"/etc/containerd/config.toml", "/etc/containerd/certs.d/_default/hosts.toml",
		"/etc/modules-load.d/nucspark.conf", "/etc/sysctl.d/nucspark.conf", "/etc/sysctl.d/60-nucspark.conf",
		"/etc/nfs.conf.d/nucspark.conf", "/etc/nucspark/nftables.nft", "/etc/systemd/system/nucspark-firewall.service",
	}
	if stores {
		paths = append(paths, "/etc/ganesha/ganesha.conf", "/etc/systemd/system/nfs-ganesha.service.d/nucspark.conf")
	}
	return paths
}

// playbook makes the directory in which ansible-playbook runs: inventory,
// configuration, and the files of the machines as they are.
func (b *bench) playbook() (string, error) {
	env, err := b.scriptEnvironment()
	if err != nil {
		return "", err
	}
	c, err := b.cluster()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.work, "ansible")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	files := filepath.Join(dir, "files")
	put := func(path, text string) {
		if err == nil {
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				err = os.WriteFile(path, []byte(text), 0o644)
			}
		}
	}
	var hosts strings.Builder
	hosts.WriteString("[all]\n")
	for _, n := range c.Nodes {
		stores := n.HDFS != nil
		places := "/etc/containerd/certs.d/_default /etc/nucspark"
		units := []string{"containerd", "kubelet", "nucspark-firewall"}
		if stores {
			places += " /data/hdfs /data/nfs /var/lib/nucspark/spark-local"
			units = append(units, "rpcbind", "nfs-ganesha")
		} else {
			places += " /var/lib/nucspark/namenode /var/lib/nucspark/spark-master"
		}
		directories, failed := b.remote(env, n.Address.String(), `stat -c "{path: %n, mode: '0%a', owner: %U}," `+places)
		if failed != nil {
			return "", failed
		}
		paths := managed(stores)
		for _, p := range paths {
			text, failed := b.remote(env, n.Address.String(), "cat "+p)
			if failed != nil {
				return "", failed
			}
			put(filepath.Join(files, n.Name, p), text)
		}
		put(filepath.Join(dir, "host_vars", n.Name+".yml"), fmt.Sprintf("ansible_host: %s\nstores: %t\npaths: [%s]\ndirectories: [%s]\nunits: [%s]\n",
			n.Address, stores, strings.Join(paths, ", "), strings.ReplaceAll(directories, "\n", " "), strings.Join(units, ", ")))
		fmt.Fprintln(&hosts, n.Name)
	}
	fmt.Fprintf(&hosts, "[all:vars]\nansible_user=nuc\nfiles=%s\nansible_ssh_private_key_file=%s\nansible_python_interpreter=/usr/bin/python3\n"+
		"ansible_ssh_common_args=-o UserKnownHostsFile=%s -o ControlMaster=auto -o ControlPersist=60s\n",
		files, c.SSH.PrivateKey, filepath.Join(b.work, "known_hosts"))
	put(filepath.Join(dir, "hosts"), hosts.String())

	replace := strings.NewReplacer("@NET@", b.net(), "@CLUSTER@", c.Name)
	block, failed := os.ReadFile(filepath.Join(b.source, "cluster", "hosts"))
	if failed != nil {
		return "", failed
	}
	lines := strings.Split(strings.TrimSpace(replace.Replace(string(block))), "\n")
	put(filepath.Join(files, "hosts"), strings.Join(lines[1:len(lines)-1], "\n")+"\n")

	id, failed := b.output(b.nucspark, "kubectl", "-f", b.hcl(), "--", "-n", "nucspark", "get", "configmap", "hdfs", "-o", "jsonpath={.data.clusterID}")
	if failed != nil {
		return "", failed
	}
	replace = strings.NewReplacer("@NET@", b.net(), "@UID@", strings.TrimPrefix(id, "nucspark-"))
	manifests, failed := filepath.Glob(filepath.Join(b.source, "cluster", "manifests", "*.yaml"))
	if failed != nil {
		return "", failed
	}
	var all []string
	for _, m := range manifests {
		if filepath.Base(m) == "hdfs-nodes.yaml" {
			continue // its content is made when the machines have joined
		}
		text, failed := os.ReadFile(m)
		if failed != nil {
			return "", failed
		}
		all = append(all, replace.Replace(string(text)))
	}
	put(filepath.Join(files, "manifests.yaml"), strings.Join(all, "---\n"))
	for _, name := range []string{"playbook.yml", "ansible.cfg"} {
		text, failed := os.ReadFile(filepath.Join(b.source, name))
		if failed != nil {
			return "", failed
		}
		put(filepath.Join(dir, name), string(text))
	}
	return dir, err
}

var recap = regexp.MustCompile(`(?m)^(nuc\d+) .*changed=(\d+) .*unreachable=(\d+) .*failed=(\d+)`)

// noop compares an up that changes nothing with a playbook that changes
// nothing.
func (b *bench) noop() ([]*Line, error) {
	if err := b.present(); err != nil {
		return nil, err
	}
	dir, err := b.playbook()
	if err != nil {
		return nil, err
	}
	l := &Line{ID: "noop", Title: "`up` where nothing differs, against a playbook of ansible-core", Inverse: true, Limit: 20, AtLeast: true,
		A: Side{Name: "nucspark up", Command: "nucspark up -f lab.hcl --yes --timings"},
		B: Side{Name: "ansible-playbook", Command: "ansible-playbook -i hosts playbook.yml"}}
	version, err := b.output("ansible-playbook", "--version")
	if err != nil {
		return nil, fmt.Errorf("%w; make bench installs ansible-core", err)
	}
	var timings []string
	changed := ""
	play := func() (time.Duration, error) {
		cmd := b.prepared("ansible-playbook", "-i", "hosts", "playbook.yml")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		var out strings.Builder
		cmd.Stdout = &out
		took, err := timed(cmd)
		b.log.Write([]byte(out.String()))
		for _, m := range recap.FindAllStringSubmatch(out.String(), -1) {
			if m[3] != "0" || m[4] != "0" {
				return took, errors.New("the playbook failed; see the log")
			}
			if m[2] != "0" {
				changed = fmt.Sprintf("The playbook reported %s changes on %s: nucspark has moved on since its manifests were frozen.", m[2], m[1])
			}
		}
		return took, err
	}
	// The first run installs python3-apt, which the module for packages needs.
	if _, err := play(); err != nil {
		return nil, err
	}
	changed = ""
	err = l.pairs(b.n(5), func() (time.Duration, error) {
		cmd := b.prepared(b.nucspark, "up", "-f", b.hcl(), "--yes", "--timings")
		var out, diagnostics strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &diagnostics
		took, err := timed(cmd)
		b.log.Write([]byte(out.String() + diagnostics.String()))
		if err == nil && !strings.HasPrefix(out.String(), "Nothing to change") {
			err = errors.New("up changed something; see the log")
		}
		if first, _, ok := strings.Cut(diagnostics.String(), " ("); ok {
			timings = append(timings, first)
		}
		return took, err
	}, play)
	if err != nil {
		return nil, err
	}
	limit := "met"
	if median(l.A.Seconds) > 2 {
		limit = "**missed**"
	}
	l.Notes = []string{
		fmt.Sprintf("At most 2 s for three nodes: %s.", limit),
		"Where the time goes, run by run (`--timings`; nodes and API are asked at the same time): " + strings.Join(timings, "; ") + ".",
		strings.SplitN(version, "\n", 2)[0] + ", with pipelining, ControlPersist, facts reduced to the least, all hosts at once; packages in one task, objects of Kubernetes in one `kubectl diff`. The connections of earlier runs stay open for it, while nucspark dials anew.",
	}
	if changed != "" {
		l.Notes = append(l.Notes, changed)
	}
	return []*Line{l}, nil
}
