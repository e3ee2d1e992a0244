package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pageBound is the most that is read of a page, in bytes.
const pageBound = 16 << 20

// Page gets an HTTP page of a pod through the API server's proxy. The path
// starts with a slash and may carry a query. The status is that of the pod; when
// the pod could not be reached, the error is that of the API server. Redirects
// are returned, not followed.
func (c *Client) Page(ctx context.Context, ns, pod string, port int, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	where := fmt.Sprintf("page %s of port %d of pod %s/%s", path, port, ns, pod)
	if !strings.HasPrefix(path, "/") {
		return 0, nil, fmt.Errorf("%s: the path must start with a slash", where)
	}
	proxy := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy", url.PathEscape(ns), url.PathEscape(pod), port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.base.String(), "/")+proxy+path, nil)
	if err != nil {
		return 0, nil, err
	}
	once := *c.http
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", where, err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, pageBound+1)); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", where, err)
	}
	if len(body) > pageBound {
		return 0, nil, fmt.Errorf("%s is larger than %d bytes", where, pageBound)
	}
	if resp.StatusCode >= 400 {
		// The API server's own errors are told from the pod's by their form.
		var s metav1.Status
		if json.Unmarshal(body, &s) == nil && s.Kind == "Status" && s.APIVersion == "v1" {
			return 0, nil, fmt.Errorf("%s: %w", where, &apierrors.StatusError{ErrStatus: s})
		}
	}
	return resp.StatusCode, body, nil
}

// DialPod connects to a port of a pod, from the control plane, which reaches
// the pod network.
func (c *Client) DialPod(ctx context.Context, ns, pod string, port int) (net.Conn, error) {
	read, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	p, err := c.clientset.CoreV1().Pods(ns).Get(read, pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the address of pod %s/%s: %w", ns, pod, err)
	}
	if p.Status.PodIP == "" {
		return nil, fmt.Errorf("pod %s/%s has no address yet; it is %s", ns, pod, p.Status.Phase)
	}
	conn, err := c.dial(ctx, "tcp", net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("connecting to port %d of pod %s/%s: %w", port, ns, pod, err)
	}
	return conn, nil
}

// DialLink connects to what a link on the page of a pod of the namespace names:
// a pod by its address or by its name in DNS, a service by its name in DNS, or a
// machine's address. There the port is that of a pod on the machine's network,
// or, for which the address is but a label, that of a pod on the machine that
// declares it. Nothing else is connected to.
func (c *Client) DialLink(ctx context.Context, ns, host string, port int) (net.Conn, error) {
	if name, ok := strings.CutSuffix(host, "."+ns+".svc.cluster.local"); ok {
		if pod, _, ok := strings.Cut(name, "."); ok {
			return c.DialPod(ctx, ns, pod, port)
		}
		read, cancel := context.WithTimeout(ctx, requestBound)
		defer cancel()
		s, err := c.clientset.CoreV1().Services(ns).Get(read, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("looking for the address of service %s/%s: %w", ns, name, err)
		}
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
			return nil, fmt.Errorf("service %s/%s has no address of its own; name one of its pods", ns, name)
		}
		return c.dialAddress(ctx, s.Spec.ClusterIP, port)
	}
	read, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	pods, err := c.clientset.CoreV1().Pods(ns).List(read, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the pod at %s: %w", host, err)
	}
	at := ""
	for i := range pods.Items {
		p := &pods.Items[i]
		switch {
		case p.DeletionTimestamp != nil || p.Status.PodIP == "" || p.Status.Phase != corev1.PodRunning:
		case p.Status.HostIP == host && declares(p, port):
			return c.dialAddress(ctx, p.Status.PodIP, port)
		case p.Status.PodIP == host:
			at = host
		}
	}
	if at != "" {
		return c.dialAddress(ctx, at, port)
	}
	return nil, fmt.Errorf("no pod of the namespace %s serves port %d at %s; it may have ended, or it is about to start", ns, port, host)
}

// declares says whether a container of the pod lists the port.
func declares(p *corev1.Pod, port int) bool {
	for _, container := range p.Spec.Containers {
		for _, listed := range container.Ports {
			if int(listed.ContainerPort) == port {
				return true
			}
		}
	}
	return false
}

func (c *Client) dialAddress(ctx context.Context, address string, port int) (net.Conn, error) {
	conn, err := c.dial(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("connecting to port %d of %s: %w", port, address, err)
	}
	return conn, nil
}

// Logs returns the log of a container of a pod, to be closed by the caller.
// With o.Follow it goes on until the container ends or the context is done.
func (c *Client) Logs(ctx context.Context, ns, pod string, o corev1.PodLogOptions) (io.ReadCloser, error) {
	stream, err := c.clientset.CoreV1().Pods(ns).GetLogs(pod, &o).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of pod %s/%s: %w", ns, pod, err)
	}
	return stream, nil
}
