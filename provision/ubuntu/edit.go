package ubuntu

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// edit is a step: a file that belongs to the machine holds what nucspark needs
// in it, and everything else of it byte for byte.
type edit struct {
	provision.Base
	path  string
	kind  string // of the ledger's entry: what down has to undo
	text  func(old []byte) []byte
	make  bool                       // a file that is not there is made
	only  *provision.FileQuery       // also read, for when
	when  func(provision.Facts) bool // nil: always
	after string                     // script to run when it has changed
}

func (s edit) query() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.path, Content: true}
}

func (s edit) Reads() []provision.Query {
	reads := []provision.Query{s.query()}
	if s.only != nil {
		reads = append(reads, *s.only)
	}
	return reads
}

func (s edit) Diff(f provision.Facts) ([]provision.Change, error) {
	is := s.query().In(f)
	switch {
	case s.when != nil && !s.when(f), !is.Exists && !s.make:
		return nil, nil
	case is.Exists && !is.Mode.IsRegular():
		return nil, fmt.Errorf("%s on %s is not a regular file; nucspark edits it only in place: put the file itself there", s.path, s.Node)
	case int64(len(is.Content)) != is.Size:
		return nil, fmt.Errorf("%s on %s has %d bytes; that is too large to edit", s.path, s.Node, is.Size)
	}
	want := s.text(is.Content)
	if bytes.Equal(want, is.Content) {
		return nil, nil
	}
	c := provision.Change{Kind: "file", Key: s.path, Action: provision.Update, Detail: provision.LineDiff(is.Content, want)}
	if !is.Exists {
		c.Action = provision.Create
	}
	return []provision.Change{c}, nil
}

func (s edit) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	is := s.query().In(env.Facts())
	n := env.Node(s.Node)
	done, err := n.Begin(ctx, provision.Entry{Kind: s.kind, Key: s.path, Before: is.SHA256})
	if err != nil {
		return err
	}
	want := s.text(is.Content)
	// In a container such a file may be a mount of its own, which cannot be
	// replaced by rename.
	res, err := n.Run(ctx, "awk -v p="+provision.Quote(s.path)+" '$5 == p { print \"mount\" }' /proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(res.Stdout, "mount") {
		_, err = n.Remote().Run(ctx, host.Command{Script: "cat > " + provision.Quote(s.path), Root: true, Stdin: bytes.NewReader(want)})
	} else {
		mode, owner, group := is.Mode.Perm(), is.Owner, is.Group
		if !is.Exists {
			mode, owner, group = 0o644, "root", "root"
		}
		err = n.Remote().WriteFile(ctx, s.path, want, mode, owner, group)
	}
	if err != nil {
		return err
	}
	if s.after != "" {
		if _, err := n.Run(ctx, s.after); err != nil {
			return err
		}
	}
	return done(ctx)
}

// signature stands in every file that is nucspark's alone.
const signature = "Written by nucspark"

// withdrawn is a step: a file that nucspark wrote earlier and that the
// inventory no longer asks for is gone. One of anybody else stays.
type withdrawn struct{ provision.Absent }

func (s withdrawn) Reads() []provision.Query {
	return append(s.Absent.Reads(), s.content())
}

func (s withdrawn) content() provision.FileQuery {
	return provision.FileQuery{Node: s.Node, Path: s.Path, Content: true}
}

func (s withdrawn) Diff(f provision.Facts) ([]provision.Change, error) {
	if !bytes.Contains(s.content().In(f).Content, []byte(signature)) {
		return nil, nil
	}
	return s.Absent.Diff(f)
}

// Apply keeps no copy: the file was nucspark's own, and may hold a secret.
func (s withdrawn) Apply(ctx context.Context, env *provision.Env, c []provision.Change) error {
	return env.Node(s.Node).Change(ctx, provision.Entry{Kind: "file", Key: s.Path, Before: c[0].Old}, "rm -f -- "+provision.Quote(s.Path))
}

// lines splits a text after each newline; joined again it is the same text.
func lines(b []byte) []string {
	all := strings.SplitAfter(string(b), "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}
