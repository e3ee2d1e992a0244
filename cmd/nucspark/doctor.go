package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/doctor"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/ubuntu"
)

func newDoctorCommand(app *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what would stop nucspark up, on this computer and on every machine",
		Long: `doctor looks at this computer and at every machine, and lists all that would stop
nucspark up, each with what to do: the inventory, keys, host keys, the way to
each machine, login and sudo, what up refuses a machine for, another run that is
at work, and the steps that are known to fail. It changes nothing, takes no lock
and accepts no host key.

The exit code is 0 where nothing would stop up, and 1 where something would.
--json prints a list of objects with check, node, ok, problem and remedy: one for
everything that was looked at. The node is "" for this computer and for the
cluster. What is ok and has a problem is worth knowing, and stops nothing.`,
		Example: `  nucspark doctor
  nucspark doctor && nucspark up
  nucspark doctor --json | jq '.[] | select(.ok | not)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if app.AcceptNewHostKeys {
				return &usageError{errors.New("doctor accepts no host key: leave --accept-new-host-keys out")}
			}
			app.AcceptNoHostKeys = true
			e, err := examine(cmd.Context(), app)
			if err != nil {
				return err
			}
			defer e.close()
			all := e.findings
			stops := doctor.Stops(all)
			if asJSON {
				enc := json.NewEncoder(app.Out)
				enc.SetIndent("", "  ")
				if err := enc.Encode(all); err != nil {
					return err
				}
			} else {
				for _, line := range doctor.Lines(all) {
					fmt.Fprintln(app.Out, line)
				}
				if e.unseen != "" {
					fmt.Fprintln(app.Out, e.unseen)
				}
				if stops == 0 {
					fmt.Fprintf(app.Out, "Nothing would stop %s.\n", retryCommand(app, "up"))
				} else {
					fmt.Fprintf(app.Out, "%s would stop %s.\n", count(stops, "thing"), retryCommand(app, "up"))
				}
			}
			if stops > 0 {
				return &ExitError{Code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

// examined is all that a look at everything brought.
type examined struct {
	findings []doctor.Finding
	unseen   string // what was not looked at, since something comes before it; "" for nothing

	cluster *inventory.Cluster // nil for a bad inventory, and then so is the rest
	fleet   *provision.Fleet
	found   *provision.Examination
	notes   []string
	plan    *provision.Plan // nil where none could be made
}

func (e *examined) close() {
	if e.fleet != nil {
		e.fleet.Close()
	}
}

// examine looks at everything. Its error is that of a look which was ended, or
// that this computer has no place for nucspark's files. The caller closes.
func examine(ctx context.Context, app *App) (*examined, error) {
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	c, err := inventory.Load(app.File)
	e := &examined{findings: doctor.Inventory(c, err), cluster: c}
	add := func(found ...doctor.Finding) { e.findings = append(e.findings, found...) }
	if c == nil {
		add(doctor.State(dir))
		e.unseen = "The machines were not looked at: the inventory comes first."
		return e, nil
	}
	known, err := knownHosts(c)
	if err != nil {
		return nil, err
	}
	add(doctor.Key(host.Options{KeyFile: c.SSH.PrivateKey, Password: c.SSH.Password}.Means(), app.interactive())...)
	add(doctor.KnownHosts(c, known), doctor.State(dir))
	noRoute := map[string]error{}
	for _, n := range c.Nodes {
		noRoute[n.Name] = doctor.Route(n.Address)
	}
	if e.fleet, err = app.Connect(ctx, c); err != nil {
		return nil, err
	}
	if e.found, err = e.fleet.Examine(ctx, ubuntu.Supported); err != nil {
		e.close()
		return nil, err
	}
	add(doctor.Machines(c, e.found, noRoute)...)
	if !e.found.Plannable() {
		e.unseen = "The plan was not looked at: what is above comes first."
		return e, nil
	}
	// Who is left out has a finding already.
	s := &surveyed{cluster: c, fleet: e.fleet, site: e.found.Site}
	left := s.remove(ctx, provision.Removal{})
	var wrong error
	if left == nil {
		e.plan, wrong = s.plan(ctx)
	}
	if ctx.Err() != nil {
		e.close()
		return nil, ctx.Err()
	}
	e.notes = s.notes()
	add(doctor.Plan(c, e.plan, wrong, left, e.notes)...)
	return e, nil
}
