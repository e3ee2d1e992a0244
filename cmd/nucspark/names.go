package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
)

// nameLine is a name that a command takes, and what it shows then.
type nameLine struct {
	Name  string `json:"name"`
	Shows string `json:"shows"`
}

// writeNames lists what a command can be called with, as lines that can be
// copied, or as JSON, one name on a line.
func (a *App) writeNames(command string, all []nameLine, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(a.Out)
		for _, e := range all {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	out := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
	for _, e := range all {
		fmt.Fprintf(out, "nucspark %s %s\t%s\n", command, e.Name, printable(e.Shows))
	}
	return out.Flush()
}
