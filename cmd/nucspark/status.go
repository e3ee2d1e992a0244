package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/spark"
)

func newStatusCommand(app *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether machines, Kubernetes, NFS, HDFS and Spark are healthy, or why not",
		Example: `  nucspark status
  nucspark status --json | jq '.[] | select(.ok | not)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			all, err := status(ctx, app)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(app.Out)
				enc.SetIndent("", "  ")
				if err := enc.Encode(all); err != nil {
					return err
				}
			} else {
				writeStatus(app.Out, all)
			}
			for _, h := range all {
				if !h.OK {
					return &ExitError{Code: exitFailed}
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

// status looks at everything and changes nothing. What cannot be asked is not
// healthy.
func status(ctx context.Context, app *App) ([]provision.Health, error) {
	c, err := app.Load()
	if err != nil {
		return nil, err
	}
	fleet, err := app.Connect(ctx, c)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	machines, failed := fleet.Survey(ctx)
	all := machineHealth(c, machines, failed)
	site := &provision.Site{Cluster: c, Machines: machines}
	for _, component := range []struct {
		name    string
		queries func(*provision.Site) []provision.Query
		health  func(*provision.Site, provision.Facts) []provision.Health
	}{
		{"kubernetes", kubeadm.Queries, kubeadm.Health},
		{"nfs", nfs.Queries, nfs.Health},
		{"hdfs", hdfs.Queries, hdfs.Health},
		{"spark", spark.Queries, spark.Health},
	} {
		queries := component.queries(site)
		if len(queries) == 0 {
			continue
		}
		facts, err := fleet.Read(ctx, queries)
		if err != nil {
			reason := err.Error()
			if cp := c.ControlPlane().Name; failed[cp] != nil {
				reason = fmt.Sprintf("cannot be asked while %s does not answer", cp) // the machine says why
			}
			all = append(all, provision.Health{Component: component.name, Name: "all", Reason: reason})
			continue
		}
		all = append(all, component.health(site, facts)...)
	}
	return all, nil
}

func machineHealth(c *inventory.Cluster, machines map[string]provision.Machine, failed map[string]error) []provision.Health {
	var all []provision.Health
	for _, n := range c.Nodes {
		h := provision.Health{Component: "machine", Name: n.Name, Node: n.Name}
		if err := failed[n.Name]; err != nil {
			h.Reason = err.Error()
		} else {
			m := machines[n.Name]
			h.OK = true
			h.Info = map[string]string{
				"address": n.Address.String(), "system": strings.TrimSpace(m.OS + " " + m.Version), "arch": m.Arch,
				"cpus": fmt.Sprint(m.CPUs), "memory": inventory.Size(m.Memory).Human(), "var_free": inventory.Size(m.VarFree).Human(),
			}
			if m.Identity == nil {
				h.OK, h.Reason = false, "not set up yet; run nucspark up"
			}
		}
		all = append(all, h)
	}
	return all
}

// writeStatus shows one line for each thing, with a word as well as a glyph.
func writeStatus(w io.Writer, all []provision.Health) {
	component := ""
	for _, h := range all {
		if h.Component != component {
			component = h.Component
			fmt.Fprintln(w, component)
		}
		word, text := "✓ ok     ", h.Reason
		if !h.OK {
			word = "✗ failed "
		}
		if text == "" {
			keys := make([]string, 0, len(h.Info))
			for k := range h.Info {
				keys = append(keys, k)
			}
			sort.Strings(keys)
			var parts []string
			for _, k := range keys {
				parts = append(parts, k+" "+h.Info[k])
			}
			text = strings.Join(parts, ", ")
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s %-24s %s", word, h.Name, text), " "))
	}
}
