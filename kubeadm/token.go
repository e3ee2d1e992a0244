package kubeadm

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

const (
	tokenLife = 15 * time.Minute
	tokenNote = "nucspark: " // every description of ours starts with it
	tokenType = "bootstrap.kubernetes.io/token"
)

// token is a bootstrap token, made for one join.
type token struct {
	value  string // a secret
	secret string // name of the Secret that holds it
}

// newToken makes a token that kubeadm join takes, valid for tokenLife
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/).
func newToken(ctx context.Context, k *kube.Client, node string) (*token, error) {
	random := strings.ToLower(rand.Text()) // 26 characters of a-z and 2-7
	id, secret := random[:6], random[6:22]
	t := &token{value: id + "." + secret, secret: "bootstrap-token-" + id}
	_, err := k.Clientset().CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: t.secret, Namespace: metav1.NamespaceSystem},
		Type:       tokenType,
		StringData: map[string]string{
			"token-id":                       id,
			"token-secret":                   secret,
			"description":                    tokenNote + "join of " + node,
			"expiration":                     time.Now().Add(tokenLife).UTC().Format(time.RFC3339),
			"usage-bootstrap-authentication": "true",
			"usage-bootstrap-signing":        "true",
			"auth-extra-groups":              "system:bootstrappers:kubeadm:default-node-token",
		},
	}, metav1.CreateOptions{FieldManager: kube.Manager})
	if err != nil {
		return nil, fmt.Errorf("making a join token for %s: %w", node, err)
	}
	return t, nil
}

// deleteToken deletes the Secret of a token at once: nothing belongs to it, and
// the garbage collector of a young cluster would take seconds to find that out.
func deleteToken(ctx context.Context, k *kube.Client, secret string) error {
	err := k.Clientset().CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, secret, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the join token %s: %w", secret, err)
	}
	return nil
}

// noTokens is a step: no token of an earlier run, and not the one that kubeadm
// init makes, is left.
type noTokens struct{ provision.Base }

func (s noTokens) query() provision.ListQuery {
	return provision.ListQuery{APIVersion: "v1", Kind: "Secret", Namespace: metav1.NamespaceSystem}
}

func (s noTokens) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s noTokens) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	for _, o := range s.query().In(f) {
		note, err := base64.StdEncoding.DecodeString(text(o, "data", "description"))
		if text(o, "type") != tokenType || err != nil || !strings.HasPrefix(string(note), tokenNote) {
			continue
		}
		changes = append(changes, provision.Change{Kind: "Secret", Key: metav1.NamespaceSystem + "/" + text(o, "metadata", "name"),
			Action: provision.Delete, Old: "a token for joining, " + strings.TrimPrefix(string(note), tokenNote)})
	}
	return changes, nil
}

func (s noTokens) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	for _, c := range changes {
		_, name, _ := strings.Cut(c.Key, "/")
		if err := deleteToken(ctx, k, name); err != nil {
			return err
		}
	}
	return nil
}
