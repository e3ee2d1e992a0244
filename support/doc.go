// Package support makes a bundle for whoever helps with a cluster: a compressed
// archive of text files without secrets.
//
// Every file goes through [Bundle.Add], and so through the [Redactor], which
// takes out what it was told to be secret and what looks like it. It is the
// second line: what is secret is not collected in the first place. Control
// characters go, too, since somebody will print the files on a terminal.
//
// What could not be had is in the bundle's README.txt, with the reason
// ([Bundle.Miss]); the bundle is made all the same.
//
// The package asks nobody. [NodeScript] is what a machine is asked as root, and
// only looks; [Nodes], [Pods] and [Events] make text of what the API answers.
package support
