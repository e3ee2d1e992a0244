package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/provision/ubuntu"
	"nucspark.io/nucspark/tui"
	"nucspark.io/nucspark/wizard"
)

// initOptions are the flags of nucspark init.
type initOptions struct {
	from, extra string
	overwrite   bool
}

func newInitCommand(app *App) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Find the machines and write the inventory",
		Long: `init asks for what it needs, page by page, and writes the inventory (cluster.hcl,
or that of -f). It looks for machines at the addresses that you confirm (port 22
and nothing else), shows their host keys, logs in with your key, asks each
machine what it is, and proposes names, roles, directories and sizes. Each value
shows where it comes from (found, proposed, yours) and can be changed. Esc goes
back, the file is shown before it is written, and nothing is changed on any
machine. Host keys that you go on with are written into the file.

With --from the answers come from a file, and there are no questions. What it
leaves out is proposed; the same answers give the same file. All names it may
have, in HCL or, as FILE.json, in JSON:

  range       = "192.168.1.0/24"        # or "192.168.1.11-13, 192.168.1.20"
  machines    = ["192.168.1.11", "192.168.1.12"] # otherwise all that will do
  user        = "ubuntu"
  private_key = "~/.ssh/id_ed25519"
  cluster     = "nucs"
  kubernetes  = "1.36"
  replication = 2
  machine "192.168.1.11" {
    use      = true                     # false leaves it out
    name     = "nuc01"
    role     = "control-plane"
    host_key = "ssh-ed25519 AAAA..."    # otherwise --accept-new-host-keys
    hdfs     = ["/data/hdfs"]           # [] for none
    nfs      = "/data/nfs"              # "none" for none
  }
  volume {
    name = "shared"                     # "none" for none
    node = "nuc02"
    size = "50Gi"
  }
  worker {
    cpu    = "3"
    memory = "10Gi"
  }
  executor {
    cores  = 3
    memory = "8g"
  }

Where sudo asks for a password, it comes from the environment variable
` + wizard.SudoVariable + `, now and later; the file holds its name only.`,
		Example: `  nucspark init
  nucspark init -f office.hcl
  nucspark init --extra mirror.hcl
  nucspark init --from answers.hcl --accept-new-host-keys && nucspark up`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return initialize(cmd.Context(), app, o) },
	}
	cmd.Flags().StringVar(&o.from, "from", "", "a file of answers; no questions are asked")
	cmd.Flags().StringVar(&o.extra, "extra", "", "a file of blocks that are not asked for (mirror, patch, images ...); they go into the inventory as they are")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "with --from, replace an inventory that is there")
	_ = cmd.MarkFlagFilename("from", "hcl", "json")
	_ = cmd.MarkFlagFilename("extra", "hcl")
	return cmd
}

func initialize(ctx context.Context, app *App, o initOptions) error {
	if filepath.Ext(app.File) == ".json" {
		return &usageError{fmt.Errorf("%s would be JSON: init writes HCL", app.File)}
	}
	if o.overwrite && o.from == "" {
		return &usageError{errors.New("--overwrite is for --from; without it you are asked")}
	}
	s := &wizard.State{Path: app.File, Supported: ubuntu.Supported, SudoPassword: inventory.NewSecret(os.Getenv(wizard.SudoVariable))}
	s.Local.Range, s.Local.Addresses = discover.LocalRange()
	if o.extra != "" {
		var err error
		if s.Extra, err = os.ReadFile(o.extra); err != nil {
			return &ExitError{Code: exitBad, Err: err}
		}
	}
	f, err := newFinder(app, s.Local.Addresses)
	if err != nil {
		return err
	}
	if o.from != "" {
		return unattended(ctx, app, s, f, o)
	}
	result, err := tui.RunWizard(ctx, tui.WizardOptions{In: app.In, Err: app.Err, State: s, Finder: f,
		Exists: func() bool { return exists(app.File) },
		Write:  func(b []byte) error { return writeWhole(app.File, b) },
	})
	switch {
	case err != nil:
		return &ExitError{Code: exitBad, Err: err}
	case !result.Written:
		return &ExitError{Code: exitInterrupted, Err: errors.New("nothing was written")}
	case !result.Up:
		fmt.Fprintf(app.Err, "%s is written. Go on with: %s\n", app.File, retryCommand(app, "up"))
		return nil
	}
	// The file takes the password from there, for other commands too.
	if !s.SudoPassword.IsZero() && os.Getenv(wizard.SudoVariable) == "" {
		if err := os.Setenv(wizard.SudoVariable, s.SudoPassword.Reveal()); err != nil {
			return err
		}
		defer fmt.Fprintf(app.Err, "Set %s before you run other commands: sudo asks for a password there.\n", wizard.SudoVariable)
	}
	return up(ctx, app, provision.Removal{}, false, false, tui.Auto)
}

// unattended makes the file without questions.
func unattended(ctx context.Context, app *App, s *wizard.State, f *finder, o initOptions) error {
	if exists(app.File) && !o.overwrite {
		return &ExitError{Code: exitBad, Err: fmt.Errorf("%s is there already: add --overwrite to replace it, or name another file with -f", app.File)}
	}
	src, err := os.ReadFile(o.from)
	if err != nil {
		return &ExitError{Code: exitBad, Err: err}
	}
	f.passphrase = app.passphrase
	say := func(text string) { fmt.Fprintln(app.Err, "! "+host.Clean(text)) }
	keys, err := s.Preseed(o.from, src)
	if err == nil {
		err = s.Fill(ctx, f, keys, func(seen discover.Seen) bool {
			if app.AcceptNewHostKeys {
				fmt.Fprintf(app.Err, "%s: new host key %s accepted\n", seen.Address, seen.Key.Fingerprint)
			}
			return app.AcceptNewHostKeys
		}, say)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &ExitError{Code: exitBad, Err: err}
	}
	for _, reason := range s.Refused() {
		say("nucspark up would refuse: " + reason)
	}
	if err := writeWhole(app.File, s.File()); err != nil {
		return err
	}
	fmt.Fprintln(app.Out, app.File)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// writeWhole writes a file. One that is there is replaced as a whole:
// whoever calls was told that it may be.
func writeWhole(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return replaceFile(path, content)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// finder is the wizard's way to the network.
type finder struct {
	dial       func(context.Context, host.Options) (provision.Remote, error)
	own        []netip.Addr
	known      string // known_hosts file
	dir        string // of the inventory, for relative paths
	keys       *host.Keys
	passphrase func(ctx context.Context, keyFile string) ([]byte, error) // nil: nobody to ask
}

func newFinder(app *App, own []netip.Addr) (*finder, error) {
	state, err := stateDir()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(app.File))
	if err != nil {
		return nil, err
	}
	return &finder{dial: app.dialer(), own: own, known: filepath.Join(state, "known_hosts"), dir: dir, keys: new(host.Keys)}, nil
}

func (f *finder) Scan(ctx context.Context, addresses []netip.Addr, seen func(discover.Seen)) error {
	return discover.Scan(ctx, addresses, f.own, f.known, seen)
}

func (f *finder) Ask(ctx context.Context, s discover.Seen, as wizard.As) (discover.Machine, error) {
	l := discover.Login{User: as.User, Keys: f.keys, SudoPassword: as.SudoPassword, Dial: f.dial, Passphrase: f.passphrase}
	if as.PrivateKey != "" {
		var err error
		if l.KeyFile, err = inventory.LocalPath(f.dir, as.PrivateKey); err != nil {
			return discover.Machine{Seen: s}, err
		}
	}
	if !as.Passphrase.IsZero() {
		l.Keys = new(host.Keys) // what was typed before may have been wrong
		l.Passphrase = func(context.Context, string) ([]byte, error) { return []byte(as.Passphrase.Reveal()), nil }
	}
	return discover.Ask(ctx, s, l)
}
