// Package hdfs makes the Hadoop file system of the cluster, and puts files into
// it and out of it.
//
// What it makes true, in this order:
//
//   - Every directory of the inventory belongs to the user hdfs and holds
//     .nucspark-disk, which says of which cluster, node, path and file system it
//     is. The file is written once, into an empty directory only. A directory
//     that holds anything else is refused, and so is one that held blocks and is
//     empty now: its disk is not mounted.
//   - The namenode's directory is formatted, once, over SSH, by a container that
//     is no pod. It is formatted only when it, the checkpoint's directory, and
//     every datanode directory of every node answered that they are empty, and
//     the cluster has no record of a file system. What is unknown counts as not
//     empty. No pod ever formats.
//   - The namenode runs on the control-plane machine, and a second machine keeps
//     a copy of its metadata (a SecondaryNameNode, hourly). With one machine
//     there is no second copy.
//   - Datanodes run on the nodes that store blocks: one DaemonSet for each
//     distinct list of directories. A datanode leaves out a directory without
//     its .nucspark-disk, and does not start with none left. It registers under
//     its pod's address and carries the node's address as its host name, which
//     is what Spark compares with the addresses of its workers.
//   - The namenode knows which pod network and which address belong to one
//     machine, so that readers get the replica of their own machine and writers
//     put the first one there.
//   - The namenode left safe mode by itself, every reachable datanode is
//     registered, no block is missing, and the directories that users and Spark
//     begin with exist. That is the milestone cluster/hdfs.
//
// A node that leaves the cluster ([Leave]) is decommissioned: the namenode copies
// its blocks to the others and says when that is done. Its datanode stops only
// then, and its directories stay as they are. Which datanodes leave stands in
// hosts.json, by the addresses of their pods: under those they register. A pod
// that was made anew is added to the list, and so is a namenode told again that
// was restarted, at each look while a run waits. Addresses stay in
// the list until their network belongs to a node that stays: for ten minutes
// the namenode counts a stopped datanode as alive, and if it were in service
// again its blocks would count as copies. A removal is refused before any
// change where the datanodes that stay are fewer than the copies, or have too
// little room, and where blocks would be lost with a machine that is off.
//
// The disk below a directory may be replaced ([Accept]): the sentinel is written
// into the new, empty one, mounted where the old one was, and the datanode
// starts anew. A machine may be replaced, too: what its old Node says of
// directories counts no more, and the new datanode waits until the namenode
// counts the old one as dead.
//
// A directory that left hdfs { dirs } while its node stays: the datanode starts
// anew without it, and the namenode has the blocks that were in it copied from
// the other machines. That is done only where each block has another copy, on
// one node at a time, and it is over when every block has all its copies again
// and the namenode counts no block in that directory any more. What is in the
// directory stays, so that putting it back brings all of it back.
//
// A pod is restarted when the configuration that it reads itself changed, and
// for no other reason: each role has its own ConfigMap, whose hash its pods
// carry. Adding a node changes no pod template.
//
// Probes. A datanode is ready when it belongs to the right file system and had
// an answer to a heartbeat within a minute; a namenode when it is out of safe
// mode. Both are asked over HTTP by bash, because the images need to have no
// other client. Liveness is only that the process answers: restarting a
// datanode cures no namenode. Services publish pods that are not ready, since
// datanodes must find a namenode that waits for them.
//
// A node that stores blocks gets other directories while its datanode runs: the
// old pod ends before the new one is made, the next node's ends when that one
// is back and the file system as well off as before. See [DisksLabel].
//
// Files have the replication of the inventory, those too that were written
// before it changed; one that was given another number keeps it.
//
// [Balancing] moves blocks between datanodes by Hadoop's own balancer.
//
// [Client] speaks WebHDFS to namenode and datanodes through the SSH connection
// to the control plane. No JVM is started for it.
package hdfs
