package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// me is the owner that a test may give to a file.
func me() (string, string) { return fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid()) }

func TestFiles(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	uid, gid := me()
	dir := filepath.Join(t.TempDir(), "it's a dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "-a file $x")
	for _, content := range [][]byte{nil, []byte("one\n"), bytes.Repeat([]byte(allBytes()+"\x00"), 20000)} {
		if err := h.WriteFile(t.Context(), name, content, 0o640|fs.ModeSetgid, uid, gid); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(name)
		if err != nil || st.Mode() != 0o640|fs.ModeSetgid {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
		if got, err := h.ReadFile(t.Context(), name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes of %d came back, %v", len(got), len(content), err)
		}
	}

	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Base(name), link); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteFile(t.Context(), link, []byte("through"), 0o600, uid, gid); err != nil {
		t.Error(err)
	}
	if to, err := os.Readlink(link); err != nil || string(read(t, name)) != "through" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	away := filepath.Join(dir, "away")
	if err := os.Symlink("/etc/hostname", away); err != nil {
		t.Fatal(err)
	}
	for target, word := range map[string]string{
		away:                          "symbolic link to another directory: /etc/hostname",
		dir:                           "is a directory",
		filepath.Join(dir, "no", "x"): "no directory",
		"relative":                    "absolute",
		dir + "/../x":                 "absolute",
	} {
		err := h.WriteFile(t.Context(), target, nil, 0o600, uid, gid)
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "nuc01") {
			t.Errorf("%s: %v", target, err)
		}
	}
	if err := h.WriteFile(t.Context(), name, nil, 0o600, "no-such-user", gid); err == nil || string(read(t, name)) != "through" {
		t.Errorf("unknown owner: %v", err)
	}
	if _, err := h.ReadFile(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := h.ReadFile(t.Context(), dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a directory: %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 3 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestForward(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	hold := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-hold
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %d", len(b))
	}))
	defer web.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: h.DialContext}, Timeout: 30 * time.Second}
	r, err := client.Post(web.URL, "", io.LimitReader(zeros{}, 5<<20))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	if string(b) != "got 5242880" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	client.Timeout = 200 * time.Millisecond
	_, err = client.Get(web.URL + "/slow")
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
	close(hold)
	client.CloseIdleConnections()

	addr := web.Listener.Addr().String()
	c, err := h.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != addr {
		t.Errorf("remote address %v", c.RemoteAddr())
	}
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	c.SetReadDeadline(time.Time{}) // it still works after that
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "got 0") {
		t.Errorf("%q, %v", b, err)
	}

	// The loss of the connection is not an end of file.
	c, err = h.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.cut()
	_, err = c.Read(make([]byte, 1))
	wantConnectError(t, err, true, "nuc01", addr)
	web.Close()
	_, err = h.DialContext(t.Context(), "tcp", addr) // dials the machine again
	wantConnectError(t, err, true, "service")
	if _, err = h.DialContext(t.Context(), "udp", addr); err == nil {
		t.Error("udp")
	}
}
