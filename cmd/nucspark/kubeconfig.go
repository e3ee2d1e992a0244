package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"nucspark.io/nucspark/provision"
)

func newKubeconfigCommand(app *App) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the administrator's kubeconfig, for kubectl and other tools on this computer",
		Long: `Prints the kubeconfig of the cluster's administrator. Whoever has it can do
everything in the cluster until its certificate expires.

It names the control plane by its address. The port of the API is open to the
nodes, to the pods and to the networks of access { allow = [...] } in the
inventory; nucspark kubectl works without.`,
		Example: `  nucspark kubeconfig --out ~/.kube/nucs
  KUBECONFIG=~/.kube/nucs kubectl get nodes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			c, fleet, err := app.connected(ctx)
			if err != nil {
				return err
			}
			defer fleet.Close()
			cp := c.ControlPlane()
			remote, err := fleet.Remote(ctx, cp.Name)
			if err != nil {
				return err
			}
			conf, err := remote.ReadFile(ctx, provision.AdminConf)
			if errors.Is(err, fs.ErrNotExist) {
				return provision.ErrNoCluster
			}
			if err != nil {
				return err
			}
			if conf, err = withServer(conf, cp.Address.String()); err != nil {
				return fmt.Errorf("%s on %s: %w", provision.AdminConf, cp.Name, err)
			}
			if out == "" {
				_, err = app.Out.Write(conf)
			} else {
				err = writeNew(out, conf)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(app.Err, "This is the administrator's key to the cluster: keep it to yourself.")
			if len(c.Access.Allow) == 0 {
				fmt.Fprintf(app.Err, "The API is closed to other machines: add the network of this computer to access { allow = [...] } in %s, or use nucspark kubectl.\n", c.File)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write it to this new file, readable by you only")
	return cmd
}

// withServer puts an address in place of the host name that only the nodes
// know. The API server's certificate is good for both.
func withServer(conf []byte, address string) ([]byte, error) {
	config, err := clientcmd.Load(conf)
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		u, err := url.Parse(cluster.Server)
		if err != nil {
			return nil, err
		}
		u.Host = net.JoinHostPort(address, u.Port())
		cluster.Server = u.String()
	}
	return clientcmd.Write(*config)
}

// writeNew writes a file that did not exist: a kubeconfig may hold the keys of
// other clusters.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; name another file, or move it away", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
