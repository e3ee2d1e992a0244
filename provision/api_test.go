package provision

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"nucspark.io/nucspark/provision/kube"
)

// A controller that changes an object between the two answers of a query makes
// no difference; what apply would change does.
func TestObjectChangesMeanwhile(t *testing.T) {
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default","resourceVersion":"%[1]d","annotations":{"changed":"%[1]d"}},"data":{"k":%[2]q}}`
	for _, c := range []struct {
		name    string
		version func(gets int) int // when it was read so often
		data    string             // after a dry run
		differs bool
	}{
		{"bound meanwhile", func(gets int) int { return min(gets, 2) }, "is", false},
		{"bound meanwhile, and another value is wanted", func(gets int) int { return min(gets, 2) }, "should", true},
		{"changed all the time", func(gets int) int { return gets }, "is", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			gets := 0
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Method == http.MethodGet {
					gets++
					fmt.Fprintf(w, object, c.version(gets), "is")
					return
				}
				if r.URL.Query().Get("dryRun") != "All" {
					t.Errorf("%s %s changes something", r.Method, r.URL)
				}
				fmt.Fprintf(w, object, c.version(gets+1), c.data)
			}))
			defer api.Close()
			k, err := kube.Connect(fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":%q}}],
"users":[{"name":"u"}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`, api.URL), new(net.Dialer).DialContext, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			s := KubeObject{Object: Object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x", "namespace": "default"}, "data": map[string]any{"k": c.data}}}
			fact, err := newReader(t.Context(), k, s.Reads()).ask(context.Background(), s.query())
			if err != nil {
				t.Fatal(err)
			}
			changes, err := s.Diff(Facts{answers: map[string]any{s.query().Key(): fact}})
			if err != nil || (len(changes) > 0) != c.differs {
				t.Errorf("after %d reads: %+v, %v", gets, changes, err)
			}
			if gets > sameVersionTries {
				t.Errorf("it was read %d times", gets)
			}
		})
	}
}
