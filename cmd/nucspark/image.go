package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"nucspark.io/nucspark/autoinstall"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// imageOptions are the flags of nucspark image.
type imageOptions struct {
	dir, network, gateway string
	dns                   []string
	mac, card             string
	keys                  []string
	hashFile              string
	disk                  string
	erase, force          bool
}

func newImageCommand(app *App) *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use:   "image NODE",
		Short: "Write what installs Ubuntu Server on a machine without questions",
		Long: `image writes two files, user-data and meta-data, from which the installer of
Ubuntu Server (22.04, 24.04 or 26.04) sets up the machine of a node block without
questions: its name, its address, the user of the ssh block with your public key,
and sudo as the inventory has it. It says what to do with them, and contacts no
machine.

The system goes to one disk of the machine, and only if that is empty. By default
it must be the only disk that is built in; --system-disk names another way to
find it: smallest, largest, or serial=TEXT for the one whose serial number has
that text in it. Where not exactly one disk is meant, or it is not empty, the
installer stops before it writes anything. All other disks stay as they are:
format and mount disks for data yourself, before nucspark up.

No password is written in clear. Without --password-hash-file the password is
locked, and the user logs in with the key only.`,
		Example: `  nucspark image nuc04 --gateway 192.168.1.1
  nucspark image nuc04 --gateway 192.168.1.1 --system-disk smallest --interface enp3s0
  openssl passwd -6 | nucspark image nuc04 --gateway 192.168.1.1 --password-hash-file -`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.complete(1, nodeNames),
		RunE:              func(_ *cobra.Command, args []string) error { return image(app, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "the directory for both files (default NODE-install)")
	f.StringVar(&o.gateway, "gateway", "", "the address of the router (needed)")
	f.StringArrayVar(&o.dns, "dns", nil, "the address of a name server, once for each (default that of the router)")
	f.StringVar(&o.network, "network", "", "the network of the machine's address (default its /24)")
	f.StringVar(&o.mac, "mac", "", "the MAC address of its network card (default mac of the node block)")
	f.StringVar(&o.card, "interface", "", "the name of its network card, such as enp3s0, in place of the MAC address")
	f.StringArrayVar(&o.keys, "key", nil, "a file with an SSH public key, once for each (default private_key of the ssh block, or the usual one, with .pub)")
	f.StringVar(&o.hashFile, "password-hash-file", "", "a file with the hash of the user's password, - for standard input")
	f.StringVar(&o.disk, "system-disk", string(autoinstall.Only), "the disk of the system: only, smallest, largest or serial=TEXT")
	f.BoolVar(&o.erase, "erase-system-disk", false, "overwrite the disk of the system even if it is not empty")
	f.BoolVar(&o.force, "force", false, "replace files that are there, without asking")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagFilename("key", "pub")
	_ = cmd.RegisterFlagCompletionFunc("system-disk", cobra.FixedCompletions([]string{"only", "smallest", "largest", "serial="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// image writes the files of a node.
func image(app *App, name string, o imageOptions) error {
	c, err := app.Load()
	if err != nil {
		return err
	}
	n, err := nodeOf(c, name)
	if err != nil {
		return err
	}
	want, err := o.machine(c, n)
	if err != nil {
		return &usageError{err}
	}
	if want.Keys, err = publicKeys(c, o.keys); err != nil {
		return &ExitError{Code: exitBad, Err: err}
	}
	if want.Password, err = app.passwordHash(o.hashFile); err != nil {
		return &ExitError{Code: exitBad, Err: err}
	}
	userData, metaData, err := want.Files()
	if err != nil {
		return &usageError{err}
	}
	dir := o.dir
	if dir == "" {
		dir = name + "-install"
	}
	paths := []string{filepath.Join(dir, "user-data"), filepath.Join(dir, "meta-data")}
	for _, p := range paths {
		if o.force || !exists(p) {
			continue
		}
		if !app.interactive() {
			return &ExitError{Code: exitBad, Err: fmt.Errorf("%s is there already: add --force to replace it, or name another directory with --dir", p)}
		}
		if ok, err := app.ask(p + " is there already. Replace it?"); err != nil || !ok {
			return &ExitError{Code: exitBad, Err: errors.Join(err, errors.New("nothing was written"))}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, content := range [][]byte{userData, metaData} {
		if err := writeWhole(paths[i], content); err != nil {
			return err
		}
		fmt.Fprintln(app.Out, paths[i])
	}
	fmt.Fprint(app.Err, imageSteps(c, n, want, paths, retryCommand(app, "up")))
	return nil
}

// machine is what the inventory and the flags say, without keys and password.
func (o imageOptions) machine(c *inventory.Cluster, n *inventory.Node) (autoinstall.Options, error) {
	want := autoinstall.Options{Name: n.Name, Address: netip.PrefixFrom(n.Address, 24), MAC: n.MAC, Interface: o.card, User: c.SSH.User, Sudo: c.SSH.SudoPassword.IsZero()}
	if o.gateway == "" {
		return want, errors.New("--gateway is needed: the address of the router, such as 192.168.1.1")
	}
	var err error
	if want.Gateway, err = netip.ParseAddr(o.gateway); err != nil {
		return want, fmt.Errorf("--gateway %q is no address", o.gateway)
	}
	want.DNS = []netip.Addr{want.Gateway}
	if len(o.dns) > 0 {
		want.DNS = nil
	}
	for _, text := range o.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return want, fmt.Errorf("--dns %q is no address", text)
		}
		want.DNS = append(want.DNS, a)
	}
	if o.network != "" {
		p, err := netip.ParsePrefix(o.network)
		if err != nil || p != p.Masked() {
			return want, fmt.Errorf("--network %q is no network, such as 192.168.0.0/16", o.network)
		}
		if !p.Contains(n.Address) {
			return want, fmt.Errorf("--network %s does not have the address %s of %s", p, n.Address, n.Name)
		}
		want.Address = netip.PrefixFrom(n.Address, p.Bits())
	}
	switch {
	case o.mac != "" && o.card != "":
		return want, errors.New("--mac and --interface name the same card: give one of them")
	case o.card != "":
		want.MAC = ""
	case o.mac != "":
		hw, err := net.ParseMAC(o.mac)
		if err != nil || len(hw) != 6 {
			return want, fmt.Errorf("--mac %q is no MAC address, such as 1c:69:7a:01:02:03", o.mac)
		}
		want.MAC = hw.String()
	case n.MAC == "":
		return want, fmt.Errorf("the node block of %s has no mac: give --mac (it is printed on most machines, and shown by their firmware) or --interface", n.Name)
	}
	if want.Disk, err = autoinstall.ParseDisk(o.disk); err != nil {
		return want, fmt.Errorf("--system-disk %w", err)
	}
	want.Disk.Erase = o.erase
	return want, nil
}

// publicKeys reads the keys of files, or the one beside the private key that
// the inventory has or that ssh looks for.
func publicKeys(c *inventory.Cluster, files []string) ([]string, error) {
	if len(files) == 0 {
		usual, err := usualKey(c)
		if err != nil {
			return nil, err
		}
		files = []string{usual}
	}
	var keys []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("the public key: %w; --key names another file, and ssh-keygen -y -f KEY prints the public key of a private one", err)
		}
		if strings.Contains(string(b), "PRIVATE KEY") {
			return nil, fmt.Errorf("%s is a private key, which goes to no machine; the public one has the same name with .pub", file)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(b)
		if err != nil {
			return nil, fmt.Errorf("%s holds no SSH public key", file)
		}
		keys = append(keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	}
	return keys, nil
}

// usualKey is the public key that belongs to the private key of the inventory;
// without one there, the first of those that ssh looks for.
func usualKey(c *inventory.Cluster) (string, error) {
	if c.SSH.PrivateKey != "" {
		return c.SSH.PrivateKey + ".pub", nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"} {
		if file := filepath.Join(home, ".ssh", name); exists(file) {
			return file, nil
		}
	}
	return "", errors.New("there is no public key in ~/.ssh: make one with ssh-keygen -t ed25519, or name a file with --key")
}

// passwordHash reads a hash, "" where no file is named.
func (a *App) passwordHash(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	in := a.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s is empty: it must hold a password hash, as openssl passwd -6 prints it", file)
	}
	return text, nil
}

// imageSteps says what to do with the files.
func imageSteps(c *inventory.Cluster, n *inventory.Node, o autoinstall.Options, paths []string, up string) string {
	var w strings.Builder
	dns := make([]string, len(o.DNS))
	for i, a := range o.DNS {
		dns[i] = a.String()
	}
	empty := ", if that is empty"
	if o.Disk.Erase {
		empty = ", WITH ALL THAT IS ON IT LOST"
	}
	fmt.Fprintf(&w, "%s gets the address %s, the gateway %s and the name server %s.\n", o.Name, o.Address, o.Gateway, strings.Join(dns, ", "))
	fmt.Fprintf(&w, "Its system goes to %s%s. No other disk is touched.\n", o.Disk, empty)
	fmt.Fprintf(&w, `
1. Write the ISO image of Ubuntu Server to a USB stick.
2. Put both files on a second stick whose file system has the name CIDATA. lsblk
   shows which one it is, /dev/sdX here: what is on it is lost.
     sudo mkfs.vfat -I -n CIDATA /dev/sdX
     sudo mount /dev/sdX /mnt
     sudo cp %s %s /mnt/
     sudo umount /mnt
3. Put both sticks into %s and start it from the first one. The installer asks
   once whether to go on; docs/usb.md says how it does not.
4. The machine switches itself off at the end. Take the sticks out, and switch it
   on again.
`, provision.Quote(paths[0]), provision.Quote(paths[1]), o.Name)
	step := 5
	var dirs []string
	if n.HDFS != nil {
		dirs = append(dirs, n.HDFS.Dirs...)
	}
	if n.NFS != nil {
		dirs = append(dirs, n.NFS.Export)
	}
	if len(dirs) > 0 {
		for i := range dirs {
			dirs[i] = printable(dirs[i])
		}
		fmt.Fprintf(&w, "%d. Mount the disks for %s, each by a line in /etc/fstab; the\n   installer does not. Without that the data would lie on the system's disk.\n", step, strings.Join(dirs, ", "))
		step++
	}
	if n.HostKey != "" {
		fmt.Fprintf(&w, "%d. Take host_key out of the block of %s in %s: an installed machine has\n   a new one.\n", step, n.Name, c.File)
		step++
	}
	fmt.Fprintf(&w, "%d. %s\n", step, up)
	return w.String()
}
