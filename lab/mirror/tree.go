package mirror

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// epoch is the modification time of all files that are made here, so that the
// same content has the same digest.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// file is one entry of a package or an image layer.
type file struct {
	path     string      // absolute; parents are made with mode 0755
	mode     fs.FileMode // permissions, with fs.ModeDir or fs.ModeSymlink where it is no regular file
	uid, gid int
	src      string // the content is that of this file, or
	data     []byte // this; for a link the target
}

// program is an executable file at dir that is on disk as src.
func program(dir, src string) file {
	return file{path: path.Join(dir, filepath.Base(src)), mode: 0o755, src: src}
}

// programs are the files of a folder on disk, as executables at dir.
func programs(dir, src string) ([]file, error) {
	entries, err := os.ReadDir(src)
	var out []file
	for _, e := range entries {
		out = append(out, program(dir, filepath.Join(src, e.Name())))
	}
	return out, err
}

// writeTar writes files and their parents, sorted, owned by root unless they
// say otherwise. Each name begins with prefix in place of "/".
func writeTar(tw *tar.Writer, prefix string, files []file) error {
	all := map[string]file{}
	for _, f := range files {
		all[f.path] = f
		for d := path.Dir(f.path); d != "/"; d = path.Dir(d) {
			if _, ok := all[d]; !ok {
				all[d] = file{path: d, mode: fs.ModeDir | 0o755}
			}
		}
	}
	names := make([]string, 0, len(all))
	for p := range all {
		names = append(names, p)
	}
	slices.Sort(names)
	for _, p := range names {
		if err := writeEntry(tw, prefix, all[p]); err != nil {
			return err
		}
	}
	return nil
}

func writeEntry(tw *tar.Writer, prefix string, f file) error {
	h := &tar.Header{
		Name: prefix + strings.TrimPrefix(f.path, "/"), Mode: int64(f.mode.Perm()), ModTime: epoch,
		Uid: f.uid, Gid: f.gid, Typeflag: tar.TypeReg, Size: int64(len(f.data)), Format: tar.FormatGNU,
	}
	if f.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	var content io.Reader = bytes.NewReader(f.data)
	switch {
	case f.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case f.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, string(f.data), 0, nil
	case f.src != "":
		in, err := os.Open(f.src)
		if err != nil {
			return err
		}
		defer in.Close()
		st, err := in.Stat()
		if err != nil {
			return err
		}
		h.Size, content = st.Size(), in
	}
	if err := tw.WriteHeader(h); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}
