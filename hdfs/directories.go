package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"nucspark.io/nucspark/provision"
)

// directories are those that users and Spark begin with. Permissions are in
// WebHDFS's octal form. "" leaves what is there.
var directories = []struct{ path, permission, owner string }{
	{"/", "1777", ""}, // users make directories of their own, and remove no other's
	{"/tmp", "1777", ""},
	{"/user", "", ""},
	{"/user/" + provision.SparkUser, "", provision.SparkUser},
	{"/spark-events", "1777", ""},
}

// directoriesStep is the step: these directories exist.
type directoriesStep struct{ provision.Base }

func statusQuery(path string) provision.PageQuery {
	return provision.PageQuery{Namespace: provision.Namespace, Pod: namenode + "-0", Port: namenodeHTTP,
		Path: "/webhdfs/v1" + (&url.URL{Path: path}).EscapedPath() + "?op=GETFILESTATUS&user.name=" + provision.HDFSUser}
}

func (directoriesStep) Reads() []provision.Query {
	var reads []provision.Query
	for _, d := range directories {
		reads = append(reads, statusQuery(d.path))
	}
	return reads
}

func (directoriesStep) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	for _, d := range directories {
		c := provision.Change{Kind: "HDFS directory", Key: d.path, Action: provision.Create, New: describe(d.permission, d.owner)}
		p := statusQuery(d.path).In(f)
		switch p.Status {
		case 200:
			var is struct{ FileStatus FileStatus }
			if err := json.Unmarshal(p.Body, &is); err != nil {
				return nil, fmt.Errorf("the namenode's answer about %s cannot be read: %w", d.path, err)
			}
			st := is.FileStatus
			if !st.IsDir() {
				return nil, fmt.Errorf("hdfs://%s is a file and must be a directory; move it away with nucspark hdfs", d.path)
			}
			if (d.permission == "" || st.Permission == d.permission) && (d.owner == "" || st.Owner == d.owner) {
				continue
			}
			c.Action, c.Old = provision.Update, describe(st.Permission, st.Owner)
		case 404:
		default:
			c.After = answersStep
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func describe(permission, owner string) string {
	if owner == "" {
		owner = provision.HDFSUser
	}
	if permission == "" {
		permission = "755"
	}
	return permission + " " + owner
}

func (s directoriesStep) Apply(ctx context.Context, env *provision.Env, changes []provision.Change) error {
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	c, err := Open(k, env.Site().Cluster)
	if err != nil {
		return err
	}
	defer c.Close()
	c = c.As(provision.HDFSUser)
	err = s.make(ctx, c, changes)
	var remote *RemoteError
	if errors.As(err, &remote) && remote.Exception == "SafeModeException" {
		return &provision.StepError{Step: s.Name, Err: err, Transient: true, Hint: "the namenode waits for blocks: see which datanodes are off with nucspark status"}
	}
	return err
}

func (directoriesStep) make(ctx context.Context, c *Client, changes []provision.Change) error {
	for _, change := range changes {
		for _, d := range directories {
			if d.path != change.Key {
				continue
			}
			if err := c.Mkdirs(ctx, d.path, ""); err != nil {
				return err
			}
			if d.permission != "" {
				if err := c.SetPermission(ctx, d.path, d.permission); err != nil {
					return err
				}
			}
			if d.owner != "" {
				if err := c.SetOwner(ctx, d.path, d.owner, d.owner); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
