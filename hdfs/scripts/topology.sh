#!/bin/sh
# Prints the rack of each address given: the machine that it belongs to.
# /etc/hadoop-nodes/racks has a line "NETWORK/BITS RACK" for each machine's
# address and pod network; the last line that matches counts. The rack "-" is
# one that will be known soon (a new machine's pods): the script fails then, so
# that the namenode does not remember a wrong answer but lets the datanode ask
# again.
set -u
number() { # of a dotted address, into $n
	IFS=.
	set -- $1
	unset IFS
	n=$((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
}
for address; do
	rack=/default-rack
	case $address in
	*[!0-9.]* | *.*.*.*.* | .* | *. | *..*) ;;
	*.*.*.*)
		number "$address"
		a=$n
		while read -r network name; do
			bits=${network#*/}
			number "${network%/*}"
			[ $((a >> (32 - bits))) -ne $((n >> (32 - bits))) ] || rack=$name
		done </etc/hadoop-nodes/racks
		;;
	esac
	[ "$rack" != - ] || exit 1
	echo "$rack"
done
