package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

func newHDFSCommand(app *App) *cobra.Command {
	h := &hdfsCommand{app: app}
	cmd := &cobra.Command{
		Use:   "hdfs",
		Short: "Put files into HDFS, get them out, list, remove and check them; balance disks",
		Long: `Files are streamed through the SSH connection to the control plane; nothing of
Hadoop needs to be installed here.

Paths that do not begin with a slash are below /user/spark, the home of the user
that jobs run as; hdfs:///PATH is understood, too. A file appears under its name
when all of it is there: until then it is called NAME._COPYING_, and an
interrupted put leaves nothing under the name.

Commands act as the user spark, so that jobs can read and change what was put.
--as hdfs acts as the administrator of the file system.`,
		Example: `  nucspark hdfs put access.log /logs/
  nucspark hdfs ls -l /logs
  nucspark hdfs get /logs/access.log -
  nucspark hdfs fsck
  nucspark hdfs balance`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&h.user, "as", provision.SparkUser, "the user of HDFS to act as")
	cmd.AddCommand(h.put(), h.get(), h.ls(), h.rm(), h.fsck(), h.balance())
	return cmd
}

type hdfsCommand struct {
	app  *App
	user string
}

// need checks the number of arguments; most of -1 is no bound.
func need(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return &usageError{fmt.Errorf("%s takes %s; see %s --help", cmd.Name(), what, cmd.CommandPath())}
		}
		return nil
	}
}

// with runs f with a client of the cluster's HDFS. Ctrl-C ends its context.
func (h *hdfsCommand) with(cmd *cobra.Command, f func(context.Context, *hdfs.Client) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, fleet, k, err := h.app.connectKube(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	client, err := hdfs.Open(k, c)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := f(ctx, client.As(h.user)); err != nil {
		return h.explain(err)
	}
	return nil
}

// explain adds what to do.
func (h *hdfsCommand) explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; --as hdfs acts as the administrator", err)
	}
	return err
}

// path reads a path of HDFS as a person writes it. Nothing in it is an escape or
// a query: as in Hadoop, % and ? are characters of a name.
func (h *hdfsCommand) path(s string) (string, error) {
	if s == "" {
		return "", &usageError{errors.New("a path of HDFS is empty; . is the home directory")}
	}
	p, isURL := strings.CutPrefix(s, "hdfs:")
	if isURL {
		if rest, ok := strings.CutPrefix(p, "//"); ok {
			at := strings.IndexByte(rest, '/')
			if at < 0 {
				at = len(rest)
			}
			host := "hdfs://" + rest[:at]
			p = rest[at:]
			if host != "hdfs://" && host != hdfs.DefaultFS && host != "hdfs://"+hdfs.NamenodeHost {
				p = ""
			}
		}
		if !path.IsAbs(p) {
			return "", &usageError{fmt.Errorf("%s is not a path of this cluster; write hdfs:///PATH or /PATH", s)}
		}
	}
	if !path.IsAbs(p) {
		p = path.Join("/user", h.user, p)
	}
	return path.Clean(p), nil
}

func (h *hdfsCommand) put() *cobra.Command {
	var force, recursive bool
	var replication int
	var block string
	cmd := &cobra.Command{
		Use:   "put LOCAL... PATH",
		Short: "Put files into HDFS",
		Long: `Puts files into HDFS. LOCAL may be - for standard input. PATH is the new name,
or the directory when it is one, ends with a slash, or there are several files;
directories are made as needed.`,
		Example: `  nucspark hdfs put data.csv /data/
  nucspark hdfs put -r logs /
  nucspark hdfs put --replication 1 scratch.parquet /tmp/
  zcat dump.gz | nucspark hdfs put - /data/dump`,
		Args: need(2, -1, "one or more local files and a path of HDFS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			locals, to := args[:len(args)-1], args[len(args)-1]
			dest, err := h.path(to)
			if err != nil {
				return err
			}
			files, err := sources(locals, recursive)
			if err != nil {
				return err
			}
			var blockSize inventory.Size
			if block != "" {
				if blockSize, err = inventory.ParseSize(block); err != nil {
					return &usageError{fmt.Errorf("--block-size %q %w", block, err)}
				}
			}
			if replication < 0 {
				return &usageError{fmt.Errorf("--replication %d: a block has one replica at least", replication)}
			}
			return h.with(cmd, func(ctx context.Context, c *hdfs.Client) error {
				into := strings.HasSuffix(to, "/") || len(locals) > 1
				if st, err := c.Stat(ctx, dest); err == nil {
					into = into || st.IsDir()
				} else if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				if force {
					c = c.Replacing()
				}
				c = c.Storing(replication, blockSize)
				for _, f := range files {
					name := dest
					switch {
					case into && f.local == "-":
						return &usageError{fmt.Errorf("standard input needs a name: %s is a directory", dest)}
					case into:
						name = path.Join(dest, f.below)
					case f.below != f.base: // inside a directory that gets the new name
						name = path.Join(dest, strings.TrimPrefix(f.below, f.base))
					}
					if err := h.putFile(ctx, c, f, name); err != nil {
						if errors.Is(err, fs.ErrExist) && !force {
							return fmt.Errorf("%w; --force replaces it", err)
						}
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace files that exist")
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "put directories with all that is in them")
	cmd.Flags().IntVar(&replication, "replication", 0, "replicas of each block (default that of the file system)")
	cmd.Flags().StringVar(&block, "block-size", "", "size of a block, as 64Mi (default that of the file system)")
	return cmd
}

// local is one file to be put.
type local struct {
	local string // as it is opened; "-" for standard input
	base  string // last element of the argument that it came from
	below string // its path from there on, with slashes
}

// sources lists the files that the arguments stand for, before anything is
// sent.
func sources(args []string, recursive bool) ([]local, error) {
	var files []local
	for _, arg := range args {
		if arg == "-" {
			if len(args) > 1 {
				return nil, &usageError{errors.New("standard input cannot be put together with other files")}
			}
			return []local{{local: "-", base: "-", below: "-"}}, nil
		}
		abs, err := filepath.Abs(arg)
		if err != nil {
			return nil, err
		}
		base := filepath.Base(abs)
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, local{arg, base, base})
			continue
		}
		if !recursive {
			return nil, &usageError{fmt.Errorf("%s is a directory; -r puts it with all that is in it", arg)}
		}
		err = filepath.WalkDir(arg, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if !d.Type().IsRegular() {
				return fmt.Errorf("%s is neither a file nor a directory; HDFS has no place for it", p)
			}
			rel, err := filepath.Rel(arg, p)
			files = append(files, local{p, base, path.Join(base, filepath.ToSlash(rel))})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	from := map[string]string{}
	for _, f := range files {
		if other, twice := from[f.below]; twice {
			return nil, &usageError{fmt.Errorf("%s and %s would become the same file; put them one after the other", other, f.local)}
		}
		from[f.below] = f.local
	}
	return files, nil
}

func (h *hdfsCommand) putFile(ctx context.Context, c *hdfs.Client, f local, name string) error {
	r, size := h.app.In, int64(-1)
	if f.local != "-" {
		file, err := os.Open(f.local)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		r = file
		if info.Mode().IsRegular() { // else a pipe, whose size nobody knows
			size = info.Size()
		}
	}
	m := newMeter(h.app.Err, f.below+" → "+name)
	err := c.Put(ctx, r, size, name, func(sent int64) { m.show(sent, size) })
	m.end(err == nil)
	return err
}

func (h *hdfsCommand) get() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "get PATH LOCAL",
		Short: "Get a file out of HDFS",
		Long:  "Gets a file out of HDFS. LOCAL is the new name, a directory, or - for standard output.",
		Example: `  nucspark hdfs get /data/result.csv .
  nucspark hdfs get /data/result.csv - | head`,
		Args: need(2, 2, "a path of HDFS and a local file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := h.path(args[0])
			if err != nil {
				return err
			}
			return h.with(cmd, func(ctx context.Context, c *hdfs.Client) error {
				if args[1] == "-" {
					return c.Get(ctx, from, h.app.Out, nil)
				}
				to := args[1]
				if info, err := os.Stat(to); err == nil && info.IsDir() {
					to = filepath.Join(to, path.Base(from))
				}
				if _, err := os.Lstat(to); err == nil && !force {
					return fmt.Errorf("%s exists already; --force replaces it", to)
				}
				return h.getFile(ctx, c, from, to)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a local file that exists")
	return cmd
}

// getFile writes to a file beside the target, so that an interrupted get
// leaves nothing under its name.
func (h *hdfsCommand) getFile(ctx context.Context, c *hdfs.Client, from, to string) (err error) {
	part, err := os.CreateTemp(filepath.Dir(to), ".nucspark-get-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			part.Close()
			os.Remove(part.Name())
		}
	}()
	m := newMeter(h.app.Err, from+" → "+to)
	err = c.Get(ctx, from, part, m.show)
	m.end(err == nil)
	if err != nil {
		return err
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	if err := part.Chmod(0o666 &^ fs.FileMode(mask)); err != nil { // as any program would make it
		return err
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), to)
}

func (h *hdfsCommand) ls() *cobra.Command {
	var long, asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [PATH]",
		Short: "List a directory or a file of HDFS",
		Example: `  nucspark hdfs ls -l /
  nucspark hdfs ls --json /data | jq '.[].pathSuffix'`,
		Args: need(0, 1, "one path of HDFS at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := h.path(".")
			if len(args) > 0 {
				p, err = h.path(args[0])
			}
			if err != nil {
				return err
			}
			return h.with(cmd, func(ctx context.Context, c *hdfs.Client) error {
				list, err := c.List(ctx, p)
				if err != nil {
					return err
				}
				for i := range list {
					if list[i].Name == "" {
						list[i].Name = path.Base(p)
					}
				}
				if asJSON {
					enc := json.NewEncoder(h.app.Out)
					enc.SetIndent("", "  ")
					if list == nil {
						list = []hdfs.FileStatus{}
					}
					return enc.Encode(list)
				}
				return writeListing(h.app.Out, list, long)
			})
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show mode, replicas, owner, size and time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

// writeListing shows files as hdfs dfs -ls does. Names are other people's
// text: what is no printable character is shown escaped.
func writeListing(w io.Writer, list []hdfs.FileStatus, long bool) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range list {
		name := printable(f.Name)
		if f.IsDir() {
			name += "/"
		}
		if !long {
			fmt.Fprintln(out, name)
			continue
		}
		fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", f.Mode(), f.Replication, printable(f.Owner), printable(f.Group), f.Length,
			time.UnixMilli(f.Modified).Format("2006-01-02 15:04"), name)
	}
	return out.Flush()
}

func printable(s string) string {
	q := fmt.Sprintf("%+q", s)
	if u := fmt.Sprintf("%q", s); u[1:len(u)-1] == s {
		return s
	}
	return q[1 : len(q)-1]
}

func (h *hdfsCommand) rm() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:     "rm PATH...",
		Short:   "Remove files from HDFS, for good",
		Example: "  nucspark hdfs rm -r /data/old",
		Args:    need(1, -1, "one or more paths of HDFS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var paths []string
			for _, a := range args {
				p, err := h.path(a)
				if err != nil {
					return err
				}
				if p == "/" {
					return &usageError{errors.New("the root of the file system is not removed; name what is in it")}
				}
				paths = append(paths, p)
			}
			return h.with(cmd, func(ctx context.Context, c *hdfs.Client) error {
				for _, p := range paths {
					if err := c.Remove(ctx, p, recursive); err != nil {
						if errors.Is(err, fs.ErrExist) {
							return fmt.Errorf("%w; -r removes it with all that is in it", err)
						}
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove directories with all that is in them")
	return cmd
}

func (h *hdfsCommand) fsck() *cobra.Command {
	return &cobra.Command{
		Use:     "fsck [PATH]",
		Short:   "Check that every block below a path has its replicas",
		Long:    "Has the namenode check all files below PATH (/ by default) and shows its report. Exit code 1 when the file system is not healthy.",
		Example: "  nucspark hdfs fsck /data",
		Args:    need(0, 1, "one path of HDFS at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := h.path("/")
			if len(args) > 0 {
				p, err = h.path(args[0])
			}
			if err != nil {
				return err
			}
			return h.with(cmd, func(ctx context.Context, c *hdfs.Client) error {
				healthy, err := c.Fsck(ctx, p, h.app.Out)
				if err == nil && !healthy {
					return &ExitError{Code: exitFailed, Err: fmt.Errorf("%s is not healthy: files have blocks without a replica; nucspark status shows what is missing", p)}
				}
				return err
			})
		},
	}
}
