package provision

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// PurgeQuery asks which of some packages can be purged, because nothing but
// other ones of them needs them. What is not there, not even as configuration
// files, is left out of the answer.
type PurgeQuery struct{ Node, Packages string } // names between blanks

// PurgeFact is the answer.
type PurgeFact struct {
	Free   []string          // nothing else needs them
	Needed map[string]string // the others, and a package that needs each
	Err    string            // why dpkg cannot tell
}

func (q PurgeQuery) Key() string          { return fmt.Sprintf("purge %s %s", q.Node, q.Packages) }
func (q PurgeQuery) On() string           { return q.Node }
func (q PurgeQuery) In(f Facts) PurgeFact { return take[PurgeFact](f, q) }

// purgeScript lets dpkg try without acting. It names what it cannot remove
// because of something that stays; without these it is asked again, since
// what they need stays, too. It prints "free NAME", "needed NAME BY" and
// "error TEXT". Each round drops a package, so it ends.
func purgeScript(packages string) string {
	return `purge() {
	free=
	for p; do
		case $(dpkg-query -W -f '${db:Status-Status}' -- "$p" 2>/dev/null) in
		'' | not-installed) ;;
		*) free="$free $p" ;;
		esac
	done
	while [ -n "$free" ]; do
		if out=$(LC_ALL=C dpkg --no-act --abort-after=1000000 --purge -- $free 2>&1 </dev/null); then break; fi
		bad=$(printf '%s\n' "$out" | sed '1,/^Errors were encountered while processing:/d; s/^ *//; s/:.*//')
		[ -n "$bad" ] || { printf 'error %s\n' "$(printf '%s' "$out" | tail -n 1)"; return; }
		printf '%s\n' "$out" | awk '/prevent removal of / { p = $NF; sub(/:.*/, "", p) }
			p != "" && /^ [^ ]+ (pre-)?depends on / { print "needed", p, $1; p = "" }'
		left=
		for p in $free; do
			printf '%s\n' "$bad" | grep -qxF -- "$p" && printf 'needed %s \n' "$p" || left="$left $p"
		done
		[ "$left" != "$free" ] || { printf 'error %s\n' "$(printf '%s' "$out" | tail -n 1)"; return; }
		free=$left
	done
	for p in $free; do printf 'free %s\n' "$p"; done
}
purge ` + packages + "\n"
}

func parsePurge(out string) PurgeFact {
	f := PurgeFact{Needed: map[string]string{}}
	for _, l := range strings.Split(out, "\n") {
		word, rest, _ := strings.Cut(l, " ")
		name, by, _ := strings.Cut(rest, " ")
		switch word {
		case "free":
			f.Free = append(f.Free, name)
		case "needed":
			if by, _, _ = strings.Cut(by, ":"); f.Needed[name] == "" {
				f.Needed[name] = by
			}
		case "error":
			f.Err = rest
		}
	}
	return f
}

// Purged is a step: packages that were not there before are gone with their
// configuration files, unless something else needs them, and those that stay
// are no longer held.
type Purged struct {
	Base
	Packages []Origin // of kind "package"
	Holds    []Origin // of kind "hold"
}

// Query asks which packages can go.
func (s Purged) Query() PurgeQuery {
	var names []string
	for _, o := range s.Packages {
		if o.Before == "" {
			names = append(names, Quote(o.Key))
		}
	}
	return PurgeQuery{Node: s.Node, Packages: strings.Join(names, " ")}
}

func (s Purged) query(name string) PackageQuery { return PackageQuery{Node: s.Node, Name: name} }

func (s Purged) Reads() []Query {
	reads := []Query{s.Query()}
	for _, o := range slices.Concat(s.Packages, s.Holds) {
		reads = append(reads, s.query(o.Key))
	}
	return reads
}

func (s Purged) Diff(f Facts) ([]Change, error) {
	purge := s.Query().In(f)
	if purge.Err != "" {
		return nil, fmt.Errorf("dpkg on %s cannot tell which packages may go: %s", s.Node, purge.Err)
	}
	var changes []Change
	for _, p := range purge.Free {
		old := s.query(p).In(f).Version
		if old == "" {
			old = "its configuration files"
		}
		changes = append(changes, Change{Kind: "package", Key: p, Action: Delete, Old: old})
	}
	for _, o := range s.Holds {
		if is := s.query(o.Key).In(f); is.Held && o.Before == "" && !slices.Contains(purge.Free, o.Key) {
			changes = append(changes, Change{Kind: "hold", Key: o.Key, Action: Update, Old: is.Version + ", held", New: is.Version})
		}
	}
	return changes, nil
}

// Notes say which packages stay as they are now, and why.
func (s Purged) Notes(f Facts) []string {
	var notes []string
	purge := s.Query().In(f)
	for _, name := range sortedKeys(purge.Needed) {
		by := purge.Needed[name]
		if by == "" {
			by = "another package"
		}
		notes = append(notes, fmt.Sprintf("%s: the package %s came with nucspark and stays: %s needs it", s.Node, name, by))
	}
	for _, o := range s.Packages {
		if is := s.query(o.Key).In(f); o.Before != "" && is.Version != "" && is.Version != o.Before {
			notes = append(notes, fmt.Sprintf("%s: the package %s stays at version %s; it had %s", s.Node, o.Key, is.Version, o.Before))
		}
	}
	return notes
}

// purgePackages purges packages. Some leave links behind by which other units
// wanted theirs (nfs-ganesha does): those that broke meanwhile go, too.
const purgePackages = `broken() { find /etc/systemd/system -xtype l; }
was=$(broken)
dpkg --purge -- %s
broken | while read -r link; do
	case $link in
	*.wants/* | *.requires/*) ;;
	*) continue ;;
	esac
	printf '%%s\n' "$was" | grep -qxF -- "$link" && continue
	rm -f -- "$link"
	rmdir --ignore-fail-on-non-empty -- "${link%%/*}"
done
`

func (s Purged) Apply(ctx context.Context, env *Env, _ []Change) error {
	n := env.Node(s.Node)
	release, err := n.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	a := newApt(s.Node, s.Name, n, env)
	if _, err := a.run(ctx, "finishing what dpkg left undone", aptConfigure); err != nil {
		return err
	}
	// Somebody may have installed something meanwhile.
	f, err := env.Read(ctx, s.Reads()...)
	if err != nil {
		return err
	}
	changes, err := s.Diff(f)
	if err != nil || len(changes) == 0 {
		return err
	}
	var purge, unhold []string
	var entries []Entry
	for _, c := range changes {
		entries = append(entries, Entry{Kind: c.Kind, Key: c.Key, Before: c.Old, After: c.New})
		if c.Kind == "package" {
			purge = append(purge, c.Key)
		}
		if s.query(c.Key).In(f).Held {
			unhold = append(unhold, c.Key)
		}
	}
	done, err := n.Begin(ctx, entries...)
	if err != nil {
		return err
	}
	script := aptEnvironment + "set -e\n"
	if len(unhold) > 0 {
		script += "apt-mark -q unhold -- " + quoteAll(unhold) + " >/dev/null\n"
	}
	if len(purge) > 0 {
		script += fmt.Sprintf(purgePackages, quoteAll(purge))
	}
	if _, err := a.run(ctx, "purging packages", script); err != nil {
		return err
	}
	return done(ctx)
}
