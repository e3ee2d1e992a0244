package autoinstall

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"nucspark.io/nucspark/provision"
)

// Disk says which of a machine's disks the system goes to. USB sticks, disks
// that cannot be written to and those below 10 GB are never meant.
type Disk struct {
	By     By
	Serial string // of By Serial: a part of its serial number
	Erase  bool   // what is on it may go; else it must be empty
}

// By is how a disk is found.
type By string

// The ways to find a disk. Where not exactly one is found, nothing is
// installed.
const (
	Only     By = "only" // the machine has no other
	Smallest By = "smallest"
	Largest  By = "largest"
	Serial   By = "serial"
)

// serialText is what stands on disks, and in udev's ID_SERIAL: model and serial
// number, with _ for blanks.
var serialText = regexp.MustCompile(`^[A-Za-z0-9_.:+-]{4,}$`)

// ParseDisk reads "only", "smallest", "largest" or "serial=TEXT".
func ParseDisk(s string) (Disk, error) {
	switch by := By(s); by {
	case Only, Smallest, Largest:
		return Disk{By: by}, nil
	}
	text, ok := strings.CutPrefix(s, "serial=")
	if !ok {
		return Disk{}, fmt.Errorf("%q is none of only, smallest, largest and serial=TEXT", s)
	}
	if !serialText.MatchString(text) {
		return Disk{}, fmt.Errorf("%q is no part of a serial number: it has four characters at least, of letters, digits and _ . : + -", text)
	}
	return Disk{By: Serial, Serial: text}, nil
}

// String says which disk it is, in words for a person.
func (d Disk) String() string {
	if d.By == Serial {
		return "the disk with " + d.Serial + " in its serial number"
	}
	return "the " + string(d.By) + " disk that is built in"
}

// unknownDisk is what the configuration names until disk.sh has chosen.
const unknownDisk = "/dev/nucspark-system-disk"

//go:embed disk.sh
var chooseDisk string

// script chooses the disk, when the installer starts.
func (d Disk) script() string {
	erase := "no"
	if d.Erase {
		erase = "yes"
	}
	return fmt.Sprintf("by=%s serial=%s erase=%s\n", provision.Quote(string(d.By)), provision.Quote(d.Serial), erase) + chooseDisk
}
