// Package doctor says what would stop nucspark up.
//
// It looks at this computer by itself: what there is to log in with, the file
// of host keys, the state directory, and the way to each address. All else it
// is told: how the inventory reads, what provision found on the machines
// ([provision.Examination]), and what the plan says. The rules by which a
// machine is refused are provision's own.
//
// Everything becomes a [Finding], so that all is told at once. One that is not
// OK would stop up. One that is OK and has a problem is worth knowing. What was
// not looked at, since something before it failed, is no finding.
//
// The package changes nothing, and asks nobody.
package doctor
