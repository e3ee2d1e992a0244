package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/wizard"
)

func newNodeCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Put a machine into the inventory, or take one out",
		Long: `node edits the inventory in place: one node block is written or taken out, and
every other byte stays as it is, comments and order too. It changes no machine;
nucspark up does that afterwards.`,
		Example: `  nucspark node add nuc04 --address 192.168.1.14
  nucspark node remove nuc04`,
	}
	cmd.AddCommand(newNodeAddCommand(app), newNodeRemoveCommand(app))
	return cmd
}

// nodeAddOptions are the flags of nucspark node add.
type nodeAddOptions struct {
	address string
	hdfs    []string
	nfs     string
	yes     bool
}

func newNodeAddCommand(app *App) *cobra.Command {
	var o nodeAddOptions
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Put a machine into the inventory",
		Long: `add logs in to the machine as the inventory says (user, key, port), asks what it
is, and writes a worker's node block with its address, host key and MAC, and with
a directory for HDFS on each of its disks for data. Nothing is changed on the
machine. The block is shown before it is written.

Without --address the name is looked up.`,
		Example: `  nucspark node add nuc04 --address 192.168.1.14
  nucspark node add nuc04 --address 192.168.1.14 --hdfs /data/hdfs --hdfs /data2/hdfs --nfs /data/nfs
  nucspark node add nuc05 --address 192.168.1.15 --hdfs none --yes --accept-new-host-keys`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return nodeAdd(cmd.Context(), app, args[0], o) },
	}
	cmd.Flags().StringVar(&o.address, "address", "", "its IPv4 address")
	cmd.Flags().StringArrayVar(&o.hdfs, "hdfs", nil, "a directory for HDFS, once for each disk; none for a machine that stores no blocks (default: what its disks suggest)")
	cmd.Flags().StringVar(&o.nfs, "nfs", "", "a directory to export by NFS")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "write without asking")
	return cmd
}

func newNodeRemoveCommand(app *App) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a machine out of the inventory",
		Long: `remove takes the node block out of the inventory; comments around it stay. It
refuses where the rest would not hold, as for a node that has a volume. Nothing
is done to the machine.`,
		Example: `  nucspark node remove nuc04
  nucspark node remove nuc04 --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.complete(1, nodeNames),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := app.Load(); err != nil {
				return err
			}
			src, err := os.ReadFile(app.File)
			if err != nil {
				return &ExitError{Code: exitBad, Err: err}
			}
			out, err := inventory.RemoveNode(app.File, src, args[0])
			if err != nil {
				var diags inventory.Diagnostics
				if errors.As(err, &diags) {
					fmt.Fprintf(app.Err, "%s would not hold without %s, and stays as it is:\n", app.File, args[0])
				}
				return &ExitError{Code: exitBad, Err: err}
			}
			return app.rewrite(src, out, yes, args[0]+" is out of "+app.File+"; nothing was done to the machine")
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "write without asking")
	return cmd
}

func nodeAdd(ctx context.Context, app *App, name string, o nodeAddOptions) error {
	bad := func(err error) error { return &ExitError{Code: exitBad, Err: err} }
	c, err := app.Load()
	if err != nil {
		return err
	}
	if err := inventory.CheckName(name); err != nil {
		return &usageError{err}
	}
	if _, twice := c.Node(name); twice {
		return bad(fmt.Errorf("%s has a node %q already", app.File, name))
	}
	address, err := addressOf(ctx, name, o.address)
	if err != nil {
		return bad(err)
	}
	m, err := app.meet(ctx, c, name, address)
	if err != nil {
		return err
	}
	verdict := discover.Judge([]discover.Machine{m}, ubuntu.Supported)[address]
	for _, w := range verdict.Warnings {
		fmt.Fprintf(app.Err, "! %s: %s\n", name, w)
	}
	if len(verdict.Problems) > 0 {
		return bad(fmt.Errorf("%s: %s", name, strings.Join(verdict.Problems, "\n"+name+": ")))
	}
	n := inventory.Node{Name: name, Address: address, HostKey: m.Key.Authorized, Role: inventory.Worker}
	if l := m.Link(); l != nil {
		n.MAC = l.MAC
	}
	dirs := o.hdfs
	switch {
	case len(dirs) == 0:
		dirs = wizard.HDFSDirs(m)
	case len(dirs) == 1 && dirs[0] == "none":
		dirs = nil
	}
	if len(dirs) > 0 {
		n.HDFS = &inventory.NodeHDFS{Dirs: dirs}
	}
	if o.nfs != "" {
		n.NFS = &inventory.NodeNFS{Export: o.nfs}
	}
	src, err := os.ReadFile(app.File)
	if err != nil {
		return bad(err)
	}
	out, err := inventory.AddNode(app.File, src, n, wizard.About(m)...)
	if err != nil {
		fmt.Fprintf(app.Err, "%s would not hold with %s, and stays as it is:\n", app.File, name)
		return bad(err)
	}
	return app.rewrite(src, out, o.yes, fmt.Sprintf("%s is in %s. Go on with: %s", name, app.File, retryCommand(app, "up")))
}

// addressOf reads an address, or looks a name up.
func addressOf(ctx context.Context, name, text string) (netip.Addr, error) {
	if text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return a, fmt.Errorf("%q is not an IPv4 address", text)
		}
		return a, nil
	}
	a, err := discover.Lookup(ctx, name)
	if err != nil {
		return a, fmt.Errorf("the name %s has no address here; add --address: %w", name, err)
	}
	return a, nil
}

// meet asks one machine what it is, once its host key was accepted.
func (a *App) meet(ctx context.Context, c *inventory.Cluster, name string, address netip.Addr) (discover.Machine, error) {
	f, err := newFinder(a, nil)
	if err != nil {
		return discover.Machine{}, err
	}
	if c.SSH.KnownHosts != "" {
		f.known = c.SSH.KnownHosts
	}
	seen := discover.See(ctx, address, c.SSH.Port, f.known)
	if seen.Err != nil {
		return discover.Machine{}, fmt.Errorf("%s (%s): no SSH server shows its key on port %d: %w", name, address, c.SSH.Port, seen.Err)
	}
	if !seen.Key.Known {
		ok, err := a.acceptHostKey(ctx, name, seen.Key.Fingerprint)
		if err != nil {
			return discover.Machine{}, err
		}
		if !ok {
			return discover.Machine{}, &ExitError{Code: exitBad, Err: fmt.Errorf("%s (%s): nobody accepted its host key %s; nothing was written", name, address, seen.Key.Fingerprint)}
		}
	}
	return discover.Ask(ctx, seen, discover.Login{User: c.SSH.User, Port: c.SSH.Port, KeyFile: c.SSH.PrivateKey, Keys: new(host.Keys),
		Password: c.SSH.Password, SudoPassword: c.SSH.SudoPassword, Passphrase: a.passphrase, Dial: f.dial})
}

// rewrite shows what an edit changes in the inventory, asks, and writes it.
func (a *App) rewrite(before, after []byte, yes bool, done string) error {
	for _, line := range changedLines(before, after) {
		fmt.Fprintln(a.Err, line)
	}
	if !yes {
		if !a.interactive() {
			return &ExitError{Code: exitBad, Err: errors.New("there is no terminal to ask for consent; add --yes to write without asking")}
		}
		ok, err := a.ask("Write this to " + a.File + "?")
		if err != nil {
			return err
		}
		if !ok {
			return &ExitError{Code: exitBad, Err: errors.New("nothing was written")}
		}
	}
	if err := replaceFile(a.File, after); err != nil {
		return err
	}
	fmt.Fprintln(a.Err, done)
	return nil
}

// changedLines are the lines between the common begin and the common end of two
// texts: - those that go, + those that come.
func changedLines(before, after []byte) []string {
	b, a := bytes.SplitAfter(before, []byte("\n")), bytes.SplitAfter(after, []byte("\n"))
	for len(b) > 0 && len(a) > 0 && bytes.Equal(b[0], a[0]) {
		b, a = b[1:], a[1:]
	}
	for len(b) > 0 && len(a) > 0 && bytes.Equal(b[len(b)-1], a[len(a)-1]) {
		b, a = b[:len(b)-1], a[:len(a)-1]
	}
	var lines []string
	for _, l := range b {
		lines = append(lines, "- "+strings.TrimRight(string(l), "\n"))
	}
	for _, l := range a {
		lines = append(lines, "+ "+strings.TrimRight(string(l), "\n"))
	}
	return lines
}
