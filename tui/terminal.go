package tui

import (
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/charmbracelet/x/ansi"
)

// ownTerminal is a terminal on which only the screen writes: what anything
// else in this process writes to standard output or error meanwhile, such as a
// library with a warning, goes to a file.
type ownTerminal struct {
	tty   *os.File
	saved map[int]int // standard streams and what they were
	stray *os.File
}

// takeTerminal leads standard output and error away from the terminal.
func takeTerminal(terminal *os.File) (*ownTerminal, error) {
	fd, err := unix.FcntlInt(terminal.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	o := &ownTerminal{tty: os.NewFile(uintptr(fd), terminal.Name()), saved: map[int]int{}}
	if o.stray, err = os.CreateTemp("", "nucspark-stderr-"); err != nil {
		o.tty.Close()
		return nil, err
	}
	os.Remove(o.stray.Name())
	for _, stream := range []int{1, 2} {
		if !term.IsTerminal(stream) {
			continue
		}
		was, err := unix.FcntlInt(uintptr(stream), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			err = unix.Dup3(int(o.stray.Fd()), stream, 0)
		}
		if err != nil {
			o.giveBack()
			return nil, err
		}
		o.saved[stream] = was
	}
	// A crash is told to whoever sits there, too.
	_ = debug.SetCrashOutput(o.tty, debug.CrashOptions{})
	return o, nil
}

// giveBack undoes it, and returns what was written meanwhile.
func (o *ownTerminal) giveBack() string {
	_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
	for stream, was := range o.saved {
		_ = unix.Dup3(was, stream, 0)
		_ = unix.Close(was)
	}
	o.tty.Close()
	defer o.stray.Close()
	if _, err := o.stray.Seek(0, io.SeekStart); err != nil {
		return ""
	}
	const most = 64 << 10
	text, _ := io.ReadAll(io.LimitReader(o.stray, most))
	return ansi.Strip(string(text))
}
