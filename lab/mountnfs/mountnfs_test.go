package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"nuc02:/data/nfs", "/mnt", "-n", "-o", "rw,vers=4.2,hard,noatime,timeo=50,retrans=5", "-o", "noac,x-systemd.automount"})
	if err != nil {
		t.Fatal(err)
	}
	if o.host != "nuc02" || o.path != "/data/nfs" || o.target != "/mnt" {
		t.Errorf("read as %q %q on %q", o.host, o.path, o.target)
	}
	if o.timeout != 5*time.Second || o.retrans != 5 || o.soft || !o.sync || o.attributes != 0 {
		t.Errorf("read as %+v", o)
	}
	if o.flags&syscall.MS_NOATIME == 0 || o.flags&syscall.MS_RDONLY != 0 {
		t.Errorf("flags %#x", o.flags)
	}
	if o, err := parse([]string{"[2001:db8::1]:/e", "/mnt", "-rs", "-o", "nonsense"}); err != nil || o.host != "2001:db8::1" || o.flags&syscall.MS_RDONLY == 0 {
		t.Errorf("read as %+v, %v", o, err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage"},
		{[]string{"a:/b"}, "usage"},
		{[]string{"/b", "/mnt"}, "is not SERVER:/path"},
		{[]string{"a:/b", "/mnt", "-o"}, "-o needs a value"},
		{[]string{"a:/b", "/mnt", "-x"}, "unknown option -x"},
		{[]string{"a:/b", "/mnt", "-o", "nonsense"}, "unknown option nonsense"},
		{[]string{"a:/b", "/mnt", "-o", "timeo=soon"}, "needs a number"},
		{[]string{"a:/b", "/mnt", "-o", "vers=2"}, `version "2" is not spoken`},
		{[]string{"a:/b", "/mnt", "-o", "sec=krb5"}, "sec=krb5 is not supported"},
		{[]string{"a:/b", "/mnt", "-o", "proto=udp"}, "proto=udp is not supported"},
	} {
		if _, err := parse(c.args); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error with %q", c.args, err, c.want)
		}
	}
}

func TestXDR(t *testing.T) {
	var e encoder
	e.u32(7)
	e.u64(1 << 40)
	e.str("abcde")
	e.str("")
	mode, size := uint32(0o640), uint64(9)
	e.newAttributes(newAttributes{mode: &mode, size: &size, atime: &nfsTime{1, 2}, mtimeNow: true})
	want := "00000007" + "0000010000000000" + "000000056162636465000000" + "00000000" +
		"00000001000001a0" + "00000000" + "00000000" + "000000010000000000000009" + "000000020000000100000002" + "00000001"
	if got := hex(e.b); got != want {
		t.Errorf("encoded as\n%s, want\n%s", got, want)
	}
	d := decoder{b: e.b}
	if a, b, c := d.u32(), d.u64(), string(d.opaque()); a != 7 || b != 1<<40 || c != "abcde" || d.bad {
		t.Errorf("decoded %d %d %q, bad %v", a, b, c, d.bad)
	}
	// Whatever is cut off, the decoder says so and does not panic.
	var f encoder
	f.optional(true)
	for range 21 {
		f.u32(1)
	}
	for n := range len(f.b) {
		d := decoder{b: f.b[:n]}
		if a := d.maybeAttributes(); a != nil || !d.bad {
			t.Errorf("%d of %d bytes of attributes decode as %+v", n, len(f.b), a)
		}
	}
	if d := (decoder{b: []byte{0xff, 0xff, 0xff, 0xff}}); d.opaque() != nil || !d.bad {
		t.Error("an opaque of 4 GiB in four bytes is taken")
	}
}

func hex(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestGroups(t *testing.T) {
	got := groupsIn([]byte("Name:\tx\nGid:\t1000\nGroups:\t4 27 1000 \nNStgid:\t1\n"), 1000)
	if !slices.Equal(got, []uint32{4, 27}) {
		t.Errorf("groups %v", got)
	}
}

func TestRecords(t *testing.T) {
	var b bytes.Buffer
	b.Write([]byte{0, 0, 0, 3, 'a', 'b', 'c', 0x80, 0, 0, 2, 'd', 'e'})
	if got, err := readRecord(&b); err != nil || string(got) != "abcde" {
		t.Errorf("two fragments read as %q, %v", got, err)
	}
	if _, err := readRecord(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})); err == nil {
		t.Error("a record of 2 GiB is accepted")
	}
}

// server answers calls on a loopback port. handle gets the procedure's number
// and its arguments; nil results break the connection.
type server struct {
	l      net.Listener
	mu     sync.Mutex
	handle func(proc uint32, args *decoder) []byte
}

func serveRPC(t *testing.T, handle func(uint32, *decoder) []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{l: l, handle: handle}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(c)
		}
	}()
	return l.Addr().String()
}

func (s *server) talk(c net.Conn) {
	defer c.Close()
	for {
		call, err := readRecord(c)
		if err != nil {
			return
		}
		d := &decoder{b: call}
		id := d.u32()
		d.take(4 * 4) // call, RPC version, program, version
		proc := d.u32()
		for range 2 { // credential, verifier
			d.u32()
			d.opaque()
		}
		s.mu.Lock()
		results := s.handle(proc, d)
		s.mu.Unlock()
		if results == nil {
			return
		}
		e := encoder{b: make([]byte, 4)}
		for _, v := range []uint32{id, 1, 0, 0, 0, 0} { // reply, accepted, verifier, success
			e.u32(v)
		}
		e.fixed(results)
		binary.BigEndian.PutUint32(e.b, lastFragment|uint32(len(e.b)-4))
		if _, err := c.Write(e.b); err != nil {
			return
		}
	}
}

func dialTest(t *testing.T, addr string, timeout time.Duration, soft bool) *rpcConn {
	t.Helper()
	c, err := dialRPC(addr, timeout, soft, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// A call whose connection breaks is sent again on the next.
func TestReconnect(t *testing.T) {
	calls := 0
	addr := serveRPC(t, func(proc uint32, args *decoder) []byte {
		if calls++; calls < 3 {
			return nil
		}
		return args.take(8)
	})
	c := dialTest(t, addr, 10*time.Second, false)
	d, errno := c.call(nil, &credential{groups: make([]uint32, 20)}, procedure{programNFS, 3, 1}, []byte("argument"), nil)
	if errno != 0 || string(d.take(8)) != "argument" {
		t.Errorf("errno %v", errno)
	}
	if calls != 3 {
		t.Errorf("%d calls arrived, want 3", calls)
	}
}

func TestGiveUp(t *testing.T) {
	silent := make(chan struct{})
	addr := serveRPC(t, func(uint32, *decoder) []byte { <-silent; return nil })
	t.Cleanup(func() { close(silent) })
	if _, errno := dialTest(t, addr, 50*time.Millisecond, true).call(nil, nil, procedure{}, nil, nil); errno != syscall.ETIMEDOUT {
		t.Errorf("a soft mount gives up with %v", errno)
	}
	cancel := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { close(cancel) })
	if _, errno := dialTest(t, addr, time.Minute, false).call(cancel, nil, procedure{}, nil, nil); errno != syscall.EINTR {
		t.Errorf("a cancelled call ends with %v", errno)
	}
}

// What the server took and forgot in a restart is written again.
func TestServerRestart(t *testing.T) {
	type written struct {
		offset uint64
		how    uint32
		data   string
	}
	var got []written
	verifier := uint64(1)
	addr := serveRPC(t, func(proc uint32, args *decoder) []byte {
		args.opaque()     // handle
		var e encoder     // results
		e.u32(0)          // status
		e.u32(0)          // no attributes before
		e.optional(false) // nor after
		switch proc {
		case procWrite:
			w := written{offset: args.u64()}
			args.u32()
			w.how = args.u32()
			w.data = string(args.opaque())
			got = append(got, w)
			e.u32(uint32(len(w.data)))
			e.u32(w.how)
		case procCommit:
			verifier++
		}
		e.u64(verifier)
		return e.b
	})
	f := newFS(&options{}, dialTest(t, addr, 10*time.Second, false), "root")
	f.writeSize = 4
	n := f.node(rootID)
	cr := &credential{}
	var out fuse.OpenOut
	f.opened(n, cr, syscall.O_WRONLY, &out)
	if c, s := f.Write(nil, &fuse.WriteIn{Fh: out.Fh, Offset: 10}, []byte("abcdef")); c != 6 || s != fuse.OK {
		t.Fatalf("wrote %d, %v", c, s)
	}
	if s := f.Fsync(nil, &fuse.FsyncIn{Fh: out.Fh}); s != fuse.OK {
		t.Fatal(s)
	}
	want := []written{{10, unstable, "abcd"}, {14, unstable, "ef"}, {10, fileSync, "abcd"}, {14, fileSync, "ef"}}
	if !slices.Equal(got, want) {
		t.Errorf("the server was given %v, want %v", got, want)
	}
	if len(n.pending) != 0 || n.size != 0 {
		t.Errorf("%d bytes still pending", n.size)
	}
}
