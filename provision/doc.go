// Package provision is the engine: it makes a set of machines agree with an
// inventory, and says what it would do before it does it.
//
// There is one contract, query → diff → apply → verify. A [Step] is one thing
// that should be true. It names what it must know as a list of [Query] values,
// all read-only and of a closed list of kinds; [Facts] are the answers. Its
// Diff is a pure function of them, so a [Plan] changes nothing by
// construction. Its Apply changes the machine, after which the same queries
// are asked again: a step is done when its diff is empty, not when a command
// exited 0. A run that stops half way is finished by the next one, because the
// next one looks first.
//
// The queries of one node are sent as one script in one round trip. Steps of
// different nodes run side by side; what must wait for what is written as
// needs, by step ID or by the name of a milestone.
//
// Everything that happens is an [Event]; every screen, log and summary is made
// from events. Every change to a node is first written to that node's ledger,
// with what was there before.
//
// One run at a time changes a node. Its [Lock] is asked before each change and
// not only at the beginning: a client that slept, or was cut off, changes
// nothing any more when it is back (lock.go, keeper.go).
//
// What a ledger lists can be undone: the steps in undo.go and purge.go put it
// back. Data that a cluster left when it was taken down is taken over by the
// next one that is made of it (adopt.go).
//
// Packages and images are fetched through the control plane, where the
// inventory has a cache (cache.go); nothing that comes from there is believed.
//
// The package imports no component and no screen.
package provision
