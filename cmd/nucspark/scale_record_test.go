package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/kube"
	"nucspark.io/nucspark/tui"
)

// recordedFile holds what a cluster of three nodes answered to an up that had
// nothing to change. It is made anew, when up asks for something else, by
//
//	nucspark lab up --dir DIR && nucspark up -f DIR/lab.hcl --yes
//	go test ./cmd/nucspark -run TestRecord -record DIR/lab.hcl
const recordedFile = "testdata/scale/recorded.json"

var recordFrom = flag.String("record", "", "write "+recordedFile+" from the converged lab with this inventory")

// recording is the content of recordedFile.
type recording struct {
	Inventory string                     // the keys' files are called "id" and "key.asc"
	Key       string                     // of the mirror
	Nodes     map[string]*recordedNode   // by name
	Objects   map[string]map[string]any  // of the API, by path; without managedFields and secrets
	Pages     map[string]json.RawMessage // of pods, by request
}

// recordedNode is what the scripts of one node printed. In the place of their
// marks stands [recordedMark].
type recordedNode struct{ Survey, Facts string }

const recordedMark = "MARK"

// scriptMark finds the mark in a script.
var scriptMark = regexp.MustCompile(`nucspark-[0-9a-f]{32}`)

func TestRecord(t *testing.T) {
	if *recordFrom == "" {
		t.Skip("records nothing without -record LAB.hcl")
	}
	text, err := os.ReadFile(*recordFrom)
	if err != nil {
		t.Fatal(err)
	}
	c, err := inventory.Load(*recordFrom)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(c.Mirror.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{t: t, recording: recording{
		Inventory: strings.NewReplacer(c.SSH.PrivateKey, "id", c.Mirror.Keys[0], "key.asc").Replace(string(text)),
		Key:       string(key),
		Nodes:     map[string]*recordedNode{}, Objects: map[string]map[string]any{}, Pages: map[string]json.RawMessage{},
	}, collections: map[string]bool{}}
	var out, said bytes.Buffer
	app := &App{File: *recordFrom, In: strings.NewReader(""), Out: &out, Err: &said,
		dial: func(ctx context.Context, o host.Options) (provision.Remote, error) {
			h, err := host.Dial(ctx, o)
			return &recordedRemote{Host: h, rec: rec, node: o.Name}, err
		}}
	if err := up(t.Context(), app, provision.Removal{}, false, false, tui.Plain); err != nil || !strings.HasPrefix(out.String(), "Nothing to change") {
		t.Fatalf("%v\n%s%s", err, out.String(), said.String())
	}
	rec.server.Close()
	b, err := json.MarshalIndent(rec.recording, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recordedFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

type recorder struct {
	recording
	t *testing.T

	mu          sync.Mutex
	collections map[string]bool // paths of the kinds that were asked for

	once    sync.Once
	server  *httptest.Server // stands before the API server
	base    string
	through http.RoundTripper
}

// collect keeps all objects of a kind. It is called under the lock.
func (r *recorder) collect(ctx context.Context, at string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+at, nil)
	if err != nil {
		r.t.Error(err)
		return
	}
	resp, err := r.through.RoundTrip(req)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer resp.Body.Close()
	var list struct {
		APIVersion, Kind string
		Items            []map[string]any
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		r.t.Error(at, err)
	}
	for _, o := range list.Items {
		o["apiVersion"], o["kind"] = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
		meta := o["metadata"].(map[string]any)
		delete(meta, "managedFields")
		if o["kind"] == "Secret" {
			o["data"] = map[string]any{}
		}
		r.Objects[path.Join(at, meta["name"].(string))] = o
	}
}

// ServeHTTP passes a request on and keeps what is a pod's page.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	uri := req.URL.RequestURI()
	out, err := http.NewRequestWithContext(req.Context(), req.Method, r.base+uri, req.Body)
	if err != nil {
		r.t.Error(err)
		return
	}
	out.Header = req.Header.Clone()
	out.Header.Del("Accept-Encoding")
	resp, err := r.through.RoundTrip(out)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	if collection, _ := apiPath(req.URL.Path); strings.Contains(uri, "/proxy/") {
		r.Pages[uri] = body
	} else if !r.collections[collection] {
		r.collections[collection] = true
		r.collect(req.Context(), collection)
	}
	r.mu.Unlock()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
}

// recordedRemote is a node of the lab whose answers are kept.
type recordedRemote struct {
	*host.Host
	rec  *recorder
	node string
}

func (r *recordedRemote) Run(ctx context.Context, c host.Command) (host.Result, error) {
	res, err := r.Host.Run(ctx, c)
	mark := scriptMark.FindString(c.Script)
	text := strings.ReplaceAll(res.Stdout, mark, recordedMark)
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	n := r.rec.Nodes[r.node]
	if n == nil {
		n = &recordedNode{}
		r.rec.Nodes[r.node] = n
	}
	if isSurvey(c.Script, mark) {
		n.Survey = text
	} else {
		n.Facts = text
	}
	return res, err
}

// ReadFile gives the credentials of the server that stands before the API's.
func (r *recordedRemote) ReadFile(ctx context.Context, name string) ([]byte, error) {
	b, err := r.Host.ReadFile(ctx, name)
	if err != nil || name != provision.AdminConf {
		return b, err
	}
	r.rec.once.Do(func() {
		k, err := kube.Connect(b, r.Host.DialContext, nil)
		if err == nil {
			r.rec.base = k.Rest().Host
			r.rec.through, err = rest.TransportFor(k.Rest())
		}
		if err != nil {
			r.rec.t.Error(err)
		}
		r.rec.server = newAPIServer(r.rec)
	})
	return adminConf(r.rec.server), nil
}

func (r *recordedRemote) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, r.rec.server.Listener.Addr().String())
}

func isSurvey(script, mark string) bool { return strings.Contains(script, mark+":clock=") }
