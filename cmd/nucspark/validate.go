package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
)

// newValidateCommand returns `nucspark validate`; file is where the path of
// the inventory will be when it runs.
func newValidateCommand(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the inventory",
		Long: `Reads the inventory and reports everything that is wrong with it, each with
file, line and remedy. No machine is contacted. The exit code is 2 if there is
an error; warnings leave it at 0.`,
		Example: `  nucspark validate
  nucspark validate -f lab.hcl --json | jq '.diagnostics[].summary'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := inventory.Load(*file)
			var diags inventory.Diagnostics
			known := errors.As(err, &diags)
			if c != nil {
				diags = c.Warnings
			}
			if asJSON {
				if err != nil && !known {
					diags = inventory.Diagnostics{{Severity: inventory.Error, Summary: err.Error(), File: *file}}
				}
				return validationJSON(cmd, diags)
			}
			if err != nil && !known {
				return &ExitError{Code: exitBad, Err: err}
			}
			if len(diags) > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), diags)
			}
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s has %s\n", *file, count(len(diags), "error"))
				return &ExitError{Code: exitBad}
			}
			fmt.Fprintln(cmd.OutOrStdout(), summary(c))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// validation is what --json prints. Fields are added, never changed, within
// one format version.
type validation struct {
	FormatVersion string                `json:"format_version"`
	Valid         bool                  `json:"valid"`
	Diagnostics   inventory.Diagnostics `json:"diagnostics"`
}

func validationJSON(cmd *cobra.Command, diags inventory.Diagnostics) error {
	v := validation{FormatVersion: "1", Valid: !diags.HasErrors(), Diagnostics: diags}
	if diags == nil {
		v.Diagnostics = inventory.Diagnostics{}
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(v); err != nil {
		return err
	}
	if !v.Valid {
		return &ExitError{Code: exitBad}
	}
	return nil
}

// summary says in one line what an inventory describes.
func summary(c *inventory.Cluster) string {
	parts := []string{count(len(c.Nodes), "node")}
	if n := len(c.Datanodes()); n > 0 {
		parts = append(parts, fmt.Sprintf("HDFS on %d", n))
	}
	if n := len(c.Exporters()); n > 0 {
		parts = append(parts, fmt.Sprintf("NFS on %d", n))
	}
	if n := len(c.Volumes); n > 0 {
		parts = append(parts, count(n, "volume"))
	}
	return fmt.Sprintf("%s is valid: cluster %s, Kubernetes %s, %s", c.File, c.Name, c.Kubernetes, strings.Join(parts, ", "))
}
