// Package discover finds machines on the local network and says what each of
// them is.
//
// [Scan] tries port 22 of every address of a range, and nothing else. Where an
// SSH server answers it takes the host key that is shown, and hangs up. So the
// keys are known, and can be looked at, before anything is proved to a machine.
//
// [Ask] logs in to one machine with the key that was shown, and asks what it
// is: what provision asks of a node, and model, processor, disks, file systems
// and network interfaces. It changes nothing there. sudo is tried without a
// password first.
//
// [Judge] says what is wrong with machines: what nucspark up would refuse is a
// problem, what somebody should know is a warning. It is pure.
//
// The package shows nothing and asks nobody.
package discover
