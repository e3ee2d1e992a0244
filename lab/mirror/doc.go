// Package mirror keeps everything that a cluster downloads in one place: a
// signed apt repository and an image registry.
//
// Build fills it. Where the upstream repositories can be reached the packages
// and images are fetched from there by their pinned names; where they cannot,
// each component is built from its published source: Go modules, Maven
// artefacts, the Python source archive of Spark and Debian packages. Packages
// and images carry the names, versions, paths, units and dependencies that
// upstream gives them, so whoever installs from the mirror does what it would
// do on the internet.
//
// The cache looks like this:
//
//	src/            what was downloaded and may be needed again
//	built/NAME-VERSION-KEY/
//	                one component: debs/ and oci/, or a base layer
//	mirror/apt/     the repository, "deb [signed-by=KEY] URL ./"
//	mirror/oci/     the images, an OCI layout
//	mirror/key.asc  the public key that signs the repository
//	signing.key     the private one, made once, mode 0600
//
// KEY is a hash over all that goes into a component: its recipe with every
// go.sum, the Go version, the architecture and the keys of what it is built
// upon. A component is renamed into place when it is complete and files in
// mirror/ are hard links, so an interrupted Build leaves nothing half made and
// the second one goes on where the first stopped. A Build that finds
// everything present takes well under a second.
//
// Signatures of upstream are checked against pinned fingerprints, and what does
// not verify or is not there is built from source instead. This path has been
// run against the servers of the tests only, not against the real upstream.
//
// Only the architecture of this machine is built.
//
// Serve publishes the mirror, read-only, over HTTP, and tells what it answered.
package mirror
