package spark

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"
)

// follower copies the log of a container, every byte once, out of streams that
// may break anywhere and begin again a little earlier. The streams carry the
// time in front of each line, as Kubernetes writes it (PodLogOptions.timestamps).
type follower struct {
	out  io.Writer
	last time.Time // in front of the latest line, zero before the first
	same int       // lines in a row with that time, the latest included
	done int       // bytes of the latest line that were copied
}

// since is where the next stream should begin, nil for the beginning. The API
// rounds it down to a second.
func (f *follower) since() *time.Time {
	if f.last.IsZero() {
		return nil
	}
	t := f.last.Add(-time.Second)
	return &t
}

// copy copies what is new in one stream. It returns nil at its end.
func (f *follower) copy(stream io.Reader) error {
	r := bufio.NewReaderSize(stream, 64<<10)
	// What the stream repeats ends with the latest line. Lines of the two
	// outputs of a program may be out of order by a little, so that times
	// alone do not tell; and the latest line may have been rotated away.
	repeated, met := !f.last.IsZero(), 0
	for {
		stamp, err := r.ReadString(' ')
		if err != nil {
			if err == io.EOF && stamp == "" {
				return nil
			}
			return cut(err)
		}
		at, err := time.Parse(time.RFC3339Nano, stamp[:len(stamp)-1])
		if err != nil {
			return fmt.Errorf("a line of the log begins with %q instead of its time", stamp)
		}
		skip := 0 // bytes of the line; negative for all of it
		switch {
		case repeated && at.Equal(f.last):
			if met++; met < f.same {
				skip = -1
				break
			}
			skip, repeated = f.done, false
		case repeated && at.Sub(f.last) <= time.Second:
			skip = -1
		case at.Equal(f.last):
			f.same, f.done = f.same+1, 0
		default:
			repeated = false
			f.last, f.same, f.done = at, 1, 0
		}
		if err := f.line(r, skip); err != nil {
			return err
		}
	}
}

// line copies the rest of a line without its first skip bytes; none of it when
// skip is negative.
func (f *follower) line(r *bufio.Reader, skip int) error {
	for {
		part, err := r.ReadSlice('\n')
		n := len(part)
		switch {
		case skip < 0:
			part = nil
		case skip >= n:
			skip, part = skip-n, nil
		default:
			skip, part = 0, part[skip:]
		}
		if len(part) > 0 {
			written, werr := f.out.Write(part)
			f.done += written
			if werr != nil {
				return &outputError{werr}
			}
		}
		if err == nil {
			return nil
		}
		if err == io.EOF {
			return nil // a last line without its end
		}
		if err != bufio.ErrBufferFull {
			return cut(err)
		}
	}
}

// outputError says that the log could not be written on this side.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// brokenError says that a stream broke in the middle.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &brokenError{err}
}
