#!/usr/bin/env bash
# The demonstration of make demo: three throw-away machines, nucspark up, and a
# word count over HDFS whose total is compared with wc -w.
set -euo pipefail
cd "$(dirname "$0")/.."
nucspark=${NUCSPARK:-bin/nucspark}

say() { printf '\n== %s\n' "$*"; }

start=()
if ! docker info >/dev/null 2>&1; then
	answer=y
	if [ "${CI:-}" != true ] && [ "${YES:-}" != 1 ]; then
		read -r -p "No container engine runs here. Install and start Docker's by apt? [y/N] " answer
	fi
	case $answer in
	[yY]*) start=(--start-engine) ;;
	*) echo "The lab needs a container engine: start Docker's, then run make demo again." >&2; exit 2 ;;
	esac
fi

say "Three machines (the first time builds Kubernetes, Hadoop and Spark: up to 25 minutes)"
"$nucspark" lab up "${start[@]}"

say "nucspark up: from bare machines to Kubernetes, NFS, HDFS and Spark"
"$nucspark" up -f lab.hcl --yes

data=${DATA:-}
if [ -z "$data" ]; then
	data=$(mktemp)
	trap 'rm -f "$data"' EXIT
	apt-cache dumpavail >"$data"
fi
say "$(du -h "$data" | cut -f1) of text into HDFS"
"$nucspark" hdfs put -f lab.hcl --force "$data" /demo/text

say "Word count on Spark"
counted=$(mktemp)
"$nucspark" submit -f lab.hcl examples/wordcount.py hdfs:///demo/text --top 10 | tee "$counted"
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
