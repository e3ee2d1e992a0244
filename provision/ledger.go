package provision

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	Kind   string    `json:"kind"` // "file", "package", "unit", "user", "directory" …
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

// ParseLedger reads the lines of a ledger. A truncated last line is left out;
// a bad line elsewhere is an error.
func ParseLedger(b []byte) ([]Entry, error) {
	var entries []Entry
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 16<<20)
	var bad error
	for n := 1; sc.Scan(); n++ {
		if bad != nil {
			return entries, bad
		}
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			bad = fmt.Errorf("ledger line %d: %w", n, err)
			continue
		}
		entries = append(entries, e)
	}
	return entries, sc.Err()
}

// saltedHash stands for a secret in a ledger: it shows whether two values of
// one cluster are equal and nothing else.
func (r *runner) saltedHash(b []byte) string {
	sum := sha256.Sum256(append([]byte(r.site.Resolved.UID+"\x00"), b...))
	return "salted:" + hex.EncodeToString(sum[:])
}
