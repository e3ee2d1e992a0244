exec 9>>/run/nucspark-kubeadm.lock
flock -n 9 || { echo "an earlier kubeadm is still at work here; waiting for it"; flock -w 480 9; } || {
  echo "an earlier kubeadm is still at work here after 8 minutes; see ps -ef and end it" >&2
  exit 1
}
set -e
[ "$(cat /etc/kubernetes/nucspark/init.state 2>/dev/null)" != done ] || exit 0 # the one that was waited for came to its end
if [ -e /etc/kubernetes/nucspark/init.state ]; then
  set -- --ignore-preflight-errors='FileAvailable--etc-kubernetes-manifests-etcd.yaml,FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml,FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml,FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml,Port-6443,Port-10250,Port-10257,Port-10259,Port-2379,Port-2380,DirAvailable--var-lib-etcd'
  if [ ! -e '/var/lib/etcd'/member ]; then
    keep=/var/lib/kubelet/config.json
    [ ! -e $keep ] || cp -p $keep /etc/kubernetes/nucspark/
    kubeadm reset --force --cri-socket unix:///run/containerd/containerd.sock
    [ ! -e /etc/kubernetes/nucspark/config.json ] || mv /etc/kubernetes/nucspark/config.json $keep
    set --
  fi
fi
kubeadm config validate --config /etc/kubernetes/nucspark/kubeadm.yaml
echo started > /etc/kubernetes/nucspark/init.state
sync /etc/kubernetes/nucspark/init.state
kubeadm init --config /etc/kubernetes/nucspark/kubeadm.yaml --skip-token-print "$@"
echo done > /etc/kubernetes/nucspark/init.state.new
sync /etc/kubernetes/nucspark/init.state.new
mv /etc/kubernetes/nucspark/init.state.new /etc/kubernetes/nucspark/init.state
