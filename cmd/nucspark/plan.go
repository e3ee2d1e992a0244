package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/provision"
)

func newPlanCommand(app *App) *cobra.Command {
	var asJSON, exitCode bool
	var removal provision.Removal
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what up would change, without changing anything",
		Example: `  nucspark plan
  nucspark plan --json | jq '.steps[] | select(.changes)'
  nucspark plan --exit-code || echo "something would change"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := app.survey(ctx)
			if err != nil {
				return err
			}
			defer s.fleet.Close()
			if err := s.remove(ctx, removal); err != nil {
				return err
			}
			p, err := s.plan(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				if err := writePlanJSON(app.Out, p, s.notes()); err != nil {
					return err
				}
			} else {
				writePlan(app.Out, p, s.notes())
			}
			if err := errors.Join(append(p.Errors(), s.unreachable())...); err != nil {
				return &ExitError{Code: exitFailed, Err: err}
			}
			if exitCode && p.Changes() > 0 {
				return &ExitError{Code: exitPending}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	app.removalFlags(cmd, &removal)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 when there are changes")
	return cmd
}

// writePlan shows the changes of a plan, by node.
func writePlan(w io.Writer, p *provision.Plan, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(w, "! %s\n", n)
	}
	if p.Changes() == 0 {
		fmt.Fprintf(w, "Nothing to change: %d steps hold.\n", len(p.Steps)-len(p.Errors()))
		return
	}
	var nodes []string
	byNode := map[string][]provision.Change{}
	for _, s := range p.Steps {
		node := provision.NodeOf(s.Step.ID())
		if len(s.Changes) > 0 && byNode[node] == nil {
			nodes = append(nodes, node)
		}
		byNode[node] = append(byNode[node], s.Changes...)
	}
	for _, node := range nodes {
		title := node
		if node == "" {
			title = "cluster"
		}
		fmt.Fprintf(w, "%s\n", title)
		for _, c := range byNode[node] {
			fmt.Fprintf(w, "  %s\n", changeLine(c))
			for _, text := range []string{c.Detail, c.Note} {
				if text != "" {
					fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
				}
			}
		}
	}
	fmt.Fprintf(w, "%s on %s.\n", count(p.Changes(), "change"), count(len(nodes), "place"))
}

// failing says which steps of a plan are known to fail, and why: a person is
// not asked for consent to half of it without knowing.
func failing(p *provision.Plan) []string {
	var notes []string
	for _, err := range p.Errors() {
		notes = append(notes, "will fail: "+err.Error())
	}
	return notes
}

var actionSigns = map[provision.Action]string{
	provision.Create: "+", provision.Install: "+", provision.Delete: "-", provision.Update: "~",
}

// changeLine is one change as a line: "+ file /etc/x (create): 0644 root:root".
func changeLine(c provision.Change) string {
	sign := actionSigns[c.Action]
	if sign == "" {
		sign = ">"
	}
	s := fmt.Sprintf("%s %-9s %s  %s", sign, c.Action, c.Kind, c.Key)
	switch {
	case c.Old != "" && c.New != "":
		s += fmt.Sprintf("  (%s → %s)", c.Old, c.New)
	case c.New != "":
		s += fmt.Sprintf("  (%s)", c.New)
	case c.Old != "":
		s += fmt.Sprintf("  (now: %s)", c.Old)
	}
	if c.After != "" {
		s += "  [known after " + c.After + "]"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// planJSON is the form of plan --json, version 1.
type planJSON struct {
	V       int            `json:"v"`
	Changes int            `json:"changes"`
	Notes   []string       `json:"notes,omitempty"`
	Steps   []planStepJSON `json:"steps"`
}

type planStepJSON struct {
	ID      string             `json:"id"`
	Node    string             `json:"node,omitempty"`
	Needs   []string           `json:"needs,omitempty"`
	Awaits  []string           `json:"awaits,omitempty"` // come before it, and may fail
	Changes []provision.Change `json:"changes,omitempty"`
	Error   string             `json:"error,omitempty"`
}

func writePlanJSON(w io.Writer, p *provision.Plan, notes []string) error {
	out := planJSON{V: 1, Changes: p.Changes(), Notes: notes, Steps: []planStepJSON{}}
	for _, s := range p.Steps {
		step := planStepJSON{ID: s.Step.ID(), Node: provision.NodeOf(s.Step.ID()), Needs: s.Step.Needs(), Awaits: provision.AwaitsOf(s.Step), Changes: s.Changes}
		if s.Err != nil {
			step.Error = s.Err.Error()
		}
		out.Steps = append(out.Steps, step)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
