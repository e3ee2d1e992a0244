package provision

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	var all []Explanation
	for _, step := range []string{
		"containerd/config", "containerd/service", "hosts", "hosts-template", "images", "kubeadm/images", "users/*", "hdfs/disk/*",
		"cluster/hdfs", "cluster/hdfs/datanodes", "cluster/hdfs/datanode-*", "cluster/hdfs/datanode-*-ready",
	} {
		all = append(all, Explanation{Step: step})
	}
	for asked, want := range map[string]string{
		"nuc02/containerd/config":              "containerd/config",
		"containerd/config":                    "containerd/config",
		"containerd":                           "containerd/config containerd/service",
		"containerd/":                          "containerd/config containerd/service",
		"nuc02/containerd":                     "containerd/config containerd/service",
		"nuc02/hosts":                          "hosts",
		"host":                                 "hosts hosts-template",
		"nuc02/images":                         "images",
		"kubeadm/images":                       "kubeadm/images", // not the milestone of a node kubeadm
		"nuc02/kubeadm/images":                 "kubeadm/images",
		"users/spark":                          "users/*",
		"users/*":                              "users/*",
		"nuc02/users":                          "users/*",
		"nuc02/hdfs/disk/data/hdfs":            "hdfs/disk/*",
		"cluster/hdfs":                         "cluster/hdfs",
		"cluster/hdfs/":                        "cluster/hdfs/datanodes cluster/hdfs/datanode-* cluster/hdfs/datanode-*-ready",
		"cluster/hdfs/datanodes":               "cluster/hdfs/datanodes",
		"cluster/hdfs/datanode-1a2b3c4d":       "cluster/hdfs/datanode-*",
		"cluster/hdfs/datanode-1a2b3c4d-ready": "cluster/hdfs/datanode-*-ready",
		"cluster/containerd/config":            "",
		"cluster/":                             "cluster/hdfs cluster/hdfs/datanodes cluster/hdfs/datanode-* cluster/hdfs/datanode-*-ready",
		"nuc02":                                "",
		"nuc02/":                               "",
		"":                                     "",
		"containerd/config/more":               "",
		"users/":                               "users/*",
		"nuc02/cluster/hdfs":                   "cluster/hdfs",
		"containerd/conf":                      "containerd/config",
		"nuc02/hdfs/disk/":                     "hdfs/disk/*",
		"cluster/hdfs/datanode":                "cluster/hdfs/datanodes cluster/hdfs/datanode-* cluster/hdfs/datanode-*-ready",
		"nuc02/containerd/service/nuc02/anywhere": "",
	} {
		var got []string
		for _, e := range Explain(all, asked) {
			got = append(got, e.Step)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q finds %q, want %q", asked, got, want)
		}
	}
}

func TestExplanation(t *testing.T) {
	e := Explanation{Step: "cluster/hdfs/datanode-*-ready", Text: "Waits for 1.5 s\nand more. Then /etc/x.conf is read. End."}
	if e.Name() != "cluster/hdfs/datanode" || e.Plain() != "Waits for 1.5 s and more. Then /etc/x.conf is read. End." || e.Summary() != "Waits for 1.5 s and more." {
		t.Errorf("%q, %q, %q", e.Name(), e.Plain(), e.Summary())
	}
	if s := (Explanation{Text: "One only."}).Summary(); s != "One only." {
		t.Errorf("%q", s)
	}
}
