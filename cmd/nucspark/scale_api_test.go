package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// newAPIServer serves HTTP/2 with TLS, as an API server does.
func newAPIServer(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	return s
}

// adminConf is a kubeconfig for the server, as kubeadm writes it, with the port
// that a control plane has.
func adminConf(s *httptest.Server) []byte {
	b, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "admin",
		"clusters": []any{map[string]any{"name": "kubernetes", "cluster": map[string]any{
			"server":                     "https://127.0.0.1:6443",
			"certificate-authority-data": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		}}},
		"users":    []any{map[string]any{"name": "admin", "user": map[string]any{"token": "recorded"}}},
		"contexts": []any{map[string]any{"name": "admin", "context": map[string]any{"cluster": "kubernetes", "user": "admin"}}},
	})
	if err != nil {
		panic(err) // maps of strings
	}
	return b
}

// apiPath splits a path of the API into that of the collection and the name of
// an object in it, "" for the collection itself.
func apiPath(p string) (collection, name string) {
	parts := strings.Split(strings.Trim(p, "/"), "/") // api/v1/… or apis/GROUP/v1/…
	head := 2
	if parts[0] == "apis" {
		head = 3
	}
	if parts[head] == "namespaces" && len(parts) > head+2 {
		head += 2
	}
	if len(parts) > head+1 {
		name = parts[head+1]
	}
	return "/" + strings.Join(parts[:head+1], "/"), name
}

// fakeAPI answers from objects. Server-side apply it knows only as a dry run
// that merges: maps field by field, everything else as a whole, lists not at
// all.
type fakeAPI struct {
	t       testing.TB
	objects map[string]map[string]any // by path
	pages   map[string]json.RawMessage

	mu       sync.Mutex
	requests map[string]int // by verb and collection
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	collection, name := apiPath(r.URL.Path)
	page, isPage := a.pages[r.URL.RequestURI()]
	what := r.Method + " " + collection
	switch {
	case isPage:
		what = "page"
	case r.Method == http.MethodGet && name == "":
		what = "list " + collection
	}
	a.mu.Lock()
	a.requests[what]++
	a.mu.Unlock()
	object := a.objects[r.URL.Path]
	var answer any
	switch {
	case r.Header.Get("Authorization") != "Bearer recorded":
		a.t.Errorf("%s %s came without its credentials", r.Method, r.URL)
	case isPage:
		answer = page
	case what == "list "+collection:
		answer = a.list(collection, r.URL.Query().Get("labelSelector"))
	case object == nil && r.Method == http.MethodGet:
	case object == nil:
		a.t.Errorf("%s %s was not recorded; how that is done stands in scale_record_test.go", r.Method, r.URL)
	case r.Method == http.MethodGet:
		answer = object
	case r.Method == http.MethodPatch && r.URL.Query().Get("dryRun") == "All":
		var applied map[string]any
		if err := json.NewDecoder(r.Body).Decode(&applied); err != nil {
			a.t.Error(err)
		}
		answer = merged(object, applied)
	default:
		a.t.Errorf("an up without changes asked for %s %s", r.Method, r.URL)
	}
	w.Header().Set("Content-Type", "application/json")
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": http.StatusNotFound}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		a.t.Error(err)
	}
}

func (a *fakeAPI) list(collection, selector string) map[string]any {
	key, value, _ := strings.Cut(selector, "=")
	items, kind, version := []any{}, "List", "v1"
	for _, p := range slices.Sorted(maps.Keys(a.objects)) {
		if path.Dir(p) != collection {
			continue
		}
		o := a.objects[p]
		kind, version = o["kind"].(string)+"List", o["apiVersion"].(string)
		if labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any); selector == "" || labels[key] == value {
			items = append(items, o)
		}
	}
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{}, "items": items}
}

// apply makes objects what server-side apply of one would make of them.
func (a *fakeAPI) apply(o map[string]any) {
	for p, live := range a.objects {
		if live["kind"] == o["kind"] && named(live) == named(o) {
			a.objects[p] = merged(live, o)
			return
		}
	}
	a.t.Errorf("%v %s was not recorded; how that is done stands in scale_record_test.go", o["kind"], named(o))
}

func named(o map[string]any) string {
	meta := o["metadata"].(map[string]any)
	return fmt.Sprint(meta["namespace"], "/", meta["name"])
}

func merged(live, applied map[string]any) map[string]any {
	out := maps.Clone(live)
	for k, v := range applied {
		was, isMap := out[k].(map[string]any)
		now, toMap := v.(map[string]any)
		_, isList := out[k].([]any)
		switch {
		case isMap && toMap:
			out[k] = merged(was, now)
		case !isList:
			out[k] = v
		}
	}
	return out
}
