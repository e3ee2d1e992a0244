package hdfs

import "nucspark.io/nucspark/provision"

// Explanations say what the steps of this package do, in the order of a run;
// then those of a machine that leaves.
var Explanations = []provision.Explanation{
	{Step: "hdfs/image", Text: `Downloads the image of Hadoop before HDFS needs it. Datanodes then start, and
start anew, without waiting for the network. Nothing is interrupted. down
deletes it.`},
	{Step: "hdfs/disk/*", Text: `Makes a directory for blocks ready: it belongs to the user hdfs and gets a file
.nucspark-disk. The file says of which cluster, machine and disk it is. A
directory that holds anything else is refused, and so is one that held blocks
and is empty now, because its disk is not mounted. Nothing is formatted, emptied
or deleted. down leaves it as it is, with all blocks.`},
	{Step: "hdfs/namenode-directory", Text: `Makes the directory of the namenode's metadata on the control plane: the names
of all files, and which blocks they have. Nothing in it is touched. down leaves
it as it is.`},
	{Step: "hdfs/checkpoint-directory", Text: `Makes the directory for the copy of the namenode's metadata, on a second
machine. Nothing in it is touched. down leaves it as it is.`},
	{Step: "hdfs/format", Text: `Makes an empty file system, by hdfs namenode -format, once. It is done only if
the namenode's directory, its copy, and every directory for blocks on every
machine answered that they are empty, and if the cluster has no record of a file
system; what is unknown counts as not empty. It runs over SSH, and no container
ever formats when it starts. Nothing undoes it, and down keeps what it made.`},
	{Step: "cluster/hdfs/record", Text: `Writes into the cluster that it has a file system, and which. With that record
the namenode is never formatted again, even if its directory should be empty.
Nothing is interrupted.`},
	{Step: "cluster/hdfs/nodes", Text: `Tells the namenode which addresses belong to which machine, and which datanodes
are to leave. Readers get the copy on their own machine by that, and writers put
the first one there. The namenode reads it while it runs, so nothing is
interrupted.`},
	{Step: "cluster/hdfs/config-*", Text: `Writes Hadoop's configuration of the namenode, of the datanodes, or of the
namenode's copy. Each has its own core-site.xml, hdfs-site.xml and their like.
Those who read a changed one start anew, by the step that runs them. Changing
your file back undoes it.`},
	{Step: "cluster/hdfs/service-*", Text: `Gives the namenode, the datanodes, or the namenode's copy a name in the
containers' network, such as namenode. Spark and HDFS find them by it, whatever
their addresses. Nothing is interrupted, and nothing outside of the cluster can
reach it.`},
	{Step: "cluster/hdfs/namenode", Text: `Runs the namenode on the control plane: it knows all files and where their
blocks are. It starts anew only if its own configuration, image or size changed;
programs that read or write wait for it meanwhile, a minute or so. Its metadata
is on the machine's disk and stays.`},
	{Step: "cluster/hdfs/namenode-answers", Text: `Waits until the namenode answers, with its present configuration, and has this
cluster's file system. It fails after 10 minutes. It changes nothing itself.`},
	{Step: "cluster/hdfs/checkpoint", Text: `Runs a SecondaryNameNode on another machine, which copies the namenode's
metadata there once an hour. If the control plane's disk is lost, the files can
be found again from the copy. Reading and writing never depend on it.`},
	{Step: "cluster/hdfs/checkpoint-ready", Text: `Waits until the keeper of the metadata's copy runs, with its present
configuration. It fails after 10 minutes. It changes nothing itself.`},
	{Step: "cluster/hdfs/datanode-*", Text: `Runs a datanode, which stores and serves blocks, on each machine with the same
list of directories. A datanode leaves out a directory without its
.nucspark-disk, and does not start with none left. If its configuration, image
or size changed, datanodes start anew one at a time, and readers use other
copies meanwhile.`},
	{Step: "cluster/hdfs/datanode-*-ready", Text: `Waits until the datanodes with one list of directories are back before those
with another are started anew. So one datanode is away at a time in the whole
cluster. It changes nothing itself.`},
	{Step: "hdfs/label", Text: `Lets a machine's datanode run, by a label on the machine's entry in the cluster.
It comes after the machine's directories were checked. When the list of
directories changes, the old datanode ends, the new one starts, and the next
machine waits until no block lacks more copies than before. Such a change is
refused while a machine is off.`},
	{Step: "cluster/hdfs/leaving", Text: `Refuses to go on where a machine holds blocks and its hdfs block left the file.
Its datanode goes on, so that no file loses a copy by an edit. Putting the block
back, or removing the machine by up --remove, solves it. It changes nothing
itself.`},
	{Step: "cluster/hdfs/datanodes", Text: `Waits until HDFS can be used: the namenode left its safe mode by itself, every
datanode is registered, and no block is missing. The bound grows with the number
of machines, from 10 minutes on. It changes nothing itself.`},
	{Step: "cluster/hdfs/replication", Text: `Gives files the number of copies that your file says, those too that were
written before it changed. It shows how far it is, and an interrupted one is
finished by the next run. A file that was written with a number of its own keeps
it. Reading and writing go on meanwhile; changing the number back undoes it.`},
	{Step: "cluster/hdfs/directories", Text: `Makes the directories in HDFS that users and Spark begin with. These are /tmp,
/user, /user/spark and /spark-events, with their owners and rights. What is in
them is never touched, and they stay with the file system.`},
	{Step: "cluster/hdfs/names", Text: `Holds when the namenode answers and the first directories are there. Spark's
history server waits for it. It changes nothing itself.`},
	{Step: "cluster/hdfs/in-service", Text: `Takes a datanode into service again that was to leave, or had left, and is back.
The namenode would otherwise give it no blocks. Nothing is interrupted.`},
	{Step: "cluster/hdfs", Text: `Holds when all of HDFS does: namenode, its copy, datanodes and first
directories. It changes nothing itself.`},

	{Step: "hdfs/decommission", Text: `Has the namenode copy the blocks of a machine that leaves to the machines that
stay, and waits until it says that all are copied. It is refused before any
change if too few machines or too little room would remain. Reading and writing
go on meanwhile. Putting the machine's block back into the file gives it up.`},
	{Step: "hdfs/stop", Text: `Stops the datanode of a machine that leaves, when its blocks are on others. Its
directories stay as they are, with what is in them. Readers use the other
copies.`},
	{Step: "data-safe", Text: `Holds when no block of HDFS depends on a machine that leaves any more. Its Spark
worker stops after that. It changes nothing itself.`},

	// When a machine or a disk was replaced.
	{Step: "hdfs/forgotten", Text: `Waits until the namenode counts the datanode of a machine that was replaced as
dead, 10.5 minutes after it was last heard. Until then the new one would be
taken for it. It changes nothing itself.`},
	{Step: "hdfs/restart", Text: `Starts the datanode of a machine anew, so that it uses a disk that was replaced
or added. It looks at its directories only when it starts. Readers use the
other copies for some seconds. It is made by nucspark disk accept.`},
	{Step: "hdfs/registered", Text: `Waits until the namenode knows the datanode that started anew. It copies blocks
to it from then on. It changes nothing itself.`},
}
