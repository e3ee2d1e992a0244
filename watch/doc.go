// Package watch keeps looking at a cluster, and says what is known of it at
// each moment: how the machines do, how full HDFS is, what Spark runs, and what
// is wrong. It changes nothing and shows nothing.
//
// Each machine is asked by itself, and so is the API, so that one that does not
// answer holds nobody up; what was known of it is dropped, since when it is
// silent is told, and it is asked again until it answers. A look is bounded.
//
// A look is cheap. A machine runs two short processes, none of them with the
// rights of an administrator; what needs those (is a disk mounted, does a unit
// run) is asked every half minute only, for sudo logs each time. The pages of
// namenode and Spark master come through the API server. No JVM is started.
package watch
