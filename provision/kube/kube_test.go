package kube

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// connect returns a client of a server that answers with handle. The server is
// known to the client by a name that no resolver has, as a control plane is.
func connect(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(handle)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	conf := api.NewConfig()
	conf.Clusters["c"] = &api.Cluster{
		Server:                   "https://example.com:6443", // a name in the certificate of httptest
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}),
	}
	conf.AuthInfos["u"] = &api.AuthInfo{}
	conf.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	conf.CurrentContext = "x"
	b, err := clientcmd.Write(*conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:1") // must have no part in it
	c, err := Connect(b, func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "127.0.0.1:6443" && addr != "10.244.1.7:9870" {
			t.Errorf("dialled %s", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

func fails(w http.ResponseWriter, err *apierrors.StatusError) {
	s := err.ErrStatus
	s.Kind, s.APIVersion = "Status", "v1"
	reply(w, int(s.Code), s)
}

func absent(w http.ResponseWriter) {
	fails(w, apierrors.NewNotFound(schema.GroupResource{Resource: "things"}, "x"))
}

func TestApply(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		var o map[string]any
		json.NewDecoder(r.Body).Decode(&o)
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.Path+"?"+r.URL.Query().Encode()+" "+r.Header.Get("Content-Type"))
		mu.Unlock()
		reply(w, 200, o)
	})
	obj := Object(core.ConfigMap("settings", "nucspark").WithData(map[string]string{"a": "1"}))
	for _, f := range []func(context.Context, map[string]any) (map[string]any, error){c.DryRun, c.Apply} {
		got, err := f(t.Context(), obj)
		if err != nil || fmt.Sprint(got["data"]) != "map[a:1]" {
			t.Fatalf("%v, %v", got, err)
		}
	}
	const path = "PATCH /api/v1/namespaces/nucspark/configmaps/settings"
	want := []string{
		path + "?dryRun=All&fieldManager=nucspark&force=true application/apply-patch+yaml",
		path + "?fieldManager=nucspark&force=true application/apply-patch+yaml",
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	if labels := obj["metadata"].(map[string]any)["labels"].(map[string]any); labels[ManagedBy] != Manager {
		t.Errorf("labels %v", labels)
	}
}

func TestAbsent(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, _ *http.Request) { absent(w) })
	ctx := t.Context()
	if o, err := c.Get(ctx, "apps/v1", "DaemonSet", "nucspark", "x"); o != nil || err != nil {
		t.Errorf("Get: %v, %v", o, err)
	}
	if o, err := c.List(ctx, "apps/v1", "DaemonSet", "nucspark", "a=b"); o != nil || err != nil {
		t.Errorf("List: %v, %v", o, err)
	}
	obj := Object(core.ConfigMap("settings", "nucspark"))
	if o, err := c.DryRun(ctx, obj); o != nil || err != nil {
		t.Errorf("DryRun: %v, %v", o, err)
	}
	if _, err := c.Apply(ctx, obj); !apierrors.IsNotFound(err) {
		t.Errorf("Apply: %v", err)
	}
	if err := c.Delete(ctx, "v1", "ConfigMap", "nucspark", "x"); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

// A mistake in the program must not look like an object that is absent.
func TestMistakes(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, _ *http.Request) { absent(w) })
	for _, q := range [][4]string{
		{"v1", "Widget", "nucspark", "x"}, {"v1", "Pod", "", "x"}, {"v1", "Pod", "nucspark", ""}, {"v1", "Node", "nucspark", "x"},
	} {
		if _, err := c.Get(t.Context(), q[0], q[1], q[2], q[3]); err == nil {
			t.Errorf("Get of %v: no error", q)
		}
	}
}

func TestList(t *testing.T) {
	item := func(ns, name string) any {
		return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": ns, "name": name}}
	}
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/pods" || r.URL.Query().Get("labelSelector") != "app=hdfs" {
			t.Errorf("asked %s", r.URL)
		}
		reply(w, 200, map[string]any{"apiVersion": "v1", "kind": "PodList", "items": []any{item("b", "a"), item("a", "z"), item("a", "c")}})
	})
	list, err := c.List(t.Context(), "v1", "Pod", "", "app=hdfs")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range list {
		m := o["metadata"].(map[string]any)
		names = append(names, fmt.Sprint(m["namespace"], "/", m["name"]))
	}
	if got := strings.Join(names, " "); got != "a/c a/z b/a" {
		t.Errorf("order %s", got)
	}
}

func TestDelete(t *testing.T) {
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": "n", "uid": "u1"}}
	var mu sync.Mutex
	looks, stuck := 0, false
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodDelete {
			var o map[string]any
			if json.NewDecoder(r.Body).Decode(&o) != nil {
				return // the client gave up while it sent them
			}
			if o["propagationPolicy"] != "Foreground" || fmt.Sprint(o["preconditions"]) != "map[uid:u1]" {
				t.Errorf("options %v", o)
			}
			reply(w, 200, pod)
			return
		}
		if looks++; looks < 3 || stuck {
			reply(w, 200, pod)
			return
		}
		absent(w)
	})
	if err := c.Delete(t.Context(), "v1", "Pod", "n", "p"); err != nil || looks != 3 {
		t.Errorf("%v after %d looks, want 3", err, looks)
	}
	mu.Lock()
	stuck = true
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Delete(ctx, "v1", "Pod", "n", "p"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an object that stays: %v", err)
	}
}

func TestPage(t *testing.T) {
	const prefix = "/api/v1/namespaces/n/pods/p:9870/proxy"
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case prefix + "/jmx?qry=a:b":
			io.WriteString(w, "beans")
		case prefix + "/":
			http.Redirect(w, r, "/index.html", http.StatusFound)
		case prefix + "/none":
			http.Error(w, "no such page", http.StatusNotFound)
		default:
			fails(w, apierrors.NewServiceUnavailable("no endpoints"))
		}
	})
	for _, tt := range []struct {
		path, body string
		status     int
	}{{"/jmx?qry=a:b", "beans", 200}, {"/", "", 302}, {"/none", "no such page\n", 404}} {
		status, body, err := c.Page(t.Context(), "n", "p", 9870, tt.path)
		if err != nil || status != tt.status || tt.body != "" && string(body) != tt.body {
			t.Errorf("%s: %d %q %v", tt.path, status, body, err)
		}
	}
	if _, _, err := c.Page(t.Context(), "n", "p", 9870, "/down"); !IsTransient(err) {
		t.Errorf("a pod that does not answer: %v", err)
	}
}

func TestDialPod(t *testing.T) {
	ip := ""
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, map[string]any{"apiVersion": "v1", "kind": "Pod", "status": map[string]any{"podIP": ip, "phase": "Pending"}})
	})
	if _, err := c.DialPod(t.Context(), "n", "p", 9870); err == nil || !strings.Contains(err.Error(), "Pending") {
		t.Errorf("a pod without an address: %v", err)
	}
	ip = "10.244.1.7"
	conn, err := c.DialPod(t.Context(), "n", "p", 9870)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestIsTransient(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{context.Canceled, false},
		{errors.New("x"), false},
		{apierrors.NewNotFound(schema.GroupResource{}, "x"), false},
		{apierrors.NewForbidden(schema.GroupResource{}, "x", nil), false},
		{apierrors.NewConflict(schema.GroupResource{}, "x", nil), false},
		{apierrors.NewTooManyRequests("x", 1), true},
		{apierrors.NewInternalError(errors.New("etcdserver: leader changed")), true},
		{apierrors.NewServiceUnavailable("x"), true},
		{fmt.Errorf("asking: %w", context.DeadlineExceeded), true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{fmt.Errorf("x: %w", syscall.ECONNRESET), true},
		{io.ErrUnexpectedEOF, true},
		{&ssh.OpenChannelError{Reason: ssh.ConnectionFailed}, true},
		{&ssh.OpenChannelError{Reason: ssh.Prohibited}, false},
	} {
		if got := IsTransient(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}

// TestDialLink: links name pods in several ways, and nothing but pods and
// services of the namespace is connected to.
func TestDialLink(t *testing.T) {
	pod := func(name, ip, hostIP string, port int) map[string]any {
		return map[string]any{
			"metadata": map[string]any{"name": name},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "ports": []any{map[string]any{"containerPort": port}}}}},
			"status":   map[string]any{"phase": "Running", "podIP": ip, "hostIP": hostIP},
		}
	}
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/namespaces/nucspark/pods":
			reply(w, 200, map[string]any{"kind": "PodList", "apiVersion": "v1", "items": []any{
				// On the machine's own network; it must not hide the next one.
				pod("worker", "192.168.1.12", "192.168.1.12", 1),
				pod("datanode", "10.244.1.7", "192.168.1.12", 9870),
			}})
		case "/api/v1/namespaces/nucspark/pods/namenode-0":
			reply(w, 200, pod("namenode-0", "10.244.1.7", "192.168.1.11", 9870))
		case "/api/v1/namespaces/nucspark/services/web":
			reply(w, 200, map[string]any{"spec": map[string]any{"clusterIP": "10.244.1.7"}})
		case "/api/v1/namespaces/nucspark/services/headless":
			reply(w, 200, map[string]any{"spec": map[string]any{"clusterIP": "None"}})
		default:
			absent(w)
		}
	})
	for _, test := range []struct {
		host, err string
	}{
		{"10.244.1.7", ""},
		{"192.168.1.12", ""}, // a label of the datanode
		{"namenode-0.namenode.nucspark.svc.cluster.local", ""},
		{"web.nucspark.svc.cluster.local", ""},
		{"headless.nucspark.svc.cluster.local", "no address of its own"},
		{"gone.nucspark.svc.cluster.local", "service nucspark/gone"},
		{"192.168.1.11", "no pod of the namespace nucspark serves port 9870 at 192.168.1.11"},
		{"10.244.9.9", "no pod"},
		{"web.kube-system.svc.cluster.local", "no pod"},
	} {
		conn, err := c.DialLink(t.Context(), "nucspark", test.host, 9870)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.host, err, test.err)
		}
	}
}
