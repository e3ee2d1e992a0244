package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// Client puts files into HDFS and gets them out, over WebHDFS
// (https://hadoop.apache.org/docs/r3.5.0/hadoop-project-dist/hadoop-hdfs/WebHDFS.html).
// It asks the namenode and streams from and to datanodes, all of them through
// the connection to the control plane. Paths are absolute and clean. Errors
// of the file system answer to errors.Is with fs.ErrNotExist, fs.ErrExist and
// fs.ErrPermission. It is safe for concurrent use.
type Client struct {
	base    string // of the namenode, "http://HOST:PORT"
	http    *http.Client
	user    string
	replace bool

	replication int            // of new files; 0 for the file system's
	blockSize   inventory.Size // of new files; 0 for the file system's
}

// FileStatus is what the namenode knows of a file or directory.
type FileStatus struct {
	Name        string `json:"pathSuffix"` // "" when the file itself was asked for
	Type        string `json:"type"`       // "FILE", "DIRECTORY" or "SYMLINK"
	Length      int64  `json:"length"`     // bytes
	Owner       string `json:"owner"`
	Group       string `json:"group"`
	Permission  string `json:"permission"`       // octal, "755"
	Modified    int64  `json:"modificationTime"` // milliseconds since 1970
	Replication int    `json:"replication"`
	BlockSize   int64  `json:"blockSize"`
}

// IsDir says whether it is a directory.
func (s FileStatus) IsDir() bool { return s.Type == "DIRECTORY" }

// Mode is the type and permission as "ls -l" shows them: "drwxr-xr-x".
func (s FileStatus) Mode() string {
	bits, err := strconv.ParseUint(s.Permission, 8, 16)
	if err != nil {
		return s.Permission
	}
	mode := []byte("-rwxrwxrwx")
	for i := range 9 {
		if bits>>(8-i)&1 == 0 {
			mode[1+i] = '-'
		}
	}
	if s.IsDir() {
		mode[0] = 'd'
	}
	if bits&0o1000 != 0 {
		mode[9] = map[byte]byte{'x': 't', '-': 'T'}[mode[9]]
	}
	return string(mode)
}

// RemoteError is what the file system answered.
type RemoteError struct {
	Op, Path  string
	Status    int    // of HTTP
	Exception string // Java's name of it, without the package
	Message   string // its first line
}

func (e *RemoteError) Error() string {
	if e.Exception == "SafeModeException" {
		return fmt.Sprintf("%s %s: the file system is read-only until the namenode leaves safe mode; nucspark status says what it waits for", e.Op, e.Path)
	}
	return fmt.Sprintf("%s %s: %s", e.Op, e.Path, e.Message)
}

// Is maps Hadoop's exceptions to Go's errors of files.
func (e *RemoteError) Is(target error) bool {
	switch e.Exception {
	case "FileNotFoundException":
		return target == fs.ErrNotExist
	case "FileAlreadyExistsException", "PathIsNotEmptyDirectoryException":
		return target == fs.ErrExist
	case "AccessControlException":
		return target == fs.ErrPermission
	}
	return false
}

// Open returns a client that acts as the user spark, as jobs do. Nothing is
// dialled yet.
func Open(k *kube.Client, c *inventory.Cluster) (*Client, error) {
	if !c.HDFS.Enabled {
		return nil, fmt.Errorf("%s has no HDFS: give a node an hdfs block with dirs and run nucspark up", c.File)
	}
	return newClient(func(ctx context.Context, host string, port int) (net.Conn, error) {
		if host == NamenodeHost {
			return k.DialPod(ctx, provision.Namespace, namenode+"-0", port)
		}
		pod, err := datanodePod(ctx, k, host)
		if err != nil {
			return nil, err
		}
		return k.DialPod(ctx, provision.Namespace, pod, port)
	}), nil
}

// datanodePod finds the datanode of a node by the node's address, which
// datanodes carry as their host name.
func datanodePod(ctx context.Context, k *kube.Client, address string) (string, error) {
	pods, err := k.List(ctx, "v1", "Pod", provision.Namespace, "app.kubernetes.io/name="+datanode)
	if err != nil {
		return "", err
	}
	for _, p := range pods {
		status, _ := p["status"].(map[string]any)
		if status["hostIP"] == address && status["podIP"] != nil && !ending(p) {
			return nameOf(p), nil
		}
	}
	return "", fmt.Errorf("no datanode runs at %s; nucspark status says why", address)
}

// newClient makes a client whose connections are opened by dial.
func newClient(dial func(ctx context.Context, host string, port int) (net.Conn, error)) *Client {
	return &Client{
		base: "http://" + net.JoinHostPort(NamenodeHost, strconv.Itoa(namenodeHTTP)),
		user: provision.SparkUser,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
					host, text, err := net.SplitHostPort(addr)
					if err != nil {
						return nil, err
					}
					port, err := strconv.Atoi(text)
					if err != nil {
						return nil, err
					}
					conn, err := dial(ctx, host, port)
					if err != nil {
						return nil, &dialError{addr, err}
					}
					return conn, nil
				},
				DisableCompression:    true,
				MaxIdleConnsPerHost:   4,
				IdleConnTimeout:       30 * time.Second,
				ExpectContinueTimeout: 10 * time.Second,
			},
		},
	}
}

// dialError says that nothing was sent yet.
type dialError struct {
	addr string
	err  error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// As returns a client that acts as another user.
func (c *Client) As(user string) *Client {
	d := *c
	d.user = user
	return &d
}

// Replacing returns a client whose Put replaces a file of that name.
func (c *Client) Replacing() *Client {
	d := *c
	d.replace = true
	return &d
}

// Storing returns a client whose Put writes files with so many replicas of each
// block, in blocks of so many bytes; 0 stands for the file system's own. The
// namenode accepts 1 to 512 replicas and blocks from 1 MiB on, in steps of 512
// bytes (dfs.replication.max, dfs.namenode.fs-limits.min-block-size).
func (c *Client) Storing(replication int, blockSize inventory.Size) *Client {
	d := *c
	d.replication, d.blockSize = replication, blockSize
	return &d
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// askBound is how long one question to the namenode may take. Deleting a large
// tree is the slowest.
const askBound = 2 * time.Minute

// url is that of an operation.
func (c *Client) url(path, op string, params []string) string {
	q := url.Values{"op": {op}, "user.name": {c.user}}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return c.base + "/webhdfs/v1" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// ask carries out one operation that the namenode answers itself, and decodes
// the answer into v unless v is nil. Params are names and values in turn.
func (c *Client) ask(ctx context.Context, method, op, path string, v any, params ...string) error {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url(path, op, params), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb(op), path, unwrapURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb(op), path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return remoteError(op, path, resp.StatusCode, body)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s %s: the namenode's answer cannot be read: %w", verb(op), path, err)
	}
	return nil
}

// unwrapURL takes off the URL, which says less than the path.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

var verbs = map[string]string{
	"CREATE": "writing", "OPEN": "reading", "GETFILESTATUS": "looking at", "LISTSTATUS": "listing", "DELETE": "removing",
	"MKDIRS": "making", "SETREPLICATION": "changing the number of copies of", "LISTSTATUS_BATCH": "listing", "RENAME": "renaming", "GETSERVERDEFAULTS": "asking for the defaults of", "SETPERMISSION": "changing the mode of", "SETOWNER": "changing the owner of",
}

func verb(op string) string { return verbs[op] }

func remoteError(op, path string, status int, body []byte) error {
	var r struct {
		RemoteException struct{ Exception, Message string }
	}
	e := &RemoteError{Op: verb(op), Path: path, Status: status}
	if json.Unmarshal(body, &r) == nil && r.RemoteException.Exception != "" {
		e.Exception = r.RemoteException.Exception
		e.Message, _, _ = strings.Cut(r.RemoteException.Message, "\n")
	} else {
		e.Message = fmt.Sprintf("the answer was HTTP status %d", status)
	}
	return e
}

// Stat looks at one file or directory.
func (c *Client) Stat(ctx context.Context, path string) (FileStatus, error) {
	var v struct{ FileStatus FileStatus }
	err := c.ask(ctx, http.MethodGet, "GETFILESTATUS", path, &v)
	return v.FileStatus, err
}

// List returns what is in a directory by name, or the file itself.
func (c *Client) List(ctx context.Context, path string) ([]FileStatus, error) {
	var v struct {
		FileStatuses struct{ FileStatus []FileStatus }
	}
	err := c.ask(ctx, http.MethodGet, "LISTSTATUS", path, &v)
	return v.FileStatuses.FileStatus, err
}

// Remove removes a file, an empty directory, or with recursive a whole tree.
func (c *Client) Remove(ctx context.Context, path string, recursive bool) error {
	var v struct{ Boolean bool }
	if err := c.ask(ctx, http.MethodDelete, "DELETE", path, &v, "recursive", strconv.FormatBool(recursive)); err != nil {
		return err
	}
	if !v.Boolean {
		return &RemoteError{Op: verb("DELETE"), Path: path, Exception: "FileNotFoundException", Message: "it does not exist"}
	}
	return nil
}

// Mkdirs makes a directory and its parents. Permission is octal, "" for the
// default; a directory that exists keeps its own.
func (c *Client) Mkdirs(ctx context.Context, path, permission string) error {
	var params []string
	if permission != "" {
		params = []string{"permission", permission}
	}
	return c.ask(ctx, http.MethodPut, "MKDIRS", path, nil, params...)
}

// SetPermission changes the mode, in octal.
func (c *Client) SetPermission(ctx context.Context, path, permission string) error {
	return c.ask(ctx, http.MethodPut, "SETPERMISSION", path, nil, "permission", permission)
}

// SetOwner changes owner and group; only the user hdfs may.
func (c *Client) SetOwner(ctx context.Context, path, owner, group string) error {
	return c.ask(ctx, http.MethodPut, "SETOWNER", path, nil, "owner", owner, "group", group)
}

// Rename gives a file another name. A file of that name is replaced or is an
// error, as the client is told; a directory of that name is an error.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	option := "NONE"
	if c.replace {
		option = "OVERWRITE"
	}
	return c.ask(ctx, http.MethodPut, "RENAME", from, nil, "destination", to, "renameoptions", option)
}

// location asks the namenode for the datanode that reads or writes a file.
// Datanodes that could not be reached are left out, by where they registered.
func (c *Client) location(ctx context.Context, method, op, path string, excluded []string, params ...string) (string, error) {
	var v struct{ Location string }
	params = append([]string{"noredirect", "true"}, params...)
	if len(excluded) > 0 {
		params = append(params, "excludedatanodes", strings.Join(excluded, ","))
	}
	if err := c.ask(ctx, method, op, path, &v, params...); err != nil {
		return "", err
	}
	if v.Location == "" {
		return "", fmt.Errorf("%s %s: the namenode named no datanode; nucspark status says whether there is one", verb(op), path)
	}
	return v.Location, nil
}

// transfer carries out a request at a datanode, and at another one where the
// first cannot be reached. The caller closes the body of the answer.
func (c *Client) transfer(ctx context.Context, method, op, path string, body *body, size int64, params ...string) (*http.Response, error) {
	if body != nil {
		defer body.Close() // its source is not read any further
	}
	var tried, excluded []string
	for {
		at, err := c.location(ctx, method, op, path, excluded, params...)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, at, nil)
		if err != nil {
			return nil, err
		}
		if body != nil {
			req.Body, req.ContentLength = io.NopCloser(body), size // it may be sent elsewhere yet
			if size == 0 {
				req.Body = http.NoBody
			}
			req.Header.Set("Content-Type", "application/octet-stream")
			req.Header.Set("Expect", "100-continue")
		}
		resp, err := c.http.Do(req)
		var dial *dialError
		if err == nil {
			return resp, nil
		}
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", verb(op), path, cause)
		}
		if !errors.As(err, &dial) || slices.Contains(tried, dial.addr) {
			return nil, fmt.Errorf("%s %s: %w", verb(op), path, unwrapURL(err))
		}
		registered := c.registered(ctx, dial.addr)
		if registered == "" {
			return nil, fmt.Errorf("%s %s: %w", verb(op), path, unwrapURL(err))
		}
		tried, excluded = append(tried, dial.addr), append(excluded, registered)
	}
}

// registered is the address and port under which a datanode registered with
// the namenode, that of its pod, "" when the namenode does not say. A redirect
// names the datanode by its label, which is the node's address; those to be
// left out are looked up by the other (DatanodeManager.getDatanodeByXferAddr).
func (c *Client) registered(ctx context.Context, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+infoQuery.Path, nil)
	if err != nil {
		return ""
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return ""
	}
	info, err := parseInfo(provision.PageFact{Status: resp.StatusCode, Body: body})
	if err != nil {
		return ""
	}
	host, _, _ := strings.Cut(addr, ":")
	return info.live[host].Address
}
