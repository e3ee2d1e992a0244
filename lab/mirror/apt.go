package mirror

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgp makes keys and signatures that apt's verifiers (gpgv, sqv) accept from
// Ubuntu 22.04 and Debian 12 on: version 4, Ed25519, SHA-512.
var pgp = &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA512}

// signer holds the key that signs the repository.
type signer struct{ entity *openpgp.Entity }

// loadKey reads the private key of a cache and makes it where there is none.
func loadKey(cache string) (*signer, error) {
	name := filepath.Join(cache, "signing.key")
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return makeKey(name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := openpgp.ReadArmoredKeyRing(f)
	if err != nil || len(list) != 1 {
		return nil, fmt.Errorf("%s is not the key that was made for this mirror; remove it to get a new one: %w", name, err)
	}
	return &signer{list[0]}, nil
}

func makeKey(name string) (*signer, error) {
	e, err := openpgp.NewEntity("nucspark lab", "signs the packages of this machine's lab", "", pgp)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := e.SerializePrivate(w, pgp); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(name+".tmp", b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return &signer{e}, os.Rename(name+".tmp", name)
}

// writePublic writes the public key as ASCII armour.
func (s *signer) writePublic(name string) error {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		return err
	}
	if err := s.entity.Serialize(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	b.WriteByte('\n')
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// writeIndex makes a flat repository of the packages in dir: for each NAME.deb
// there is a NAME.stanza with its control fields. The format is that of
// https://wiki.debian.org/DebianRepository/Format.
func writeIndex(dir string, s *signer) error {
	stanzas, err := filepath.Glob(filepath.Join(dir, "*.stanza"))
	if err != nil {
		return err
	}
	var packages bytes.Buffer
	for _, name := range stanzas {
		control, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		deb := strings.TrimSuffix(name, ".stanza") + ".deb"
		size, sum, err := sha256File(deb)
		if err != nil {
			return err
		}
		fmt.Fprintf(&packages, "%s\nFilename: ./%s\nSize: %d\nSHA256: %s\n\n",
			bytes.TrimSpace(control), filepath.Base(deb), size, sum)
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	if _, err := zw.Write(packages.Bytes()); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	var release bytes.Buffer
	fmt.Fprintf(&release, "Origin: nucspark lab\nLabel: nucspark lab\nArchitectures: %s\nDate: %s\nDescription: Kubernetes and containerd for the lab\nSHA256:\n",
		debArch(), time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	for _, f := range []struct {
		name string
		data []byte
	}{{"Packages", packages.Bytes()}, {"Packages.gz", zipped.Bytes()}} {
		fmt.Fprintf(&release, " %x %d %s\n", sha256.Sum256(f.data), len(f.data), f.name)
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Release"), release.Bytes(), 0o644); err != nil {
		return err
	}
	var detached bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&detached, s.entity, bytes.NewReader(release.Bytes()), pgp); err != nil {
		return err
	}
	detached.WriteByte('\n')
	if err := os.WriteFile(filepath.Join(dir, "Release.gpg"), detached.Bytes(), 0o644); err != nil {
		return err
	}
	var inline bytes.Buffer
	w, err := clearsign.Encode(&inline, s.entity.PrivateKey, pgp)
	if err != nil {
		return err
	}
	if _, err := w.Write(release.Bytes()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	inline.WriteByte('\n')
	return os.WriteFile(filepath.Join(dir, "InRelease"), inline.Bytes(), 0o644)
}

func sha256File(name string) (size int64, sum string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, fmt.Sprintf("%x", h.Sum(nil)), err
}
