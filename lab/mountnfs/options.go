package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is one mount as it was asked for.
type options struct {
	source     string // SERVER:/path as given
	host, path string // the two parts of source
	target     string // absolute directory
	flags      uintptr
	port       uint32        // of the NFS service; 0 asks the port mapper
	mountPort  uint32        // of the MOUNT service; 0 asks the port mapper
	soft       bool          // give up after retrans timeouts
	sync       bool          // every write reaches the server's disk
	timeout    time.Duration // of one call; option timeo, tenths of a second
	retrans    int
	retry      time.Duration // how long to try the first connection; option retry, minutes
	attributes time.Duration // how long the kernel may keep attributes and names
}

// setFlags and clearFlags are the options that the kernel itself keeps.
var (
	setFlags = map[string]uintptr{"ro": syscall.MS_RDONLY, "nosuid": syscall.MS_NOSUID, "nodev": syscall.MS_NODEV,
		"noexec": syscall.MS_NOEXEC, "noatime": syscall.MS_NOATIME, "nodiratime": syscall.MS_NODIRATIME,
		"relatime": syscall.MS_RELATIME, "strictatime": syscall.MS_STRICTATIME, "dirsync": syscall.MS_DIRSYNC}
	clearFlags = map[string]uintptr{"rw": syscall.MS_RDONLY, "suid": syscall.MS_NOSUID, "dev": syscall.MS_NODEV,
		"exec": syscall.MS_NOEXEC, "atime": syscall.MS_NOATIME, "diratime": syscall.MS_NODIRATIME,
		"norelatime": syscall.MS_RELATIME}
)

// ignored are options of nfs(5) and mount(8) that ask for what is so anyway,
// or tune what is not here to be tuned.
var ignored = []string{"", "defaults", "async", "auto", "noauto", "nouser", "_netdev", "nofail", "tcp", "fg", "bg",
	"hard", "nolock", "lock", "local_lock", "resvport", "noresvport", "ac", "acregmin", "acregmax", "acdirmin",
	"acdirmax", "cto", "nocto", "intr", "nointr", "acl", "noacl", "rdirplus", "nordirplus", "lookupcache", "nconnect",
	"sharecache", "nosharecache", "mountproto", "mountvers", "addr", "mountaddr", "clientaddr", "minorversion",
	"rsize", "wsize", "fsc", "nofsc", "namlen"}

// parse reads the arguments of the mount helper.
func parse(args []string) (*options, error) {
	o := &options{flags: syscall.MS_MGC_VAL, timeout: time.Minute, retrans: 2, retry: 10 * time.Second, attributes: time.Second}
	var words, opts []string
	sloppy := false
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-o" || a == "-t":
			if i++; i >= len(args) {
				return nil, fmt.Errorf("option %s needs a value", a)
			}
			if a == "-o" {
				opts = append(opts, strings.Split(args[i], ",")...)
			}
		case len(a) > 1 && a[0] == '-':
			if strings.Trim(a[1:], "nrsvw") != "" {
				return nil, fmt.Errorf("unknown option %s", a)
			}
			sloppy = sloppy || strings.Contains(a, "s")
			if strings.Contains(a, "r") {
				o.flags |= syscall.MS_RDONLY
			}
		default:
			words = append(words, a)
		}
	}
	if len(words) != 2 {
		return nil, errors.New("usage: mount.nfs SERVER:/path DIR [-nrsvw] [-o options]")
	}
	o.source = words[0]
	i := strings.Index(o.source, ":/")
	if i <= 0 {
		return nil, fmt.Errorf("%s is not SERVER:/path", o.source)
	}
	o.host, o.path = strings.Trim(o.source[:i], "[]"), o.source[i+1:]
	var err error
	if o.target, err = filepath.Abs(words[1]); err != nil {
		return nil, err
	}
	for _, opt := range opts {
		if err := o.set(opt, sloppy); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// set takes one option, "name" or "name=value". Sloppy accepts unknown names.
func (o *options) set(opt string, sloppy bool) error {
	name, value, _ := strings.Cut(opt, "=")
	number := func(set func(uint32)) error {
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return fmt.Errorf("option %s needs a number", opt)
		}
		set(uint32(n))
		return nil
	}
	switch {
	case setFlags[name] != 0:
		o.flags |= setFlags[name]
	case clearFlags[name] != 0:
		o.flags &^= clearFlags[name]
	case name == "soft" || name == "softerr":
		o.soft = true
	case name == "sync":
		o.sync = true
	case name == "noac":
		o.attributes, o.sync = 0, true
	case name == "port":
		return number(func(n uint32) { o.port = n })
	case name == "mountport":
		return number(func(n uint32) { o.mountPort = n })
	case name == "retrans":
		return number(func(n uint32) { o.retrans = int(n) })
	case name == "retry":
		return number(func(n uint32) { o.retry = time.Duration(n) * time.Minute })
	case name == "actimeo":
		return number(func(n uint32) { o.attributes = time.Duration(n) * time.Second })
	case name == "timeo":
		return number(func(n uint32) { o.timeout = max(1, time.Duration(n)) * 100 * time.Millisecond })
	case name == "vers" || name == "nfsvers":
		if !slices.Contains([]string{"3", "4", "4.0", "4.1", "4.2"}, value) {
			return fmt.Errorf("NFS version %q is not spoken", value)
		}
	case name == "proto" && value != "tcp" || name == "sec" && value != "sys" || name == "udp":
		return fmt.Errorf("option %s is not supported: TCP with sec=sys is all there is", opt)
	case name == "proto", name == "sec", strings.HasPrefix(name, "x-"), slices.Contains(ignored, name), sloppy:
	default:
		return fmt.Errorf("unknown option %s", opt)
	}
	return nil
}
