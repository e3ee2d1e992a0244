package spark

import (
	"context"
	"errors"
	"testing"
)

// fakePager is a cluster with drivers and a history server.
type fakePager struct{ pods []map[string]any }

func (f fakePager) List(context.Context, string, string, string, string) ([]map[string]any, error) {
	return f.pods, nil
}

func (f fakePager) Page(_ context.Context, _, pod string, port int, path string) (int, []byte, error) {
	switch {
	case path != "/api/v1/applications":
		return 404, nil, nil
	case pod == "app-count" && port == DriverUI:
		return 200, []byte(`[{"id":"app-1","name":"count words","attempts":[]}]`), nil
	case pod == "spark-history-0" && port == historyUI:
		return 200, []byte(`[{"id":"app-9","name":"nightly"},{"id":"app-8","name":"nightly"}]`), nil
	}
	return 0, nil, errors.New("connection refused")
}

func TestApplications(t *testing.T) {
	driver := func(name, ip, phase string) map[string]any {
		return map[string]any{"metadata": map[string]any{"name": name}, "status": map[string]any{"phase": phase, "podIP": ip}}
	}
	all, err := Applications(t.Context(), fakePager{[]map[string]any{
		driver("app-count", "10.244.1.7", "Running"), driver("app-starting", "10.244.1.8", "Running"),
		driver("app-waiting", "", "Pending"), driver("app-ended", "10.244.1.9", "Succeeded"),
	}})
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if r := all[0]; r.ID != "app-1" || r.Name != "count words" || r.Page.Host != "10.244.1.7" || r.Page.Port != DriverUI {
		t.Errorf("%+v", r)
	}
	if r := all[1]; r.Pod != "app-starting" || r.ID != "" || r.Page.Shows != "the running application app-starting" {
		t.Errorf("%+v", r)
	}
}

func TestEnded(t *testing.T) {
	for name, path := range map[string]string{"nightly": "/history/app-9/jobs/", "app-8": "/history/app-8/jobs/", "other": ""} {
		p, ok, err := Ended(t.Context(), fakePager{}, name)
		if err != nil || ok != (path != "") || p.Path != path {
			t.Errorf("%s: %+v, %v, %v", name, p, ok, err)
		}
	}
}
