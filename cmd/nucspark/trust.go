package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/tui"
)

func newTrustCommand(app *App) *cobra.Command {
	var yes bool
	var progress progressFlag
	var lose []string
	cmd := &cobra.Command{
		Use:   "trust NODE",
		Short: "Let a replaced machine take the name of the old one",
		Long: `trust is for a machine that was replaced or installed anew and has the name and
the address of the one that joined the cluster. It shows the host key and the
machine-id that are known and those that the machine has now, and asks. Then it
pins the new host key in the state directory and writes into the cluster's
record that this one machine may take the place of the old one. The next up
deletes what the cluster knows of the old machine and joins the new one. HDFS
copies again the blocks of which the old one had a copy.

Compare the host key with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on
the machine before you answer. A host key in the file stays as it is: trust says
what to write there. A machine that belongs to another cluster is refused, and
so is the control plane. NFS volumes that were on the old machine are gone with
its disk: --lose-volume says so for each, and they begin empty.`,
		Example: `  nucspark trust nuc03
  nucspark trust nuc03 --yes && nucspark up --yes
  nucspark trust nuc02 --lose-volume shared`,
		Args:              oneNode,
		ValidArgsFunction: app.complete(1, replaceable),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := progress.mode(app)
			if err != nil {
				return err
			}
			return trust(cmd.Context(), app, args[0], lose, yes, mode)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask: the host key was compared")
	cmd.Flags().StringArrayVar(&lose, "lose-volume", nil, "let this NFS `VOLUME` begin empty: its files were on the old machine")
	_ = cmd.RegisterFlagCompletionFunc("lose-volume", app.complete(0, volumeNames))
	progress.add(cmd)
	return cmd
}

func oneNode(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes the name of one node", cmd.Name())
	}
	return nil
}

func trust(ctx context.Context, app *App, name string, lose []string, yes bool, mode tui.Mode) error {
	c, err := app.Load()
	if err != nil {
		return err
	}
	n, ok := c.Node(name)
	switch {
	case !ok:
		return &usageError{fmt.Errorf("%s names no node %q", c.File, name)}
	case n.Role == inventory.ControlPlane:
		return &provision.RefusedError{Reasons: []string{name + " is the control plane, which knows what the cluster is: it cannot be replaced"}}
	}
	shown, err := app.compareHostKey(ctx, c, n, yes)
	if err != nil {
		return err
	}
	fleet, err := app.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer fleet.Close()
	fleet.Trusting(name)
	var was provision.Member
	var machine provision.Machine
	changed, err := app.carry(ctx, &task{
		fleet: fleet, nodes: []string{c.ControlPlane().Name, name}, question: fmt.Sprintf("Is that the new %s?", name),
		retry: retryCommand(app, "trust "+name), done: "ready for the new " + name,
		look: func(ctx context.Context) (*provision.Site, []provision.Step, error) {
			site, err := prepareWith(ctx, fleet, name)
			if err != nil {
				return nil, nil, err
			}
			site.LoseVolumes = lose
			was, machine = site.Members[name], site.Machines[name]
			if was.MachineID == "" || was.MachineID == machine.MachineID {
				return site, nil, nil
			}
			return site, append(nfs.Forget(site, name), kubeadm.Trust(site, name)...), nil
		},
	}, yes, mode)
	if err != nil {
		return err
	}
	// Last: until here another run begins with the same question.
	if shown != nil {
		known, err := knownHosts(c)
		if err != nil {
			return err
		}
		if err := host.Repin(known, app.reach(c, n, known).Address, shown.Key); err != nil {
			return fmt.Errorf("%s: the host key could not be pinned: %w", name, err)
		}
		fmt.Fprintf(app.Err, "%s: the host key %s is pinned in %s\n", name, shown.Fingerprint(), known)
	}
	switch {
	case was.MachineID == "":
		fmt.Fprintf(app.Err, "%s is no member of the cluster yet; %s joins it\n", name, retryCommand(app, "up"))
	case was.MachineID == machine.MachineID:
		fmt.Fprintf(app.Err, "%s is the machine that joined (machine-id %s)\n", name, machine.MachineID)
	case !changed:
		fmt.Fprintf(app.Err, "%s is trusted already; %s joins it\n", name, retryCommand(app, "up"))
	default:
		fmt.Fprintf(app.Err, "%s joins it\n", retryCommand(app, "up"))
	}
	return nil
}

// compareHostKey shows the pinned host key of a node and the one that its
// machine has, and asks whether that is the right one. If so, it counts from
// here on, though it is pinned nowhere yet; the answer is nil where nothing is
// to be pinned.
func (a *App) compareHostKey(ctx context.Context, c *inventory.Cluster, n *inventory.Node, yes bool) (*host.Shown, error) {
	known, err := knownHosts(c)
	if err != nil {
		return nil, err
	}
	shown, err := host.Show(ctx, a.reach(c, n, known))
	if err != nil {
		return nil, err
	}
	if shown.Same || shown.Pinned == nil { // one that nobody knows is asked about as ever
		return nil, nil
	}
	fmt.Fprintf(a.Err, "%s at %s\n  host key that is pinned: %s\n  host key that it shows:  %s\n", n.Name, n.Address, shown.Pinned.Want, shown.Fingerprint())
	switch {
	case n.HostKey != "":
		return nil, &provision.RefusedError{Reasons: []string{fmt.Sprintf("%s pins the host key of %s. If this is the new machine (compare the key with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), "+
			"write host_key = %q into its block and run it again", c.File, n.Name, shown.Authorized())}}
	case c.SSH.KnownHosts != "":
		return nil, &provision.RefusedError{Reasons: []string{fmt.Sprintf("line %d of %s, which %s names, pins the host key of %s. If this is the new machine, put the new key there and run it again",
			shown.Pinned.Line, shown.Pinned.File, c.File, n.Name)}}
	}
	if !yes {
		if !a.interactive() {
			return nil, &ExitError{Code: exitBad, Err: errors.New("there is no terminal to ask whether the new host key is the right one; compare it, and add --yes")}
		}
		ok, err := a.ask("Compare it with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the machine. Is it the same?")
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errNothingChanged
		}
	}
	n.HostKey = shown.Authorized()
	return &shown, nil
}
