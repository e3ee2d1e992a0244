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
FS=nucspark-$UID_
nodes=(nuc01 nuc02 nuc03) workers=(nuc02 nuc03)
kubernetes=1.36.3
classpath=/etc/hadoop:/opt/hadoop/share/hadoop/common/*:/opt/hadoop/share/hadoop/common/lib/*:/opt/hadoop/share/hadoop/hdfs:/opt/hadoop/share/hadoop/hdfs/*:/opt/hadoop/share/hadoop/hdfs/lib/*
hadoop=docker.io/apache/hadoop:3.5.0 spark=docker.io/apache/spark:4.0.5-scala2.13-java17-python3-ubuntu
declare -A address=([nuc01]=$NET.11 [nuc02]=$NET.12 [nuc03]=$NET.13)
ssh_options=(-i "$SSH_KEY" -o UserKnownHostsFile="$KNOWN_HOSTS" -o StrictHostKeyChecking=yes -o BatchMode=yes
	-o ControlMaster=auto -o ControlPath="$WORK/%h" -o ControlPersist=60 -o LogLevel=ERROR)

on() { # NODE [COMMAND…]: as root; without a command the script comes on standard input
	local node=$1
	shift
	[ $# -gt 0 ] || set -- bash -euo pipefail -s
	ssh "${ssh_options[@]}" "nuc@${address[$node]}" "sudo -n $(printf '%q ' "$@")"
}
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
trap 'echo "failed: line $LINENO: $BASH_COMMAND" >&2' ERR
together() { # PID…: waits for all, fails if one did
	local p failed=0
	for p; do wait "$p" || failed=1; done
	return $failed
}
until_() { # SECONDS WHAT COMMAND…: repeats the command until it succeeds
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >"$WORK/until.log" 2>&1; do
		((SECONDS < end)) || { echo "$what did not happen:" >&2; cat "$WORK/until.log" >&2; return 1; }
		sleep 0.5
	done
}
trap 'for n in "${nodes[@]}"; do ssh "${ssh_options[@]}" -O exit "nuc@${address[$n]}" 2>/dev/null || true; done; kill $(jobs -p) 2>/dev/null || true' EXIT

# Files and manifests with this lab's addresses and a new cluster's names.
cp -r cluster "$WORK/"
grep -rlE '@(NET|UID|CLUSTER)@' "$WORK/cluster" | xargs sed -i "s/@NET@/$NET/g; s/@UID@/$UID_/g; s/@CLUSTER@/$CLUSTER/g"
mkdir -p "$WORK/cluster/files/common/etc/apt/keyrings"
sed -n '/^$/,/^=/p' "$KEY" | grep -v '^=' | base64 -d >"$WORK/cluster/files/common/etc/apt/keyrings/nucspark.gpg"
kube() { on nuc01 kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
apply() { # NAME…: manifests
	local m
	for m; do cat "$WORK/cluster/manifests/$m.yaml"; echo ---; done | kube apply --server-side --field-manager=nucspark -f - >/dev/null
}

system() { # NODE EXTRA-PACKAGES…
	local node=$1
	shift
	tar -C "$WORK/cluster/files/common" --owner=0 --group=0 -c . | on "$node" tar -C / -x --no-same-permissions --keep-directory-symlink --no-overwrite-dir
	tar -C "$WORK/cluster/files/$node" --owner=0 --group=0 -c . | on "$node" tar -C / -x --no-same-permissions --keep-directory-symlink --no-overwrite-dir
	on "$node" <<-END
		for u in spark:871 hdfs:870; do
			groupadd -r -g \${u#*:} \${u%:*}
			useradd -r -u \${u#*:} -g \${u#*:} -M -d /nonexistent -s /usr/sbin/nologin \${u%:*}
		done
		modprobe -a overlay br_netfilter 2>/dev/null || { grep -q overlay /proc/filesystems && [ -e /proc/sys/net/bridge ]; }
		sysctl -q -p /etc/sysctl.d/nucspark.conf
		sysctl -q -p /etc/sysctl.d/60-nucspark.conf
		cat >>/etc/hosts <<'HOSTS'
		$(cat "$WORK/cluster/hosts")
		HOSTS
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q -y update >/dev/null
		apt-get </dev/null -q -y -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 --no-install-recommends install \
			conntrack ethtool iptables socat containerd.io kubeadm=$kubernetes-* kubelet=$kubernetes-* kubectl=$kubernetes-* >/dev/null
		apt-mark -q hold containerd.io kubeadm kubelet kubectl >/dev/null
		systemctl daemon-reload
		systemctl -q enable --now nucspark-firewall containerd
		systemctl -q enable kubelet
	END
	say "$node has its packages"
}

pull() { # NODE IMAGE…
	local node=$1
	shift
	printf '%s\n' "$@" | on "$node" xargs -n 1 -P 4 ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d >"$WORK/$node.pull" 2>&1 ||
		{ tail -5 "$WORK/$node.pull" >&2; return 1; }
}
registry=registry.k8s.io
flannel=(ghcr.io/flannel-io/flannel:v0.28.4 ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1)

storage() { # NODE: what is not waited for until the volumes are made
	on "$1" <<-END
		export DEBIAN_FRONTEND=noninteractive
		apt-get </dev/null -q -y -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 --no-install-recommends install $(
			[ "$1" = nuc01 ] && echo nfs-common || echo nfs-common nfs-ganesha nfs-ganesha-vfs rpcbind) >/dev/null
		[ $1 = nuc01 ] || {
			mkdir -p /data/nfs
			printf '{\n  "cluster": "%s",\n  "node": "%s",\n  "path": "/data/nfs",\n  "filesystem": "%s"\n}\n' \
				$UID_ $1 "\$(findmnt -no UUID -T /data/nfs)" >/data/nfs/.nucspark-disk
			chmod 0444 /data/nfs/.nucspark-disk
			mv /etc/ganesha/nucspark.conf /etc/ganesha/ganesha.conf
			systemctl daemon-reload
			systemctl -q enable --now rpcbind
			systemctl -q enable nfs-ganesha
			systemctl restart nfs-ganesha
		}
		[ $1 != nuc02 ] || install -d -m 0775 -o 871 -g 871 /data/nfs/shared
	END
	say "$1 has its NFS packages"
}

directories() { # NODE
	case $1 in
	nuc01)
		on "$1" sh -c "install -d -m 0700 -o hdfs -g hdfs /var/lib/nucspark/namenode && install -d -m 0700 -o spark -g spark /var/lib/nucspark/spark-master"
		;;
	*)
		on "$1" <<-END
			install -d -m 0700 -o hdfs -g hdfs /data/hdfs /var/lib/nucspark/checkpoint
			install -d -m 0700 -o spark -g spark /var/lib/nucspark/spark-local
			printf '{\n  "cluster": "%s",\n  "node": "%s",\n  "path": "/data/hdfs",\n  "filesystem": "%s",\n  "hdfs": "%s"\n}\n' \
				$UID_ $1 "\$(findmnt -no UUID -T /data/hdfs)" $FS >/data/hdfs/.nucspark-disk
			chmod 0444 /data/hdfs/.nucspark-disk
		END
		;;
	esac
}

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
alive() { [ ! -e "$WORK/failed" ]; }
for_file() { # FILE…
	local f
	for f; do until [ -e "$f" ]; do alive; sleep 0.2; done; done
}

for_file "$WORK/join"
ca=$(sed -E 's/.*(sha256:[0-9a-f]+).*/\1/' "$WORK/join") token=$(sed -E 's/.*--token ([^ ]+).*/\1/' "$WORK/join")
join() {
	for_file "$WORK/$1.images"
	sed "s/@TOKEN@/$token/; s/@CA@/$ca/; s/@NODE@/$1/; s/@ADDRESS@/${address[$1]}/" "$WORK/cluster/join.yaml" |
		on "$1" sh -c 'umask 077; cat >/run/join.yaml && kubeadm join --config /run/join.yaml >/run/join.log 2>&1 || { tail /run/join.log >&2; exit 1; }; rm /run/join.yaml'
	until_ 60 "the node $1" kube get node "$1"
	kube label node "$1" nucspark.io/hdfs=true nucspark.io/nfs=true nucspark.io/spark=true >/dev/null
	say "$1 has joined"
}
for n in "${workers[@]}"; do join "$n" & joins+=($!); done
apply namespace volume configuration
kube -n nucspark create secret generic spark-secret --from-literal=secret="$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >/dev/null
until_ 300 "nuc01 ready" kube wait --for=condition=Ready node/nuc01 --timeout=5s
apply spark-master
together "${joins[@]}"
apply spark-workers
until_ 300 "the workers ready" kube wait --for=condition=Ready node --all --timeout=5s
racks=$(echo "10.244.0.0/16 -"; for n in "${nodes[@]}"; do
	kube get node "$n" -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}/32 /{.metadata.name}{"\n"}{.spec.podCIDR} /{.metadata.name}{"\n"}'
done)
python3 - "$WORK/cluster/manifests/hdfs-nodes.yaml" "$racks" <<'END'
import sys
path, racks = sys.argv[1:]
text = open(path).read().replace("@RACKS@", racks.replace("\n", "\n    "))
open(path, "w").write(text)
END

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
page() { # POD PORT PATH
	kube get --raw "/api/v1/namespaces/nucspark/pods/$1:$2/proxy$3"
}
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
live() { page namenode-0 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | python3 -c '
import json, sys
info = json.load(sys.stdin)["beans"][0]
live = json.loads(info["LiveNodes"])
sys.exit(0 if len(live) == 2 and not info["Safemode"] and not info["NumberOfMissingBlocks"] else "datanodes: %s %s" % (list(live), info["Safemode"]))'; }
registered() { page spark-master-0 8080 /json/ | python3 -c '
import json, sys
alive = [w for w in json.load(sys.stdin)["workers"] if w["state"] == "ALIVE"]
sys.exit(0 if len(alive) == 2 else "workers: %d" % len(alive))'; }
bound() { [ "$(kube -n nucspark get pvc shared -o 'jsonpath={.status.phase}')" = Bound ]; }
history() { page spark-history-0 18080 /api/v1/version; }
until_ 600 "two datanodes" live
say "HDFS is ready"
until_ 600 "two Spark workers" registered
until_ 600 "the history server" history
until_ 120 "the claim" bound
together "${pid[@]}"
say "done"
