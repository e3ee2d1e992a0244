package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyPair is an ed25519 key for SSH. It lies in one file, mode 0600, in the
// format of ssh-keygen.
type keyPair struct {
	Private []byte // PEM
	Signer  ssh.Signer
}

// Authorized returns "ssh-ed25519 AAAA…" without comment or line end.
func (k keyPair) Authorized() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Signer.PublicKey())))
}

// readKey reads the key in the file.
func readKey(name string) (keyPair, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return keyPair{}, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return keyPair{}, fmt.Errorf("%s: %w", name, err)
	}
	return keyPair{b, signer}, nil
}

// ensureKey reads the key in the file, and makes one first if there is none.
func ensureKey(name, comment string) (keyPair, error) {
	k, err := readKey(name)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if err := makeKey(name, comment); err != nil {
		return keyPair{}, err
	}
	return readKey(name)
}

func makeKey(name, comment string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, pem.EncodeToMemory(block), 0o600)
}
