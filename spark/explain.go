package spark

import "nucspark.io/nucspark/provision"

// Explanations say what the steps of this package do, in the order of a run;
// then those of a machine that leaves.
var Explanations = []provision.Explanation{
	{Step: "spark/image", Text: `Downloads the image of Spark before workers and applications need it. They then
start without waiting for the network. Nothing is interrupted. down deletes it.`},
	{Step: "spark/local-directory", Text: `Makes /var/lib/nucspark/spark-local for shuffle files and work directories. It
belongs to the user spark, and only applications that run need what is in it.
down deletes it with its content.`},
	{Step: "spark/master-directory", Text: `Makes /var/lib/nucspark/spark-master on the control plane. The master keeps
there which applications and workers it has, so that they survive its restart.
down deletes it with its content.`},
	{Step: "cluster/spark/secret", Text: `Makes the secret by which master, workers, executors and drivers know each
other, once, from random bytes. It is never changed and never shown. It ends
with the cluster.`},
	{Step: "cluster/spark/config-*", Text: `Writes Spark's configuration of the master, the workers, the history server, or
the drivers of applications, each by itself. The first three start anew if
theirs changed, by the step that runs them. That of drivers, with the size of
executors, counts for the next application and restarts nothing.`},
	{Step: "cluster/spark/service-*", Text: `Gives the master or the history server a name in the containers' network.
Workers and applications find them by it. Nothing is interrupted, and nothing
outside of the cluster can reach it.`},
	{Step: "cluster/spark/master", Text: `Runs Spark's master on the control plane, which gives workers' cores to
applications. It starts anew only if its own configuration, image or size
changed. Applications that run go on meanwhile, and the master remembers them.`},
	{Step: "cluster/spark/workers", Text: `Runs one Spark worker on each machine that runs pods, under the machine's own
address, so that tasks run where their blocks are. If its configuration, image
or size changed, workers start anew one at a time. Before one stops, its
executors hand over what they hold and end.`},
	{Step: "cluster/spark/registered", Text: `Waits until every worker is registered with the master, with its present
configuration. The bound is half an hour and some minutes for each worker. It
changes nothing itself.`},
	{Step: "cluster/spark/history", Text: `Runs the history server on the control plane, which shows applications that have
ended from their logs in HDFS. It starts anew only if its own configuration or
image changed. Applications never depend on it.`},
	{Step: "cluster/spark/history-answers", Text: `Waits until the history server answers, for half an hour at most. It changes
nothing itself.`},
	{Step: "cluster/spark", Text: `Holds when all of Spark does: the master, every worker, and the history server
where there is HDFS. It changes nothing itself.`},

	{Step: "spark/stop", Text: `Stops the Spark worker of a machine that leaves, when its blocks are on others.
Its executors hand over what they hold and end; applications go on with the
executors of other machines. It is not undone: a machine that stays gets its
worker again by the next up.`},
	{Step: "idle", Text: `Holds when no Spark worker runs on a machine that leaves any more. It is drained
after that. It changes nothing itself.`},
}
