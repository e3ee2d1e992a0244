# Prints what a machine is like, as lines "SECTION TEXT". What changes by itself
# is left out: counters, random numbers, times.
export LC_ALL=C
part() { sed "s|^|$1 |"; }
dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' | part package
systemctl list-unit-files --no-legend --plain | awk '{ print $1, $2 }' | part unit-file
systemctl list-units --all --no-legend --plain --state=active,failed --type=service,socket,swap,timer,path | awk '{ print $1, $3 }' |
	grep -vE '^(session-|user|apt-daily|dpkg-db-backup|e2scrub|fstrim|logrotate|man-db|systemd-tmpfiles-clean)' | part unit
find /etc -xdev -printf '%p %y %m %U:%G %l\n' | part etc
find /etc -xdev -type f -exec sha256sum -- {} + | part etc-sum
getent passwd | part user
getent group | part group
findmnt -rno TARGET,FSTYPE | grep -vE '^/(run/user|proc|sys|dev)' | part mount
ip -o link show | awk '{ print $2 }' | sed 's/@.*//' | part link
ip -4 route show | part route
ip rule show | part rule
nft --stateless list ruleset | part nft
tail -n +2 /proc/swaps | awk '{ print $1 }' | part swap
find /proc/sys -type f -perm -u=r 2>/dev/null | grep -vE '/(random/|ns_last_pid|dentry-state|inode-|file-nr|pty/nr|nf_conntrack_count|epoll/|tainted|route/flush|compact_memory|drop_caches|quota/syncs|stat_refresh|perf|sched_|binfmt_misc|aio-nr|keys/)|/neigh/|/conf/(veth|eth)' | sort | while read -r f; do
	printf 'sysctl %s %s\n' "$f" "$(tr '\n\t' '  ' <"$f" 2>/dev/null)"
done
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /etc -o -path /data -o -path /srv -o -path /var/log -o -path /var/cache -o -path /var/tmp -o -path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o -printf '%p %y %U:%G\n' | grep -v __pycache__ | part file
