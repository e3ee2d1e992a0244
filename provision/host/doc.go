// Package host is one machine over SSH.
//
// A Host holds one connection to one machine. Commands and forwarded
// connections share it, at most eight sessions at a time, because sshd allows
// ten by default. A keepalive finds a dead connection within seconds: what
// runs on it fails with a transient *ConnectError, and the next call dials
// again.
//
// # Trust
//
// The key of the machine is compared with the pinned one, or with the
// known_hosts file, before anything is proved to the machine: no password and
// no signature leaves for a machine whose key is not known. A key seen for the
// first time is shown to a person while no connection is open and is written
// down when that person accepts it. A changed key is a *HostKeyError.
//
// # Commands
//
// A script never stands in the arguments of a process, where everybody on the
// machine could read it. What sshd starts is a constant bootstrap. It sets
// the environment, prints a random marker with its process id on stdout and
// stderr, reads one line from stdin, which is the script in an encoding made
// of printable characters, and evaluates it. All it needs are built-ins of a
// POSIX shell. What follows that line on stdin belongs to the script. The
// marker has three uses: whatever a login shell prints before it is dropped,
// the script is sent only when it was seen, and the process group can be
// stopped by its number, through a second session, when the command is
// cancelled or prints nothing for too long. There is never a terminal.
//
// A command that was running when the connection was lost is stopped as soon
// as the machine answers again, before anything else runs there. The shell is
// recognised by its process id and start time, so a number that was reused is
// left alone.
//
// # Root
//
// A root command runs under sudo, with a random prompt. The password is
// written once, only when that prompt was seen on stderr; the script follows
// only after the marker of the root shell. So the password cannot become the
// input of another program. A wrong password is not tried twice. When the
// login user is root there is no sudo.
//
// # Remote bytes
//
// Nothing that a machine prints is trusted. Output is kept up to a bound;
// lines that are meant to be shown went through Clean. Values reach a shell
// only through Quote.
package host
