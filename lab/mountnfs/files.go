package main

import (
	"log"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// openFile is a file or directory that some process has open.
type openFile struct {
	n      *node
	cred   *credential // of who opened it
	append bool

	listing listing // of a directory
}

func (f *nfsFS) file(id uint64) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files[id]
}

func (f *nfsFS) opened(n *node, cr *credential, flags uint32, out *fuse.OpenOut) {
	file := &openFile{n: n, cred: cr, append: flags&syscall.O_APPEND != 0}
	if file.append {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO // only the server knows the end
	}
	f.open.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	n.opens++
	f.lastFile++
	out.Fh = f.lastFile
	f.files[out.Fh] = file
}

// openAs opens when the server grants want, or other where that is not zero.
func (f *nfsFS) openAs(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut, want, other uint32) fuse.Status {
	n := f.node(in.NodeId)
	if n == nil {
		return gone
	}
	cr := f.cred(&in.InHeader)
	got, a, errno := f.access(cancel, cr, n.handle, want|other)
	if errno != 0 {
		return fuse.Status(errno)
	}
	if got&want != want && (other == 0 || got&other != other) {
		return fuse.EACCES
	}
	if a != nil { // close-to-open: what the kernel holds may be old
		n.mu.Lock()
		old := n.last.size != a.size || n.last.mtime != a.mtime || n.last.ctime != a.ctime
		n.mu.Unlock()
		if old {
			f.server.InodeNotify(n.id, -1, 0)
		}
	}
	f.opened(n, cr, in.Flags, out)
	return fuse.OK
}

func (f *nfsFS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	const forExec = 0x20 // FMODE_EXEC of the kernel
	want, other := uint32(accessRead), uint32(0)
	switch in.Flags & syscall.O_ACCMODE {
	case syscall.O_RDONLY:
		if in.Flags&forExec != 0 {
			other = accessExecute
		}
	case syscall.O_WRONLY:
		want = accessModify | accessExtend
	default:
		want |= accessModify | accessExtend
	}
	return f.openAs(cancel, in, out, want, other)
}

func (f *nfsFS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.openAs(cancel, in, out, accessRead, 0)
}

func (f *nfsFS) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) { f.closed(in.Fh) }
func (f *nfsFS) ReleaseDir(in *fuse.ReleaseIn)                      { f.closed(in.Fh) }

func (f *nfsFS) closed(id uint64) {
	f.mu.Lock()
	file := f.files[id]
	delete(f.files, id)
	if file == nil {
		f.mu.Unlock()
		return
	}
	n := file.n
	n.opens--
	dir, hidden := "", ""
	if n.opens == 0 {
		dir, hidden = n.hiddenIn, n.hiddenAs
		n.hiddenIn, n.hiddenAs = "", ""
	}
	f.mu.Unlock()
	f.open.Add(-1)
	if hidden != "" {
		if errno := f.remove(nil, file.cred, procRemove, dir, hidden); errno != 0 {
			log.Printf("%s stays behind: %v", hidden, errno)
		}
		n.mu.Lock()
		n.pending, n.size = nil, 0
		n.mu.Unlock()
	} else if errno := f.flush(nil, n, file.cred); errno != 0 {
		log.Printf("data of a closed file may be lost: %v", errno)
	}
	f.mu.Lock()
	f.drop(n)
	f.mu.Unlock()
}

func (f *nfsFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	file := f.file(in.Fh)
	if file == nil {
		return nil, fuse.EBADF
	}
	var got []byte
	for uint32(len(got)) < in.Size {
		part, eof, errno := f.read(cancel, file.cred, file.n.handle, in.Offset+uint64(len(got)),
			min(in.Size-uint32(len(got)), f.readSize))
		if errno != 0 {
			return nil, fuse.Status(errno)
		}
		if got == nil {
			got = part
		} else {
			got = append(got, part...)
		}
		if eof || len(part) == 0 {
			break
		}
	}
	return fuse.ReadResultData(got), fuse.OK
}

// maxPending is how much of one file is kept uncommitted, in bytes.
const maxPending = 32 << 20

func (f *nfsFS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	file := f.file(in.Fh)
	if file == nil {
		return 0, fuse.EBADF
	}
	n, offset, how := file.n, in.Offset, uint32(unstable)
	if file.append {
		n.appending.Lock()
		defer n.appending.Unlock()
		a, errno := f.getattr(cancel, file.cred, n.handle)
		if errno != 0 {
			return 0, fuse.Status(errno)
		}
		offset = a.size
	}
	if f.o.sync {
		how = fileSync
	}
	data = slices.Clone(data) // the kernel's buffer ends with this call, what waits to be sent again does not
	verifier, stable, errno := f.write(cancel, file.cred, n.handle, offset, data, how)
	if errno != 0 {
		return 0, fuse.Status(errno)
	}
	if !stable {
		n.mu.Lock()
		n.pending = append(n.pending, chunk{offset, data, verifier})
		n.size += len(data)
		full := n.size > maxPending
		n.mu.Unlock()
		if full {
			if errno := f.flush(cancel, n, file.cred); errno != 0 {
				return 0, fuse.Status(errno)
			}
		}
	}
	return uint32(len(data)), fuse.OK
}

// flush makes sure that all that was written to a node is on the server's
// disk: by a COMMIT, and once more what another life of the server had taken.
func (f *nfsFS) flush(cancel <-chan struct{}, n *node, cr *credential) syscall.Errno {
	n.committing.Lock()
	defer n.committing.Unlock()
	n.mu.Lock()
	todo := n.pending
	n.mu.Unlock()
	if len(todo) == 0 {
		return 0
	}
	verifier, errno := f.commit(cancel, cr, n.handle)
	if errno != 0 {
		return errno
	}
	for _, c := range todo {
		if c.verifier == verifier {
			continue
		}
		if _, _, errno := f.write(cancel, cr, n.handle, c.offset, c.data, fileSync); errno != 0 {
			return errno
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = slices.Clone(n.pending[min(len(todo), len(n.pending)):])
	n.size = 0
	for _, c := range n.pending {
		n.size += len(c.data)
	}
	return 0
}

func (f *nfsFS) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if file := f.file(in.Fh); file != nil {
		return fuse.Status(f.flush(cancel, file.n, file.cred))
	}
	return fuse.OK
}

func (f *nfsFS) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if file := f.file(in.Fh); file != nil {
		return fuse.Status(f.flush(cancel, file.n, file.cred))
	}
	return fuse.EBADF
}

// FsyncDir has nothing to do: the server changes directories at once.
func (f *nfsFS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status { return fuse.OK }

// listing is how far a directory has been read.
type listing struct {
	mu       sync.Mutex
	entries  []dirEntry // the last part that the server sent
	after    uint64     // the cookie that part follows
	verifier []byte
	eof      bool // that part is the last
}

type dirEntry struct {
	fileid uint64
	name   string
	cookie uint64
	attrs  *attributes // nil if the server did not say
	handle string      // "" likewise
}

func (e *dirEntry) fuse() fuse.DirEntry {
	d := fuse.DirEntry{Name: e.name, Ino: e.fileid, Off: e.cookie}
	if e.attrs != nil {
		d.Mode = modes[e.attrs.kind&7]
	}
	return d
}

// list hands out the entries from the cookie in.Offset on until add says that
// its buffer is full.
func (f *nfsFS) list(cancel <-chan struct{}, in *fuse.ReadIn, add func(*openFile, *dirEntry) bool) fuse.Status {
	file := f.file(in.Fh)
	if file == nil {
		return fuse.EBADF
	}
	l := &file.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.entries, func(e dirEntry) bool { return e.cookie == in.Offset }) + 1
	known := in.Offset != 0 && (i > 0 || l.after == in.Offset && l.verifier != nil)
	if !known || i == len(l.entries) && !l.eof {
		if in.Offset == 0 || l.verifier == nil {
			l.verifier = make([]byte, 8)
		}
		if errno := f.readDir(cancel, file, in.Offset); errno != 0 {
			return fuse.Status(errno)
		}
		i = 0
	}
	for ; i < len(l.entries) && add(file, &l.entries[i]); i++ {
	}
	return fuse.OK
}

// readDir asks the server for the part of the directory behind a cookie.
func (f *nfsFS) readDir(cancel <-chan struct{}, file *openFile, after uint64) syscall.Errno {
	const names, all = 32 << 10, 128 << 10 // bytes of an answer
	l := &file.listing
	var e encoder
	e.str(file.n.handle)
	e.u64(after)
	e.fixed(l.verifier)
	e.u32(names)
	e.u32(all)
	d, errno := f.nfs(cancel, file.cred, procReadDirPlus, e.b, nil)
	if errno != 0 {
		return errno
	}
	d.maybeAttributes()
	verifier := d.take(8)
	var entries []dirEntry
	for d.u32() != 0 {
		var x dirEntry
		x.fileid = d.u64()
		x.name = string(d.opaque())
		x.cookie = d.u64()
		x.attrs = d.maybeAttributes()
		if d.u32() != 0 {
			x.handle = string(d.opaque())
		}
		entries = append(entries, x)
	}
	eof := d.u32() != 0
	if d.bad {
		return syscall.EIO
	}
	l.entries, l.after, l.verifier, l.eof = entries, after, verifier, eof
	return 0
}

func (f *nfsFS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(cancel, in, func(_ *openFile, e *dirEntry) bool { return out.AddDirEntry(e.fuse()) })
}

func (f *nfsFS) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(cancel, in, func(file *openFile, e *dirEntry) bool {
		o := out.AddDirLookupEntry(e.fuse())
		if o != nil && e.name != "." && e.name != ".." && e.handle != "" && e.attrs != nil {
			f.entry(file.n, e.handle, e.attrs, o)
		}
		return o != nil
	})
}
