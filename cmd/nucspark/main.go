// Command nucspark makes a data platform of a few mini PCs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
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
		var diags inventory.Diagnostics
		if errors.As(err, &diags) {
			fmt.Fprintln(app.Err, strings.TrimSpace(diags.Error()))
		} else if text := err.Error(); text != "" {
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
		Example: `  nucspark init
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
		newInitCommand(app), newNodeCommand(app),
		newValidateCommand(&app.File), newFmtCommand(&app.File),
		newPlanCommand(app), newUpCommand(app), newDownCommand(app), newStatusCommand(app),
		newTrustCommand(app), newDiskCommand(app), newVolumeCommand(app),
		newSubmitCommand(app), newHDFSCommand(app), newOpenCommand(app),
		newLogsCommand(app), newSSHCommand(app), newWakeCommand(app),
		newKubectlCommand(app), newKubeconfigCommand(app),
		newExplainCommand(app), newImageCommand(app),
		newDoctorCommand(app), newSupportCommand(app),
		newLabCommand(),
	)
	_ = root.MarkPersistentFlagFilename("file", "hcl", "json")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			topic, rest, err := root.Find(args)
			return errors.Join(err, knownCommand(topic, rest))
		}
	}
	strict(root)
	return root
}

// strict makes each wrong number of arguments and each unknown command below
// cmd a usage error. By itself cobra shows the help of "lab" for "lab sttaus",
// and nothing fails.
func strict(cmd *cobra.Command) {
	args := cmd.Args
	if cmd.HasSubCommands() {
		args = knownCommand
		if cmd.Run == nil && cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	if args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			err := args(cmd, given)
			var usage *usageError
			if err != nil && !errors.As(err, &usage) {
				return &usageError{fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())}
			}
			return err
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// knownCommand takes no arguments: those of a command with subcommands were
// meant as one.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(like, " or "))
	}
	return errors.New(text)
}
