package mirror

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// publish puts mirror/ together from the components by hard links. It does
// nothing where mirror/ was made from the same ones. The new folder replaces
// the old one by a rename, so a server that runs goes on with the new files.
func (r *run) publish(all []recipe, keys map[string]string) error {
	final := Dir(r.cache)
	var state strings.Builder
	for _, c := range all {
		fmt.Fprintln(&state, c.Name, c.Version, keys[c.Name])
	}
	if was, err := os.ReadFile(filepath.Join(final, "contents")); err == nil && string(was) == state.String() {
		return nil
	}
	r.tell(Event{Phase: PhasePublish, Message: "putting the repository and the images together"})
	signer, err := loadKey(r.cache)
	if err != nil {
		return err
	}
	tmp := final + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	apt, oci := filepath.Join(tmp, "apt"), filepath.Join(tmp, "oci")
	if err := os.MkdirAll(apt, 0o755); err != nil {
		return err
	}
	target, err := layout.Write(oci, empty.Index)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(oci, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	for _, c := range all {
		dir := r.dirs[c.Name]
		if len(c.Images) > 0 {
			if err := addLayout(target, oci, filepath.Join(dir, "oci"), c.Images); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		if len(c.Packages) > 0 {
			if err := linkAll(filepath.Join(dir, "debs"), apt); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
	}
	if err := writeIndex(apt, signer); err != nil {
		return err
	}
	if err := signer.writePublic(filepath.Join(tmp, "key.asc")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "contents"), []byte(state.String()), 0o644); err != nil {
		return err
	}
	old := final + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(final, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// addLayout adds the images of a component's layout to the mirror's and checks
// that they are those it promised.
func addLayout(target layout.Path, dir, from string, want []string) error {
	src, err := layout.FromPath(from)
	if err != nil {
		return err
	}
	index, err := src.ImageIndex()
	if err != nil {
		return err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(m.Manifests) != len(want) {
		return fmt.Errorf("%d images were made, not %d", len(m.Manifests), len(want))
	}
	for _, d := range m.Manifests {
		if err := target.AppendDescriptor(d); err != nil {
			return err
		}
	}
	return linkAll(filepath.Join(from, "blobs", "sha256"), filepath.Join(dir, "blobs", "sha256"))
}

// linkAll hard-links the files of one folder into another; what is there
// already has the same name and content.
func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
