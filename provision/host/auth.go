package host

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// loginError is a reason of ours why logging in cannot work, and what to do.
type loginError struct {
	error
	hint string
}

func (e *loginError) Unwrap() error { return e.error }

// maxKeys is how many keys are shown to a machine. sshd counts each key that
// it does not want as a failure and hangs up after six (MaxAuthTries), so one
// attempt is left for a password.
const maxKeys = 5

// login proves to one machine who we are. It outlives a connection, so that a
// key is unlocked once.
type login struct {
	o     *Options
	files []*keyFile
	notes []string // why keys could not be used; part of the error when nothing worked
}

func (o *Options) login() *login {
	l := &login{o: o}
	paths := []string{o.KeyFile}
	if o.KeyFile == "" {
		paths = nil
		if home, err := os.UserHomeDir(); err == nil {
			for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
				paths = append(paths, filepath.Join(home, ".ssh", name))
			}
		}
	}
	for _, path := range paths {
		k, err := o.Keys.open(path)
		switch {
		case err == nil:
			l.files = append(l.files, k)
		case o.KeyFile == "" && errors.Is(err, fs.ErrNotExist):
		default:
			l.note(err.Error())
		}
	}
	return l
}

func (l *login) note(s string) {
	for _, n := range l.notes {
		if n == s {
			return
		}
	}
	l.notes = append(l.notes, s)
}

// methods returns what is tried, in this order: keys, then the password. Of
// the keys come first those of the agent that are also a key file of ours,
// then the files, then whatever else the agent holds; without a key file in
// the inventory, the whole agent comes first. The returned function ends the
// connection to the agent. While a person is asked, the deadline of w is off.
func (l *login) methods(ctx context.Context, w *wire) ([]ssh.AuthMethod, func()) {
	agentKeys, done := l.agentKeys()
	files := make([]ssh.Signer, 0, len(l.files))
	var first, rest []ssh.Signer
	held := func(k ssh.PublicKey) bool {
		for _, s := range agentKeys {
			if bytes.Equal(s.PublicKey().Marshal(), k.Marshal()) {
				return true
			}
		}
		return false
	}
	for _, f := range l.files {
		if !held(f.public) {
			files = append(files, &unlocking{keyFile: f, login: l, ctx: ctx, wire: w})
		}
	}
	for _, s := range agentKeys {
		mine := l.o.KeyFile == ""
		for _, f := range l.files {
			mine = mine || bytes.Equal(s.PublicKey().Marshal(), f.public.Marshal())
		}
		if mine {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	keys := append(append(first, files...), rest...)
	if len(keys) > maxKeys {
		l.note(fmt.Sprintf("only %d of %d keys were tried: name the right one as private_key", maxKeys, len(keys)))
		keys = keys[:maxKeys]
	}
	var m []ssh.AuthMethod
	if len(keys) > 0 {
		m = append(m, ssh.PublicKeys(keys...))
	}
	if password := l.o.Password.Reveal(); password != "" {
		m = append(m, ssh.Password(password), ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i, q := range questions {
				if echos[i] || !strings.Contains(strings.ToLower(q), "password") {
					return nil, &loginError{fmt.Errorf("the machine asks %q, which only a person can answer", Clean(q)), "use a key"}
				}
				answers[i] = password
			}
			return answers, nil
		}))
	}
	return m, done
}

// agentKeys asks the SSH agent, if there is one.
func (l *login) agentKeys() ([]ssh.Signer, func()) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, func() {}
	}
	c, err := net.DialTimeout("unix", socket, 2*time.Second)
	if err != nil {
		l.note("the ssh agent does not answer: " + err.Error())
		return nil, func() {}
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	keys, err := agent.NewClient(c).Signers()
	if err != nil {
		l.note("the ssh agent does not list its keys: " + err.Error())
	}
	c.SetDeadline(time.Time{}) // a hardware key waits for a finger
	return keys, func() { c.Close() }
}

// Keys are the key files that the machines of one run have in common: a
// passphrase is asked for once, not once for each machine. The zero value is
// ready.
type Keys struct {
	mu    sync.Mutex
	files map[string]*keyFile
}

func (k *Keys) open(path string) (*keyFile, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.files[path]; f != nil {
		return f, nil
	}
	f, err := openKey(path)
	if err != nil {
		return nil, err
	}
	if k.files == nil {
		k.files = map[string]*keyFile{}
	}
	k.files[path] = f
	return f, nil
}

// keyFile is a private key on disk. An encrypted one is unlocked when a
// machine has said that it would accept it.
type keyFile struct {
	path   string
	public ssh.PublicKey
	pem    []byte
	mu     sync.Mutex
	signer ssh.Signer // nil while locked
	wrong  error      // not nil when every passphrase that was given was wrong
}

func openKey(path string) (*keyFile, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the key file cannot be read: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err == nil {
		return &keyFile{path: path, public: signer.PublicKey(), signer: signer}, nil
	}
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return nil, fmt.Errorf("the key file %s is not a private key: %w", path, err)
	}
	public := locked.PublicKey
	if public == nil { // the older PEM format does not show it
		text, err := os.ReadFile(path + ".pub")
		if err != nil {
			return nil, fmt.Errorf("the key file %s is encrypted in the old format and its .pub file cannot be read: convert it with ssh-keygen -p -f %s", path, path)
		}
		if public, _, _, _, err = ssh.ParseAuthorizedKey(text); err != nil {
			return nil, fmt.Errorf("%s.pub is not a public key: %w", path, err)
		}
	}
	return &keyFile{path: path, public: public, pem: pem}, nil
}

// unlock asks for the passphrase, three times at most, as ssh does.
func (k *keyFile) unlock(ctx context.Context, ask func(context.Context, string) ([]byte, error)) (ssh.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.signer != nil || k.wrong != nil {
		return k.signer, k.wrong
	}
	if ask == nil {
		return nil, fmt.Errorf("the key file %s has a passphrase and there is nobody to ask for it", k.path)
	}
	for range 3 {
		passphrase, err := ask(ctx, k.path)
		if err != nil {
			return nil, fmt.Errorf("the key file %s has a passphrase: %w", k.path, err)
		}
		k.signer, err = ssh.ParsePrivateKeyWithPassphrase(k.pem, passphrase)
		clear(passphrase)
		if err == nil {
			k.pem = nil
			return k.signer, nil
		}
		k.signer = nil
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fmt.Errorf("the key file %s cannot be unlocked: %w", k.path, err)
		}
	}
	k.wrong = fmt.Errorf("the passphrase of the key file %s was wrong three times", k.path)
	return nil, k.wrong
}

// unlocking is a keyFile as one handshake sees it.
type unlocking struct {
	*keyFile
	login *login
	ctx   context.Context // of the handshake; the ssh package passes none
	wire  *wire
}

func (u *unlocking) PublicKey() ssh.PublicKey { return u.public }

func (u *unlocking) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return u.SignWithAlgorithm(rand, data, "")
}

func (u *unlocking) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	u.wire.SetDeadline(time.Time{})
	defer func() { u.wire.SetDeadline(time.Now().Add(u.login.o.ConnectTimeout)) }()
	signer, err := u.unlock(u.ctx, u.login.o.Passphrase)
	if err != nil {
		return nil, &loginError{err, "add it to the agent with ssh-add, or name another key as private_key"}
	}
	if s, ok := signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return s.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}
