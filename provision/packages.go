package provision

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Package is one Debian package as it should be.
type Package struct {
	Name    string
	Version string // what apt takes after "=": "1.36.3-*", "2.*"; "" for any
	Hold    bool   // nobody but nucspark changes its version
}

func (p Package) matches(version string) bool {
	if p.Version == "" {
		return true
	}
	ok, err := path.Match(p.Version, version)
	return err == nil && ok
}

// spec is the package as apt-get install takes it.
func (p Package) spec() string {
	if p.Version == "" {
		return p.Name
	}
	return p.Name + "=" + p.Version
}

// Packages is a step: these packages are installed, in these versions. All
// that is missing is one call of apt-get.
type Packages struct {
	Base
	Packages []Package
}

func (s Packages) query(p Package) PackageQuery { return PackageQuery{Node: s.Node, Name: p.Name} }

func (s Packages) Reads() []Query {
	var reads []Query
	for _, p := range s.Packages {
		reads = append(reads, s.query(p))
	}
	return reads
}

func (s Packages) Diff(f Facts) ([]Change, error) {
	var changes []Change
	for _, p := range s.Packages {
		is := s.query(p).In(f)
		want := p.Version
		if want == "" {
			want = "any version"
		}
		switch {
		case halfInstalled(is.Status):
			changes = append(changes, Change{Kind: "package", Key: p.Name, Action: Execute, Old: statusWord(is.Status), New: want + ", after dpkg --configure"})
		case is.Version == "":
			changes = append(changes, Change{Kind: "package", Key: p.Name, Action: Install, New: want})
		case !p.matches(is.Version):
			changes = append(changes, Change{Kind: "package", Key: p.Name, Action: Update, Old: is.Version, New: want})
		case p.Hold && !is.Held:
			changes = append(changes, Change{Kind: "package", Key: p.Name, Action: Update, Old: is.Version, New: is.Version + ", held"})
		}
	}
	return changes, nil
}

// halfInstalled says whether dpkg was interrupted over a package. The second
// letter of the abbreviation is its state (dpkg-query(1)): not installed,
// config files, half-installed, unpacked, half-configured, triggers awaited,
// triggers pending, installed.
func halfInstalled(status string) bool {
	return len(status) > 1 && strings.ContainsRune("HUFWt", rune(status[1]))
}

func statusWord(status string) string {
	return map[byte]string{'H': "half installed", 'U': "unpacked", 'F': "half configured",
		'W': "waiting for triggers", 't': "waiting for triggers"}[status[1]]
}

func (s Packages) Apply(ctx context.Context, env *Env, _ []Change) error {
	n := env.Node(s.Node)
	release, err := n.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	// Another step may have installed some of them while this one waited.
	f, err := env.Read(ctx, s.Reads()...)
	if err != nil {
		return err
	}
	var install, hold, unhold []string
	var ledger []Entry
	half, other := false, false
	for _, p := range s.Packages {
		is := s.query(p).In(f)
		half = half || halfInstalled(is.Status)
		if is.Version == "" || !p.matches(is.Version) {
			install = append(install, p.spec())
			other = other || is.Version != ""
			// Only what is to be changed here is unheld: a hold of the user's
			// own stops the run.
			if p.Hold && strings.HasPrefix(is.Status, "h") {
				unhold = append(unhold, p.Name)
			}
		}
		if p.Hold {
			hold = append(hold, p.Name)
			if !strings.HasPrefix(is.Status, "h") {
				ledger = append(ledger, Entry{Kind: "hold", Key: p.Name, After: "held"})
			}
		}
	}
	a := newApt(s.Node, s.Name, n, env)
	if half {
		if _, err := a.run(ctx, "finishing what dpkg left undone", aptConfigure); err != nil {
			return err
		}
	}
	if len(install) > 0 {
		entries, err := a.prepare(ctx, install)
		if err != nil {
			return err
		}
		ledger = append(entries, ledger...)
	}
	done, err := n.Begin(ctx, ledger...)
	if err != nil {
		return err
	}
	what := "installing " + strings.Join(install, " ")
	script := func() string {
		s := installScript(install, hold, unhold, other, a.timeout())
		// What nucspark's repositories have is asked for by its version.
		ours := slices.ContainsFunc(install, func(p string) bool { return strings.Contains(p, "=") })
		if cache := env.Site().Cache(); cache.IsValid() && ours {
			return prefetchScript(cache, install) + s
		}
		return s
	}
	res, err := a.run(ctx, what, script())
	if err != nil && gonePackage.MatchString(res.Stdout+res.Stderr) {
		// A repository replaced the package since its list was fetched.
		if err := a.update(ctx, true, true); err != nil {
			return err
		}
		_, err = a.run(ctx, what, script())
	}
	if err != nil {
		return err
	}
	return done(ctx)
}

// installScript unholds, installs and holds again, so that a failed install
// leaves no package unheld. Its exit code is that of apt-get. With other, one
// of the packages is there in another version, which may be a later one:
// somebody upgraded it.
func installScript(install, hold, unhold []string, other bool, lockSeconds int) string {
	var b strings.Builder
	b.WriteString(aptEnvironment + "code=0\n")
	if len(unhold) > 0 {
		fmt.Fprintf(&b, "apt-mark -q unhold -- %s >/dev/null\n", quoteAll(unhold))
	}
	if len(install) > 0 {
		get := aptGet(lockSeconds)
		if other {
			get += " --allow-downgrades"
		}
		fmt.Fprintf(&b, "%s --no-remove install -- %s || code=$?\n", get, quoteAll(install))
	}
	if len(hold) > 0 {
		// A package that could not be installed is not held: a hold on what is
		// absent would keep it out for ever.
		fmt.Fprintf(&b, "set --\nfor p in %s; do\n\tcase $(dpkg-query -W -f '${db:Status-Status}' -- \"$p\" 2>/dev/null) in\n"+
			"\tinstalled) set -- \"$@\" \"$p\";;\n\tesac\ndone\n[ $# -eq 0 ] || apt-mark -q hold -- \"$@\" >/dev/null || code=$?\n", quoteAll(hold))
	}
	b.WriteString("exit $code\n")
	return b.String()
}
