package hdfs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// copying is the ending of a file that is being written, as Hadoop's own
// commands have it.
const copying = "._COPYING_"

// stallBound is how long a transfer may stand still.
const stallBound = 2 * time.Minute

var errStalled = fmt.Errorf("nothing was transferred for %s", stallBound)

// stall gives up a transfer that stands still.
type stall struct{ timer *time.Timer }

func watch(ctx context.Context) (context.Context, *stall, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &stall{time.AfterFunc(stallBound, func() { cancel(errStalled) })}
	return ctx, s, func() { s.timer.Stop(); cancel(nil) }
}

func (s *stall) moving() { s.timer.Reset(stallBound) }
func (s *stall) rest()   { s.timer.Stop() }

// body is what a put sends. Time that its source takes does not count as
// standing still: it may be a person who types.
type body struct {
	*io.PipeReader
	stall    *stall
	sent     int64
	progress func(int64)
}

// sourceError is a failure to read what was to be sent.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// newBody reads r aside, so that a transfer can end while r has nothing to say.
func newBody(ctx context.Context, r io.Reader, s *stall, progress func(int64)) *body {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		if err != nil {
			err = &sourceError{err}
		}
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pr.CloseWithError(context.Cause(ctx)) })
	return &body{PipeReader: pr, stall: s, progress: progress}
}

func (b *body) Read(p []byte) (int, error) {
	b.stall.rest()
	n, err := b.PipeReader.Read(p)
	b.stall.moving()
	b.sent += int64(n)
	if n > 0 && b.progress != nil {
		b.progress(b.sent)
	}
	return n, err
}

// Put writes a file of size bytes, or of as many as there are when size is -1.
// Parents are made. The file appears under its name when all of it is there:
// until then it is called NAME._COPYING_, and an interrupted put leaves nothing
// under the name. progress is called with the bytes sent so far; it may be nil.
func (c *Client) Put(ctx context.Context, r io.Reader, size int64, path string, progress func(sent int64)) error {
	switch st, err := c.Stat(ctx, path); {
	case err == nil && st.IsDir():
		return &RemoteError{Op: verb("CREATE"), Path: path, Exception: "FileAlreadyExistsException", Message: "it is a directory"}
	case err == nil && !c.replace:
		return &RemoteError{Op: verb("CREATE"), Path: path, Exception: "FileAlreadyExistsException", Message: "it exists already"}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	part := path + copying
	if err := c.write(ctx, r, size, part, path, progress); err != nil {
		// The context may be done; what was written is removed all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if left := c.Remove(ctx, part, false); left != nil && !errors.Is(left, fs.ErrNotExist) {
			return fmt.Errorf("%w (and %s is left over: %v)", err, part, left)
		}
		return err
	}
	return nil
}

func (c *Client) write(ctx context.Context, r io.Reader, size int64, part, path string, progress func(int64)) error {
	// A datanode that is not told takes its own default, which is 3.
	var v struct {
		Defaults struct{ Replication int } `json:"FsServerDefaults"`
	}
	if err := c.ask(ctx, http.MethodGet, "GETSERVERDEFAULTS", "/", &v); err != nil {
		return err
	}
	params := []string{"overwrite", "true", "replication", fmt.Sprint(cmp.Or(c.replication, v.Defaults.Replication))}
	if c.blockSize > 0 {
		params = append(params, "blocksize", fmt.Sprint(int64(c.blockSize)))
	}
	watched, s, done := watch(ctx)
	defer done()
	src := newBody(watched, r, s, progress)
	resp, err := c.transfer(watched, http.MethodPut, "CREATE", part, src, size, params...)
	if source := new(sourceError); errors.As(err, &source) {
		return fmt.Errorf("reading what was to be written to %s: %w", path, source.error)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		return remoteError("CREATE", path, resp.StatusCode, text)
	}
	st, err := c.Stat(ctx, part)
	if err != nil {
		return err
	}
	if st.Length != src.sent || size >= 0 && size != src.sent {
		return fmt.Errorf("writing %s: %d bytes arrived of %d that were sent; nothing was kept, try again", path, st.Length, max(size, src.sent))
	}
	return c.Rename(ctx, part, path)
}

// Get writes a file's content to w. progress is called with the bytes received
// so far and in all; it may be nil.
func (c *Client) Get(ctx context.Context, path string, w io.Writer, progress func(received, size int64)) error {
	st, err := c.Stat(ctx, path)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return &RemoteError{Op: verb("OPEN"), Path: path, Exception: "PathIsDirectoryException", Message: "it is a directory"}
	}
	ctx, s, done := watch(ctx)
	defer done()
	resp, err := c.transfer(ctx, http.MethodGet, "OPEN", path, nil, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		return remoteError("OPEN", path, resp.StatusCode, text)
	}
	received, buf := int64(0), make([]byte, 256<<10)
	for {
		s.moving()
		n, err := resp.Body.Read(buf)
		s.rest()
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("writing what was read from %s: %w", path, err)
			}
			received += int64(n)
			if progress != nil {
				progress(received, max(st.Length, received))
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("reading %s: broken off after %d of %d bytes: %w", path, received, st.Length, err)
		}
	}
	if received < st.Length {
		return fmt.Errorf("reading %s: broken off after %d of %d bytes; try again", path, received, st.Length)
	}
	return nil
}

// Fsck asks the namenode to check all files below a path and copies its report
// to w as it comes.
func (c *Client) Fsck(ctx context.Context, path string, w io.Writer) (healthy bool, err error) {
	ctx, s, done := watch(ctx)
	defer done()
	// Only the superuser may.
	q := url.Values{"ugi": {provision.HDFSUser}, "path": {path}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/fsck?"+q.Encode(), nil)
	if err != nil {
		return false, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false, fmt.Errorf("checking %s: %w", path, unwrapURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("checking %s: the answer was HTTP status %d", path, resp.StatusCode)
	}
	lines := bufio.NewReader(resp.Body)
	last := ""
	for {
		s.moving()
		line, err := lines.ReadString('\n')
		s.rest()
		if text := strings.TrimSpace(line); text != "" {
			last = text
		}
		if err == io.EOF && line != "" {
			line += "\n" // the report ends without one
		}
		if _, werr := io.WriteString(w, line); werr != nil {
			return false, werr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, fmt.Errorf("checking %s: %w", path, err)
		}
	}
	// The last line is "The filesystem under path '/' is HEALTHY" (or CORRUPT).
	switch {
	case strings.HasSuffix(last, "is HEALTHY"):
		return true, nil
	case strings.HasSuffix(last, "is CORRUPT"):
		return false, nil
	case strings.HasSuffix(last, "does not exist"):
		return false, &RemoteError{Op: "checking", Path: path, Exception: "FileNotFoundException", Message: "it does not exist"}
	}
	return false, errors.New("checking " + path + ": " + last)
}
