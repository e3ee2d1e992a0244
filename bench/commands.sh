# What up.sh and add.sh type on a machine. The caller has set UID_, the cluster's,
# and what up.sh says of its environment.
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


alive() { [ ! -e "$WORK/failed" ]; }
for_file() { # FILE…
	local f
	for f; do until [ -e "$f" ]; do alive; sleep 0.2; done; done
}

join() {
	for_file "$WORK/$1.images"
	sed "s/@TOKEN@/$token/; s/@CA@/$ca/; s/@NODE@/$1/; s/@ADDRESS@/${address[$1]}/" "$WORK/cluster/join.yaml" |
		on "$1" sh -c 'umask 077; cat >/run/join.yaml && kubeadm join --config /run/join.yaml >/run/join.log 2>&1 || { tail /run/join.log >&2; exit 1; }; rm /run/join.yaml'
	until_ 60 "the node $1" kube get node "$1"
	kube label node "$1" nucspark.io/hdfs=true nucspark.io/nfs=true nucspark.io/spark=true >/dev/null
	say "$1 has joined"
}

page() { # POD PORT PATH
	kube get --raw "/api/v1/namespaces/nucspark/pods/$1:$2/proxy$3"
}
live() { page namenode-0 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | python3 -c '
import json, sys
info = json.load(sys.stdin)["beans"][0]
live = json.loads(info["LiveNodes"])
sys.exit(0 if len(live) == 2 and not info["Safemode"] and not info["NumberOfMissingBlocks"] else "datanodes: %s %s" % (list(live), info["Safemode"]))'; }
registered() { page spark-master-0 8080 /json/ | python3 -c '
import json, sys
alive = [w for w in json.load(sys.stdin)["workers"] if w["state"] == "ALIVE"]
sys.exit(0 if len(alive) == 2 else "workers: %d" % len(alive))'; }

racks() { # fills in the table of machines and their pod networks
	local racks
	racks=$(echo "10.244.0.0/16 -"; for n in "${nodes[@]}"; do
		kube get node "$n" -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}/32 /{.metadata.name}{"\n"}{.spec.podCIDR} /{.metadata.name}{"\n"}'
	done)
	python3 - "$WORK/cluster/manifests/hdfs-nodes.yaml" "$racks" <<'END'
import sys
path, racks = sys.argv[1:]
text = open(path).read().replace("@RACKS@", racks.replace("\n", "\n    "))
open(path, "w").write(text)
END
}
