#!/bin/bash
# Asks a Hadoop process of this pod whether it is of use, by its own status
# page. Arguments: PORT and the name of a bean; the rest is a list of extended
# regular expressions that the answer must match.
set -u
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /jmx?qry=Hadoop:service=%s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
answer=$(cat <&3)
shift 2
for pattern; do
	[[ $answer =~ $pattern ]] || {
		echo "does not say $pattern"
		exit 1
	}
done
