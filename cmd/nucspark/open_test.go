package main

import (
	"strings"
	"testing"

	"nucspark.io/nucspark/inventory"
)

func TestLinked(t *testing.T) {
	c, err := inventory.Load("../../examples/cluster.hcl")
	if err != nil {
		t.Fatal(err)
	}
	is := linked(c)
	for _, test := range []struct {
		host string
		port int
		want bool
	}{
		{"192.168.1.12", 8081, true}, // a worker
		{"192.168.1.12", 9864, true}, // a datanode's label
		{"10.244.3.7", 4040, true},   // a running application
		{"spark-master-0.spark-master.nucspark.svc.cluster.local", 8080, true},
		{"192.168.1.11", 22, false},
		{"192.168.1.11", 6443, false},
		{"192.168.1.12", 10250, false},
		{"192.168.1.1", 8081, false}, // the router
		{"10.96.0.1", 443, false},    // the API server
		{"127.0.0.1", 8081, false},
		{"etcd.kube-system.svc.cluster.local", 2379, false},
		{"nucspark.svc.cluster.local", 80, false},
		{"spark.apache.org", 80, false},
		{"", 80, false},
	} {
		if got := is(test.host, test.port); got != test.want {
			t.Errorf("a link to %s:%d: %v", test.host, test.port, got)
		}
	}
}

// TestPagesOf: what people ask for is there, and every machine that works has a
// page.
func TestPagesOf(t *testing.T) {
	c, err := inventory.Load("../../examples/cluster.hcl")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pagesOf(c) {
		if p.Shows == "" || p.Host == "" || p.Port == 0 {
			t.Errorf("%+v lacks something", p)
		}
		got = append(got, p.Name+"@"+p.Node)
	}
	if want := "spark@nuc01 history@nuc01 @nuc02 @nuc03 hdfs@nuc01 @nuc02 @nuc03"; strings.Join(got, " ") != want {
		t.Errorf("pages %q, want %q", strings.Join(got, " "), want)
	}
}
