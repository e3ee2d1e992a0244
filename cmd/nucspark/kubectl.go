package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// kubectlIdle is how long kubectl may print nothing: "get --watch" and "logs
// --follow" are quiet for as long as nothing happens.
const kubectlIdle = 24 * time.Hour

func newKubectlCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubectl -- ARGUMENT...",
		Short: "Run kubectl on the control plane, as its administrator",
		Long: `Runs kubectl on the control plane: the version is always right, and nothing
needs to be installed or opened here. Its output, its errors and its exit code
come back as they are, and standard input goes to it.

Names of files are those of the control plane. To apply a file that lies here,
send it: kubectl -- apply -f - < FILE. There is no terminal on the other side,
so "exec -t" and "edit" do not work; "exec -i" does.`,
		Example: `  nucspark kubectl -- get nodes -o wide
  nucspark kubectl -- -n nucspark get pods
  nucspark kubectl -- apply -f - < job.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New(`kubectl needs arguments, such as "nucspark kubectl -- get nodes"`)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c, fleet, err := app.connected(ctx)
			if err != nil {
				return err
			}
			defer fleet.Close()
			remote, err := fleet.Remote(ctx, c.ControlPlane().Name)
			if err != nil {
				return err
			}
			_, err = remote.Run(ctx, host.Command{
				Script: kubectlScript(args), Root: true, Idle: kubectlIdle,
				Stdin: app.In, Stdout: app.Out,
				Output: func(line string) { fmt.Fprintln(app.Err, line) },
			})
			var ended *host.CommandError
			if errors.As(err, &ended) && ended.Err == nil && ended.Code > 0 {
				return &ExitError{Code: ended.Code} // kubectl has said why
			}
			return err
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; kubectl's own flags come after --, as in \"nucspark kubectl -- get nodes -o wide\"", err)}
	})
	return cmd
}

// kubectlScript runs kubectl with arguments that reach it as they are.
func kubectlScript(args []string) string {
	words := []string{"exec", "kubectl", "--kubeconfig", provision.AdminConf}
	for _, a := range args {
		words = append(words, provision.Quote(a))
	}
	return "[ -e " + provision.AdminConf + " ] || { echo " + provision.Quote(provision.ErrNoCluster.Error()) + " >&2; exit 1; }\n" +
		strings.Join(words, " ") + "\n"
}
