package spark

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

func TestCompute(t *testing.T) {
	s := all(t, nil)
	numbers := func(is provision.PageFact) *provision.Compute {
		return Compute(s, provision.NewFacts(map[provision.Query]any{masterPage: is, pod(master): running("nuc01")}))
	}
	p := page(t, "192.168.1.12 DEAD", "192.168.1.12 ALIVE", "192.168.1.99 ALIVE")
	p.Body = bytes.Replace(p.Body, []byte(`"activeapps":[]`), []byte(`"activeapps":[
		{"id":"app-1","name":"word count","cores":6,"memoryperexecutor":2048,"state":"RUNNING","duration":31500},
		{"id":"app-2","name":"etl","cores":0,"memoryperexecutor":1024,"state":"WAITING","duration":20}]`), 1)
	const mib = int64(inventory.MiB)
	want := &provision.Compute{
		Workers: []provision.ComputeWorker{{Name: "nuc02", Cores: 2, Memory: 2048 * mib}},
		Applications: []provision.Application{
			{ID: "app-1", Name: "word count", Runs: true, Cores: 6, Memory: 2048 * mib, Age: 31500 * time.Millisecond},
			{ID: "app-2", Name: "etl", Memory: 1024 * mib, Age: 20 * time.Millisecond},
		},
	}
	if diff := cmp.Diff(want, numbers(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := numbers(provision.PageFact{}); c != nil {
		t.Errorf("a master that does not answer has %+v", c)
	}
}
