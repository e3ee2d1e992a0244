// Package bundletest reads the archives that support writes. Only tests import
// it.
package bundletest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

// Read returns the one directory of an archive, and its files by their names
// below it. The test fails where one is outside of it or there twice, or where
// others may read it.
func Read(t *testing.T, archive io.Reader) (dir string, files map[string]string) {
	t.Helper()
	zip, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir, files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		in, name, _ := strings.Cut(h.Name, "/")
		if dir == "" {
			dir = in
		}
		if _, twice := files[name]; in != dir || twice || h.Mode != 0o600 {
			t.Errorf("%s is not in %s, has mode %o, or is there twice", h.Name, dir, h.Mode)
		}
		files[name] = string(body)
	}
}
