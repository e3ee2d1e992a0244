package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/crypto/ssh"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// IsTransient says whether the same request may succeed later: the server did
// not answer in time, refused or dropped the connection, was too busy (429) or
// failed by itself (5xx).
func IsTransient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= 500
	}
	// The control plane's sshd reports what it could not connect to.
	var open *ssh.OpenChannelError
	if errors.As(err, &open) {
		return open.Reason == ssh.ConnectionFailed || open.Reason == ssh.ResourceShortage
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		utilnet.IsHTTP2ConnectionLost(err)
}
