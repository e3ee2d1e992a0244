package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// Where nucspark's package repositories are named on a node. The keys that
// sign them are files whose names start with AptKeys.
const (
	AptSource = "/etc/apt/sources.list.d/nucspark.list"
	AptKeys   = "/etc/apt/keyrings/nucspark"
)

// Stamps of the last update of package lists: of nucspark's repositories, and
// of all.
const (
	stampOwn = StateDir + "/apt-updated-own"
	stampAll = StateDir + "/apt-updated"
)

const (
	// aptBound ends an apt-get that neither finishes nor falls silent, a
	// mirror that trickles. Packages for a node are some 150 MB.
	aptBound = time.Hour
	// lockLook is the pause between two looks at who holds a lock.
	lockLook = 2 * time.Second
)

// aptEnvironment keeps every program that packages call from asking:
// debconf(7), needrestart(1) and apt-listchanges(1).
const aptEnvironment = "export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none LC_ALL=C\n"

const aptConfigure = aptEnvironment + "dpkg --force-confold --configure -a\n"

// aptGet is apt-get with the options of every call. Without a terminal of its
// own dpkg cannot wait for somebody at a keyboard.
func aptGet(lockSeconds int) string {
	return fmt.Sprintf("apt-get -y -q -o DPkg::Lock::Timeout=%d -o Dpkg::Options::=--force-confold "+
		"-o Dpkg::Use-Pty=0 -o APT::Install-Recommends=false -o Acquire::Retries=3", lockSeconds)
}

// aptOwn restricts apt-get update to nucspark's repositories, and makes
// anything that goes wrong with them an error.
const aptOwn = "-o Dir::Etc::sourcelist=" + AptSource + " -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 --error-on=any"

// apt is one use of the package manager. Its caller holds Node.Exclusive.
type apt struct {
	node, step string
	n          *Node
	env        *Env
	until      time.Time // how long another apt or dpkg is waited for
	names      names     // set by updateStale
}

func newApt(node, step string, n *Node, env *Env) *apt {
	return &apt{node: node, step: step, n: n, env: env, until: time.Now().Add(env.Site().Cluster.Apt.LockTimeout)}
}

// timeout is what is left to wait for locks, in seconds, at least one.
func (a *apt) timeout() int { return max(1, int(time.Until(a.until).Seconds())) }

// prepare brings the package lists up to date where they may not be, and
// returns a ledger entry for every package that an install would add or
// change, dependencies included.
func (a *apt) prepare(ctx context.Context, install []string) ([]Entry, error) {
	updated, err := a.updateStale(ctx)
	if err != nil {
		return nil, err
	}
	simulate := aptEnvironment + "apt-get -s -q -o APT::Install-Recommends=false --no-remove --allow-change-held-packages --allow-downgrades -y install -- " + quoteAll(install)
	for {
		res, err := a.quiet(ctx, simulate)
		if err == nil {
			return parseSimulation(res.Stdout), a.check(ctx, install)
		}
		var cmd *host.CommandError
		if !errors.As(err, &cmd) {
			return nil, err
		}
		failure := a.failure("installing "+strings.Join(install, " "), res, err)
		if m := unknownVersion.FindStringSubmatch(res.Stdout + res.Stderr); updated && m != nil {
			return nil, a.others(ctx, m[1], failure)
		}
		if updated || !unknownPackage.MatchString(res.Stdout+res.Stderr) {
			return nil, failure
		}
		// The lists are fresh by their age but do not know the version.
		if err := a.update(ctx, true, true); err != nil {
			return nil, err
		}
		updated = true
	}
}

// others adds to a failure which versions of a package there are.
func (a *apt) others(ctx context.Context, name string, failure error) error {
	var step *StepError
	res, err := a.quiet(ctx, "apt-cache madison -- "+Quote(name)+" | awk '{ print $3 }' | sort -uV\n")
	if err != nil || !errors.As(failure, &step) {
		return failure
	}
	step.Hint += "; of " + name + " they have " + cmp.Or(strings.Join(strings.Fields(host.Clean(res.Stdout)), ", "), "no version at all")
	return step
}

// parseSimulation reads lines like
//
//	Inst kubeadm [1.36.2-1.1] (1.36.3-1.1 kubernetes [amd64])
func parseSimulation(out string) []Entry {
	var entries []Entry
	for _, l := range strings.Split(out, "\n") {
		if m := simulated.FindStringSubmatch(l); m != nil {
			entries = append(entries, Entry{Kind: "package", Key: m[1], Before: m[2], After: m[3]})
		}
	}
	return entries
}

var simulated = regexp.MustCompile(`^Inst (\S+) (?:\[(\S+)\] )?\((\S+)`)

// staleScript prints "own" and "all" for the lists that are older than what
// names them, or than a day.
const staleScript = `fresh() {
	[ -e "$1" ] && [ -n "$(find "$1" -mmin -1440)" ]
}
own=` + AptSource + `
if [ -e $own ] && { ! fresh ` + stampOwn + ` || [ -n "$(find $own ` + AptKeys + `* -newer ` + stampOwn + ` 2>/dev/null)" ]; }; then
	echo own
fi
if ! fresh ` + stampAll + ` || [ -n "$(find /etc/apt/sources.list /etc/apt/sources.list.d ! -type d ! -path $own -newer ` + stampAll + ` 2>/dev/null)" ]; then
	echo all
fi
`

func (a *apt) updateStale(ctx context.Context) (updated bool, err error) {
	res, err := a.quiet(ctx, staleScript+namesScript)
	if err != nil {
		return false, err
	}
	own, all := false, false
	a.names = names{}
	for l := range strings.Lines(res.Stdout) {
		l = strings.TrimSpace(host.Clean(l))
		own, all = own || l == "own", all || l == "all"
		a.names.add(l)
	}
	if all && len(a.names.deaf) > 0 && !a.names.heard {
		// apt would try each list again and again, for minutes.
		a.env.Log("going on with the package lists that are there: cannot resolve " + strings.Join(a.names.deaf, ", "))
		all = false
	}
	return own && all, a.update(ctx, own, all)
}

// update fetches package lists. A repository of the user's own that is broken
// is reported and does not stop the run; nucspark's own must answer. Where all
// repositories do, one call has done both.
func (a *apt) update(ctx context.Context, own, all bool) error {
	get := aptGet(a.timeout())
	if all {
		_, err := a.run(ctx, "updating the package lists", aptEnvironment+get+" --error-on=any update && touch "+stampAll+" "+stampOwn)
		var cmd *host.CommandError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &cmd) && ctx.Err() == nil:
			a.env.Log("going on with the package lists that could be updated: " + err.Error())
		case err != nil:
			return err
		}
	}
	if own {
		script := "[ ! -e " + AptSource + " ] || { " + get + " " + aptOwn + " update && touch " + stampOwn + "; }\n"
		if _, err := a.run(ctx, "updating the lists of "+AptSource, aptEnvironment+script); err != nil {
			return err
		}
	}
	return nil
}

// quiet runs a script that only looks.
func (a *apt) quiet(ctx context.Context, script string) (host.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return a.n.Remote().Run(ctx, host.Command{Script: script, Root: true})
}

// run runs a script of apt or dpkg when nobody else does, and says what an
// error of it means. When somebody was faster, it waits again.
func (a *apt) run(ctx context.Context, what, script string) (host.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Until(a.until)+aptBound)
	defer cancel()
	configured := false
	for {
		if err := a.waitLock(ctx); err != nil {
			return host.Result{}, err
		}
		meter := &aptMeter{tell: a.env.Progress}
		res, err := a.n.follow(ctx, script, meter.line)
		if err == nil {
			return res, nil
		}
		out := res.Stdout + res.Stderr
		switch {
		case ctx.Err() != nil:
			return res, err
		case lockBusy.MatchString(out) && time.Now().Before(a.until):
			continue
		case strings.Contains(out, "dpkg was interrupted") && !configured:
			configured = true
			if _, err := a.n.Run(ctx, aptConfigure); err != nil {
				return res, a.failure("finishing what dpkg left undone", res, err)
			}
			continue
		}
		return res, a.failure(what, res, err)
	}
}

// lockHolders prints "PID NAME" of each process that holds a lock of apt or
// dpkg. /proc/locks tells who holds POSIX locks; of these, who has one of the
// four files open. Lines with "->" are of those who wait.
const lockHolders = `for pid in $(awk '$2 == "POSIX" && $4 == "WRITE" { print $5 }' /proc/locks | sort -un); do
	[ -d "/proc/$pid/fd" ] || continue
	[ -z "$(find "/proc/$pid/fd" \( -lname /var/lib/dpkg/lock-frontend -o -lname /var/lib/dpkg/lock -o -lname /var/lib/apt/lists/lock -o -lname /var/cache/apt/archives/lock \) 2>/dev/null)" ] || echo "$pid $(cat "/proc/$pid/comm" 2>/dev/null)"
done
`

// waitLock waits until no other process holds a lock of apt or dpkg, and says
// who does.
func (a *apt) waitLock(ctx context.Context) error {
	tick := time.NewTicker(lockLook)
	defer tick.Stop()
	last := ""
	for {
		res, err := a.quiet(ctx, lockHolders)
		if err != nil {
			return err
		}
		who := describeHolders(res.Stdout)
		if who == "" {
			return nil
		}
		if who != last {
			a.env.Log("waiting for apt: held by " + who)
			last = who
		}
		if time.Now().After(a.until) {
			return &StepError{Node: a.node, Step: a.step,
				Err:  fmt.Errorf("the package manager is still held by %s after %s", who, a.env.Site().Cluster.Apt.LockTimeout),
				Hint: "wait until that is done and run again, or raise lock_timeout in the apt block"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// describeHolders is "unattended-upgr (pid 812), dpkg (pid 900)".
func describeHolders(out string) string {
	var who []string
	for _, l := range strings.Split(out, "\n") {
		pid, name, ok := strings.Cut(l, " ")
		if !ok {
			continue
		}
		if name == "" {
			name = "a process"
		}
		who = append(who, fmt.Sprintf("%s (pid %s)", host.Clean(name), pid))
	}
	return strings.Join(who, ", ")
}
