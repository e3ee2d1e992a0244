package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// Files of the control plane and of every member.
const (
	dir         = "/etc/kubernetes/nucspark"
	configFile  = dir + "/kubeadm.yaml"
	stateFile   = provision.InitState
	apiManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	caFile      = "/etc/kubernetes/pki/ca.crt"
	kubeletConf = "/etc/kubernetes/kubelet.conf"
)

// initBound is more than kubeadm's own bounds together, with the images still
// to be pulled.
const initBound = 40 * time.Minute

// initialised is a step: kubeadm init has run to its end.
type initialised struct {
	provision.Base
	site *provision.Site
}

func (s initialised) file(path string) provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: path, Content: path == stateFile}
}

func (s initialised) Reads() []provision.Query {
	return []provision.Query{s.file(stateFile), s.file(provision.AdminConf), s.file(apiManifest), s.file(configFile)}
}

func (s initialised) Diff(f provision.Facts) ([]provision.Change, error) {
	state := strings.TrimSpace(string(s.file(stateFile).In(f).Content))
	if state == "done" {
		for _, path := range []string{provision.AdminConf, apiManifest} {
			if !s.file(path).In(f).Exists {
				return nil, fmt.Errorf("the control plane was made on %s, but %s is gone; restore it from a backup, or remove %s there to make a new, empty cluster", s.Node, path, stateFile)
			}
		}
		return nil, nil
	}
	c := provision.Change{Kind: "control plane", Key: s.site.Cluster.Name, Action: provision.Execute, New: "kubeadm init, Kubernetes " + s.site.Resolved.Kubernetes}
	if state != "" {
		c.Old = "kubeadm init was interrupted"
	}
	config := provision.Change{Kind: "file", Key: configFile, Action: provision.Create}
	if s.file(configFile).In(f).Exists {
		config.Action = provision.Update
	}
	return []provision.Change{config, c}, nil
}

func (s initialised) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, initBound)
	defer cancel()
	config, err := initConfig(s.site)
	if err != nil {
		return err
	}
	node := env.Node(s.Node)
	err = node.WriteFile(ctx, provision.Written{Path: configFile, Content: config, Mode: 0o600, Owner: "root", Group: "root",
		Before: s.file(configFile).In(env.Facts())})
	if err != nil {
		return err
	}
	doc, err := cluster(s.site)
	if err != nil {
		return err
	}
	// An init that starts over makes new keys. The client of this run may have
	// those of the interrupted one.
	defer env.ForgetKube()
	entry := provision.Entry{Kind: "kubeadm", Key: "init", After: s.site.Resolved.Kubernetes}
	if err := node.Change(ctx, entry, initScript(text(doc, "etcd", "local", "dataDir"))); err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: err, Transient: busy(err),
			Hint: "put right what kubeadm complains about and run nucspark up again, it goes on from there; where it only says that time ran out, the machine was busy: just run it again"}
	}
	return nil
}

// busy says whether kubeadm gave up before it changed anything, because
// containerd did not answer it within 2 seconds: one that unpacks a large image
// on a small processor may not.
func busy(err error) bool {
	var failed *host.CommandError
	return errors.As(err, &failed) && slices.ContainsFunc(failed.Tail, func(l string) bool {
		return strings.Contains(l, "[ERROR CRI]") && strings.Contains(l, "DeadlineExceeded")
	})
}

// kubeadmAlone is the head of a script with kubeadm: one at a time. What a run
// that was killed began goes on on the machine until it next prints something,
// which may take minutes. The file is closed when the script and its children
// have ended; the services that kubeadm starts are systemd's children.
const kubeadmAlone = `exec 9>>/run/nucspark-kubeadm.lock
flock -n 9 || { echo "an earlier kubeadm is still at work here; waiting for it"; flock -w 480 9; } || {
  echo "an earlier kubeadm is still at work here after 8 minutes; see ps -ef and end it" >&2
  exit 1
}
`

// initScript runs kubeadm init. Where an earlier run of it was interrupted and
// etcd holds data, every phase finds and keeps what the earlier one made, so
// the checks for a clean machine are passed over. Where etcd holds none, half
// a set of keys may be there and nothing is lost by starting over. etcd is its
// data directory, "" when it is none of ours.
func initScript(etcd string) string {
	resume := []string{"FileAvailable--etc-kubernetes-manifests-etcd.yaml"}
	for _, m := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		resume = append(resume, "FileAvailable--etc-kubernetes-manifests-"+m+".yaml")
	}
	for _, port := range []int{apiPort, 10250, 10257, 10259, 2379, 2380} {
		resume = append(resume, fmt.Sprintf("Port-%d", port))
	}
	reset := ""
	if etcd != "" {
		// The reset empties /var/lib/kubelet, where the credentials of image
		// registries lie already.
		resume = append(resume, "DirAvailable-"+strings.ReplaceAll(etcd, "/", "-"))
		reset = fmt.Sprintf(`  if [ ! -e %s/member ]; then
    keep=/var/lib/kubelet/config.json
    [ ! -e $keep ] || cp -p $keep %[2]s/
    kubeadm reset --force --cri-socket %[3]s
    [ ! -e %[2]s/config.json ] || mv %[2]s/config.json $keep
    set --
  fi
`, provision.Quote(etcd), dir, criSocket)
	}
	return kubeadmAlone + fmt.Sprintf(`set -e
[ "$(cat %[1]s 2>/dev/null)" != done ] || exit 0 # the one that was waited for came to its end
if [ -e %[1]s ]; then
  set -- --ignore-preflight-errors=%[2]s
%[3]sfi
kubeadm config validate --config %[4]s
echo started > %[1]s
sync %[1]s
kubeadm init --config %[4]s --skip-token-print "$@"
echo done > %[1]s.new
sync %[1]s.new
mv %[1]s.new %[1]s
`, stateFile, provision.Quote(strings.Join(resume, ",")), reset, configFile)
}
