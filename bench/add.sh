#!/usr/bin/env bash
# Adds nuc03 to a cluster of nuc01 and nuc02 that nucspark made, as nucspark up
# does it, with nothing but ssh: the commands for that machine, and what the
# others must know of it. See up.sh, of which the functions are.
#
# Environment: that of up.sh, and
#   UID_                  the cluster's
set -Eeuo pipefail
cd "$(dirname "$0")"
. ./commands.sh

known() { # NODE: who nuc03 is
	tar -C "$WORK/cluster/files/$1" --owner=0 --group=0 -c ./etc/nucspark/nftables.nft | on "$1" tar -C / -x --no-same-permissions --keep-directory-symlink --no-overwrite-dir
	on "$1" <<-END
		echo "$NET.13 nuc03" >>/etc/hosts
		nft -f /etc/nucspark/nftables.nft
		[ $1 = nuc01 ] || {
			sed -i 's/Clients = .*;/Clients = $NET.11, $NET.12, $NET.13;/' /etc/ganesha/nucspark.conf
			systemctl reload nfs-ganesha
		}
	END
}
invitation() {
	on nuc01 kubeadm token create --ttl 15m --print-join-command >"$WORK/join.new" 2>/dev/null
	mv "$WORK/join.new" "$WORK/join"
}
aside() { (trap '[ $? -eq 0 ] || touch "$WORK/failed"' EXIT && "$@") & pid+=($!); }

say "begin"
aside known nuc01
aside known nuc02
aside invitation
system nuc03
directories nuc03
aside storage nuc03
pull nuc03 $registry/kube-proxy:v$kubernetes $registry/pause:3.10.2 "${flannel[@]}"
touch "$WORK/nuc03.images"
aside pull nuc03 $hadoop $spark
for_file "$WORK/join"
ca=$(sed -E 's/.*(sha256:[0-9a-f]+).*/\1/' "$WORK/join") token=$(sed -E 's/.*--token ([^ ]+).*/\1/' "$WORK/join")
join nuc03
until_ 300 "nuc03 ready" kube wait --for=condition=Ready node/nuc03 --timeout=5s
racks
apply hdfs-nodes
together "${pid[@]}"
kube label node nuc03 "nucspark.io/hdfs-disks=9f1a0552a7" >/dev/null
kube annotate node nuc03 'nucspark.io/hdfs-dirs=["/data/hdfs"]' >/dev/null
until_ 600 "two datanodes" live
until_ 600 "two Spark workers" registered
say "done"
