// Package tui shows a run while it happens: as a screen in a terminal, as
// plain lines elsewhere, as JSON lines for programs, or not at all. Whatever
// is shown is made from the events of provision and from nothing else, and
// after each run a summary says what changed on which node and what failed.
//
// It is the only package that imports the Charm libraries.
package tui
