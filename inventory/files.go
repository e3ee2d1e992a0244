package inventory

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// LocalPath makes a path on this machine absolute, as one in an inventory is
// read: "~" is the home directory, and what is relative lies in dir.
func LocalPath(dir, s string) (string, error) {
	if s == "~" || strings.HasPrefix(s, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", bad("Write the path from the root.", "cannot tell what ~ is: %v", err)
		}
		return filepath.Join(home, s[1:]), nil
	}
	if strings.HasPrefix(s, "~") {
		return "", bad("Only ~/ is known, your own home directory.", "%q is in the home directory of another user", s)
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(dir, s)
	}
	return filepath.Clean(s), nil
}

// localPath is LocalPath beside the inventory.
func (d *decoder) localPath(s string) (string, error) { return LocalPath(d.dir, s) }

// maxKey bounds key files; a keyring of a distribution is some 60 KiB.
const maxKey = 1 << 20

// keyFile reads a path of a file on this machine and checks what is in it.
func (d *decoder) keyFile(check func(data []byte) error) parser[string] {
	return text(func(s string) (string, error) {
		path, err := d.localPath(s)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", bad(beside, "%q cannot be read: %v", s, reason(err))
		}
		if !info.Mode().IsRegular() {
			return "", bad(beside, "%q is not a file", s)
		}
		data, err := readBounded(path, maxKey)
		if err != nil {
			return "", bad(beside, "%q cannot be read: %v", s, reason(err))
		}
		if err := check(data); err != nil {
			return "", bad("", "%q %v", s, err)
		}
		return path, nil
	})
}

const beside = "Relative paths begin in the folder of the inventory, ~ is your home directory."

// reason is the error without the path, which the message has already.
func reason(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err
	}
	return err
}

// privateKey accepts what ssh could use, a passphrase on it included.
func privateKey(data []byte) error {
	_, err := ssh.ParseRawPrivateKey(data)
	if _, locked := err.(*ssh.PassphraseMissingError); err == nil || locked {
		return nil
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		return bad("", "is a public key; the private one has the same name without .pub")
	}
	return bad("", "is not a private key")
}

// publicKey refuses what must not be sent to the machines.
func publicKey(data []byte) error {
	if strings.Contains(string(data), "PRIVATE KEY") {
		return bad("", "is a private key; the machines need the public one")
	}
	if len(data) == 0 {
		return bad("", "is empty")
	}
	return nil
}
