package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/tui"
)

func newVolumeCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "Move NFS volumes between machines",
		Example: `  nucspark volume move shared nuc03
  nucspark volume move shared nuc03 --drop-old`,
	}
	cmd.AddCommand(newVolumeMoveCommand(app))
	return cmd
}

func newVolumeMoveCommand(app *App) *cobra.Command {
	var yes, drop bool
	var progress progressFlag
	cmd := &cobra.Command{
		Use:   "move NAME NODE",
		Short: "Move an NFS volume to the export of another node",
		Long: `move copies the files of a volume to another node, through this computer, and
compares all of them by checksum. Then the cluster gets the volume and its claim
anew with the same names, so that applications go on with the files in the new
place. Write the new node into the volume's block first: the file says where
things are.

It is refused while pods use the volume, and names them: end them, and start
them again afterwards. What was interrupted is finished by running it again.

The old copy stays as it was. When you have seen that the new one is right,
--drop-old deletes it, unless something was changed in it since.`,
		Example: `  nucspark volume move shared nuc03
  nucspark volume move shared nuc03 --drop-old`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("move takes the name of a volume and that of a node")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := progress.mode(app)
			if err != nil {
				return err
			}
			return moveVolume(cmd.Context(), app, args[0], args[1], drop, yes, mode)
		},
		ValidArgsFunction: app.completePair(volumeNames, volumeNode),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&drop, "drop-old", false, "delete the old copy of a volume that was moved")
	progress.add(cmd)
	return cmd
}

func moveVolume(ctx context.Context, app *App, name, node string, drop, yes bool, mode tui.Mode) error {
	c, err := app.Load()
	if err != nil {
		return err
	}
	v, err := volumeAt(c, name, node)
	if err != nil {
		return err
	}
	fleet, err := app.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer fleet.Close()
	var nodes []string
	for _, n := range c.Nodes {
		if n.NFS != nil || n.Role == inventory.ControlPlane {
			nodes = append(nodes, n.Name)
		}
	}
	t := task{fleet: fleet, question: fmt.Sprintf("Move %s to %s?", name, node), retry: retryCommand(app, fmt.Sprintf("volume move %s %s", name, node)),
		done: fmt.Sprintf("using %s on %s", name, node), next: []string{retryCommand(app, fmt.Sprintf("volume move %s %s --drop-old", name, node)) + "   (when you have seen that it is right)"}}
	if drop {
		t.question, t.next, t.retry = "Delete the old copy?", nil, t.retry+" --drop-old"
	}
	t.look = func(ctx context.Context) (*provision.Site, []provision.Step, error) {
		site, failed, err := fleet.Prepare(ctx, ubuntu.Supported)
		if err != nil {
			return nil, nil, err
		}
		t.nodes = nil
		for _, n := range nodes {
			if failed[n] == nil {
				t.nodes = append(t.nodes, n)
			}
		}
		if failed[node] != nil {
			return nil, nil, failed[node]
		}
		f, err := fleet.Read(ctx, nfs.Places(c, v))
		if err != nil {
			return nil, nil, err
		}
		from, err := nfs.From(site, v, f)
		switch {
		case err != nil:
			return nil, nil, err
		case drop && from != nil:
			return nil, nil, &provision.RefusedError{Reasons: []string{fmt.Sprintf("volume %s is on %s yet: move it first, without --drop-old", name, from.Name)}}
		case drop:
			return site, nfs.DropOld(site, v), nil
		}
		return site, nfs.Move(site, v, from), nil
	}
	changed, err := app.carry(ctx, &t, yes, mode)
	if err == nil && !changed {
		if drop {
			fmt.Fprintf(app.Err, "There is no old copy of %s\n", name)
		} else {
			fmt.Fprintf(app.Err, "%s is on %s\n", name, node)
		}
	}
	return err
}

// volumeAt is the volume of that name, which the file has on that node.
func volumeAt(c *inventory.Cluster, name, node string) (inventory.Volume, error) {
	n, ok := c.Node(node)
	if !ok {
		return inventory.Volume{}, &usageError{fmt.Errorf("%s names no node %q", c.File, node)}
	}
	if n.NFS == nil {
		return inventory.Volume{}, &usageError{fmt.Errorf("%s has no nfs block in %s; give it one and run nucspark up first", node, c.File)}
	}
	for _, v := range c.Volumes {
		if v.Name == name && v.Node == node {
			return v, nil
		}
		if v.Name == name {
			return v, &provision.RefusedError{Reasons: []string{fmt.Sprintf("the volume %s is on %s in %s: write node = %q into its block first, then run this again", name, v.Node, c.File, node)}}
		}
	}
	return inventory.Volume{}, &usageError{fmt.Errorf("%s names no volume %q", c.File, name)}
}
