package kube

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Manager is the field manager of everything that is applied.
const Manager = "nucspark"

// requestBound is how long one request may take, whatever the caller allows;
// streams are not bounded by it. The API server ends ordinary requests after
// 60 s (its --request-timeout).
const requestBound = 60 * time.Second

// Dialer opens a connection as the control plane would.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Client speaks to the API server of one cluster. It is safe for concurrent
// use.
type Client struct {
	dial      Dialer
	config    *rest.Config
	http      *http.Client
	base      *url.URL
	clientset kubernetes.Interface
	dynamic   dynamic.Interface
}

// Connect makes a client of the control plane's admin.conf. It dials on first
// use. The server's name and port come from the file, and its certificate must
// be good for that name; the connection goes to that port of the machine's own
// loopback address, which no firewall and no name service stands in front of.
//
// guard is asked before each request that may change something; its error is
// the request's. Nil allows everything.
func Connect(kubeconfig []byte, dial Dialer, guard func(context.Context) error) (*Client, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the control plane's kubeconfig: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the control plane's kubeconfig: %w", err)
	}
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return dial(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	// The connection is inside SSH: a proxy of this machine has no part in it.
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	config.QPS = -1 // the server has its own fairness; ours would only add waits
	config.UserAgent = Manager
	config.WarningHandler = rest.NoWarnings{} // it would write over the screen

	if guard != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return guarded{next, guard} })
	}

	c := &Client{dial: dial, config: config, base: base}
	if c.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, err
	}
	if c.clientset, err = kubernetes.NewForConfigAndClient(config, c.http); err != nil {
		return nil, err
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, c.http); err != nil {
		return nil, err
	}
	return c, nil
}

type guarded struct {
	http.RoundTripper
	guard func(context.Context) error
}

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := g.guard(r.Context()); err != nil {
			return nil, err
		}
	}
	return g.RoundTripper.RoundTrip(r)
}

// Rest is the configuration for further clients of client-go. Clients that
// upgrade the connection (exec, port-forward) do not heed its Dial.
func (c *Client) Rest() *rest.Config { return rest.CopyConfig(c.config) }

// Clientset is the typed client.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset }

// Dynamic is the untyped client.
func (c *Client) Dynamic() dynamic.Interface { return c.dynamic }

// Close ends the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// in returns the client of a kind in a namespace.
func (c *Client) in(apiVersion, kind, ns string) (dynamic.ResourceInterface, error) {
	gvr, namespaced, err := lookup(apiVersion, kind)
	switch {
	case err != nil:
		return nil, err
	case !namespaced && ns != "":
		return nil, fmt.Errorf("%s belongs to no namespace, but %q was given", kind, ns)
	case !namespaced:
		return c.dynamic.Resource(gvr), nil
	}
	return c.dynamic.Resource(gvr).Namespace(ns), nil
}

// one is like in, for a single object, which needs its namespace and name:
// without them the server would answer "not found" to what is a mistake.
func (c *Client) one(apiVersion, kind, ns, name string) (dynamic.ResourceInterface, error) {
	if r := resources[apiVersion][kind]; name == "" || r.namespaced && ns == "" {
		return nil, fmt.Errorf("%s %q needs a name and a namespace", kind, ns+"/"+name)
	}
	return c.in(apiVersion, kind, ns)
}

// Get returns one object, nil when it does not exist.
func (c *Client) Get(ctx context.Context, apiVersion, kind, ns, name string) (map[string]any, error) {
	in, err := c.one(apiVersion, kind, ns, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	o, err := in.Get(ctx, name, metav1.GetOptions{})
	return found(o, err, "reading", kind, ns, name)
}

// List returns the objects of a kind, in the order of namespace and name: all
// that match the label selector, in all namespaces when ns is "".
func (c *Client) List(ctx context.Context, apiVersion, kind, ns, selector string) ([]map[string]any, error) {
	in, err := c.in(apiVersion, kind, ns)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	list, err := in.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s %s: %w", kind, ns, err)
	}
	slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	objects := make([]map[string]any, len(list.Items))
	for i := range list.Items {
		objects[i] = list.Items[i].Object
	}
	return objects, nil
}

// DryRun returns the object as it would be after [Client.Apply], nil when its
// namespace or its kind is not there yet.
func (c *Client) DryRun(ctx context.Context, obj map[string]any) (map[string]any, error) {
	u := unstructured.Unstructured{Object: obj}
	o, err := c.apply(ctx, u, metav1.ApplyOptions{FieldManager: Manager, Force: true, DryRun: []string{metav1.DryRunAll}})
	return found(o, err, "asking what would change in", u.GetKind(), u.GetNamespace(), u.GetName())
}

// Apply makes the object as given by server-side apply and returns what became
// of it. Fields that others own are taken over.
func (c *Client) Apply(ctx context.Context, obj map[string]any) (map[string]any, error) {
	u := unstructured.Unstructured{Object: obj}
	o, err := c.apply(ctx, u, metav1.ApplyOptions{FieldManager: Manager, Force: true})
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", describe(u.GetKind(), u.GetNamespace(), u.GetName()), err)
	}
	return o.Object, nil
}

func (c *Client) apply(ctx context.Context, u unstructured.Unstructured, opts metav1.ApplyOptions) (*unstructured.Unstructured, error) {
	in, err := c.one(u.GetAPIVersion(), u.GetKind(), u.GetNamespace(), u.GetName())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	return in.Apply(ctx, u.GetName(), &u, opts)
}

// Delete deletes an object after everything that belongs to it, and waits
// until it is gone. The caller's context is the bound of the wait. What is not
// there is deleted already.
func (c *Client) Delete(ctx context.Context, apiVersion, kind, ns, name string) error {
	in, err := c.one(apiVersion, kind, ns, name)
	if err != nil {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	o, err := in.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		uid := o.GetUID()
		err = in.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid}})
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = fmt.Errorf("it is still there: %w", context.Cause(ctx))
		case <-tick.C:
			var now *unstructured.Unstructured
			if now, err = in.Get(ctx, name, metav1.GetOptions{}); err == nil && now.GetUID() != o.GetUID() {
				return nil // another of that name has been made meanwhile
			}
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("deleting %s: %w", describe(kind, ns, name), err)
}

// found makes nil of "not found" and names the object in other errors.
func found(o *unstructured.Unstructured, err error, doing, kind, ns, name string) (map[string]any, error) {
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", doing, describe(kind, ns, name), err)
	}
	return o.Object, nil
}

func describe(kind, ns, name string) string {
	if ns != "" {
		name = ns + "/" + name
	}
	return kind + " " + name
}
