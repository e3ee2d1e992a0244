// Command nucspark makes a data platform of a few mini PCs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "devel"

func main() { os.Exit(run(os.Args[1:])) }

// run is main for the command-line tests.
func run(args []string) int {
	app := &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	root := newRoot(app)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(app.Err, "nucspark: "+text)
		}
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return exitBad
	}
	return exitCode(err)
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func newRoot(app *App) *cobra.Command {
	root := &cobra.Command{
		Use:   "nucspark",
		Short: "A data platform on your own mini PCs",
		Long: `nucspark makes a data platform of a few machines with plain Ubuntu or Debian,
fixed addresses and SSH: Kubernetes by kubeadm, NFS and HDFS on their own
disks, Spark on top. One file describes the cluster; nucspark up makes it true,
as often as you like.

Results go to standard output, progress and questions to standard error.
Exit codes: 0 done, 1 failed, 2 bad usage or inventory, or refused before any
change, 3 changes are pending (plan --exit-code), 4 another run holds the lock,
130 interrupted.`,
		Example: `  nucspark validate
  nucspark plan
  nucspark up
  nucspark hdfs put data.csv /data/
  nucspark submit wordcount.py hdfs:///data/data.csv`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&app.File, "file", "f", "cluster.hcl", "the inventory")
	flags.BoolVar(&app.AcceptNewHostKeys, "accept-new-host-keys", false, "trust the keys of machines that are seen for the first time")
	root.AddCommand(
		newValidateCommand(&app.File), newFmtCommand(&app.File),
		newPlanCommand(app), newUpCommand(app), newStatusCommand(app),
		newSubmitCommand(app), newHDFSCommand(app),
		newKubectlCommand(app), newKubeconfigCommand(app),
		newLabCommand(),
	)
	return root
}
