package provision

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// LedgerVersion is the version of the ledger's lines.
const LedgerVersion = 1

// Ledger is the file of the record on every node of what nucspark put there
// and what was there before: one JSON object a line, mode 0600, appended and
// synced. Bodies of replaced files lie beside it as before/SHA256.
const Ledger = StateDir + "/ledger.jsonl"

// Phase says whether a change was about to be made or is made.
type Phase string

// The phases. An intent without its done is an expected state: the run was
// interrupted there.
const (
	Intent Phase = "intent"
	Done   Phase = "done"
)

// Entry is one line of a ledger. Before is "" for what was not there. Secrets
// appear as salted hashes only.
type Entry struct {
	V      int       `json:"v"`
	Time   time.Time `json:"time"`
	Run    string    `json:"run"`
	Step   string    `json:"step"`
	Phase  Phase     `json:"phase"`
	Kind   string    `json:"kind"` // "file", "package", "unit", "user", "directory", "data", "scratch" …
	Key    string    `json:"key"`
	Before string    `json:"before,omitempty"`
	After  string    `json:"after,omitempty"`
}

// append adds a line for each entry and syncs them. When keep names a file,
// its body is kept first as before/SHA256.
func (n *Node) append(ctx context.Context, keep string, entries ...Entry) error {
	var lines []string
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		lines = append(lines, string(line))
	}
	script := "set -e; umask 077; mkdir -p " + StateDir + "/before\n"
	if keep != "" {
		script += fmt.Sprintf("f=%s; if [ -f \"$f\" ]; then h=$(sha256sum -- \"$f\" | cut -c1-64); [ -e %[2]s/before/$h ] || { cp -- \"$f\" %[2]s/before/.$h; sync %[2]s/before/.$h; mv %[2]s/before/.$h %[2]s/before/$h; }; fi\n", Quote(keep), StateDir)
	}
	// A last line that a power cut left without its end gets one first.
	script += fmt.Sprintf("l=%s; [ ! -s $l ] || [ -z \"$(tail -c1 $l)\" ] || echo >> $l\nprintf '%%s\\n' %s >> $l; sync $l\n", Ledger, quoteAll(lines))
	_, err := n.remote.Run(ctx, host.Command{Script: script, Root: true})
	if err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	return nil
}

// ParseLedger reads the lines of a ledger. A line that breaks off is left out:
// a power cut came while it was written, so that the change it announces was
// not begun, or its intent stands before it. Any other bad line is an error.
func ParseLedger(b []byte) ([]Entry, error) {
	var entries []Entry
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 16<<20)
	for n := 1; sc.Scan(); n++ {
		line := bytes.TrimSpace(sc.Bytes())
		if len(line) == 0 {
			continue
		}
		var e Entry
		err := json.Unmarshal(line, &e)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset == int64(len(line)) {
			continue
		}
		if err != nil {
			return entries, fmt.Errorf("ledger line %d: %w", n, err)
		}
		entries = append(entries, e)
	}
	return entries, sc.Err()
}

// Ledger reads the ledger of a node; it is empty where there is none.
func (f *Fleet) Ledger(ctx context.Context, node string) ([]Entry, error) {
	r, err := f.Remote(ctx, node)
	if err != nil {
		return nil, err
	}
	b, err := r.ReadFile(ctx, Ledger)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := ParseLedger(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %s is damaged: %w; nothing can be undone without it", node, Ledger, err)
	}
	return entries, nil
}

// Origin is one thing that nucspark changed on a node.
type Origin struct {
	Kind, Key string
	Before    string   // what was there before the first change, "" for nothing
	Wrote     []string // what was put there since, the latest last; "" where it was taken away
}

// Last is what nucspark left there, as far as its ledger says.
func (o Origin) Last() string { return o.Wrote[len(o.Wrote)-1] }

// Origins folds a ledger into what is still to be undone, in the order of the
// first changes. What a step of undo did is settled: a change that came later
// begins anew.
func Origins(entries []Entry) []Origin {
	type thing struct{ kind, key string }
	var order []thing
	all := map[thing]*Origin{}
	for _, e := range entries {
		t := thing{e.Kind, e.Key}
		o := all[t]
		switch {
		case isUndo(e.Step):
			if e.Phase == Done && o != nil {
				delete(all, t)
				order = slices.DeleteFunc(order, func(o thing) bool { return o == t })
			}
			continue
		case o == nil:
			o = &Origin{Kind: e.Kind, Key: e.Key, Before: e.Before}
			all[t] = o
			order = append(order, t)
		}
		if len(o.Wrote) == 0 || o.Last() != e.After {
			o.Wrote = append(o.Wrote, e.After)
		}
	}
	var origins []Origin
	for _, t := range order {
		origins = append(origins, *all[t])
	}
	return origins
}

// saltedHash stands for a secret in a ledger: it shows whether two values of
// one cluster are equal and nothing else.
func saltedHash(uid string, b []byte) string {
	sum := sha256.Sum256(append([]byte(uid+"\x00"), b...))
	return "salted:" + hex.EncodeToString(sum[:])
}
