package main

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Programs and procedures that find an export: RFC 1813 appendix I for MOUNT,
// RFC 1833 for the port mapper.
const (
	programPortmap = 100000
	programNFS     = 100003
	programMount   = 100005

	procGetPort = 3
	procMount   = 1
	procUnmount = 3

	defaultNFSPort   = 2049
	defaultMountPort = 20048
)

// serve mounts the export, calls ready and serves it until it is unmounted.
func serve(o *options, ready func() error) error {
	debug.SetMemoryLimit(512 << 20)
	addrs, err := net.LookupHost(o.host)
	if err != nil {
		return err
	}
	conn, root, err := connect(o, addrs[0])
	if err != nil {
		return err
	}
	f := newFS(o, conn, root)
	if err := f.limits(root); err != nil {
		return err
	}
	server, err := fuse.NewServer(f, o.target, &fuse.MountOptions{
		AllowOther: true, FsName: o.source, Name: "nfs", DirectMountStrict: true, DirectMountFlags: o.flags,
		MaxWrite: maxTransfer, MaxReadAhead: maxTransfer, MaxBackground: 64, DisableXAttrs: true,
	})
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return errors.Join(err, server.Unmount())
	}
	server.Wait()
	// The server's list of mounts is for people to read; it may be down.
	_, _ = mountCall(o, addrs[0], procUnmount)
	return nil
}

// connect asks for the export's root handle and connects to the NFS service.
// A server that is just starting gets as long as the option retry says.
func connect(o *options, host string) (*rpcConn, string, error) {
	end := time.Now().Add(o.retry)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		root, err := mountCall(o, host, procMount)
		if err == nil {
			var conn *rpcConn
			port := findPort(host, o.port, programNFS, defaultNFSPort)
			if conn, err = dialRPC(net.JoinHostPort(host, port), o.timeout, o.soft, o.retrans); err == nil {
				return conn, root, nil
			}
		}
		var errno syscall.Errno
		refused := errors.As(err, &errno) && (errno == syscall.EACCES || errno == syscall.ENOENT ||
			errno == syscall.EPERM || errno == syscall.EPROTONOSUPPORT)
		if refused || time.Now().After(end) {
			return nil, "", err
		}
		<-tick.C
	}
}

// findPort returns the port of a program on the server: the given one, the one
// the port mapper knows, or the usual one.
func findPort(host string, given, program, usual uint32) string {
	port := given
	if port == 0 {
		if c, err := dialRPC(net.JoinHostPort(host, "111"), 5*time.Second, true, 0); err == nil {
			defer c.close()
			var e encoder
			e.u32(program)
			e.u32(3) // version
			e.u32(syscall.IPPROTO_TCP)
			e.u32(0)
			if d, errno := c.call(nil, nil, procedure{programPortmap, 2, procGetPort}, e.b, nil); errno == 0 {
				port = d.u32()
			}
		}
	}
	if port == 0 {
		port = usual
	}
	return strconv.Itoa(int(port))
}

// mountCall calls the server's MOUNT service for the export. For procMount it
// returns the handle of the export's root.
func mountCall(o *options, host string, proc uint32) (string, error) {
	port := findPort(host, o.mountPort, programMount, defaultMountPort)
	c, err := dialRPC(net.JoinHostPort(host, port), 5*time.Second, true, 1)
	if err != nil {
		return "", err
	}
	defer c.close()
	var e encoder
	e.str(o.path)
	d, errno := c.call(nil, &credential{}, procedure{programMount, 3, proc}, e.b, nil)
	if errno != 0 {
		return "", errno
	}
	if proc != procMount {
		return "", nil
	}
	if s := d.u32(); s != 0 {
		return "", fmt.Errorf("the server refuses %s: %w", o.source, nfsError(s))
	}
	root := string(d.opaque())
	if d.bad || root == "" {
		return "", errors.New("the server's answer to MOUNT is damaged")
	}
	return root, nil
}
