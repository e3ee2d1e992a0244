package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/tui"
)

func newDiskCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "Take replaced and added disks into use",
		Example: `  nucspark disk accept nuc02 /data/hdfs
  nucspark disk accept nuc02 /srv/nfs --lose-volume shared`,
	}
	cmd.AddCommand(newDiskAcceptCommand(app))
	return cmd
}

func newDiskAcceptCommand(app *App) *cobra.Command {
	var yes bool
	var progress progressFlag
	var lose []string
	cmd := &cobra.Command{
		Use:   "accept NODE PATH",
		Short: "Take the new disk under a data directory into use",
		Long: `accept is for a disk that was replaced, or added, below a directory of hdfs {
dirs } or below the export of nfs. Make a file system on it and mount it where
the old one was; nucspark formats and mounts nothing. accept then writes the
file .nucspark-disk, which says whose directory it is, and starts the node's
datanode (or NFS server) anew, so that it uses it. HDFS copies again what lay on
the old disk.

It is written into an empty directory only. A directory that holds anything, the
disk of another cluster, machine or place, and one that is not mounted where the
old one was are refused. NFS volumes whose files were on the old disk are gone
with it: --lose-volume says so for each, and they begin empty with the next up.`,
		Example: `  nucspark disk accept nuc02 /data/hdfs
  nucspark disk accept nuc02 /srv/nfs --lose-volume shared`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("accept takes the name of a node and a directory")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := progress.mode(app)
			if err != nil {
				return err
			}
			return acceptDisk(cmd.Context(), app, args[0], args[1], lose, yes, mode)
		},
		ValidArgsFunction: app.completePair(storing, directoriesOf),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringArrayVar(&lose, "lose-volume", nil, "let this NFS `VOLUME` begin empty: its files were on the old disk")
	_ = cmd.RegisterFlagCompletionFunc("lose-volume", app.complete(0, volumeNames))
	progress.add(cmd)
	return cmd
}

func acceptDisk(ctx context.Context, app *App, name, dir string, lose []string, yes bool, mode tui.Mode) error {
	c, err := app.Load()
	if err != nil {
		return err
	}
	n, ok := c.Node(name)
	if !ok {
		return &usageError{fmt.Errorf("%s names no node %q", c.File, name)}
	}
	stores, exports := n.HDFS != nil && slices.Contains(n.HDFS.Dirs, dir), n.NFS != nil && n.NFS.Export == dir
	if !stores && !exports {
		return &usageError{fmt.Errorf("%s is no data directory of %s in %s; it has %s", path.Clean(dir), name, c.File, strings.Join(append(dataDirectories(n), "no other"), ", "))}
	}
	if !exports && len(lose) > 0 {
		return &usageError{fmt.Errorf("--lose-volume: %s is no export of NFS", dir)}
	}
	fleet, err := app.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer fleet.Close()
	next := retryCommand(app, "status")
	if exports {
		next = retryCommand(app, "up") + "   (makes the directories of its volumes)"
	}
	changed, err := app.carry(ctx, &task{
		fleet: fleet, nodes: []string{c.ControlPlane().Name, name}, question: fmt.Sprintf("Take %s on %s into use?", dir, name),
		retry: retryCommand(app, fmt.Sprintf("disk accept %s %s", name, dir)), done: fmt.Sprintf("using %s on %s", dir, name), next: []string{next},
		look: func(ctx context.Context) (*provision.Site, []provision.Step, error) {
			site, err := prepareWith(ctx, fleet, name)
			if err != nil {
				return nil, nil, err
			}
			if _, member := site.Members[name]; !member {
				return nil, nil, &provision.RefusedError{Reasons: []string{name + " is no member of the cluster yet; nucspark up takes its directories into use"}}
			}
			ledger, err := fleet.Ledger(ctx, name)
			if err != nil {
				return nil, nil, err
			}
			was := provision.LastMount(ledger, dir)
			if exports {
				return site, nfs.Accept(site, n, was, lose), nil
			}
			return site, hdfs.Accept(site, n, dir, was), nil
		},
	}, yes, mode)
	if err == nil && !changed {
		fmt.Fprintf(app.Err, "%s on %s is in use already\n", dir, name)
	}
	return err
}

// dataDirectories are those of a node in the file.
func dataDirectories(n *inventory.Node) []string {
	var dirs []string
	if n.HDFS != nil {
		dirs = append(dirs, n.HDFS.Dirs...)
	}
	if n.NFS != nil {
		dirs = append(dirs, n.NFS.Export)
	}
	return dirs
}
