package mirror

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refAnnotation names an image in the index of an OCI layout
// (image-spec, annotations.md).
const refAnnotation = "org.opencontainers.image.ref.name"

// searchPath is the PATH of every image.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// layerFile is where a base component keeps its layer.
const layerFile = "layer.tar.gz"

// layer writes files as a compressed layer into the scratch folder.
func (b *bench) layer(files []file) (string, error) {
	f, err := os.CreateTemp(b.scratch, "layer-*.tar.gz")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := writeTarGz(f, "", files); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// scratchFiles are what an image without a base needs to be usable.
func scratchFiles() []file {
	return []file{
		{path: "/etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n")},
		{path: "/etc/group", mode: 0o644, data: []byte("root:x:0:\nnobody:x:65534:\n")},
		{path: "/tmp", mode: os.ModeDir | os.ModeSticky | 0o777},
	}
}

// image puts an image together from layer files, the lowest first, and adds it
// to the component's OCI layout.
func (b *bench) image(ref string, config v1.Config, layers ...string) error {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range layers {
		layer, err := tarball.LayerFromFile(l, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return err
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Created = "linux", runtime.GOARCH, v1.Time{Time: epoch}
	cf.Config = config
	cf.Config.Env = append([]string{searchPath}, config.Env...)
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return err
	}
	return b.addImage(ref, img)
}

// addImage writes an image into the component's OCI layout.
func (b *bench) addImage(ref string, img v1.Image) error {
	dir := filepath.Join(b.out, "oci")
	l, err := layout.FromPath(dir)
	if errors.Is(err, os.ErrNotExist) {
		l, err = layout.Write(dir, empty.Index)
	}
	if err != nil {
		return err
	}
	return l.AppendImage(img, layout.WithAnnotations(map[string]string{refAnnotation: ref}))
}

// debootstrap makes a minimal Debian with some packages and writes it as
// layer.tar.gz into the component's folder, with passwd and group beside it.
func (b *bench) debootstrap(ctx context.Context, packages ...string) error {
	raw := filepath.Join(b.scratch, "root.tar")
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--variant=minbase", "--include="+strings.Join(packages, ","),
		"--aptopt=Acquire::Languages none", "--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-include=/usr/share/doc/*/copyright",
		// Java's packages link their manual pages and fail without the folder.
		`--essential-hook=mkdir -p "$1/usr/share/man/man1"`,
		b.recipe.Version, raw)
	cmd.Dir = b.scratch
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()))
	if err := b.exec(cmd, func(string) {}); err != nil {
		return err
	}
	in, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer in.Close()
	return b.rewriteTar(in, filepath.Join(b.out, layerFile), nil, func(h *tar.Header, content io.Reader) (io.Reader, error) {
		h.Name = strings.TrimPrefix(h.Name, "./")
		top, rest, _ := strings.Cut(h.Name, "/")
		switch {
		case h.Name == "" || rest != "" && (top == "dev" || top == "proc" || top == "sys"):
			return nil, nil // the runtime makes these
		case h.Name == "etc/passwd" || h.Name == "etc/group":
			data, err := io.ReadAll(content)
			if err != nil {
				return nil, err
			}
			return bytes.NewReader(data), os.WriteFile(filepath.Join(b.out, path.Base(h.Name)), data, 0o644)
		}
		return content, nil
	})
}

// rewriteTar copies a tar into a compressed layer and adds files to it. edit
// may change each header; it returns the content, or nil to leave the entry out.
func (b *bench) rewriteTar(in io.Reader, out string, add []file, edit func(*tar.Header, io.Reader) (io.Reader, error)) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	zw, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		content, err := edit(h, tr)
		if err != nil {
			return err
		}
		if content == nil {
			continue
		}
		h.ModTime, h.AccessTime, h.ChangeTime = epoch, time.Time{}, time.Time{}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(tw, content); err != nil {
			return err
		}
	}
	if err := writeTar(tw, "", add); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return f.Close()
}

// account gives /etc/passwd and /etc/group of a base, a folder, with one more user and
// a group of the same name and id.
func account(base, name string, id int, home string) ([]file, error) {
	var out []file
	for kind, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", name, id, id, home),
		"group":  fmt.Sprintf("%s:x:%d:\n", name, id),
	} {
		data, err := os.ReadFile(filepath.Join(base, kind))
		if err != nil {
			return nil, err
		}
		out = append(out, file{path: "/etc/" + kind, mode: 0o644, data: append(data, line...)})
	}
	return out, nil
}
