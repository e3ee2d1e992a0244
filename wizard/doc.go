// Package wizard makes the first inventory: it knows what to ask, what to
// propose, and how the file is written.
//
// A [State] holds three things: what a person said, by key; what was found on
// the network; and the page that is asked now. Every value ([State.Values])
// follows from the first two: what a person said comes first, then what the
// machines say, then what is proposed for them. The file ([State.File])
// follows from the values, so the same answers about the same machines give
// the same file, whoever gave them: a screen, or a preseed ([Preseed]) without
// any.
//
// Pages follow each other ([State.Next]) and lead back ([State.Back]). Going
// back forgets nothing that was said. What a page needs from the network is
// told by [State.Addresses] and [State.ToAsk]; whoever drives the state does
// it. [State.Fill] does it for a preseed.
//
// Proposals. The control plane is a machine with two CPUs, a cable and 4 GB at
// least, and of these the one with the least room for data, then with the least
// memory, then with the lowest address: the others store and compute. With one
// or two machines it stores and computes as well. Each disk that is mounted
// and holds nobody's data gets a directory for HDFS; the system's own disk is
// taken where there is no other. The machine with the largest disk exports a
// volume. Blocks are kept as often as inventory proposes. Spark gets of the
// smallest machine what the system, Kubernetes and HDFS leave.
//
// The package shows nothing, writes no file and opens no connection.
package wizard
