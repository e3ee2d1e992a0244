#!/usr/bin/env bash
# Makes of three bare machines what nucspark up makes of them, with nothing but
# ssh: the commands that somebody would type who knows every answer already.
# All that can run side by side does. Nothing is looked at first, nothing is
# written down, and nothing is done again when it fails.
#
# Environment:
#   SSH_KEY, KNOWN_HOSTS  files of ssh
#   NET                   the first three numbers of the machines' addresses;
#                         nuc01 to nuc03 are .11 to .13, the mirror is .2
#   CLUSTER               its name
#   KEY                   file with the mirror's public key, armoured
#   WORK                  an empty directory
set -Eeuo pipefail
cd "$(dirname "$0")"

UID_=$(cat /proc/sys/kernel/random/uuid)
. ./commands.sh

node() { # NODE: everything up to the pod images
	system "$1"
	directories "$1"
	storage "$1" &
	local images storing=$! pulling
	if [ "$1" = nuc01 ]; then
		images=$(on nuc01 kubeadm config images list --kubernetes-version v$kubernetes 2>/dev/null)
		pull nuc01 $images "${flannel[@]}"
	else
		pull "$1" $registry/kube-proxy:v$kubernetes $registry/pause:3.10.2 "${flannel[@]}"
	fi
	say "$1 has Kubernetes' images"
	touch "$WORK/$1.images"
	pull "$1" $hadoop $spark &
	pulling=$!
	[ "$1" != nuc01 ] || control_plane
	together $storing $pulling
	say "$1 has all images"
}

control_plane() {
	on nuc01 kubeadm init --config /etc/kubernetes/nucspark/kubeadm.yaml --skip-token-print >"$WORK/init.log" 2>&1 ||
		{ tail -20 "$WORK/init.log" >&2; return 1; }
	apply flannel
	on nuc01 kubeadm token create --ttl 15m --print-join-command >"$WORK/join.new" 2>/dev/null
	mv "$WORK/join.new" "$WORK/join"
	say "the control plane is made"
}

say "begin"
for n in "${nodes[@]}"; do
	(trap '[ $? -eq 0 ] || touch "$WORK/failed"' EXIT && node "$n") &
	pid+=($!)
done

for_file "$WORK/join"
ca=$(sed -E 's/.*(sha256:[0-9a-f]+).*/\1/' "$WORK/join") token=$(sed -E 's/.*--token ([^ ]+).*/\1/' "$WORK/join")
for n in "${workers[@]}"; do join "$n" & joins+=($!); done
apply namespace volume configuration
kube -n nucspark create secret generic spark-secret --from-literal=secret="$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >/dev/null
until_ 300 "nuc01 ready" kube wait --for=condition=Ready node/nuc01 --timeout=5s
apply spark-master
together "${joins[@]}"
apply spark-workers
until_ 300 "the workers ready" kube wait --for=condition=Ready node --all --timeout=5s
racks

# The file system. The image for the format is nuc01's.
tar -C "$WORK/cluster" --owner=0 --group=0 --mode=a+rX -c format | on nuc01 tar -C /run -x
until on nuc01 ctr -n k8s.io images ls -q | grep -qx $hadoop; do alive; sleep 0.5; done
on nuc01 <<END
mount() { echo "type=bind,src=\$1,dst=\$2,options=rbind:\$3"; }
ctr -n k8s.io run --rm --user 870:870 --cwd / \
	--mount "\$(mount /var/lib/nucspark/namenode /hadoop/name rw)" --mount "\$(mount /run/format /etc/hadoop ro)" \
	--mount "\$(mount /run/format/passwd /etc/passwd ro)" --mount "\$(mount /run/format/group /etc/group ro)" \
	$hadoop format java -Xmx256m -Djava.net.preferIPv4Stack=true -cp "$classpath" \
	org.apache.hadoop.hdfs.server.namenode.NameNode -format -nonInteractive -clusterid $FS </dev/null >/run/format.log 2>&1 || { tail /run/format.log >&2; exit 1; }
mv /var/lib/nucspark/namenode/.nucspark-format/current /var/lib/nucspark/namenode/current
rmdir /var/lib/nucspark/namenode/.nucspark-format
END
apply hdfs-nodes
until_ 300 "name resolution" kube -n kube-system wait --for=condition=Available deployment/coredns --timeout=5s
apply hdfs-namenode
say "the namenode is formatted and asked for"
names() { page namenode-0 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | grep -q '"LiveNodes"'; }
until_ 600 "the namenode" names
apply hdfs-datanodes
for n in "${workers[@]}"; do
	kube label node "$n" "nucspark.io/hdfs-disks=9f1a0552a7" >/dev/null
	kube annotate node "$n" 'nucspark.io/hdfs-dirs=["/data/hdfs"]' >/dev/null
done
ip=$(kube -n nucspark get pod namenode-0 -o 'jsonpath={.status.podIP}')
on nuc01 <<END
python3 - <<'PY'
import urllib.request
base = "http://$ip:9870/webhdfs/v1"
def put(path, op):
    urllib.request.urlopen(urllib.request.Request(base + path + "?user.name=hdfs&op=" + op, method="PUT"), timeout=30).read()
for path, permission, owner in (("/", "1777", ""), ("/tmp", "1777", ""), ("/user", "", ""), ("/user/spark", "", "spark"), ("/spark-events", "1777", "")):
    put(path, "MKDIRS")
    if permission:
        put(path, "SETPERMISSION&permission=" + permission)
    if owner:
        put(path, "SETOWNER&owner=%s&group=%s" % (owner, owner))
PY
END
apply spark-history
say "everything is asked for"

# The conditions that nucspark up waits for.
bound() { [ "$(kube -n nucspark get pvc shared -o 'jsonpath={.status.phase}')" = Bound ]; }
history() { page spark-history-0 18080 /api/v1/version; }
until_ 600 "two datanodes" live
say "HDFS is ready"
until_ 600 "two Spark workers" registered
until_ 600 "the history server" history
until_ 120 "the claim" bound
together "${pid[@]}"
say "done"
