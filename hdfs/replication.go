package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// replicationStep is a step: the files that have the file system's number of
// copies have the inventory's. A file that was given another number keeps it.
//
// The ConfigMap of the file system says what number its files were given: one,
// or several while files are changed from one to another, so that the next run
// ends what was begun.
type replicationStep struct {
	provision.Base
	want  int
	whole bool // every machine answers, so that all copies can be made
}

// replicationKey holds these numbers, with blanks between them.
const replicationKey = "replication"

func (replicationStep) Reads() []provision.Query { return []provision.Query{recordQuery} }

func (s replicationStep) Diff(f provision.Facts) ([]provision.Change, error) {
	c := provision.Change{Kind: "HDFS", Key: "replication", Action: provision.Create, New: copies(s.want)}
	if !f.Known(recordQuery) || recordQuery.In(f) == nil {
		c.After = recordStep
		return []provision.Change{c}, nil
	}
	given := givenCopies(recordQuery.In(f))
	if slices.Equal(given, []int{s.want}) {
		return nil, nil
	}
	if len(given) > 0 {
		var old []string
		for _, n := range given {
			old = append(old, copies(n))
		}
		c.Action, c.Old = provision.Update, strings.Join(old, " or ")
		c.Detail = "Files that are there get it, too; those that were written with another number keep theirs."
	}
	return []provision.Change{c}, nil
}

func copies(n int) string {
	if n == 1 {
		return "1 copy of each block"
	}
	return fmt.Sprintf("%d copies of each block", n)
}

// givenCopies reads the numbers from the ConfigMap, none where it has none.
func givenCopies(record provision.Object) []int {
	data, _ := record["data"].(map[string]any)
	text, _ := data[replicationKey].(string)
	var given []int
	for _, word := range strings.Fields(text) {
		if n, err := strconv.Atoi(word); err == nil {
			given = append(given, n)
		}
	}
	return given
}

func (s replicationStep) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	record := func(given ...int) error {
		words := strings.Trim(fmt.Sprint(given), "[]")
		patch, err := json.Marshal(map[string]any{"data": map[string]string{replicationKey: words}})
		if err != nil {
			return err
		}
		_, err = k.Clientset().CoreV1().ConfigMaps(provision.Namespace).Patch(ctx, recordMap, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager + "-hdfs"})
		return err
	}
	from := slices.DeleteFunc(givenCopies(recordQuery.In(env.Facts())), func(n int) bool { return n == s.want })
	if len(from) == 0 { // a new file system
		return record(s.want)
	}
	if err := record(append(slices.Clone(from), s.want)...); err != nil {
		return err
	}
	client, err := Open(k, env.Site().Cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	shown := time.Time{}
	changed, err := client.As(provision.HDFSUser).Replicate(ctx, from, s.want, func(looked int64) {
		if time.Since(shown) > time.Second {
			shown = time.Now()
			env.Progress(looked, 0, "files", "files and directories looked at")
		}
	})
	if err != nil {
		return err
	}
	env.Log(fmt.Sprintf("%d files are to have %s", changed, copies(s.want)))
	if slices.Min(from) < s.want {
		if err := s.copied(ctx, env); err != nil {
			return err
		}
	}
	return record(s.want)
}

// Bounds of waiting for copies: while some are being made, and while none is,
// because the blocks that lack one cannot have it (a file that is to have more
// than there are datanodes). The namenode looks for blocks to copy every 3 s
// (dfs.namenode.redundancy.interval.seconds), and a datanode copies one of 128
// MiB within seconds.
const (
	copyBound  = 15 * time.Minute
	quietBound = time.Minute
)

// copied waits until the namenode has made the copies that were asked for. It
// goes on by itself where that takes longer than a look.
func (s replicationStep) copied(ctx context.Context, env *provision.Env) error {
	if !s.whole {
		env.Log("a machine is off: the namenode makes the copies as soon as it can")
		return nil
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	left, pending, most, moved := int64(-1), int64(0), int64(0), time.Now()
	for {
		f, err := env.Read(ctx, systemQuery)
		if err != nil && !provision.IsTransient(err) {
			return err
		}
		var now systemState
		if err == nil && bean(systemQuery.In(f), &now) == nil {
			if is := now.UnderReplicated + now.Pending; is != left || now.Pending != pending {
				left, pending, most, moved = is, now.Pending, max(most, is), time.Now()
				env.Progress(most-left, most, "blocks", fmt.Sprintf("%d blocks are to be copied", left))
			}
			if left == 0 {
				return nil
			}
		}
		bound := copyBound
		if left >= 0 && pending == 0 {
			bound = quietBound
		}
		if time.Since(moved) > bound {
			env.Log(fmt.Sprintf("%d blocks lack copies, and no more were made for %s; the namenode goes on by itself, nucspark hdfs fsck names them", left, bound))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// SetReplication sets how many copies each block of a file is to have. It says
// whether there is a file of that name.
func (c *Client) SetReplication(ctx context.Context, path string, copies int) (bool, error) {
	var v struct{ Boolean bool }
	err := c.ask(ctx, http.MethodPut, "SETREPLICATION", path, &v, "replication", strconv.Itoa(copies))
	return v.Boolean, err
}

// batch is what follows after a name in a directory, a thousand entries at most
// (dfs.ls.limit), and whether there are more.
func (c *Client) batch(ctx context.Context, path, after string) (list []FileStatus, more bool, err error) {
	var v struct {
		DirectoryListing struct {
			Remaining int64 `json:"remainingEntries"`
			Partial   struct {
				FileStatuses struct{ FileStatus []FileStatus }
			} `json:"partialListing"`
		}
	}
	err = c.ask(ctx, http.MethodGet, "LISTSTATUS_BATCH", path, &v, "startAfter", after)
	d := v.DirectoryListing
	return d.Partial.FileStatuses.FileStatus, d.Remaining > 0, err
}

// replicators are the requests at a time: one waits for the way to the namenode
// far longer than the namenode for it.
const replicators = 4

// Replicate gives the files of the whole file system that have one of the
// numbers of copies the number to, and returns how many these were. What is
// removed meanwhile is left out. progress gets how many files and directories
// were looked at.
func (c *Client) Replicate(ctx context.Context, from []int, to int, progress func(looked int64)) (changed int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	files := make(chan string)
	var done atomic.Int64
	var workers sync.WaitGroup
	for range replicators {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for name := range files {
				is, err := c.SetReplication(ctx, name, to)
				switch {
				case err == nil && is:
					done.Add(1)
				case err != nil && !errors.Is(err, fs.ErrNotExist):
					cancel(err)
				}
			}
		}()
	}
	err = c.walk(ctx, func(name string, st FileStatus) {
		if !st.IsDir() && slices.Contains(from, st.Replication) {
			select {
			case files <- name:
			case <-ctx.Done():
			}
		}
	}, progress)
	close(files)
	workers.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return done.Load(), err
}

// walk visits what is in all directories.
func (c *Client) walk(ctx context.Context, visit func(name string, st FileStatus), progress func(looked int64)) error {
	looked := int64(0)
	for dirs := []string{"/"}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		for after, more := "", true; more; {
			var list []FileStatus
			var err error
			if list, more, err = c.batch(ctx, dir, after); errors.Is(err, fs.ErrNotExist) {
				break
			} else if err != nil {
				return err
			}
			for _, st := range list {
				name := path.Join(dir, st.Name)
				if st.IsDir() {
					dirs = append(dirs, name)
				}
				visit(name, st)
				after = st.Name
			}
			looked += int64(len(list))
			progress(looked)
			more = more && len(list) > 0
		}
	}
	return nil
}
