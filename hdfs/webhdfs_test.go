package hdfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeHDFS behaves like a namenode and its datanodes, as Hadoop 3.5.0 was seen
// to: a put that is broken off leaves a shorter file behind.
type fakeHDFS struct {
	mu     sync.Mutex
	files  map[string][]byte
	dirs   map[string]bool
	down   map[string]bool // datanodes that cannot be reached
	lose   bool            // the datanode drops a byte and says nothing
	users  []string
	stored string         // replication and block size that the last put asked for
	breaks int            // the datanode breaks off after so many bytes
	copies map[string]int // of each block, by file
	vanish string         // a file that is removed as soon as it was listed
	name   *httptest.Server
	data   *httptest.Server
}

func newFake(t *testing.T) (*fakeHDFS, *Client) {
	f := &fakeHDFS{files: map[string][]byte{}, dirs: map[string]bool{"/": true}, down: map[string]bool{}}
	f.name = httptest.NewServer(http.HandlerFunc(f.namenode))
	f.data = httptest.NewServer(http.HandlerFunc(f.datanode))
	t.Cleanup(func() { f.name.Close(); f.data.Close() })
	c := newClient(func(ctx context.Context, host string, port int) (net.Conn, error) {
		to := f.data
		switch {
		case host == NamenodeHost && port == namenodeHTTP:
			to = f.name
		case f.down[host]:
			return nil, errors.New("connection refused")
		case !strings.HasPrefix(host, "172.31.77.") || port != datanodeHTTP:
			return nil, fmt.Errorf("no such host %s:%d", host, port)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", to.Listener.Addr().String())
	})
	t.Cleanup(c.Close)
	return f, c
}

func remote(w http.ResponseWriter, status int, exception, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"RemoteException": map[string]string{
		"exception": exception, "javaClassName": "org.apache.hadoop." + exception, "message": message}})
}

// transferAddress is where a datanode registered, from its pod's address: that,
// and not the label which redirects carry, is how the namenode looks datanodes
// up that are to be left out (DatanodeManager.getDatanodeByXferAddr).
func transferAddress(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return strings.Replace(name, "172.31.77.", "10.244.1.", 1) + ":9866"
}

func (f *fakeHDFS) namenode(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	if r.URL.Path == "/jmx" {
		live := map[string]any{}
		for _, host := range []string{"172.31.77.12", "172.31.77.13"} {
			live[host+":9866"] = map[string]any{"xferaddr": transferAddress(host)}
		}
		text, _ := json.Marshal(live)
		json.NewEncoder(w).Encode(map[string]any{"beans": []any{map[string]any{"LiveNodes": string(text)}}})
		return
	}
	if r.URL.Path == "/fsck" {
		fmt.Fprintf(w, "FSCK started by %s for path %s\n\n", q.Get("ugi"), q.Get("path"))
		switch q.Get("path") {
		case "/bad":
			fmt.Fprint(w, "Status: CORRUPT\n\n\nThe filesystem under path '/bad' is CORRUPT")
		case "/nope":
			fmt.Fprint(w, "\nPath '/nope' does not exist")
		default:
			fmt.Fprintf(w, "Status: HEALTHY\n\n\nThe filesystem under path '%s' is HEALTHY", q.Get("path"))
		}
		return
	}
	p, op := strings.TrimPrefix(r.URL.Path, "/webhdfs/v1"), r.Method+" "+q.Get("op")
	f.users = append(f.users, q.Get("user.name"))
	_, isFile := f.files[p]
	status := func(p string) map[string]any {
		if f.dirs[p] {
			return map[string]any{"type": "DIRECTORY", "pathSuffix": "", "permission": "755", "owner": "hdfs"}
		}
		return map[string]any{"type": "FILE", "pathSuffix": "", "length": len(f.files[p]), "permission": "644", "owner": "spark"}
	}
	answer := func(v any) { json.NewEncoder(w).Encode(v) }
	switch {
	case strings.HasPrefix(p, "/forbidden") && r.Method != http.MethodGet:
		remote(w, 403, "AccessControlException", "Permission denied: user=spark")
	case op == "PUT CREATE" && f.dirs["/safemode"]:
		remote(w, 403, "SafeModeException", "Cannot create file. Name node is in safe mode.\nIt was turned on")
	case op == "PUT CREATE" || op == "GET OPEN":
		for _, host := range []string{"172.31.77.12:9864", "172.31.77.13:9864"} {
			if !slices.Contains(strings.Split(q.Get("excludedatanodes"), ","), transferAddress(host)) {
				q.Del("noredirect")
				answer(map[string]string{"Location": "http://" + host + r.URL.EscapedPath() + "?" + q.Encode()})
				return
			}
		}
		remote(w, 403, "IOException", "Failed to find datanode, suggest to check cluster health.")
	case op == "GET GETFILESTATUS" && (isFile || f.dirs[p]):
		answer(map[string]any{"FileStatus": status(p)})
	case op == "GET GETSERVERDEFAULTS":
		answer(map[string]any{"FsServerDefaults": map[string]any{"replication": 2, "blockSize": 134217728}})
	case op == "GET LISTSTATUS" && f.dirs[p]:
		list := []any{}
		for name := range f.files {
			if path.Dir(name) == p {
				s := status(name)
				s["pathSuffix"] = path.Base(name)
				list = append(list, s)
			}
		}
		answer(map[string]any{"FileStatuses": map[string]any{"FileStatus": list}})
	case op == "GET LISTSTATUS_BATCH" && f.dirs[p]:
		var names []string
		for name := range f.files {
			names = append(names, name)
		}
		for name := range f.dirs {
			names = append(names, name)
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			return name == "/" || path.Dir(name) != p || path.Base(name) <= q.Get("startAfter")
		})
		slices.Sort(names)
		list, left := []any{}, max(0, len(names)-3)
		for _, name := range names[:len(names)-left] {
			s := status(name)
			s["pathSuffix"], s["replication"] = path.Base(name), f.copies[name]
			list = append(list, s)
			if name == f.vanish {
				delete(f.files, name)
			}
		}
		answer(map[string]any{"DirectoryListing": map[string]any{"remainingEntries": left,
			"partialListing": map[string]any{"FileStatuses": map[string]any{"FileStatus": list}}}})
	case op == "PUT SETREPLICATION":
		if isFile {
			f.copies[p], _ = strconv.Atoi(q.Get("replication"))
		}
		answer(map[string]bool{"boolean": isFile})
	case op == "PUT MKDIRS":
		f.dirs[p] = true
		answer(map[string]bool{"boolean": true})
	case op == "DELETE DELETE":
		switch {
		case f.dirs[p] && q.Get("recursive") != "true":
			remote(w, 403, "PathIsNotEmptyDirectoryException", "`"+p+" is non empty': Directory is not empty")
			return
		case f.dirs[p]:
			delete(f.dirs, p)
		case isFile:
			delete(f.files, p)
		default:
			answer(map[string]bool{"boolean": false})
			return
		}
		answer(map[string]bool{"boolean": true})
	case op == "PUT RENAME":
		to := q.Get("destination")
		if _, there := f.files[to]; there && q.Get("renameoptions") != "OVERWRITE" || f.dirs[to] {
			remote(w, 403, "FileAlreadyExistsException", "rename destination "+to+" already exists")
			return
		}
		f.files[to] = f.files[p]
		delete(f.files, p)
	default:
		remote(w, 404, "FileNotFoundException", "File does not exist: "+p)
	}
}

func (f *fakeHDFS) datanode(w http.ResponseWriter, r *http.Request) {
	p := strings.TrimPrefix(r.URL.Path, "/webhdfs/v1")
	if r.Method == http.MethodGet {
		f.mu.Lock()
		b := f.files[p]
		f.mu.Unlock()
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		if f.breaks > 0 && f.breaks < len(b) {
			b = b[:f.breaks]
		}
		w.Write(b)
		return
	}
	if r.URL.Query().Get("overwrite") != "true" {
		remote(w, 403, "IOException", "overwrite was not asked for")
		return
	}
	f.mu.Lock()
	f.stored = r.URL.Query().Get("replication") + " " + r.URL.Query().Get("blocksize")
	f.mu.Unlock()
	f.mu.Lock()
	f.files[p] = nil
	f.mu.Unlock()
	var body io.Reader = r.Body
	if f.breaks > 0 {
		body = io.LimitReader(r.Body, int64(f.breaks))
	}
	b, err := io.ReadAll(body)
	if f.lose {
		b = b[:len(b)-1]
	}
	f.mu.Lock()
	if _, there := f.files[p]; there { // a file that was removed meanwhile cannot be closed
		f.files[p] = b // also what did not arrive whole
	}
	f.mu.Unlock()
	switch {
	case err != nil:
		return
	case f.breaks > 0:
		remote(w, 403, "IOException", "File "+p+" could only be written to 0 of the 1 minReplication nodes.\n\tat org.apache")
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func TestPutAndGet(t *testing.T) {
	for name, size := range map[string]int{"/user/spark/plain": 3 << 20, "/a b%20/ü?#&+;=": 10, "/empty": 0} {
		t.Run(name, func(t *testing.T) {
			for _, known := range []bool{true, false} {
				f, c := newFake(t)
				want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				given := int64(size)
				if !known {
					given = -1
				}
				var last int64
				if err := c.Put(context.Background(), bytes.NewReader(want), given, name, func(n int64) { last = n }); err != nil {
					t.Fatal(err)
				}
				if last != int64(size) {
					t.Errorf("progress ends at %d of %d", last, size)
				}
				if len(f.files) != 1 {
					t.Errorf("%d files, want one", len(f.files))
				}
				if f.stored != "2 " {
					t.Errorf("stored with %q, not with the file system's own replication and block size", f.stored)
				}
				var got bytes.Buffer
				var received, all int64
				if err := c.Get(context.Background(), name, &got, func(n, of int64) { received, all = n, of }); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("got %d other bytes", got.Len())
				}
				if received != int64(size) || size > 0 && all != int64(size) {
					t.Errorf("progress ends at %d of %d, want %d", received, all, size)
				}
			}
		})
	}
}

func TestPutStoring(t *testing.T) {
	f, c := newFake(t)
	if err := c.Storing(1, 1<<20).Put(context.Background(), strings.NewReader("x"), 1, "/f", nil); err != nil {
		t.Fatal(err)
	}
	if f.stored != "1 1048576" {
		t.Errorf("stored with %q", f.stored)
	}
}

func TestPutRefusesAndReplaces(t *testing.T) {
	f, c := newFake(t)
	ctx := context.Background()
	f.files["/f"] = []byte("old")
	f.dirs["/d"] = true
	err := c.Put(ctx, strings.NewReader("new"), 3, "/f", nil)
	if !errors.Is(err, fs.ErrExist) || string(f.files["/f"]) != "old" {
		t.Errorf("put over a file: %v, holds %q", err, f.files["/f"])
	}
	if err := c.Replacing().Put(ctx, strings.NewReader("new"), 3, "/d", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("put over a directory: %v", err)
	}
	if err := c.Replacing().Put(ctx, strings.NewReader("new"), 3, "/f", nil); err != nil || string(f.files["/f"]) != "new" {
		t.Errorf("replacing: %v, holds %q", err, f.files["/f"])
	}
	if err := c.Put(ctx, strings.NewReader("x"), 1, "/forbidden/f", nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("put where nothing may be put: %v", err)
	}
	f.dirs["/safemode"] = true
	if err := c.Put(ctx, strings.NewReader("x"), 1, "/g", nil); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("put in safe mode: %v", err)
	}
}

// Nothing appears under the name, and nothing is left beside it.
func TestInterruptedPut(t *testing.T) {
	broken := errors.New("the disk is broken")
	for name, tt := range map[string]struct {
		setup func(*fakeHDFS)
		body  io.Reader
		size  int64
		want  string
	}{
		"source fails":       {func(*fakeHDFS) {}, io.MultiReader(strings.NewReader("half"), errReader{broken}), -1, "the disk is broken"},
		"source is shorter":  {func(*fakeHDFS) {}, strings.NewReader("half"), 8, "writing /f"},
		"datanode breaks":    {func(f *fakeHDFS) { f.breaks = 2 }, strings.NewReader("half"), 4, "could only be written to 0 of the 1 minReplication nodes."},
		"a byte is lost":     {func(f *fakeHDFS) { f.lose = true }, strings.NewReader("half"), 4, "3 bytes arrived of 4"},
		"no datanode at all": {func(f *fakeHDFS) { f.down["172.31.77.12"], f.down["172.31.77.13"] = true, true }, strings.NewReader("half"), 4, "Failed to find datanode"},
	} {
		t.Run(name, func(t *testing.T) {
			f, c := newFake(t)
			tt.setup(f)
			err := c.Put(context.Background(), tt.body, tt.size, "/f", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
			f.data.CloseClientConnections()
			if _, there := f.files["/f"]; there {
				t.Errorf("a file appeared")
			}
			f.data.Close() // waits for the datanode to end what it does
			if len(f.files) > 0 {
				t.Errorf("%d files are left over", len(f.files))
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestCancelledPut(t *testing.T) {
	f, c := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	go func() {
		w.Write(make([]byte, 1<<20))
		cancel()
	}()
	if err := c.Put(ctx, r, -1, "/f", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	w.Close()
	if _, there := f.files["/f"]; there {
		t.Error("a file appeared")
	}
}

func TestOtherDatanode(t *testing.T) {
	f, c := newFake(t)
	f.down["172.31.77.12"] = true
	if err := c.Put(context.Background(), strings.NewReader("x"), 1, "/f", nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Get(context.Background(), "/f", &b, nil); err != nil || b.String() != "x" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestBrokenGet(t *testing.T) {
	f, c := newFake(t)
	f.files["/f"], f.breaks = []byte("0123456789"), 4
	if err := c.Get(context.Background(), "/f", io.Discard, nil); err == nil || !strings.Contains(err.Error(), "broken off after 4 of 10 bytes") {
		t.Errorf("error is %v", err)
	}
	f.dirs["/d"] = true
	if err := c.Get(context.Background(), "/d", io.Discard, nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("error is %v", err)
	}
	if err := c.Get(context.Background(), "/nope", io.Discard, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestOperations(t *testing.T) {
	f, c := newFake(t)
	ctx := context.Background()
	if err := c.As("hdfs").Mkdirs(ctx, "/d", "1777"); err != nil || f.users[len(f.users)-1] != "hdfs" {
		t.Errorf("mkdirs: %v as %v", err, f.users)
	}
	f.files["/d/x"] = []byte("abc")
	list, err := c.List(ctx, "/d")
	if err != nil || len(list) != 1 || list[0].Name != "x" || list[0].Length != 3 || list[0].IsDir() {
		t.Errorf("list: %+v, %v", list, err)
	}
	if f.users[len(f.users)-1] != "spark" {
		t.Errorf("listed as %s", f.users[len(f.users)-1])
	}
	if _, err := c.List(ctx, "/nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list of nothing: %v", err)
	}
	if err := c.Remove(ctx, "/nope", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove of nothing: %v", err)
	}
	if err := c.Remove(ctx, "/d", false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("remove of a full directory: %v", err)
	}
	if err := c.Remove(ctx, "/d", true); err != nil || f.dirs["/d"] {
		t.Errorf("remove: %v", err)
	}
	for path, want := range map[string]bool{"/": true, "/bad": false} {
		var report bytes.Buffer
		healthy, err := c.Fsck(ctx, path, &report)
		if err != nil || healthy != want || !strings.Contains(report.String(), "Status: ") {
			t.Errorf("fsck %s: %v, %v, report %q", path, healthy, err, report.String())
		}
	}
	if _, err := c.Fsck(ctx, "/nope", io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("fsck of nothing: %v", err)
	}
}

func TestMode(t *testing.T) {
	for permission, want := range map[string]string{"755": "drwxr-xr-x", "1777": "drwxrwxrwt", "0": "d---------", "1700": "drwx-----T"} {
		if got := (FileStatus{Type: "DIRECTORY", Permission: permission}).Mode(); got != want {
			t.Errorf("%s shows as %s, want %s", permission, got, want)
		}
	}
	if got := (FileStatus{Type: "FILE", Permission: "644"}).Mode(); got != "-rw-r--r--" {
		t.Errorf("a file shows as %s", got)
	}
}
