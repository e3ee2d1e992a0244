// Package autoinstall makes the two files by which Ubuntu Server's installer
// sets a machine up without questions: user-data and meta-data of cloud-init's
// data source NoCloud, which finds them on a file system with the label CIDATA
// (https://docs.cloud-init.io, "NoCloud"). Their form is that of the
// autoinstall reference manual
// (https://canonical-subiquity.readthedocs-hosted.com, version 1).
//
// The machine gets its name, a fixed address on one network card, an SSH server
// that takes keys and no passwords, and one user who may use sudo. Where no
// password hash is given the password is locked.
//
// The system goes to one disk, and no other is written to. The installer's own
// way of naming a disk takes any one of several that fit, so an early command
// chooses (disk.sh): only a disk that is built in, only if exactly one fits, and
// only if it is empty, unless somebody said that what is on it may go. Until it
// has chosen, the file names a disk that does not exist: whatever goes wrong
// before, the installer finds no disk and stops. Disks for data are the matter
// of whoever owns the machine; nothing here formats one.
//
// At the end the machine is switched off, so that it does not start from the
// stick and install itself again.
//
// Files are made of typed values by a YAML library. No value can break out of
// its place, and what reaches a shell is quoted.
package autoinstall
