package kubeadm

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// withLeaving is a cluster of which nuc04 leaves.
func withLeaving() *provision.Site {
	site := three()
	site.Members = map[string]provision.Member{"nuc01": {MachineID: "m1", Address: "192.168.1.11"}, "nuc04": {MachineID: "m4", Address: "192.168.1.14"}}
	site.Leaving = []provision.Leaving{{Name: "nuc04", Member: site.Members["nuc04"], Machine: &provision.Machine{}}}
	return site
}

func recordOf(members map[string]provision.Member) provision.Object {
	return provision.Object{"metadata": map[string]any{"resourceVersion": "7"}, "data": map[string]any{provision.RecordMembers: indented(members)}}
}

// The record says who leaves before anything is done, and forgets it only when
// all have left.
func TestLeavingRecorded(t *testing.T) {
	site := withLeaving()
	step := Leave(site)[0]
	diff := func(members map[string]provision.Member) []provision.Change {
		c, err := step.Diff(provision.NewFacts(map[provision.Query]any{liveRecord: recordOf(members)}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := diff(site.Members); len(c) != 1 || c[0].Key != "nuc04" {
		t.Errorf("%+v", c)
	}
	if c := diff(map[string]provision.Member{"nuc04": {Leaving: true}}); len(c) != 0 {
		t.Errorf("recorded already: %+v", c)
	}
	if c := diff(map[string]provision.Member{"nuc01": {}}); len(c) != 0 {
		t.Errorf("out already: %+v", c)
	}
	if _, err := step.Diff(provision.NewFacts(map[provision.Query]any{liveRecord: provision.Object(nil)})); err == nil || !strings.Contains(err.Error(), "API server does not answer") {
		t.Errorf("without an API server: %v", err)
	}
	if m := members(site); m["nuc04"].Address != "" || m["nuc01"].Address == "" {
		t.Errorf("members after: %+v", m)
	}
	// Each step waits for what comes before it, and nothing of the others.
	known := map[string]bool{provision.NodeDataSafe("nuc04"): true, provision.NodeIdle("nuc04"): true, provision.NodeUnused("nuc04"): true, provision.NodeUndone("nuc04"): true}
	for _, s := range Leave(site) {
		for _, need := range s.Needs() {
			if !known[need] {
				t.Errorf("%s needs %s", s.ID(), need)
			}
		}
		known[s.ID()] = true
	}
	if !known[provision.Left] || !known[provision.NodeLeaving("nuc04")] || !known[provision.NodeDrained("nuc04")] {
		t.Errorf("milestones are missing among %v", known)
	}
}

// A node whose block is back takes pods again; one that somebody else cordoned
// is left alone.
func TestStays(t *testing.T) {
	site := withLeaving()
	site.Leaving = nil
	member := site.Members["nuc02"]
	member.Leaving = true
	site.Members["nuc02"] = member
	var uncordon, recorded provision.Step
	for _, s := range Steps(site) {
		switch s.ID() {
		case "nuc02/kubeadm/uncordon":
			uncordon = s
		case "nuc03/kubeadm/uncordon":
			t.Error("nuc03 was never to leave")
		case "cluster/record":
			recorded = s
		}
	}
	if uncordon == nil || !slices.Contains(recorded.Needs(), uncordon.ID()) {
		t.Fatalf("%v, and the record needs %v", uncordon, recorded.Needs())
	}
	for note, want := range map[string]int{"true": 1, "": 0} {
		node := provision.Object{"metadata": map[string]any{"annotations": map[string]any{leavingAnnotation: note}}, "spec": map[string]any{"unschedulable": true}}
		if c, err := uncordon.Diff(provision.NewFacts(map[provision.Query]any{liveNode("nuc02"): node})); err != nil || len(c) != want {
			t.Errorf("annotated %q: %+v, %v", note, c, err)
		}
	}
}

func pod(name string, change func(*corev1.Pod)) corev1.Pod {
	yes := true
	p := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name,
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "set", Controller: &yes}}}, Spec: corev1.PodSpec{NodeName: "nuc04"}}
	p.Status.Phase = corev1.PodRunning
	if change != nil {
		change(&p)
	}
	return p
}

func somePods() []corev1.Pod {
	return []corev1.Pod{
		pod("web", nil),
		pod("guarded", nil),
		pod("driver", func(p *corev1.Pod) { p.OwnerReferences = nil }),
		pod("flannel", func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "DaemonSet" }),
		pod("static", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }),
		pod("done", func(p *corev1.Pod) { p.OwnerReferences, p.Status.Phase = nil, corev1.PodSucceeded }),
	}
}

func TestDrainDiff(t *testing.T) {
	var list []provision.Object
	for _, p := range append(somePods(), pod("elsewhere", func(p *corev1.Pod) { p.Spec.NodeName = "nuc01" })) {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var o provision.Object
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	l := provision.Leaving{Name: "nuc04", Machine: &provision.Machine{}}
	changes, err := drained{leaving: l}.Diff(provision.NewFacts(map[provision.Query]any{allPods: list}))
	if err != nil {
		t.Fatal(err)
	}
	want := "evicted, and made again elsewhere: apps/guarded, apps/web\nwaited for, because nobody would make them again: apps/driver"
	if len(changes) != 1 || changes[0].Note != want {
		t.Errorf("%+v, want the note %q", changes, want)
	}
	// On a machine that is off nothing runs.
	l.Machine = nil
	if changes, _ := (drained{leaving: l}).Diff(provision.NewFacts(map[provision.Query]any{allPods: list})); len(changes) != 0 {
		t.Errorf("%+v", changes)
	}
}

// Pods are evicted through the API, which minds disruption budgets; what is in
// the way is said.
func TestEvict(t *testing.T) {
	var evicted []string
	answer := func(w http.ResponseWriter, code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, eviction := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/apps/pods/"), "/eviction")
		switch {
		case r.URL.Path == "/api/v1/pods" && r.URL.Query().Get("fieldSelector") == "spec.nodeName=nuc04":
			answer(w, 200, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: somePods()})
		case eviction && name == "guarded":
			answer(w, 429, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 429, Reason: metav1.StatusReasonTooManyRequests,
				Message: "Cannot evict pod", Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget keep needs 1 healthy pods"}}}})
		case eviction:
			evicted = append(evicted, name)
			answer(w, 201, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Success"})
		default:
			t.Errorf("%s %s", r.Method, r.URL)
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	conf, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Config", "current-context": "a",
		"clusters": []any{map[string]any{"name": "k", "cluster": map[string]any{"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": true}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": "t"}}},
		"contexts": []any{map[string]any{"name": "a", "context": map[string]any{"cluster": "k", "user": "u"}}}})
	if err != nil {
		t.Fatal(err)
	}
	k, err := kube.Connect(conf, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	left, blocked, err := evict(t.Context(), k, "nuc04")
	if err != nil || left != 3 || !slices.Equal(evicted, []string{"web"}) {
		t.Errorf("%d left, evicted %v, %v", left, evicted, err)
	}
	want := []string{"apps/web is ending", "apps/guarded: The disruption budget keep needs 1 healthy pods", "apps/driver runs, and nobody would make it again"}
	if !slices.Equal(blocked, want) {
		t.Errorf("blocked %q, want %q", blocked, want)
	}
}
