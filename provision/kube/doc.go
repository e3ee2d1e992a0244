// Package kube is the Kubernetes API of a cluster, reached through the SSH
// connection to its control plane with credentials that stay in memory.
//
// Objects go in and out as the JSON form of the API. What is made is made by
// server-side apply, with one field manager, from the typed apply
// configurations of client-go (see [Object]); what it would change is asked
// with the same call as a dry run. What does not exist is nil, not an error:
// neither an object, nor one in a namespace that is not there yet.
//
// The resource of a kind is looked up in a table of the kinds nucspark uses,
// so that no time goes into asking the server what it serves.
package kube
