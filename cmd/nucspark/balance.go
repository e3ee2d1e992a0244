package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
)

func (h *hdfsCommand) balance() *cobra.Command {
	var bandwidth string
	var threshold float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "balance",
		Short: "Move blocks from full datanodes to emptier ones, as after adding a machine",
		Long: `Moves blocks from datanodes that are fuller than the average to those that are
emptier, until each is within the threshold of it: after a machine was added,
which begins empty, say. It is Hadoop's own balancer, in a pod of the cluster;
files can be read and written meanwhile, and blocks below 10 MiB stay where they
are.

Ctrl-C ends it; blocks that are on their way arrive, and it may be run again. A
run that lost its terminal goes on, and is followed by the next one. Exit code 1 when
nothing more can be moved though the datanodes differ by more than that.`,
		Example: `  nucspark hdfs balance
  nucspark hdfs balance --bandwidth 200Mi --threshold 2
  nucspark hdfs balance --json | jq .moved_bytes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := inventory.ParseSize(bandwidth)
			switch {
			case err != nil:
				return &usageError{fmt.Errorf("--bandwidth %q %w", bandwidth, err)}
			case limit < inventory.KiB: // 0 would be no limit
				return &usageError{fmt.Errorf("--bandwidth %q: blocks move with 1Ki a second at least", bandwidth)}
			case !(threshold >= 1 && threshold <= 100): // as Hadoop has it
				return &usageError{fmt.Errorf("--threshold %v: a datanode may differ by 1 to 100 percent", threshold)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := h.moveBlocks(ctx, &hdfs.Balancing{Bandwidth: limit, Threshold: threshold})
			if err != nil {
				return h.explain(err)
			}
			if asJSON {
				enc := json.NewEncoder(h.app.Out)
				enc.SetIndent("", "  ")
				err = enc.Encode(r)
			} else {
				err = writeBalanced(h.app.Out, r)
			}
			if err == nil && !r.Balanced {
				err = &ExitError{Code: exitFailed, Err: fmt.Errorf("HDFS is not balanced: %s", r.Reason)}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&bandwidth, "bandwidth", "50Mi", "what each datanode may send and take for it, in bytes a second")
	cmd.Flags().Float64Var(&threshold, "threshold", 5, "by how many percent of its capacity a datanode may differ from the average, 1 to 100")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what came of it as JSON")
	return cmd
}

// moveBlocks balances and shows how far it is.
func (h *hdfsCommand) moveBlocks(ctx context.Context, b *hdfs.Balancing) (*hdfs.Balanced, error) {
	c, err := h.app.Load()
	if err != nil {
		return nil, err
	}
	if !c.HDFS.Enabled {
		return nil, fmt.Errorf("%s has no HDFS: give a node an hdfs block with dirs and run nucspark up", c.File)
	}
	fleet, err := h.app.Connect(ctx, c)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	k, err := fleet.Kube(ctx)
	if err != nil {
		return nil, err
	}
	m := newMeter(h.app.Err, "balancing")
	b.API, b.Inventory = hdfs.NewBalanceAPI(k), c
	b.Note = func(line string) { fmt.Fprintln(h.app.Err, line) }
	b.Progress = m.show
	r, err := b.Run(ctx)
	m.end(err == nil)
	return r, err
}

// writeBalanced shows how full the datanodes are now.
func writeBalanced(w io.Writer, r *hdfs.Balanced) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, d := range r.Datanodes {
		fmt.Fprintf(out, "%s\t%s of %s\t%.1f %%\n", d.Node, inventory.Size(d.Used).Human(), inventory.Size(d.Capacity).Human(), d.Percent())
	}
	if err := out.Flush(); err != nil {
		return err
	}
	words := "Nothing more was moved: "
	if r.Balanced {
		words = "HDFS is balanced: "
	}
	_, err := fmt.Fprintf(w, "%s%d blocks moved, %s.\n", words, r.Blocks, inventory.Size(r.Bytes).Human())
	return err
}
