package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys checks the key of one machine, for one handshake.
type hostKeys struct {
	node, address string
	algorithms    []string // to ask for, the pinned type if there is one
	check         ssh.HostKeyCallback
	unknown       ssh.PublicKey // the key that was refused because nobody knows it
	changed       *HostKeyError
	verified      bool
	want          *HostKeyError // what is pinned, with Got empty
}

// preferred is the order in which a key is asked for when none is pinned.
var preferred = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}

func (o *Options) hostKeys() (*hostKeys, error) {
	k := &hostKeys{node: o.Name, address: o.Address, algorithms: preferred}
	if o.HostKey != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(o.HostKey))
		if err != nil {
			return nil, fmt.Errorf("%s: host_key is not a public key of the form \"ssh-ed25519 AAAA…\": %w", o.Name, err)
		}
		k.pin([]knownhosts.KnownKey{{Key: key}})
		k.check = func(_ string, _ net.Addr, got ssh.PublicKey) error {
			if bytes.Equal(got.Marshal(), key.Marshal()) {
				return nil
			}
			return &knownhosts.KeyError{Want: []knownhosts.KnownKey{{Key: key}}}
		}
		return k, nil
	}
	check, err := readKnownHosts(o.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("%s: known hosts: %w", o.Name, err)
	}
	k.check = check
	// A key that nobody has makes the check tell which keys it knows.
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, err
	}
	var known *knownhosts.KeyError
	if errors.As(check(o.Address, &net.TCPAddr{}, nobody), &known) && len(known.Want) > 0 {
		k.pin(known.Want)
	}
	return k, nil
}

func readKnownHosts(file string) (ssh.HostKeyCallback, error) {
	if file == "" {
		return knownhosts.New()
	}
	check, err := knownhosts.New(file)
	if errors.Is(err, fs.ErrNotExist) {
		return knownhosts.New()
	}
	return check, err
}

// pin makes the handshake ask for a key of a known type: a server shows only
// one of its keys, and another one of it would look like a change.
func (k *hostKeys) pin(known []knownhosts.KnownKey) {
	k.algorithms = nil
	for _, p := range preferred {
		for _, w := range known {
			if p == w.Key.Type() || w.Key.Type() == ssh.KeyAlgoRSA && strings.HasPrefix(p, "rsa-") {
				k.algorithms = append(k.algorithms, p)
				break
			}
		}
	}
	if k.algorithms == nil { // a type without a place in the list
		for _, w := range known {
			k.algorithms = append(k.algorithms, w.Key.Type())
		}
	}
	w := known[0]
	k.want = &HostKeyError{Node: k.node, Address: k.address, Want: ssh.FingerprintSHA256(w.Key), File: w.Filename, Line: w.Line}
}

// callback is what the handshake calls, before any proof of identity is sent.
func (k *hostKeys) callback(_ string, remote net.Addr, got ssh.PublicKey) error {
	err := k.check(k.address, remote, got)
	var known *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		k.verified = true
		return nil
	case errors.As(err, &revoked):
		k.changed = &HostKeyError{Node: k.node, Address: k.address, Got: ssh.FingerprintSHA256(got), File: revoked.Revoked.Filename, Line: revoked.Revoked.Line, Revoked: true}
		return k.changed
	case errors.As(err, &known) && len(known.Want) == 0:
		k.unknown = got
		return errors.New("host key not known")
	case errors.As(err, &known):
		want := known.Want[0]
		for _, w := range known.Want {
			if w.Key.Type() == got.Type() {
				want = w
			}
		}
		k.changed = &HostKeyError{Node: k.node, Address: k.address, Want: ssh.FingerprintSHA256(want.Key), Got: ssh.FingerprintSHA256(got), File: want.Filename, Line: want.Line}
		return k.changed
	}
	return err
}

// accept asks whether a key that was seen for the first time is the right one
// and writes it down.
func (o *Options) accept(ctx context.Context, key ssh.PublicKey) error {
	refused := &HostKeyError{Node: o.Name, Address: o.Address, Got: ssh.FingerprintSHA256(key)}
	if o.AcceptNewHostKey == nil {
		return refused
	}
	ok, err := o.AcceptNewHostKey(ctx, o.Name, refused.Got)
	if err != nil {
		return fmt.Errorf("%s: host key %s: %w", o.Name, refused.Got, err)
	}
	if !ok {
		return refused
	}
	if o.KnownHosts == "" {
		return fmt.Errorf("%s: there is no known_hosts file to keep the host key in", o.Name)
	}
	if err := appendKnownHost(o.KnownHosts, knownhosts.Line([]string{o.Address}, key)); err != nil {
		return fmt.Errorf("%s: the host key could not be kept: %w", o.Name, err)
	}
	return nil
}

// openKnownHosts opens a known_hosts file, makes it if need be, and reads it. It
// is locked until it is closed, so that two runs never mix what they write.
func openKnownHosts(file string) (f *os.File, content string, err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, "", err
	}
	for {
		if f, err = os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return nil, "", err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			f.Close()
			return nil, "", fmt.Errorf("lock %s: %w", file, err)
		}
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, "", err
		}
		if now, err := os.Stat(file); err == nil && os.SameFile(locked, now) {
			break
		}
		f.Close() // it was replaced while this run waited
	}
	b, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, string(b), nil
}

// appendKnownHost adds one line to the file.
func appendKnownHost(file, line string) error {
	f, old, err := openKnownHosts(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for l := range strings.Lines(old) {
		if strings.TrimSpace(l) == line {
			return nil // another run was faster
		}
	}
	line += "\n"
	if old != "" && !strings.HasSuffix(old, "\n") {
		line = "\n" + line
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	return f.Sync()
}
