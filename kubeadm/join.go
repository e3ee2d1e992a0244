package kubeadm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

const (
	joinBound = 25 * time.Minute // more than kubeadm's own bounds together
	nodeBound = 2 * time.Minute  // for a kubelet that started to show up in the cluster

	// joinFiles hold a token each: they lie in memory, never on a disk.
	joinFiles = "/run/nucspark-join-"

	// bootstrapConf holds the token too, until kubeadm join removes it.
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
)

// joined is a step: a machine is a member of the cluster.
type joined struct {
	provision.Base
	site *provision.Site
	node *inventory.Node
}

func (s joined) conf() provision.FileQuery {
	return provision.FileQuery{Node: s.node.Name, Path: kubeletConf}
}

func (s joined) bootstrap() provision.FileQuery {
	return provision.FileQuery{Node: s.node.Name, Path: bootstrapConf}
}

// ca asks for the certificate authority that a machine trusts.
func ca(node string) provision.FileQuery {
	return provision.FileQuery{Node: node, Path: caFile, Content: true}
}

func liveNode(name string) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "Node", Name: name}
}

func (s joined) Reads() []provision.Query {
	return []provision.Query{s.conf(), s.bootstrap(), ca(s.node.Name), ca(s.site.Cluster.ControlPlane().Name), liveNode(s.node.Name)}
}

func (s joined) Diff(f provision.Facts) ([]provision.Change, error) {
	c := provision.Change{Kind: "member", Key: s.node.Name, Action: provision.Execute, New: "kubeadm join"}
	if !s.conf().In(f).Exists {
		return []provision.Change{c}, nil
	}
	theirs, ours := ca(s.node.Name).In(f), ca(s.site.Cluster.ControlPlane().Name).In(f)
	if theirs.Exists && ours.Exists && !bytes.Equal(bytes.TrimSpace(theirs.Content), bytes.TrimSpace(ours.Content)) {
		return nil, fmt.Errorf("%s is a member of another cluster: its %s is not that of %s; if that cluster is gone, run kubeadm reset on %s",
			s.node.Name, caFile, s.site.Cluster.ControlPlane().Name, s.node.Name)
	}
	q := liveNode(s.node.Name)
	if f.Known(q) && q.In(f) == nil {
		c.Action, c.Old, c.New = provision.Restart, "joined, but the cluster does not know it", "kubelet registers it again"
		return []provision.Change{c}, nil
	}
	if s.bootstrap().In(f).Exists {
		return []provision.Change{{Kind: "file", Key: bootstrapConf, Action: provision.Delete, Old: "left by a join that was interrupted"}}, nil
	}
	return nil, nil
}

func (s joined) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, joinBound)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	node := env.Node(s.node.Name)
	switch changes[0].Action {
	case provision.Restart:
		_, err = node.Run(ctx, "systemctl restart kubelet")
	case provision.Delete:
		_, err = node.Run(ctx, "rm -f "+bootstrapConf)
	default:
		err = s.join(ctx, env, k)
	}
	if err != nil {
		return err
	}
	return waitNode(ctx, k, s.node.Name)
}

// join runs kubeadm join with a token that lives as long as it does.
func (s joined) join(ctx context.Context, env *provision.Env, k *kube.Client) (err error) {
	cp := ca(s.site.Cluster.ControlPlane().Name)
	f, err := env.Read(ctx, cp)
	if err != nil {
		return err
	}
	hash, err := caHash(cp.In(f).Content)
	if err != nil {
		return fmt.Errorf("%s on %s: %w", caFile, cp.Node, err)
	}
	token, err := newToken(ctx, k, s.node.Name)
	if err != nil {
		return err
	}
	// What was handed out is taken back, also when the run is being stopped.
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, deleteToken(after, k, token.secret))
	}()
	config, err := joinConfig(s.site, s.node, token.value, hash)
	if err != nil {
		return err
	}
	node := env.Node(s.node.Name)
	// The name is this join's own: one that was killed removes its file when it
	// ends.
	joinFile := joinFiles + token.secret + ".yaml"
	script := "umask 077; rm -f " + joinFiles + "*; printf '%s' " + provision.Quote(string(config)) + " > " + joinFile
	if _, err := node.RunSecret(ctx, script); err != nil {
		return err
	}
	err = node.Change(ctx, provision.Entry{Kind: "kubeadm", Key: "join", After: s.site.Resolved.Kubernetes}, joinScript(joinFile))
	if err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_, gone := node.Run(after, "rm -f "+joinFile)
		return errors.Join(&provision.StepError{Node: s.node.Name, Step: s.Name, Err: err, Transient: busy(err),
			Hint: "put right what kubeadm complains about and run nucspark up again"}, gone)
	}
	return nil
}

// joinScript runs kubeadm join, and removes the configuration, which holds a
// token. A join that was interrupted left a kubelet with an old one.
func joinScript(config string) string {
	return kubeadmAlone + fmt.Sprintf(`trap 'rm -f %[1]s' EXIT
trap 'exit 129' HUP INT TERM
set -e
[ ! -e %[4]s ] || exit 0 # the one that was waited for has joined
systemctl stop kubelet
rm -f %[2]s %[3]s
kubeadm join --config %[1]s
`, config, bootstrapConf, caFile, kubeletConf)
}

// waitNode returns when the cluster knows a node.
func waitNode(ctx context.Context, k *kube.Client, name string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeBound)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		o, err := k.Get(ctx, "v1", "Node", "", name)
		switch {
		case err != nil && !kube.IsTransient(err):
			return err
		case o != nil:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not show up in the cluster within %s; journalctl -u kubelet on it says why", name, nodeBound)
		case <-tick.C:
		}
	}
}

// caHash is the hash by which kubeadm knows a certificate authority:
// SHA-256 of its public key in DER form (RFC 7469).
func caHash(certificate []byte) (string, error) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return "", errors.New("it holds no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
