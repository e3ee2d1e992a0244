package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sync/errgroup"
)

// Serve publishes the mirror in dir (see Dir) until ctx ends: the apt
// repository on one address and the registry on the other, both "HOST:PORT"
// and over plain HTTP; what they serve is signed or addressed by digest. It
// fails at once where an address is taken or the mirror is not complete. Each
// answer is a line of out: "172.31.77.12 200 1048576 /v2/…", by whom, status,
// bytes of the body that were sent, path.
func Serve(ctx context.Context, dir, listenApt, listenRegistry string, out io.Writer) error {
	apt, images, err := handlers(dir)
	if err != nil {
		return err
	}
	answers := log.New(out, "", 0)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range []struct {
		addr string
		h    http.Handler
	}{{listenApt, apt}, {listenRegistry, images}} {
		l, err := net.Listen("tcp", s.addr)
		if err != nil {
			return fmt.Errorf("serve the mirror: %w", err)
		}
		defer l.Close()
		srv := &http.Server{Handler: logged(s.h, answers), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			return srv.Close()
		})
	}
	return g.Wait()
}

// handlers are the two servers of the mirror in dir. They only read.
func handlers(dir string) (apt, images http.Handler, err error) {
	if _, err := os.Stat(filepath.Join(dir, "apt", "InRelease")); err != nil {
		return nil, nil, fmt.Errorf("there is no complete mirror in %s: build it first", dir)
	}
	images, err = imageHandler(filepath.Join(dir, "oci"))
	if err != nil {
		return nil, nil, fmt.Errorf("read the images in %s: %w", dir, err)
	}
	return readOnly(http.FileServer(http.Dir(filepath.Join(dir, "apt")))), readOnly(images), nil
}

// logged writes a line for each answer of h.
func logged(h http.Handler, to *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counted{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			to.Printf("%s %d %d %s", host, c.code, c.sent, r.URL.EscapedPath())
		}()
		h.ServeHTTP(c, r)
	})
}

// counted notes the status of an answer and counts the bytes of its body.
type counted struct {
	http.ResponseWriter
	code int
	sent int64
}

func (c *counted) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.sent += int64(n)
	return n, err
}

// ReadFrom leaves the copying of files to the kernel.
func (c *counted) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.sent += n
	return n, err
}

func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "this mirror is read-only", http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// imageHandler is a registry over an OCI layout. Blobs are read from its
// folder; manifests are pushed into the registry's memory here.
func imageHandler(dir string) (http.Handler, error) {
	h := registry.New(registry.WithBlobHandler(blobs(dir)), registry.Logger(log.New(io.Discard, "", 0)))
	l, err := layout.FromPath(dir)
	if err != nil {
		return nil, err
	}
	index, err := l.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		repo, tag, ok := strings.Cut(d.Annotations[refAnnotation], ":")
		if !ok {
			return nil, fmt.Errorf("%s has no name", d.Digest)
		}
		data, err := l.Bytes(d.Digest)
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequest(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", string(d.MediaType))
		w := &answer{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.code != http.StatusCreated {
			return nil, fmt.Errorf("load %s:%s: %s", repo, tag, strings.TrimSpace(w.body.String()))
		}
	}
	return h, nil
}

// answer collects what a handler writes.
type answer struct {
	header http.Header
	code   int
	body   strings.Builder
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// blobs reads the blobs of an OCI layout.
type blobs string

func (b blobs) open(h v1.Hash) (*os.File, error) {
	f, err := os.Open(filepath.Join(string(b), "blobs", h.Algorithm, h.Hex))
	if errors.Is(err, os.ErrNotExist) {
		return nil, registry.ErrNotFound
	}
	return f, err
}

// Get is part of registry.BlobHandler.
func (b blobs) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) { return b.open(h) }

// Stat is part of registry.BlobStatHandler.
func (b blobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	f, err := b.open(h)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
