package main

import (
	"crypto/rand"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// make creates a name by one of the four procedures for that.
func (f *nfsFS) make(cancel <-chan struct{}, h *fuse.InHeader, proc uint32, name string, tail encoder, out *fuse.EntryOut) (*node, fuse.Status) {
	p := f.node(h.NodeId)
	if p == nil {
		return nil, gone
	}
	handle, a, errno := f.create(cancel, f.cred(h), proc, p.handle, name, tail.b)
	if errno != 0 {
		return nil, fuse.Status(errno)
	}
	return f.entry(p, handle, a, out), fuse.OK
}

func (f *nfsFS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	mode := in.Mode & 0o7777
	var e encoder
	e.newAttributes(newAttributes{mode: &mode})
	_, s := f.make(cancel, &in.InHeader, procMkdir, name, e, out)
	return s
}

func (f *nfsFS) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	mode := uint32(0o777)
	var e encoder
	e.newAttributes(newAttributes{mode: &mode})
	e.str(target)
	_, s := f.make(cancel, h, procSymlink, name, e, out)
	return s
}

// Mknod makes files, sockets and pipes. Devices have no place on an export.
func (f *nfsFS) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	mode := in.Mode & 0o7777
	proc := uint32(procMknod)
	var e encoder
	switch in.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, 0:
		proc = procCreate
		e.u32(createGuarded)
	case syscall.S_IFIFO:
		e.u32(typeFIFO)
	case syscall.S_IFSOCK:
		e.u32(typeSocket)
	default:
		return fuse.EPERM
	}
	e.newAttributes(newAttributes{mode: &mode})
	_, s := f.make(cancel, &in.InHeader, proc, name, e, out)
	return s
}

// How CREATE treats a name that exists.
const (
	createUnchecked = 0
	createGuarded   = 1
	createExclusive = 2
)

func (f *nfsFS) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	mode := in.Mode & 0o7777
	exclusive := in.Flags&syscall.O_EXCL != 0
	var e encoder
	if exclusive {
		var once [8]byte // a call sent twice finds its own
		rand.Read(once[:])
		e.u32(createExclusive)
		e.fixed(once[:])
	} else {
		s := newAttributes{mode: &mode}
		if in.Flags&syscall.O_TRUNC != 0 {
			s.size = new(uint64)
		}
		e.u32(createUnchecked)
		e.newAttributes(s)
	}
	n, s := f.make(cancel, &in.InHeader, procCreate, name, e, &out.EntryOut)
	if s != fuse.OK {
		return s
	}
	cr := f.cred(&in.InHeader)
	if exclusive { // the server keeps those bytes where mode and times belong
		a, errno := f.setattr(cancel, cr, n.handle, newAttributes{mode: &mode, atimeNow: true, mtimeNow: true})
		if errno != 0 {
			f.Forget(n.id, 1)
			return fuse.Status(errno)
		}
		f.fill(n, a, &out.Attr)
	}
	f.opened(n, cr, in.Flags, &out.OpenOut)
	return fuse.OK
}

func (f *nfsFS) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	p, n := f.node(in.NodeId), f.node(in.Oldnodeid)
	if p == nil || n == nil {
		return gone
	}
	cr := f.cred(&in.InHeader)
	var e encoder
	e.str(n.handle)
	e.str(p.handle)
	e.str(name)
	if _, errno := f.nfs(cancel, cr, procLink, e.b, nil); errno != 0 {
		return fuse.Status(errno)
	}
	a, errno := f.getattr(cancel, cr, n.handle)
	if errno == 0 {
		f.entry(p, n.handle, a, out)
	}
	return fuse.Status(errno)
}

func (f *nfsFS) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n := f.node(h.NodeId)
	if n == nil {
		return nil, gone
	}
	var e encoder
	e.str(n.handle)
	d, errno := f.nfs(cancel, f.cred(h), procReadLink, e.b, nil)
	if errno != 0 {
		return nil, fuse.Status(errno)
	}
	d.maybeAttributes()
	return d.opaque(), fuse.OK
}

// hide renames a file that is open here instead of removing it, as the server
// knows nothing of open files; the last close removes it. It reports whether
// that was so.
func (f *nfsFS) hide(cancel <-chan struct{}, cr *credential, dir, name string) (bool, syscall.Errno) {
	if f.open.Load() == 0 {
		return false, 0
	}
	handle, a, errno := f.lookup(cancel, cr, dir, name)
	if errno != 0 || a.kind == typeDir || a.nlink > 1 {
		return false, 0 // the removal itself tells what is wrong
	}
	f.mu.Lock()
	n := f.byHandle[handle]
	open := n != nil && n.opens > 0 && n.hiddenAs == ""
	f.mu.Unlock()
	if !open {
		return false, 0
	}
	hidden := hiddenName()
	if errno := f.rename(cancel, cr, dir, name, dir, hidden); errno != 0 {
		return false, errno
	}
	f.mu.Lock()
	closed := n.opens == 0
	if !closed {
		n.hiddenIn, n.hiddenAs = dir, hidden
	}
	f.mu.Unlock()
	if closed { // meanwhile
		return true, f.remove(cancel, cr, procRemove, dir, hidden)
	}
	return true, 0
}

func (f *nfsFS) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	p := f.node(h.NodeId)
	if p == nil {
		return gone
	}
	cr := f.cred(h)
	if done, errno := f.hide(cancel, cr, p.handle, name); done || errno != 0 {
		return fuse.Status(errno)
	}
	return fuse.Status(f.remove(cancel, cr, procRemove, p.handle, name))
}

func (f *nfsFS) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	p := f.node(h.NodeId)
	if p == nil {
		return gone
	}
	return fuse.Status(f.remove(cancel, f.cred(h), procRmdir, p.handle, name))
}

func (f *nfsFS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	p, q := f.node(in.NodeId), f.node(in.Newdir)
	if p == nil || q == nil {
		return gone
	}
	if in.Flags != 0 { // exchange, no replace: the protocol has neither
		return fuse.EINVAL
	}
	cr := f.cred(&in.InHeader)
	if p != q || name != newName {
		if _, errno := f.hide(cancel, cr, q.handle, newName); errno != 0 {
			return fuse.Status(errno)
		}
	}
	return fuse.Status(f.rename(cancel, cr, p.handle, name, q.handle, newName))
}
