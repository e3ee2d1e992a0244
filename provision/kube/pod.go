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

// Logs returns the log of a container of a pod, to be closed by the caller.
// With follow it goes on until the container ends or the context is done.
func (c *Client) Logs(ctx context.Context, ns, pod, container string, follow bool) (io.ReadCloser, error) {
	stream, err := c.clientset.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: follow}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of pod %s/%s: %w", ns, pod, err)
	}
	return stream, nil
}
