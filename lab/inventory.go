package lab

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// renderInventory writes the lab as an inventory. keyFile and mirrorKey are
// absolute paths; mirrorKey is "" for a lab without a mirror.
func renderInventory(o Options, nodes []machine, host hostFacts, keyFile, mirrorKey string) []byte {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	p("# Written by `nucspark lab up`, removed by `nucspark lab down` if nobody changed it.\n")
	p("cluster %q {\nkubernetes = \"1.36\"\n}\n", o.Name)
	p("ssh {\nuser = %q\nprivate_key = %q\n}\n", user, keyFile)

	// On a single machine the control plane stores and computes as well.
	storing := nodes[min(1, len(nodes)-1):]
	for i, n := range nodes {
		p("node %q {\naddress = %q\nhost_key = %q", n.Name, n.Address, n.HostKey.Authorized())
		if i == 0 {
			p("role = \"control-plane\"")
		}
		if i >= len(nodes)-len(storing) {
			p("\nnfs {\nexport = \"/data/nfs\"\n}\n\nhdfs {\ndirs = [\"/data/hdfs\"]\n}")
		}
		p("}\n")
	}
	p("volume \"shared\" {\nnode = %q\nsize = \"1Gi\"\n}\n", storing[0].Name)
	p("hdfs {\nreplication = %d\n\nnamenode {\nlimits {\nmemory = \"1Gi\"\n}\n}\n\ndatanode {\nlimits {\nmemory = \"1Gi\"\n}\n}\n}\n",
		min(2, len(storing)))
	p(`spark {
worker {
requests {
cpu = "250m"
memory = "1Gi"
}

limits {
cpu = "2"
memory = "3Gi"
}
}

executor {
cores = 2
memory = "1g"
}

driver {
memory = "1g"
}
}
`)
	if mirrorKey != "" {
		a := o.mirrorAddress()
		p("mirror {\napt = \"http://%s/\"\nregistry = \"http://%s:5000\"\nkeys = [%q]\n}\n", a, a, mirrorKey)
	}
	for _, patch := range patches(host) {
		p("# %s\n%s\n", patch.why, patch.block)
	}
	return hclwrite.Format([]byte(strings.TrimRight(b.String(), "\n") + "\n"))
}

type patch struct{ why, block string }

// patches is what containers need and a machine does not, and only what this
// machine's kernel asks for.
func patches(host hostFacts) []patch {
	var kubelet []string
	var why []string
	if host.CgroupV1 {
		kubelet = append(kubelet, "failCgroupV1 = false")
		why = append(why, "has its control groups on version 1")
	}
	if host.Swap {
		kubelet = append(kubelet, "failSwapOn = false")
		why = append(why, "swaps, and a node cannot switch that off")
	}
	var out []patch
	if len(kubelet) > 0 {
		out = append(out, patch{"The kernel is this machine's, which " + strings.Join(why, " and ") + ".",
			"patch \"kubelet\" {\nconfig = {\n" + strings.Join(kubelet, "\n") + "\n}\n}\n"})
	}
	out = append(out,
		patch{"The size of the connection table can be set by the machine only, not by a container: 0 leaves it.",
			"patch \"kube-proxy\" {\nconfig = {\nconntrack = {\nmaxPerCore = 0\n}\n}\n}\n"},
		patch{"This check looks for the kernel's configuration, which a container does not have, and refuses version 1 control groups.",
			"patch \"kubeadm\" {\nignore_preflight_errors = [\"SystemVerification\"]\n}\n"})
	if !host.SysResource {
		out = append(out, patch{"This machine cannot give CAP_SYS_RESOURCE, without which no process may lower its OOM score.",
			"patch \"containerd\" {\nconfig = {\nplugins = {\n\"io.containerd.cri.v1.runtime\" = {\nrestrict_oom_score_adj = true\n}\n}\n}\n}\n"})
	}
	return out
}
