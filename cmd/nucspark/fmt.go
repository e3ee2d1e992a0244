package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
)

// newFmtCommand returns `nucspark fmt`; file is where the path of the
// inventory will be when it runs.
func newFmtCommand(file *string) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE...]",
		Short: "Rewrite the inventory in canonical form",
		Long: `Rewrites the inventory, or the files that are named, with canonical indentation
and alignment, and prints the names of those that it changed. Only white space
changes. "-" reads standard input and writes standard output.

With --check nothing is written; files that are not in canonical form are
listed and the exit code is 1. A file that is not valid HCL gives exit code 2.`,
		Example: `  nucspark fmt
  nucspark fmt --check clusters/*.hcl
  nucspark fmt - < cluster.hcl`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{*file}
			}
			var errs []error
			differ := false
			for _, f := range files {
				changed, err := formatFile(cmd, f, check)
				if err != nil {
					errs = append(errs, err)
				}
				differ = differ || changed
			}
			switch err := errors.Join(errs...); {
			case err != nil:
				return &ExitError{Code: exitBad, Err: err}
			case check && differ:
				return &ExitError{Code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; list what is not in canonical form")
	return cmd
}

// formatFile rewrites one file and tells whether that was, or would be, a change.
func formatFile(cmd *cobra.Command, file string, check bool) (changed bool, err error) {
	if strings.HasSuffix(file, ".json") {
		return false, fmt.Errorf("%s is JSON: fmt is for files in HCL's own form", file)
	}
	var src []byte
	if file == "-" {
		src, err = io.ReadAll(cmd.InOrStdin())
	} else {
		src, err = os.ReadFile(file)
	}
	if err != nil {
		return false, fmt.Errorf("read inventory: %w", err)
	}
	formatted, err := inventory.Format(file, src)
	if err != nil {
		return false, err
	}
	changed = !bytes.Equal(src, formatted)
	switch {
	case check && changed:
		fmt.Fprintln(cmd.OutOrStdout(), file)
	case check:
	case file == "-":
		_, err = cmd.OutOrStdout().Write(formatted)
	case changed:
		if err = replaceFile(file, formatted); err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), file)
		}
	}
	return changed, err
}

// replaceFile writes a file so that at any moment either the old or the new
// content is there, whole, with the mode it had. A symbolic link stays one.
func replaceFile(file string, content []byte) (err error) {
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	tmp, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if err = tmp.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err = tmp.Write(content); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), target)
}
