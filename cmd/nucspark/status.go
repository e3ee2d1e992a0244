package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/spark"
	"nucspark.io/nucspark/watch"
)

func newStatusCommand(app *App) *cobra.Command {
	var asJSON, watching bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether machines, Kubernetes, NFS, HDFS and Spark are healthy, or why not",
		Long: `Looks at everything once, says what is well and what is not, and ends with code
1 where something is not.

--watch goes on looking: a screen with the load, memory, disks, temperature and
network of each machine, what HDFS holds and lacks, the workers and applications
of Spark, the volumes, and what is wrong before all else. A machine that stops
answering is told of, with the time, and comes back by itself. Without a
terminal the same is printed in lines each time, and with --json one object a
line. It ends with q or Ctrl-C, and code 0.

A look is cheap: two short processes on each machine, and some pages through the
API server. What sudo is needed for is looked at every half minute.`,
		Example: `  nucspark status
  nucspark status --json | jq '.[] | select(.ok | not)'
  nucspark status --watch
  nucspark status --watch --json --interval 30s >> cluster.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkInterval(interval, cmd.Flags().Changed("interval"), watching); err != nil {
				return err
			}
			if watching {
				ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				return watchStatus(ctx, app, interval, asJSON)
			}
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON; with --watch one object a line")
	cmd.Flags().BoolVar(&watching, "watch", false, "go on looking until q or Ctrl-C")
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "between two looks of --watch, 1s at least")
	return cmd
}

// components are the parts of the cluster that can say how they are.
var components = []watch.Component{
	{Name: "kubernetes", Queries: kubeadm.Queries, Health: kubeadm.Health},
	{Name: "nfs", Queries: nfs.Queries, Health: nfs.Health},
	{Name: "hdfs", Queries: hdfs.Queries, Health: hdfs.Health},
	{Name: "spark", Queries: spark.Queries, Health: spark.Health},
}

// status looks at everything and changes nothing. What cannot be asked is not
// healthy.
func status(ctx context.Context, app *App) ([]provision.Health, error) {
	c, fleet, err := app.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	machines, failed := fleet.Survey(ctx)
	return health(ctx, c, fleet, machines, failed), nil
}

// health looks at what runs on machines that were surveyed.
func health(ctx context.Context, c *inventory.Cluster, fleet *provision.Fleet, machines map[string]provision.Machine, failed map[string]error) []provision.Health {
	all := provision.MachineHealth(c, machines, failed)
	site := &provision.Site{Cluster: c, Machines: machines}
	for _, component := range components {
		queries := component.Queries(site)
		if len(queries) == 0 {
			continue
		}
		facts, err := fleet.Read(ctx, queries)
		if err != nil {
			reason := err.Error()
			if cp := c.ControlPlane().Name; failed[cp] != nil {
				reason = fmt.Sprintf("cannot be asked while %s does not answer", cp) // the machine says why
			}
			all = append(all, provision.Health{Component: component.Name, Name: "all", Reason: reason})
			continue
		}
		all = append(all, component.Health(site, facts)...)
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
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s %-24s %s", word, host.Clean(h.Name), host.Clean(text)), " "))
	}
}
