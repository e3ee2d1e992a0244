package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// maxReadFile bounds what ReadFile takes into memory, in bytes.
const maxReadFile = 64 << 20

// Exit codes of the scripts below that mean something.
const (
	codeAbsent  = 81
	codeSymlink = 82
	codeShort   = 83
)

// WriteFile makes the file at an absolute path hold content, with mode, owner
// and group (names or numbers, "" for root), as root. Readers see the old
// file or the new one, whole, also after a power cut: content goes to
// .nucspark-RANDOM beside the target, mode and owner are set, the file is
// synced, renamed, and the directory is synced. It goes by stdin and is shown
// nowhere.
//
// The directory must exist. A symbolic link is followed only to a file of its
// own directory; one that leads elsewhere (/etc/resolv.conf, say) is refused,
// because replacing it and writing through it both change what another
// program keeps.
func (h *Host) WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode, owner, group string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return &fs.PathError{Op: "write " + h.o.Name, Path: name, Err: errors.New("not a clean absolute path")}
	}
	if owner == "" {
		owner = "root"
	}
	if group == "" {
		group = "root"
	}
	script := fmt.Sprintf(`set -eu
target=%[1]s
dir=$(readlink -f -- %[2]s) && [ -d "$dir" ] || { echo "there is no directory "%[2]s >&2; exit %[8]d; }
if [ -L "$target" ]; then
	target=$(readlink -f -- "$target") || target=
	[ "${target%%/*}" = "${dir%%/}" ] || { echo "it is a symbolic link to another directory: $target" >&2; exit %[9]d; }
else
	target="${dir%%/}/"%[3]s
fi
[ ! -d "$target" ] || { echo "it is a directory" >&2; exit 1; }
tmp="${dir%%/}/.nucspark-"%[4]s
trap 'rm -f -- "$tmp"' EXIT
trap 'exit 143' HUP INT TERM
umask 077
set -C
cat >"$tmp"
[ "$(wc -c <"$tmp")" -eq %[5]d ] || { echo "the content did not arrive whole" >&2; exit %[10]d; }
chown -- %[6]s "$tmp"
chmod %[7]s "$tmp"
sync "$tmp"
mv -fT -- "$tmp" "$target"
trap - EXIT
sync "$dir"
`, Quote(name), Quote(path.Dir(name)), Quote(path.Base(name)), random(), len(content), Quote(owner+":"+group), octal(mode), codeAbsent, codeSymlink, codeShort)
	_, err := h.Run(ctx, Command{Script: script, Root: true, Stdin: bytes.NewReader(content)})
	return h.fileError("write", name, err)
}

// octal writes a mode as chmod takes it.
func octal(m fs.FileMode) string {
	n := uint32(m.Perm())
	for bit, v := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			n |= v
		}
	}
	return fmt.Sprintf("%04o", n)
}

// ReadFile reads a file as root, 64 MiB at most. If there is none, the error
// is fs.ErrNotExist.
func (h *Host) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if !path.IsAbs(name) {
		return nil, &fs.PathError{Op: "read " + h.o.Name, Path: name, Err: errors.New("not an absolute path")}
	}
	var content bounded
	script := fmt.Sprintf("[ -e %[1]s ] || exit %[2]d\nexec cat -- %[1]s\n", Quote(name), codeAbsent)
	_, err := h.Run(ctx, Command{Script: script, Root: true, Stdout: &content})
	if err != nil {
		return nil, h.fileError("read", name, err)
	}
	return content.Bytes(), nil
}

// bounded is a buffer with an end.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxReadFile {
		return 0, fmt.Errorf("more than %d MiB", maxReadFile>>20)
	}
	return b.Buffer.Write(p)
}

// fileError says which file of which machine, and why, from a failed script.
func (h *Host) fileError(op, name string, err error) error {
	var ce *CommandError
	if !errors.As(err, &ce) {
		return err
	}
	e := &fs.PathError{Op: h.o.Name + ": " + op, Path: name, Err: ce}
	switch {
	case ce.Code == codeAbsent && ce.Err == nil:
		e.Err = fs.ErrNotExist
		if len(ce.Tail) > 0 {
			e.Err = fmt.Errorf("%s: %w", ce.Tail[len(ce.Tail)-1], fs.ErrNotExist)
		}
	case len(ce.Tail) > 0 && ce.Err == nil:
		e.Err = &reason{ce.Tail[len(ce.Tail)-1], ce}
	case ce.Err != nil:
		e.Err = &reason{ce.Err.Error(), ce}
	}
	return e
}

// reason is an error with a shorter text.
type reason struct {
	text string
	err  error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.err }
