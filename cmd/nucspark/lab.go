package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/lab"
	"nucspark.io/nucspark/lab/mirror"
)

// newLabCommand returns `nucspark lab` with its subcommands.
func newLabCommand() *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Throw-away mini PCs on this machine",
		Long: "Throw-away mini PCs on this machine: containers or virtual machines that run systemd, sshd\n" +
			"and apt like a freshly installed machine, and a mirror with the packages and images they need.",
		Example: `  nucspark lab up
  nucspark up -f lab.hcl
  nucspark lab kill nuc03
  nucspark lab down`,
		Args: cobra.NoArgs,
	}
	started := time.Now()
	o.Progress = func(line string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%6.1fs  %s\n", time.Since(started).Seconds(), line)
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.Name, "name", "lab", "name of the lab")
	flags.StringVar(&o.Cache, "cache", "", "directory of what is built once (default: nucspark/lab in the user's cache directory)")
	cmd.AddCommand(labUp(&o), labDown(&o), labStatus(&o), labKill(&o), labStart(&o))
	for _, sub := range cmd.Commands() {
		interruptible(sub)
	}
	cmd.AddCommand(labMirror())
	return cmd
}

// interruptible ends a command's context at the first Ctrl-C, so that the
// programs it runs in groups of their own end with it; a second one ends the
// process at once.
func interruptible(cmd *cobra.Command) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
		cmd.SetContext(ctx)
		err := run(cmd, args)
		if err != nil && ctx.Err() != nil {
			return &ExitError{Code: exitInterrupted, Err: errors.New("interrupted; what was done stays, and the same command goes on from there")}
		}
		return err
	}
}

func labUp(o *lab.Options) *cobra.Command {
	var startEngine bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the machines, or what is missing of them, and write lab.hcl",
		Example: `  nucspark lab up
  nucspark lab up --nodes 5 --dir /tmp/five
  sudo nucspark lab up --start-engine
  sudo nucspark lab up --backend vm --nodes 2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if startEngine {
				if err := lab.StartEngine(cmd.Context(), *o); err != nil {
					return err
				}
			}
			return lab.Up(cmd.Context(), *o)
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 3, "number of machines")
	cmd.Flags().StringVar(&o.Dir, "dir", ".", "directory in which lab.hcl is written")
	cmd.Flags().TextVar(&o.Subnet, "subnet", netip.MustParsePrefix("172.31.77.0/24"), "private network of the machines, a /24")
	cmd.Flags().BoolVar(&startEngine, "start-engine", false, "install what is missing and start a container engine where none runs (root; Debian, Ubuntu)")
	cmd.Flags().StringVar(&o.Backend, "backend", "", "what the machines are: container, or vm for virtual machines (default: what they are already, else container)")
	cmd.Flags().IntVar(&o.Memory, "memory", 4096, "memory of each virtual machine in MiB")
	cmd.Flags().BoolVar(&o.NoMirror, "no-mirror", false, "machines only, no packages and images to install on them")
	return cmd
}

func labDown(o *lab.Options) *cobra.Command {
	var engine bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove what `lab up` made; what was built stays in the cache",
		Example: `  nucspark lab down
  sudo nucspark lab down --engine`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := lab.Down(cmd.Context(), *o); err != nil {
				return err
			}
			if !engine {
				return nil
			}
			stopped, err := lab.StopEngine(cmd.Context(), *o)
			if err == nil && !stopped {
				o.Progress("the container engine stays: the lab did not start it")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&engine, "engine", false, "stop the container engine too, if `lab up --start-engine` started it")
	return cmd
}

func labStatus(o *lab.Options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say which machines are on and answer; exit code 1 if not all do",
		Example: `  nucspark lab status --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := lab.Status(cmd.Context(), *o)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(s)
			} else {
				err = printLab(cmd, s)
			}
			if err == nil && !s.Up {
				err = fmt.Errorf("the lab %q is not up", s.Name)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printLab(cmd *cobra.Command, s lab.State) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, n := range s.Nodes {
		answer := "answers"
		if !n.SSH {
			answer = n.Why
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, n.Address, n.Power, answer)
	}
	if m := s.Mirror; m.Power != "" {
		answer := "answers"
		if !m.Apt || !m.Images {
			answer = "does not answer"
		}
		fmt.Fprintf(w, "mirror\t%s\t%s\t%s\n", m.Address, m.Power, answer)
	}
	return w.Flush()
}

func labKill(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use:     "kill NODE",
		Short:   "Cut the power of one machine",
		Example: `  nucspark lab kill nuc03`,
		Args:    need(1, 1, "the name of one machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Kill(cmd.Context(), *o, args[0])
		},
	}
}

func labStart(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use:     "start NODE",
		Short:   "Switch one machine on",
		Example: `  nucspark lab start nuc03`,
		Args:    need(1, 1, "the name of one machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Start(cmd.Context(), *o, args[0])
		},
	}
}

// labMirror is what runs in the mirror's container.
func labMirror() *cobra.Command {
	var dir, apt, registry string
	cmd := &cobra.Command{
		Use:    "mirror",
		Short:  "Serve the packages and images of a lab",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return mirror.Serve(ctx, dir, apt, registry, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory that `lab up` filled")
	cmd.Flags().StringVar(&apt, "apt", ":80", "address of the package repository")
	cmd.Flags().StringVar(&registry, "registry", ":5000", "address of the image registry")
	return cmd
}
