package host

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// ShownKey is the host key that a machine shows.
type ShownKey struct {
	Authorized  string // "ssh-ed25519 AAAA…", as host_key has it
	Fingerprint string // "SHA256:…"
	Known       bool   // it is the one in the known_hosts file
}

// errSeen ends a handshake once the key was shown.
var errSeen = errors.New("the host key was seen")

// AskKey asks a machine for its host key and hangs up before anything is proved
// to it. What answers but is no SSH server is an error, and so is a key that
// differs from the one in the known_hosts file, a *HostKeyError. timeout is that
// of TCP, which the kernel answers; sshd, a process, gets five times as long.
func AskKey(ctx context.Context, address, knownHosts string, timeout time.Duration) (ShownKey, error) {
	o := Options{Name: address, Address: address, KnownHosts: knownHosts}
	keys, err := o.hostKeys()
	if err != nil {
		return ShownKey{}, err
	}
	var shown ShownKey
	err = askKey(ctx, address, keys.algorithms, timeout, 5*timeout, func(a string, r net.Addr, k ssh.PublicKey) error {
		if err := keys.callback(a, r, k); err != nil && keys.unknown == nil {
			return err
		}
		shown = ShownKey{Authorized: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))), Fingerprint: ssh.FingerprintSHA256(k), Known: keys.verified}
		return errSeen
	})
	var mismatch *ssh.AlgorithmNegotiationError
	switch {
	case shown.Authorized != "":
		return shown, nil
	case keys.changed != nil:
		return ShownKey{}, keys.changed
	case errors.As(err, &mismatch) && mismatch.What == "host key" && keys.want != nil:
		return ShownKey{}, keys.want
	}
	return ShownKey{}, err
}

// Pin makes sure that a machine's host key is pinned before another program
// connects to it. Where nobody knows the key yet, the machine is asked for it,
// and o.AcceptNewHostKey whether it is the right one; nothing is proved to the
// machine. A key that nobody accepted is a *HostKeyError.
func Pin(ctx context.Context, o Options) error {
	keys, err := o.hostKeys()
	if err != nil || keys.want != nil {
		return err
	}
	shown, err := AskKey(ctx, o.Address, o.KnownHosts, cmp.Or(o.ConnectTimeout, 10*time.Second))
	if err != nil {
		return (&Host{o: o}).connectError("ask for the host key", err)
	}
	if shown.Known {
		return nil // another run was faster
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(shown.Authorized))
	if err != nil {
		return err
	}
	return o.accept(ctx, key)
}

// askKey connects to a machine, within dial, and shakes hands until judge has
// got its key, within answer. judge ends it with an error.
func askKey(ctx context.Context, address string, algorithms []string, dial, answer time.Duration, judge ssh.HostKeyCallback) error {
	d := net.Dialer{Timeout: dial}
	tcp, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer tcp.Close()
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	defer context.AfterFunc(ctx, func() { tcp.Close() })()
	_, _, _, err = ssh.NewClientConn(tcp, address, &ssh.ClientConfig{
		User:              "nobody", // is not sent before the key was judged
		HostKeyCallback:   judge,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-nucspark",
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
