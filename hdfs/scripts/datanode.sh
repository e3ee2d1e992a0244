#!/bin/sh
# Starts a datanode with those of its directories whose disk is mounted. An
# unmounted disk looks like an empty directory: Hadoop would fill the disk
# below it. A directory counts when its .nucspark-disk names this cluster, this
# node and this path.
#
# Environment: DIRS (paths on the node, separated by blanks; each is mounted at
# /hadoop/disks/NUMBER, from 0), CLUSTER_UID, NODE_NAME. Arguments: the command.
set -u
number=0
kept=0
DATA_DIRS=
for dir in $DIRS; do
	mount=/hadoop/disks/$number
	number=$((number + 1))
	if ! disk=$(cat "$mount/.nucspark-disk" 2>/dev/null); then
		echo "left out: $dir has no .nucspark-disk; is its disk mounted?" >&2
		continue
	fi
	for field in "\"cluster\": \"$CLUSTER_UID\"" "\"node\": \"$NODE_NAME\"" "\"path\": \"$dir\""; do
		case $disk in
		*"$field"*) ;;
		*)
			echo "left out: the .nucspark-disk of $dir does not say $field; it is the disk of another place" >&2
			continue 2
			;;
		esac
	done
	DATA_DIRS=${DATA_DIRS:+$DATA_DIRS,}file://$mount/dn
	kept=$((kept + 1))
done
if [ "$kept" -eq 0 ]; then
	echo "none of the directories is usable: the datanode does not start" >&2
	exit 1
fi
export DATA_DIRS FAILED_VOLUMES_TOLERATED=$((kept - 1))
exec "$@"
