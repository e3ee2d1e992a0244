#!/bin/bash
# What Spark on Kubernetes starts in its pods: "driver ARGS", "executor ARGS",
# or any other command as it is. The variables are those that Spark sets for
# its pods, see ENV_* in org.apache.spark.deploy.k8s.Constants.
set -e

# A process without a line in the user list has no name, and Hadoop's login
# needs one.
if ! getent passwd "$(id -u)" >/dev/null && [ -w /etc/passwd ]; then
	echo "$(id -u):x:$(id -u):$(id -g):${SPARK_USER_NAME:-anonymous uid}:$SPARK_HOME:/bin/false" >>/etc/passwd
fi

if [ -n "$HADOOP_HOME" ] && [ -z "$SPARK_DIST_CLASSPATH" ]; then
	SPARK_DIST_CLASSPATH=$("$HADOOP_HOME/bin/hadoop" classpath)
	export SPARK_DIST_CLASSPATH
fi

class_path=${SPARK_CONF_DIR:-$SPARK_HOME/conf}
if [ -n "$HADOOP_CONF_DIR" ]; then class_path+=:$HADOOP_CONF_DIR; fi
class_path+=:$SPARK_CLASSPATH:$SPARK_HOME/jars/*
if [ -n "$SPARK_EXTRA_CLASSPATH" ]; then class_path+=:$SPARK_EXTRA_CLASSPATH; fi

case "$1" in
driver)
	shift
	set -- "$SPARK_HOME/bin/spark-submit" \
		--conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
		--conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
		--deploy-mode client "$@"
	;;
executor)
	shift
	# SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1 … hold one option each, in order.
	options=()
	for ((i = 0; ; i++)); do
		name=SPARK_JAVA_OPT_$i
		[ -n "${!name+set}" ] || break
		options+=("${!name}")
	done
	set -- "$JAVA_HOME/bin/java" "${options[@]}" \
		"-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
		-cp "$class_path:$SPARK_DIST_CLASSPATH" \
		org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
		--driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" \
		--cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
		--hostname "$SPARK_EXECUTOR_POD_IP" \
		--resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
		--podName "$SPARK_EXECUTOR_POD_NAME" "$@"
	;;
esac
exec /usr/bin/tini -s -- "$@"
