package support

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// mostOf is how much of one file is kept, in bytes: its end.
const mostOf = 4 << 20

// Readme is the name of the file that says what the others are.
const Readme = "README.txt"

// Bundle collects files. Its methods may be called from several goroutines.
type Bundle struct {
	redactor *Redactor

	mu      sync.Mutex
	files   []File
	missing []string
}

// File is one file of a bundle, without secrets.
type File struct {
	Name    string // with slashes
	About   string // what is in it, in a few words
	Content []byte
}

// New returns a bundle without files.
func New(r *Redactor) *Bundle { return &Bundle{redactor: r} }

// Add puts a file into the bundle, below its directory whatever the name says.
// Of one that is very large the end counts.
func (b *Bundle) Add(name, about string, content []byte) {
	name = strings.TrimPrefix(path.Clean("/"+host.Clean(name)), "/")
	content = b.redactor.Redact(clean(content))
	if cut := len(content) - mostOf; cut > 0 {
		if line := bytes.IndexByte(content[cut:], '\n'); line >= 0 {
			cut += line + 1
		}
		content = append(fmt.Appendf(nil, "(the first %d bytes were left out)\n", cut), content[cut:]...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, File{name, about, content})
}

// Miss says in the README what could not be had, and why.
func (b *Bundle) Miss(what string, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing = append(b.missing, host.Clean(fmt.Sprintf("%s: %v", what, why)))
}

// Missing is what could not be had, in the order of the alphabet.
func (b *Bundle) Missing() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, m := range b.missing {
		all = append(all, string(b.redactor.Redact([]byte(m))))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Files are those of the bundle, the README first, then by name.
func (b *Bundle) Files() []File {
	missing := b.Missing()
	b.mu.Lock()
	defer b.mu.Unlock()
	files := slices.SortedFunc(slices.Values(b.files), func(x, y File) int { return cmp.Compare(x.Name, y.Name) })
	about := b.redactor.Redact(readme(files, missing, b.redactor.TooShort))
	return append([]File{{Readme, "what is here, and what is not", about}}, files...)
}

func readme(files []File, missing []string, tooShort int) []byte {
	var w bytes.Buffer
	fmt.Fprint(&w, `A bundle made by nucspark support. It holds text only.

Passwords, keys and tokens were not collected. What nucspark knows to be secret
(the passwords of the inventory, Spark's secret, join tokens, the
administrator's key) and what looks like a key, a token or a password stands
here as `+hidden+`, and the home directory of who made the bundle as ~.

It does hold names and addresses of the machines, names of users and of
programs, paths on the machines, and what the services wrote into their logs.
Output of applications is not in it. Look through it before you give it away.
`)
	if tooShort > 0 {
		fmt.Fprintf(&w, "\nSecrets with less than %d characters, which were not looked for: %d. Replace them,\nor search the bundle for them.\n", shortest, tooShort)
	}
	fmt.Fprint(&w, "\nFiles\n")
	for _, f := range files {
		fmt.Fprintf(&w, "  %s: %s\n", f.Name, f.About)
	}
	fmt.Fprint(&w, "\nWhat could not be had\n")
	for _, m := range missing {
		fmt.Fprintf(&w, "  %s\n", m)
	}
	if len(missing) == 0 {
		fmt.Fprint(&w, "  nothing\n")
	}
	return w.Bytes()
}

// Write writes the archive, with all files below the directory root.
func (b *Bundle) Write(w io.Writer, root string, now time.Time) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, f := range b.Files() {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: root + "/" + f.Name, Mode: 0o600, Size: int64(len(f.Content)), ModTime: now}
		if err := archive.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if _, err := archive.Write(f.Content); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}

// clean takes out of each line what would move a terminal's cursor.
func clean(text []byte) []byte {
	if len(text) == 0 {
		return text
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(host.Clean(l), " ")
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}
