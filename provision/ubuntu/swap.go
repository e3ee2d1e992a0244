package ubuntu

import (
	"context"
	"fmt"
	"strings"

	"nucspark.io/nucspark/provision"
)

const (
	fstab = "/etc/fstab"
	// fstabMark stands before a line that nucspark commented out.
	fstabMark = "# nucspark: "
	// zramGenerator is how the fact names systemd's zram generator, and
	// zramConf the file that switches it off when it is a link to /dev/null
	// (zram-generator.conf(5)).
	zramGenerator = "zram-generator"
	zramConf      = "/etc/systemd/zram-generator.conf"
	// aside ends the name of a file that lay in the place of a mask.
	aside = ".nucspark"
)

// swap switches swapping off for good, unless the kubelet is told to live with
// it: then somebody wants it.
func (b *builder) swap() {
	if fail, ok := b.site.Cluster.Patches["kubelet"].Config["failSwapOn"].(bool); ok && !fail {
		return
	}
	b.add(
		edit{Base: b.base("swap/fstab"), path: fstab, kind: "fstab", text: commentSwap, after: "systemctl daemon-reload"},
		swapOff{b.base("swap/off", "swap/fstab")},
	)
}

// commentSwap comments out the lines whose third field, the type, is swap
// (fstab(5)).
func commentSwap(old []byte) []byte {
	var w strings.Builder
	for _, l := range lines(old) {
		f := strings.Fields(l)
		if len(f) >= 3 && !strings.HasPrefix(f[0], "#") && f[2] == "swap" {
			w.WriteString(fstabMark)
		}
		w.WriteString(l)
	}
	return []byte(w.String())
}

// swapOff is a step: nothing is swapped to, and no unit will do so.
type swapOff struct{ provision.Base }

func (s swapOff) query() provision.SwapQuery { return provision.SwapQuery{Node: s.Node} }

func (s swapOff) Reads() []provision.Query { return []provision.Query{s.query()} }

func (s swapOff) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	is := s.query().In(f)
	for _, a := range is.Active {
		changes = append(changes, provision.Change{Kind: "swap", Key: a, Action: provision.Update, Old: "on", New: "off"})
	}
	for _, u := range is.Units {
		changes = append(changes, provision.Change{Kind: "unit", Key: u, Action: provision.Update, New: "masked"})
	}
	return changes, nil
}

func (s swapOff) Apply(ctx context.Context, env *provision.Env, c []provision.Change) error {
	is := s.query().In(env.Facts())
	n := env.Node(s.Node)
	var ledger []provision.Entry
	for _, ch := range c {
		ledger = append(ledger, provision.Entry{Kind: map[string]string{"swap": "swap", "unit": "mask"}[ch.Kind], Key: ch.Key, After: ch.New})
	}
	done, err := n.Begin(ctx, ledger...)
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, swapScript(is)); err != nil {
		return &provision.StepError{Node: s.Node, Step: s.Name, Err: fmt.Errorf("switching swap off: %w", err),
			Hint: "there may be too little memory for what is swapped out; stop what needs it (free -m shows it) and run again"}
	}
	return done(ctx)
}

// swapScript switches off what is on, then masks the units that would come
// back. A unit that was made of a line of fstab is gone by then. A file in the
// place of a mask is kept beside it, under a name that systemd does not read.
func swapScript(is provision.SwapFact) string {
	var w strings.Builder
	w.WriteString("set -e\n" +
		"aside() { [ -L \"$1\" ] || [ ! -e \"$1\" ] || mv -- \"$1\" \"$1" + aside + "\"; }\n")
	if len(is.Active) > 0 {
		w.WriteString("swapoff -a\n")
	}
	w.WriteString("systemctl daemon-reload\n")
	for _, u := range is.Units {
		if u == zramGenerator {
			fmt.Fprintf(&w, "aside %[1]s\nln -sfn /dev/null %[1]s\nsystemctl daemon-reload\n", zramConf)
			continue
		}
		q := provision.Quote(u)
		fmt.Fprintf(&w, "if [ -n \"$(systemctl show -p FragmentPath --value -- %[1]s)\" ]; then\n"+
			"\tsystemctl stop -- %[1]s\n\taside /etc/systemd/system/%[1]s\n\tsystemctl mask -- %[1]s\nfi\n", q)
	}
	return w.String()
}
