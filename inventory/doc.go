// Package inventory reads the one file that describes a cluster.
//
// The file is HCL. Load decodes it into a [Cluster] of typed values with every
// default filled in, and reports everything that is wrong at once, each with
// file, line, column and a snippet. Whoever holds a Cluster can rely on it:
// names and addresses are unique, directories are absolute and safe, networks
// do not overlap, and every volume lies on a node that exports something.
//
// What may stand in the file is written once, in reference.go: each block and
// attribute with its type, its default and a sentence. The decoder takes and
// reads nothing else, and docs/inventory.md is made from it, so a new attribute
// begins there.
//
// The package knows nothing of machines: it opens no connection and imports no
// other folder of this project.
package inventory
