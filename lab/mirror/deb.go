package mirror

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // what md5sums files hold, see deb(5)
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// deb is a binary package.
type deb struct {
	name    string            // one of the component's packages; the recipe has NAME.control
	scripts map[string]string // maintainer script, as "postinst" → file of the recipe
	files   []file            // those below /etc that are not empty become conffiles
}

// pack writes the package into the component's debs folder, with its control
// stanza beside it for the index.
func (b *bench) pack(d deb) error {
	version := ""
	for _, p := range b.recipe.Packages {
		if p.Name == d.name {
			version = p.Version
		}
	}
	if version == "" {
		return fmt.Errorf("recipe %s has no package %s", b.recipe.Name, d.name)
	}
	control, err := b.file(d.name+".control", version)
	if err != nil {
		return err
	}
	meta := []file{}
	for kind, name := range d.scripts {
		data, err := b.file(name, version)
		if err != nil {
			return err
		}
		meta = append(meta, file{path: "/" + kind, mode: 0o755, data: data})
	}
	var size int64
	var conffiles, sums bytes.Buffer
	for _, f := range d.files {
		if f.mode.IsRegular() {
			n, sum, err := md5sum(f)
			if err != nil {
				return err
			}
			size += n
			fmt.Fprintf(&sums, "%s  %s\n", sum, strings.TrimPrefix(f.path, "/"))
			if strings.HasPrefix(f.path, "/etc/") && n > 0 {
				fmt.Fprintln(&conffiles, f.path)
			}
		}
	}
	control = fmt.Appendf(control, "Installed-Size: %d\n", (size+1023)/1024)
	meta = append(meta, file{path: "/control", mode: 0o644, data: control}, file{path: "/md5sums", mode: 0o644, data: sums.Bytes()})
	if conffiles.Len() > 0 {
		meta = append(meta, file{path: "/conffiles", mode: 0o644, data: conffiles.Bytes()})
	}

	debs := filepath.Join(b.out, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s_%s", d.name, version, debArch())
	if err := writeDeb(filepath.Join(debs, name+".deb"), b.scratch, meta, d.files); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(debs, name+".stanza"), control, 0o644)
}

func md5sum(f file) (size int64, sum string, err error) {
	h := md5.New() //nolint:gosec // see above
	var r io.Reader = bytes.NewReader(f.data)
	if f.src != "" {
		in, err := os.Open(f.src)
		if err != nil {
			return 0, "", err
		}
		defer in.Close()
		r = in
	}
	size, err = io.Copy(h, r)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// writeDeb writes the archive that deb(5) describes: an ar file of the format
// number, the control files and the content.
func writeDeb(name, scratch string, control, content []file) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.WriteString(out, "!<arch>\n"); err != nil {
		return err
	}
	if err := arMember(out, "debian-binary", 4, strings.NewReader("2.0\n")); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		files []file
	}{{"control.tar.gz", control}, {"data.tar.gz", content}} {
		// The size stands in the header before the member, so the member is
		// written to a file of its own first.
		tmp, err := os.CreateTemp(scratch, part.name)
		if err != nil {
			return err
		}
		defer tmp.Close()
		if err := writeTarGz(tmp, "./", part.files); err != nil {
			return err
		}
		size, err := tmp.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if _, err := tmp.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := arMember(out, part.name, size, tmp); err != nil {
			return err
		}
	}
	return out.Close()
}

// arMember appends one member: a header of 60 bytes and the content, padded
// to an even length (ar(5)).
func arMember(w io.Writer, name string, size int64, r io.Reader) error {
	if _, err := fmt.Fprintf(w, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, epoch.Unix(), 0, 0, 0o100644, size); err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	if size%2 == 1 {
		_, err := w.Write([]byte{'\n'})
		return err
	}
	return nil
}

// writeTarGz writes files as a compressed tar. The fastest level is enough:
// all of it is read over a local network.
func writeTarGz(w io.Writer, prefix string, files []file) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	if err := writeTar(tw, prefix, files); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return zw.Close()
}
