package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh/knownhosts"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

func newSSHCommand(app *App) *cobra.Command {
	var terminal bool
	cmd := &cobra.Command{
		Use:   "ssh NODE [-- COMMAND...]",
		Short: "Open a shell on a machine, or run a command there",
		Long: `Runs ssh, the OpenSSH client of this computer (8.5 or newer where the file has
host_key), with the address, port, user and key of the inventory. The machine's
host key is pinned, as everywhere in nucspark: to host_key, or to the key that
somebody accepted. One that nobody accepted yet is shown and asked for first.
Where ssh says that it has changed, and the machine was installed anew, correct
host_key in the file, or the machine's line in known_hosts.

Without a command it opens a shell in a terminal. A command is read by the shell
over there, as with ssh itself; it has no terminal unless -t gives it one. The
exit code is the command's, or 255 where ssh failed.

ssh is given no password: where the file has a password and no key, ssh asks for
it, and so does sudo on the machine.`,
		Example: `  nucspark ssh nuc02
  nucspark ssh nuc02 -- journalctl -u kubelet -n 50
  nucspark ssh nuc02 -t -- sudo systemctl status containerd`,
		ValidArgsFunction: app.complete(1, nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := app.Load()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return &usageError{fmt.Errorf("ssh needs the name of a machine: %s", strings.Join(nodeNames(c), ", "))}
			}
			n, err := nodeOf(c, args[0])
			if err != nil {
				return err
			}
			client, err := exec.LookPath("ssh")
			if err != nil {
				return errors.New("there is no ssh on this computer: install the OpenSSH client (apt install openssh-client)")
			}
			known, err := knownHosts(c)
			if err != nil {
				return err
			}
			if err := host.Pin(cmd.Context(), app.reach(c, n, known)); err != nil {
				return err
			}
			return syscall.Exec(client, sshWords(c, n, known, terminal, args[1:]...), os.Environ())
		},
	}
	cmd.Flags().BoolVarP(&terminal, "tty", "t", false, "give the command a terminal")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; a command with flags comes after --, as in \"nucspark ssh nuc02 -- df -h\"", err)}
	})
	return cmd
}

// nodeOf finds the node that somebody named.
func nodeOf(c *inventory.Cluster, name string) (*inventory.Node, error) {
	if n, ok := c.Node(name); ok {
		return n, nil
	}
	return nil, &usageError{fmt.Errorf("%s has no node %q; it has %s", c.File, name, strings.Join(nodeNames(c), ", "))}
}

// sshWords is a command line of OpenSSH that leads to a node. The host key is
// pinned: host_key is the only one that counts, else those in the file known;
// ssh asks nobody, and writes no key.
func sshWords(c *inventory.Cluster, n *inventory.Node, known string, terminal bool, command ...string) []string {
	words := []string{"ssh"}
	option := func(text string) { words = append(words, "-o", text) }
	if c.SSH.PrivateKey != "" {
		words = append(words, "-i", c.SSH.PrivateKey)
	}
	if n.Port != 22 {
		words = append(words, "-p", strconv.Itoa(n.Port))
	}
	option("StrictHostKeyChecking=yes")
	option("UpdateHostKeys=no")
	option("GlobalKnownHostsFile=/dev/null")
	if n.HostKey != "" {
		// ssh takes no key as text, but from a program (ssh_config(5)); a file
		// of ours would have to be kept in step with the inventory.
		option("UserKnownHostsFile=/dev/null")
		option("KnownHostsCommand=/bin/echo " + knownhosts.Normalize(net.JoinHostPort(n.Address.String(), strconv.Itoa(n.Port))) + " " + n.HostKey)
	} else {
		if strings.Contains(known, " ") {
			known = `"` + known + `"` // ssh splits it once more (ssh_config(5))
		}
		option("UserKnownHostsFile=" + known)
	}
	if terminal {
		words = append(words, "-t")
	}
	if len(command) > 0 {
		words = append(words, "--") // else ssh takes a command that begins with - as its own option
	}
	return append(append(words, c.SSH.User+"@"+n.Address.String()), command...)
}

// plainWord is what no shell reads as anything but itself.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// sshCommand is what leads to a node of a cluster in a shell, with the host
// key that is pinned; to the control plane for "". It is "" for a node that is
// not in the file.
func sshCommand(c *inventory.Cluster, node string) string {
	n, ok := c.Node(node)
	if node == "" {
		n, ok = c.ControlPlane(), true
	}
	known, err := knownHosts(c)
	if !ok || err != nil {
		return ""
	}
	words := sshWords(c, n, known, false)
	for i, w := range words {
		if !plainWord.MatchString(w) {
			words[i] = provision.Quote(w)
		}
	}
	return strings.Join(words, " ")
}
