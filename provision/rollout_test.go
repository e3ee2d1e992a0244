package provision

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The states are those that a rolling change of Kubernetes 1.36 goes through.
func TestRolling(t *testing.T) {
	const daemon, single = `"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d","namespace":"n","generation":2}`,
		`"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s","namespace":"n","generation":2},"spec":{"replicas":1}`
	for _, test := range []struct{ name, object, rolling, out string }{
		{"just changed", daemon + `,"status":{"observedGeneration":1,"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}`, "not looked at", "not looked at"},
		{"one replaced", daemon + `,"status":{"observedGeneration":2,"desiredNumberScheduled":2,"updatedNumberScheduled":1,"numberAvailable":1}`, "DaemonSet n/d: 1 of 2 pods have", "1 of 2 pods have"},
		{"the last starts", daemon + `,"status":{"observedGeneration":2,"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":1}`, "", "1 of 2 pods are ready"},
		{"done", daemon + `,"status":{"observedGeneration":2,"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}`, "", ""},
		{"no node", daemon + `,"status":{"observedGeneration":2,"desiredNumberScheduled":0}`, "", ""},
		{"the old pod ends", single + `,"status":{"observedGeneration":2,"replicas":1,"readyReplicas":1}`, "0 of 1 pods have", "0 of 1 pods have"},
		{"the new one starts", single + `,"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1}`, "", "StatefulSet n/s: 0 of 1 pods are ready"},
		{"it is ready", single + `,"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1,"readyReplicas":1}`, "", ""},
		{"not there", "", "not there", "not there"},
	} {
		var set Object
		if test.object != "" {
			// As the client of the API reads it.
			var u unstructured.Unstructured
			if err := json.Unmarshal([]byte("{"+test.object+"}"), &u); err != nil {
				t.Fatal(err)
			}
			set = u.Object
		}
		for what, is := range map[string][2]string{"rolling": {Rolling(set), test.rolling}, "rolling out": {RollingOut(set), test.out}} {
			if is[1] == "" && is[0] != "" || !strings.Contains(is[0], is[1]) {
				t.Errorf("%s: %s is %q, want %q", test.name, what, is[0], is[1])
			}
		}
	}
}
