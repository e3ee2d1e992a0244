exec 9>>/run/nucspark-kubeadm.lock
flock -n 9 || { echo "an earlier kubeadm is still at work here; waiting for it"; flock -w 480 9; } || {
  echo "an earlier kubeadm is still at work here after 8 minutes; see ps -ef and end it" >&2
  exit 1
}
trap 'rm -f /run/nucspark-join-bootstrap-token-abcdef.yaml' EXIT
trap 'exit 129' HUP INT TERM
set -e
[ ! -e /etc/kubernetes/kubelet.conf ] || exit 0 # the one that was waited for has joined
systemctl stop kubelet
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
kubeadm join --config /run/nucspark-join-bootstrap-token-abcdef.yaml
