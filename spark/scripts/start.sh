#!/bin/bash
# Puts the configuration of a Spark process together and becomes that process.
# Its arguments are the command. SPARK_CONF_DIR is a directory in memory;
# WAIT_FOR, where it is set, is HOST/PORT of a master to wait for.
set -eu
umask 077
cp /etc/nucspark/spark/* "$SPARK_CONF_DIR/"
if [ -e /etc/nucspark/secret/secret ]; then
	# printf is the shell's own: no process has the secret as an argument.
	printf 'spark.authenticate.secret %s\n' "$(cat /etc/nucspark/secret/secret)" >>"$SPARK_CONF_DIR/spark-defaults.conf"
fi
umask 022
for dir in ${SPARK_LOCAL_DIRS:-} ${SPARK_WORKER_DIR:-}; do
	mkdir -p "$dir"
done
# A worker whose first attempt to register fails tries again after some 10 s.
if [ -n "${WAIT_FOR:-}" ]; then
	for ((i = 0; i < 120; i++)); do
		timeout 3 bash -c "exec 3<>/dev/tcp/$WAIT_FOR" 2>/dev/null && break
		sleep 0.5
	done
fi
exec "$@"
