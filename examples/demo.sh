#!/usr/bin/env bash
# The demonstration of make demo: three throw-away machines, nucspark up, and a
# word count over HDFS whose total is compared with wc -w.
set -euo pipefail
cd "$(dirname "$0")/.."
nucspark=${NUCSPARK:-bin/nucspark}

say() { printf '\n== %s\n' "$*"; }

# The lab installs what it lacks (a container engine and what builds the
# mirror) only when it may.
start=()
if [ "${CI:-}" = true ] || [ "${YES:-}" = 1 ]; then
	start=(--start-engine)
elif [ -t 0 ]; then
	read -r -p "May packages be installed by apt and Docker's engine be started, where they are missing? [y/N] " answer
	case $answer in [yY]*) start=(--start-engine) ;; esac
fi

say "Three machines (the first time builds Kubernetes, Hadoop and Spark: up to 25 minutes)"
"$nucspark" lab up "${start[@]}"

say "nucspark up: from bare machines to Kubernetes, NFS, HDFS and Spark"
"$nucspark" up -f lab.hcl --yes

data=${DATA:-}
if [ -z "$data" ]; then
	data=$(mktemp)
	trap 'rm -f "$data"' EXIT
	apt-cache dumpavail >"$data" || { echo "this system has no apt-cache: name a text file, as in make demo DATA=FILE" >&2; exit 1; }
	if [ "$(stat -c %s "$data")" -lt 1000000 ] && [ ${#start[@]} -gt 0 ]; then
		# Images of systems come without apt's lists.
		apt-get -qq -o DPkg::Lock::Timeout=300 update
		apt-cache dumpavail >"$data"
	fi
fi
say "$(du -h "$data" | cut -f1) of text into HDFS"
"$nucspark" hdfs put -f lab.hcl --force "$data" /demo/text

say "Word count on Spark"
counted=$(mktemp)
# Some versions of wc count runs of bytes without any printable character of
# ASCII as words, others do not; the example can do either.
any=()
[ "$(printf '\351' | LC_ALL=C wc -w)" -eq 0 ] || any=(--any)
"$nucspark" submit -f lab.hcl examples/wordcount.py hdfs:///demo/text --top 10 "${any[@]}" | tee "$counted"
total=$(awk '$1 == "TOTAL" {print $2}' "$counted")
rm -f "$counted"

expected=$(LC_ALL=C wc -w <"$data")
if [ "$total" != "$expected" ]; then
	echo "Spark counted ${total:-nothing}, wc -w counted $expected." >&2
	exit 1
fi
say "$total words: the same as wc -w"
cat <<EOF
The lab stays up. Go on with:
  $nucspark status -f lab.hcl
  $nucspark kubectl -f lab.hcl -- get pods -A
  $nucspark lab down
EOF
