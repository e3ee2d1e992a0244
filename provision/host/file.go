package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
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

// staging is the directory of uploads.
type staging struct {
	turn chan struct{} // guards dir
	dir  string        // "" until the first upload
}

// Upload streams size bytes of r into a new file that only the login user and
// root can read, and returns its absolute path on the machine. progress, if
// not nil, gets the bytes sent so far. The files live in a directory under
// /var/tmp, which is on disk, until Close.
func (h *Host) Upload(ctx context.Context, r io.Reader, size int64, progress func(n int64)) (string, error) {
	dir, err := h.stagingDir(ctx)
	if err != nil {
		return "", err
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return "", h.connectError("upload", context.Cause(ctx))
	}
	defer func() { <-h.slots }()
	c, err := h.connection(ctx)
	if err != nil {
		return "", err
	}
	ch, reqs, err := c.session(ctx)
	if err != nil {
		return "", h.connectError("upload", err)
	}
	go ssh.DiscardRequests(reqs)

	name := dir + "/" + random()
	in := &counted{r: r, progress: progress}
	in.moved.Store(time.Now().UnixNano())
	sent := make(chan error, 1)
	go func() {
		defer ch.Close()
		sent <- upload(ch, in, name, size)
	}()
	tick := time.NewTicker(h.o.IdleTimeout)
	defer tick.Stop()
	for {
		select {
		case err = <-sent:
		case <-c.dead:
			err = c.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-tick.C:
			if time.Since(time.Unix(0, in.moved.Load())) < h.o.IdleTimeout {
				continue
			}
			err = fmt.Errorf("no byte could be sent for %v: %w", h.o.IdleTimeout, ErrIdle)
		}
		break
	}
	ch.Close()
	if err == nil {
		return name, nil
	}
	if c.wire.broken() || c.isDead() {
		c.fail(nil)
		return "", h.connectError("upload", c.err)
	}
	// What arrived goes with the staging directory.
	return "", fmt.Errorf("%s: upload to %s: %w", h.o.Name, name, err)
}

func upload(ch ssh.Channel, r io.Reader, name string, size int64) error {
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("sshd has no sftp: add the line \"Subsystem sftp internal-sftp\" to its configuration")
	}
	client, err := sftp.NewClientPipe(ch, ch, sftp.UseConcurrentWrites(true))
	if err != nil {
		return fmt.Errorf("sftp did not begin; if a start file of the login shell (.bashrc) prints something, let it do so on terminals only: %w", err)
	}
	defer client.Close()
	f, err := client.Create(name)
	if err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	n, err := f.ReadFrom(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%d bytes were given and %d announced: %w", n, size, io.ErrUnexpectedEOF)
	}
	return f.Close()
}

// counted reports what goes through it.
type counted struct {
	r        io.Reader
	n        int64
	progress func(int64)
	moved    atomic.Int64 // Unix time in ns
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
		if c.progress != nil {
			c.progress(c.n)
		}
	}
	return n, err
}

func (h *Host) stagingDir(ctx context.Context) (string, error) {
	select {
	case h.staging.turn <- struct{}{}:
	case <-ctx.Done():
		return "", h.connectError("upload", context.Cause(ctx))
	}
	defer func() { <-h.staging.turn }()
	if h.staging.dir != "" {
		return h.staging.dir, nil
	}
	r, err := h.Run(ctx, Command{Script: "mktemp -d /var/tmp/nucspark-XXXXXXXXXXXX"}) // mode 0700
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(r.Stdout)
	if !strings.HasPrefix(dir, "/var/tmp/nucspark-") || Clean(dir) != dir || path.Clean(dir) != dir {
		return "", fmt.Errorf("%s: mktemp gave no usable directory: %q", h.o.Name, Clean(dir))
	}
	h.staging.dir = dir
	return dir, nil
}

func (h *Host) removeStaging(ctx context.Context) error {
	select {
	case h.staging.turn <- struct{}{}:
	case <-ctx.Done():
		return h.connectError("remove uploads", context.Cause(ctx))
	}
	defer func() { <-h.staging.turn }()
	if h.staging.dir == "" {
		return nil
	}
	_, err := h.Run(ctx, Command{Script: "rm -rf -- " + Quote(h.staging.dir)})
	h.staging.dir = ""
	return err
}
