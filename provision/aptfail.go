package provision

import (
	"errors"
	"regexp"
	"strings"

	"nucspark.io/nucspark/provision/host"
)

var (
	lockBusy       = regexp.MustCompile(`Could not get lock|Unable to (?:acquire|lock)|is another process using it|was locked by another process`)
	gonePackage    = regexp.MustCompile(`Failed to fetch .*404  `)
	unknownPackage = regexp.MustCompile(`Unable to locate package|Version '[^']*' for '[^']*' was not found|has no installation candidate`)
	unknownVersion = regexp.MustCompile(`Version '[^']*' for '([^']*)' was not found`)
)

// aptFailures are what apt and dpkg print (LC_ALL=C), from what is surest to
// what is vaguest. apt 2.4 to 3.x say it in these words; signatures are
// checked by gpgv or, in Debian 13 and Ubuntu 26.04, by sqv.
var aptFailures = []struct {
	says      *regexp.Regexp
	means     string
	hint      string
	transient bool
}{
	{lockBusy, "the package manager is held by another process",
		"wait until it is done and run again, or raise lock_timeout in the apt block", true},
	{regexp.MustCompile(`No space left on device|You don't have enough free space`), "the disk is full",
		"make room (df -h /var shows it) and run again", false},
	{regexp.MustCompile(`Conflicting values set for option Signed-By`), "another list names one of nucspark's repositories with another key",
		"take the other one out (grep -r download.docker.com -e pkgs.k8s.io /etc/apt/sources.list.d) and run again", false},
	{regexp.MustCompile(`EXPKEYSIG|KEYEXPIRED|Expired on|is not live`), "the key that signs the repository has expired",
		"run again when its owner has published a new one; with a mirror, replace the key that mirror.keys names", false},
	{regexp.MustCompile(`NO_PUBKEY|BADSIG|is not signed|couldn't be verified|Missing key|(?:gpgv|sqv) returned an error`),
		"the signature of a package repository could not be verified",
		"with a mirror, see that mirror.keys names the key that signs it; without one, somebody may be in between", false},
	{regexp.MustCompile(`Release file for .* is (?:not valid yet|expired)`), "the repository's date does not fit the node's clock",
		"set the clock of the node, or refresh the mirror", false},
	{regexp.MustCompile(`Temporary failure resolving|Could not resolve|Could not connect|Connection (?:failed|timed out|refused|reset)|Unable to connect|Network is unreachable|No route to host|\b50\d  [A-Z]|Hash Sum mismatch|File has unexpected size`),
		"a package repository did not answer",
		"see that the node reaches it (name resolution, proxy, mirror) and run again", true},
	{regexp.MustCompile(`does not have a Release file|404  \S`), "a package repository is not where it should be",
		"see that the mirror block names a repository, or that upstream serves this release of the system", false},
	{unknownPackage, "no package repository of the node has it",
		"see that the mirror, or upstream, carries this version for this system", false},
	{regexp.MustCompile(`Packages need to be removed but remove is disabled`), "it would remove other packages, which nucspark never does",
		"see with apt-get -s install what is in the way", false},
	{regexp.MustCompile(`Held packages were changed`), "it would change a package that is held on the node",
		"see with apt-mark showhold which, and release it if it may be changed", false},
	{regexp.MustCompile(`Packages were downgraded`), "a newer version is installed than the inventory asks for",
		"ask for that version or a newer one: Kubernetes does not go back", false},
	{regexp.MustCompile(`unmet dependencies|held broken packages|broken packages`), "its dependencies cannot be satisfied on the node",
		"see with apt-get -f install what is broken there", false},
	{regexp.MustCompile(`Sub-process /usr/bin/dpkg returned an error code|dpkg: error processing`), "dpkg could not set up a package",
		"the lines above say which; repair it with dpkg --configure -a and run again", false},
}

// commandFailure is a failed command in words. It wraps the command's own
// error, which has the last lines of the output.
type commandFailure struct {
	text    string
	command *host.CommandError
}

func (e *commandFailure) Error() string { return e.text }
func (e *commandFailure) Unwrap() error { return e.command }

// failure says what a failed call of apt means.
func (a *apt) failure(what string, res host.Result, err error) error {
	var cmd *host.CommandError
	if !errors.As(err, &cmd) {
		return err // the connection, not apt
	}
	out := res.Stdout + "\n" + res.Stderr
	means, hint, transient := explainApt(out)
	text := what + ": "
	if means != "" {
		text += means + ": "
	}
	if m := firstError.FindStringSubmatch(out); m != nil {
		text += strings.TrimSuffix(host.Clean(m[1]), ".")
		if m[2] != "" {
			text += ": " + host.Clean(m[2])
		}
	} else {
		text += err.Error()
	}
	return &StepError{Node: a.node, Step: a.step, Err: &commandFailure{text, cmd}, Hint: hint, Transient: transient}
}

// firstError is what apt and dpkg complained of first; the rest follows from
// it. dpkg says on a line of its own what it could not do with a package.
var firstError = regexp.MustCompile(`(?m)^(?:E|dpkg): (.+?)(?::\n +(.+))?$`)

func explainApt(out string) (means, hint string, transient bool) {
	for _, f := range aptFailures {
		if f.says.MatchString(out) {
			return f.means, f.hint, f.transient
		}
	}
	return "", "", false
}
