package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/tui"
)

func newDownCommand(app *App) *cobra.Command {
	var yes bool
	var progress progressFlag
	var erase []string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the cluster and put the machines back as they were",
		Long: `down ends the cluster: its pods, Kubernetes, and all that the cluster knows. It
puts each machine back as the ledger there says it was: packages that were not
there are purged unless something else needs them, and files, units, swap,
users, names and firewall rules are as before. It shows first what it will do,
and asks for the cluster's name.

Data directories stay: those of HDFS, the NFS exports, and the namenode's
metadata. A later up with the same inventory takes them over. --delete-data
deletes one of them; it is given once for each.

A machine that does not answer is left as it is; run down again when it does.
A run that was interrupted is finished by the next one.`,
		Example: `  nucspark down
  nucspark down --yes
  nucspark down --delete-data nuc02:/srv/nfs --delete-data nuc02:/data/hdfs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode, err := progress.mode(app)
			if err != nil {
				return err
			}
			return down(cmd.Context(), app, yes, erase, mode)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for the cluster's name")
	cmd.Flags().StringArrayVar(&erase, "delete-data", nil, "delete this data directory, too, with all that is in it: NODE:PATH, once for each")
	progress.add(cmd)
	return cmd
}

// downing is an inventory and the machines that belong to its cluster.
type downing struct {
	surveyed
	ledgers map[string][]provision.Entry // by node
	erase   map[string][]string          // data directories to delete, by node
}

func down(ctx context.Context, app *App, yes bool, erase []string, mode tui.Mode) error {
	c, err := app.Load()
	if err != nil {
		return err
	}
	dirs, err := parseErase(c, erase)
	if err != nil {
		return err
	}
	fleet, err := app.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer fleet.Close()
	site, failed, err := fleet.PrepareDown(ctx)
	if err != nil {
		return err
	}
	if err := site.Locked(); err != nil {
		return err
	}
	d := &downing{surveyed: surveyed{cluster: c, fleet: fleet, site: site, failed: failed}, erase: dirs}
	if err := d.read(ctx); err != nil {
		return err
	}
	if len(site.Machines) == 0 {
		if err := d.unreachable(); err != nil {
			return &ExitError{Code: exitFailed, Err: err}
		}
		fmt.Fprintf(app.Err, "Nothing to do: no machine of %s belongs to a cluster.\n", c.File)
		return nil
	}
	p, notes, err := d.plan(ctx)
	if err != nil {
		return err
	}
	if yes {
		for _, n := range notes {
			fmt.Fprintln(app.Err, "! "+n)
		}
	} else {
		writePlan(app.Err, p, notes)
		if !app.interactive() {
			return errNobodyAsked
		}
		fmt.Fprintf(app.Err, "This ends the cluster. Type its name, %s, to go on: ", c.Name)
		line, err := bufio.NewReader(app.In).ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if strings.TrimSpace(line) != c.Name {
			return errNothingChanged
		}
	}
	return d.carryOut(ctx, app, p, yes, mode)
}

// carryOut runs a plan of down as [carryOut] does one of up.
func (d *downing) carryOut(ctx context.Context, app *App, agreed *provision.Plan, yes bool, mode tui.Mode) error {
	err := underLock(ctx, app, d.fleet, reachable(d.site), agreed, yes, func(ctx context.Context) (p performance, err error) {
		if d.site, d.failed, err = d.fleet.PrepareDownAgain(ctx, d.site, d.failed); err != nil {
			return p, err
		}
		if err := d.read(ctx); err != nil {
			return p, err
		}
		plan, _, err := d.plan(ctx)
		return performance{site: d.site, plan: plan, mode: mode, retry: retryCommand(app, "down"), done: "down"}, err
	})
	if err != nil {
		return err
	}
	return d.unreachable()
}

// read reads the ledgers, and checks which data is to be deleted.
func (d *downing) read(ctx context.Context) error {
	d.ledgers = map[string][]provision.Entry{}
	for _, n := range d.site.Reachable() {
		ledger, err := d.fleet.Ledger(ctx, n.Name)
		if err != nil {
			return err
		}
		d.ledgers[n.Name] = ledger
	}
	var reasons []string
	for _, node := range slices.Sorted(maps.Keys(d.erase)) {
		_, here := d.site.Machines[node]
		all := d.site.DataDirectories(node, d.ledgers[node])
		for _, dir := range d.erase[node] {
			switch {
			case !here:
				reasons = append(reasons, fmt.Sprintf("--delete-data %s:%s: %[1]s did not answer, or belongs to no cluster; what is on it stays", node, dir))
				continue
			case !slices.Contains(all, dir):
				reasons = append(reasons, fmt.Sprintf("--delete-data %s:%s: that is no data directory of %[1]s; it has %s", node, dir, strings.Join(append(all, "no other"), ", ")))
				continue
			}
			for _, below := range all {
				if strings.HasPrefix(below, dir+"/") && !slices.Contains(d.erase[node], below) {
					reasons = append(reasons, fmt.Sprintf("--delete-data %s:%s: the data directory %s lies in it; name that, too", node, dir, below))
				}
			}
		}
	}
	if len(reasons) > 0 {
		return &provision.RefusedError{Reasons: reasons}
	}
	return nil
}

// plan says what is put back, and what a person should know of it.
func (d *downing) plan(ctx context.Context) (*provision.Plan, []string, error) {
	p, err := provision.MakePlan(ctx, d.fleet, d.steps())
	if err != nil {
		return nil, nil, err
	}
	notes := append(d.notes(), failing(p)...)
	var queries []provision.Query
	for node, ledger := range d.ledgers {
		queries = append(queries, ubuntu.UndoQueries(node, ledger)...)
	}
	f, err := d.fleet.Read(ctx, queries)
	if err != nil {
		return nil, nil, err
	}
	for i := range d.cluster.Nodes {
		node := d.cluster.Nodes[i].Name
		_, here := d.site.Machines[node]
		switch {
		case here && len(d.ledgers[node]) == 0:
			notes = append(notes, node+": it has no ledger; Kubernetes is taken off it, and everything else stays as it is")
		case here:
			notes = append(notes, ubuntu.UndoNotes(node, d.ledgers[node], d.erase[node], f)...)
		case d.failed[node] == nil:
			notes = append(notes, node+": it belongs to no cluster; nothing is done there")
		}
	}
	return p, notes, nil
}

// notes are those of the machines that are left as they are.
func (d *downing) notes() []string {
	var notes []string
	for name, err := range d.failed {
		notes = append(notes, fmt.Sprintf("%s stays as it is; run down again when it answers: %v", name, err))
	}
	sort.Strings(notes)
	for _, name := range d.site.Foreign() {
		notes = append(notes, fmt.Sprintf("%s is a member of the cluster and not in %s: nothing is done to it, and without its cluster it is of no use; put it into the file to take it down, too", name, d.cluster.File))
	}
	return notes
}

// steps put every machine back. Pods may use what another machine serves, so
// they end everywhere before anything below them goes; those of the control
// plane last.
func (d *downing) steps() []provision.Step {
	const ended = "cluster/undo/kubernetes"
	control := d.cluster.ControlPlane().Name
	var steps []provision.Step
	var workers, all []string
	for _, n := range d.site.Reachable() {
		all = append(all, provision.NodeReset(n.Name))
		if n.Name != control {
			workers = append(workers, provision.NodeReset(n.Name))
		}
	}
	for _, n := range d.site.Reachable() {
		var after []string
		if n.Name == control {
			after = workers
		}
		steps = append(steps, kubeadm.UndoSteps(d.site, n.Name, after...)...)
		steps = append(steps, ubuntu.UndoSteps(d.site, n.Name, d.ledgers[n.Name], d.erase[n.Name], []string{ended})...)
	}
	return append(steps, provision.Milestone{Name: ended, After: all})
}

// parseErase reads NODE:PATH of --delete-data.
func parseErase(c *inventory.Cluster, list []string) (map[string][]string, error) {
	dirs := map[string][]string{}
	for _, s := range list {
		node, dir, ok := strings.Cut(s, ":")
		if !ok || !path.IsAbs(dir) || path.Clean(dir) != dir {
			return nil, &usageError{fmt.Errorf("--delete-data %q: it is NODE:PATH, with the path as the plan shows it", s)}
		}
		if _, known := c.Node(node); !known {
			return nil, &usageError{fmt.Errorf("--delete-data %q: %s names no node %q", s, c.File, node)}
		}
		if !slices.Contains(dirs[node], dir) {
			dirs[node] = append(dirs[node], dir)
		}
	}
	return dirs, nil
}
