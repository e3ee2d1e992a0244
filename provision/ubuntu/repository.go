package ubuntu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// repository is one upstream package repository.
type repository struct {
	name        string // of the key file, after AptKeys
	key         string // URL of its public key, ASCII armour
	fingerprint string
	line        string // of the source list, after "deb [options] "
}

// upstream are the repositories of a node without a mirror.
func upstream(s system, kubernetes string) []repository {
	// https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/change-package-repository/
	k8s := "https://pkgs.k8s.io/core:/stable:/v" + minorOf(kubernetes) + "/deb/"
	// https://docs.docker.com/engine/install/ubuntu/ and …/debian/
	docker := "https://download.docker.com/linux/" + s.id
	return []repository{
		{"kubernetes", k8s + "Release.key", kubernetesKey, k8s + " /"},
		{"docker", docker + "/gpg", dockerKey, docker + " " + s.codename + " stable"},
	}
}

// repositories tells apt where the packages are, and which keys it may trust
// for them.
func (b *builder) repositories() {
	b.add(provision.Directory{Base: b.base("apt/keyrings"), Path: "/etc/apt/keyrings", Mode: 0o755})
	var list strings.Builder
	list.WriteString("# " + signature + ".\n")
	needs := []string{"apt/keyrings"}
	if m := b.site.Cluster.Mirror; m.Apt != "" {
		path := provision.AptKeys + ".gpg"
		ring, err := keyring(m.Keys)
		if err != nil {
			b.add(broken{b.base("apt/key"), err})
		} else {
			b.add(provision.File{Base: b.base("apt/key", "apt/keyrings"), Path: path, Content: ring, Mode: 0o644})
		}
		needs = append(needs, "apt/key")
		fmt.Fprintf(&list, "deb [arch=%s signed-by=%s] %s ./\n", b.fact.Arch, path, m.Apt)
	} else {
		release, _ := lookup(b.fact.OS, b.fact.Version)
		for _, r := range upstream(release, b.site.Resolved.Kubernetes) {
			path := provision.AptKeys + "-" + r.name + ".asc"
			// The node fetches the key, for which it needs certificates.
			b.add(upstreamKey{b.base("apt/key-"+r.name, "apt/keyrings", "packages/system"), r, path, b.now})
			needs = append(needs, "apt/key-"+r.name)
			fmt.Fprintf(&list, "deb [arch=%s signed-by=%s] %s\n", b.fact.Arch, path, r.line)
		}
	}
	b.add(provision.File{Base: b.base("apt/source", needs...), Path: provision.AptSource, Content: []byte(list.String()), Mode: 0o644})
}

// keyring joins public keys, armoured or binary, into one binary keyring.
func keyring(files []string) ([]byte, error) {
	var ring bytes.Buffer
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("the key of the mirror: %w", err)
		}
		packets, err := dearmor(b)
		if err == nil {
			var keys openpgp.EntityList
			if keys, err = openpgp.ReadKeyRing(bytes.NewReader(packets)); err == nil && len(keys) == 0 {
				err = errors.New("it is empty")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("the key of the mirror: %s holds no OpenPGP public key: %w", name, err)
		}
		ring.Write(packets)
	}
	return ring.Bytes(), nil
}

// armourBegin starts each block of ASCII armour (RFC 9580, section 6.2).
const armourBegin = "-----BEGIN PGP"

// dearmor returns the packets of all blocks of ASCII armour, or what it got
// when that is binary.
func dearmor(b []byte) ([]byte, error) {
	_, rest, armoured := strings.Cut(string(b), armourBegin)
	if !armoured {
		return b, nil
	}
	var packets []byte
	for _, text := range strings.Split(rest, armourBegin) {
		block, err := armor.Decode(strings.NewReader(armourBegin + text))
		if err != nil {
			return nil, err
		}
		if block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("it holds a %s", strings.ToLower(block.Type))
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, err
		}
		packets = append(packets, body...)
	}
	return packets, nil
}

// upstreamKey is a step: the public key of a repository is there, is the one
// with the known fingerprint, and has not expired.
type upstreamKey struct {
	provision.Base
	repository repository
	path       string
	now        time.Time
}

func (s upstreamKey) query() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.path, Content: true}
}

func (s upstreamKey) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s upstreamKey) Diff(f provision.Facts) ([]provision.Change, error) {
	is := s.query().In(f)
	c := provision.Change{Kind: "key", Key: s.path, Action: provision.Create, New: "fingerprint " + s.repository.fingerprint}
	if is.Exists {
		err := checkKey(is.Content, s.repository.fingerprint, s.now)
		if err == nil {
			return nil, nil
		}
		c.Action, c.Old = provision.Update, err.Error()
	}
	return []provision.Change{c}, nil
}

func (s upstreamKey) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	fail := func(err error, transient bool, hint string) error {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: fmt.Errorf("the key of %s: %w", s.repository.key, err), Transient: transient, Hint: hint}
	}
	n := env.Node(s.Node)
	res, err := n.Remote().Run(ctx, host.Command{Script: fetchScript(s.repository.key), Root: true})
	if err != nil {
		return fail(err, true, "see that the node reaches it (name resolution, proxy), or use a mirror")
	}
	key := []byte(res.Stdout)
	if err := checkKey(key, s.repository.fingerprint, s.now); err != nil {
		return fail(err, false, "it was not installed; if its owner has announced another key, use a newer nucspark, else somebody may be in between")
	}
	return n.WriteFile(ctx, provision.Written{Path: s.path, Content: key, Mode: 0o644, Owner: "root", Group: "root", Before: s.query().In(env.Facts())})
}

// fetchScript prints what an address holds. The helper comes with apt and
// takes apt's own proxy settings.
func fetchScript(url string) string {
	return "set -e; d=$(mktemp -d); trap 'rm -rf -- \"$d\"' EXIT; trap 'exit 143' HUP INT TERM\n" +
		"/usr/lib/apt/apt-helper -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download-file " + provision.Quote(url) + " \"$d/key\" >&2\ncat \"$d/key\"\n"
}

// checkKey says why an armoured keyring is not the one expected: it must hold
// the key with this fingerprint, no other, and that one must not have expired.
func checkKey(armored []byte, fingerprint string, now time.Time) error {
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		return fmt.Errorf("it is no OpenPGP public key: %w", err)
	}
	for _, k := range keys {
		if got := fmt.Sprintf("%X", k.PrimaryKey.Fingerprint); got != fingerprint {
			return fmt.Errorf("its fingerprint is %s, not %s", got, fingerprint)
		}
		if id := k.PrimaryIdentity(); id != nil && id.SelfSignature != nil && k.PrimaryKey.KeyExpired(id.SelfSignature, now) {
			return errors.New("it has expired")
		}
	}
	return nil
}

// broken is a step that cannot be made; the plan says why.
type broken struct {
	provision.Base
	err error
}

func (s broken) Reads() []provision.Query                                        { return nil }
func (s broken) Diff(provision.Facts) ([]provision.Change, error)                { return nil, s.err }
func (s broken) Apply(context.Context, *provision.Env, []provision.Change) error { return s.err }
