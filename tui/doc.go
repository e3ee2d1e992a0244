// Package tui shows a run while it happens: as a screen in a terminal, as
// plain lines elsewhere, as JSON lines for programs, or not at all. Whatever
// is shown is made from the events of provision and from nothing else, and
// after each run a summary says what changed on which node and what failed.
//
// On the screen what failed comes first, then what runs, what waits and for
// what, and what is done; each row has a glyph and a word, so that neither
// colour nor UTF-8 is needed. It is as wide and high as the terminal, from one
// cell on. While it is shown nothing else writes there, and no byte of a
// machine's output steers it. A person can look into the log of a step, have
// failed steps tried again, and stop the run. How long the run still takes is
// said only when each step that is left was done before.
//
// It also shows how a cluster is while somebody watches it: what is wrong first,
// then the figures, with their age. That is drawn from the state that package
// watch keeps, and from nothing else.
//
// It is the only package that imports the Charm libraries.
package tui
