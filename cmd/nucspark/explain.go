package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/kubeadm"
	"nucspark.io/nucspark/nfs"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/spark"
)

// explanations are those of all components, which are called as status calls
// them.
var explanations = []struct {
	component string
	steps     []provision.Explanation
}{
	{"machine", ubuntu.Explanations},
	{"kubernetes", kubeadm.Explanations},
	{"nfs", nfs.Explanations},
	{"hdfs", hdfs.Explanations},
	{"spark", spark.Explanations},
}

// explained is the explanation of a component's steps.
type explained struct {
	provision.Explanation
	component string
}

// explainedJSON is one element of what --json prints.
type explainedJSON struct {
	Step      string `json:"step"`      // without the node; * stands for anything
	Component string `json:"component"` // machine, kubernetes, nfs, hdfs, spark
	Summary   string `json:"summary"`   // the first sentence
	Text      string `json:"text"`      // all of them
}

func newExplainCommand(app *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [STEP]",
		Short: "Say what a step does, why, and what it changes",
		Long: `explain says in plain words what a step of up or down does, why, what it changes
on the machine, what undoes it, and what it interrupts. STEP is an ID as the
screen, a plan, a log or an error shows it. The node can be left out. The
beginning of an ID stands for all steps that begin so, and the name of a
component (machine, kubernetes, nfs, hdfs, spark) for all of its steps.

Without STEP it lists all steps with one sentence each; * stands for what
differs, such as a directory. It needs no inventory and contacts no machine.`,
		Example: `  nucspark explain
  nucspark explain nuc02/containerd/config
  nucspark explain hdfs/format
  nucspark explain firewall
  nucspark explain --json | jq -r '.[] | select(.component == "hdfs").step'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: app.completeSteps,
		RunE: func(_ *cobra.Command, args []string) error {
			asked := ""
			if len(args) > 0 {
				asked = args[0]
			}
			found := explain(asked)
			if found == nil {
				return &usageError{fmt.Errorf("no step is called %q;%s nucspark explain lists all", asked, likeStep(asked))}
			}
			if asJSON {
				list := []explainedJSON{}
				for _, e := range found {
					list = append(list, explainedJSON{e.Step, e.component, e.Summary(), e.Plain()})
				}
				enc := json.NewEncoder(app.Out)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			if asked == "" {
				return app.listSteps(found)
			}
			for i, e := range found {
				if i > 0 {
					fmt.Fprintln(app.Out)
				}
				fmt.Fprintf(app.Out, "%s\n  %s\n", e.Step, strings.ReplaceAll(e.Text, "\n", "\n  "))
			}
			if e := found[0]; len(found) == 1 && e.Name() == e.Step && explain(e.Step+"/") != nil {
				fmt.Fprintf(app.Err, "nucspark explain %s/ explains the steps below it.\n", e.Step)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list as JSON")
	return cmd
}

// explain finds what somebody asks for: everything for "", all steps of a
// component for its name, and what [provision.Explain] finds.
func explain(asked string) []explained {
	var texts []provision.Explanation
	for _, c := range explanations {
		texts = append(texts, c.steps...)
	}
	hits := provision.Explain(texts, asked)
	var found []explained
	for _, c := range explanations {
		for _, e := range c.steps {
			if asked == "" || asked == c.component || slices.Contains(hits, e) {
				found = append(found, explained{e, c.component})
			}
		}
	}
	return found
}

// listSteps shows one sentence for each step, by component.
func (a *App) listSteps(all []explained) error {
	out := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
	component := ""
	for _, e := range all {
		if e.component != component {
			component = e.component
			fmt.Fprintln(out, component)
		}
		fmt.Fprintf(out, "  %s\t%s\n", e.Step, e.Summary())
	}
	return out.Flush()
}

// likeStep asks whether a step was meant that is spelled much like a name, ""
// where there is none.
func likeStep(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	best, distance := "", 3
	for _, e := range explain("") {
		for _, n := range []string{name, rest} {
			if d := levenshtein.Distance(n, e.Name(), nil); d < distance {
				best, distance = e.Name(), d
			}
		}
	}
	if best == "" {
		return ""
	}
	return " did you mean " + best + "?"
}

// completeSteps completes the names of steps, after a node of the inventory
// those that belong to nodes.
func (a *App) completeSteps(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := ""
	if node, _, ok := strings.Cut(typed, "/"); ok {
		if c, err := inventory.Load(a.File); err == nil {
			if _, known := c.Node(node); known {
				before = node + "/"
			}
		}
	}
	var names []string
	for _, e := range explain("") {
		if before == "" || provision.NodeOf(e.Step) != "" {
			names = append(names, before+e.Name()+"\t"+e.Summary())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
