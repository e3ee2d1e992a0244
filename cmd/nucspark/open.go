package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/pages"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
	"nucspark.io/nucspark/spark"
)

func newOpenCommand(app *App) *cobra.Command {
	o := &openCommand{app: app}
	cmd := &cobra.Command{
		Use:   "open [spark|history|hdfs|NODE|APPLICATION|POD[:PORT]|SERVICE[:PORT]]",
		Short: "Show the web pages of Spark and HDFS in a browser of this computer",
		Long: `Forwards a page through the SSH connection to this computer, prints its address,
and goes on until Ctrl-C. Nothing is opened to the network. Links from page to
page work: each page gets a port of 127.0.0.1 when a link leads to it.

  spark        the master: workers, and applications that run or ran of late
  history      applications that have ended
  hdfs         the namenode: capacity, datanodes, and the files
  NODE         all pages of one machine
  APPLICATION  one application, by its name, its id, or the name of its pod
  POD, SERVICE a page of your own in the namespace nucspark; the port can be
               left out when it has only one

Without a name it lists the pages that there are. The page keeps the cluster's
port where that is free here, so that bookmarks work; --port takes another.`,
		Example: `  nucspark open
  nucspark open spark --browser
  nucspark open nuc02
  nucspark open wordcount
  nucspark open hdfs --port 5000`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: app.complete(1, pageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.port < 0 || o.port > 65535 {
				return &usageError{fmt.Errorf("--port %d is no port", o.port)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if len(args) == 0 {
				return o.list(ctx)
			}
			return o.open(ctx, args[0])
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.port, "port", 0, "port of 127.0.0.1 for the page (default that of the page, or a free one)")
	f.BoolVar(&o.browser, "browser", false, "open the address in the browser, too")
	f.BoolVar(&o.json, "json", false, "print each address as one line of JSON")
	return cmd
}

type openCommand struct {
	app     *App
	port    int
	browser bool
	json    bool
}

// pagesOf lists the pages that an inventory makes.
func pagesOf(c *inventory.Cluster) []provision.Page { return append(spark.Pages(c), hdfs.Pages(c)...) }

// list shows what can be opened.
func (o *openCommand) list(ctx context.Context) error {
	c, fleet, k, err := o.app.connectKube(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	running, err := spark.Applications(ctx, k)
	if err != nil {
		return err
	}
	var all []nameLine
	for _, p := range pagesOf(c) {
		name := p.Name
		if name == "" {
			name = p.Node
		}
		all = append(all, nameLine{name, p.Shows})
	}
	for _, r := range running {
		all = append(all, nameLine{r.Pod, r.Page.Shows})
	}
	return o.app.writeNames("open", all, o.json)
}

// open shows pages until the context ends.
func (o *openCommand) open(ctx context.Context, name string) error {
	c, fleet, k, err := o.app.connectKube(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	found, err := o.find(ctx, c, k, name)
	if err != nil {
		return err
	}
	if o.port > 0 && len(found) > 1 {
		return &usageError{fmt.Errorf("%s has %d pages, and --port names one port", name, len(found))}
	}
	server := pages.New(func(ctx context.Context, host string, port int) (net.Conn, error) {
		return k.DialLink(ctx, provision.Namespace, host, port)
	}, linked(c))
	defer server.Close()
	for _, p := range found {
		base, err := server.Open(p.Host, p.Port, o.port)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("port %d of 127.0.0.1 is in use; take another, or leave --port out", o.port)
		}
		if err != nil {
			return err
		}
		url := base + p.Path
		if p.Path == "" {
			url += "/"
		}
		if o.json {
			err = json.NewEncoder(o.app.Out).Encode(map[string]string{"name": name, "url": url, "shows": p.Shows})
		} else {
			_, err = fmt.Fprintf(o.app.Out, "%s  %s\n", url, printable(p.Shows))
		}
		if err != nil {
			return err
		}
		if o.browser {
			if err := browse(url); err != nil {
				fmt.Fprintf(o.app.Err, "no browser was opened: %v\n", err)
			}
		}
	}
	fmt.Fprintln(o.app.Err, "Ctrl-C ends it")
	<-ctx.Done()
	return nil
}

// browse opens a URL in the default browser of this computer.
func browse(url string) error {
	cmd := exec.Command("xdg-open", url)
	if err := cmd.Start(); errors.Is(err, exec.ErrNotFound) {
		return errors.New("there is no xdg-open; install xdg-utils, or open the address yourself")
	} else if err != nil {
		return err
	}
	go cmd.Wait() // it may be the browser itself
	return nil
}

// linked says which addresses a link of a page may open: any port of the pods
// in the namespace, and of the machines' addresses those that pages have.
func linked(c *inventory.Cluster) func(host string, port int) bool {
	ports := map[int]bool{}
	for _, p := range pagesOf(c) {
		ports[p.Port] = true
	}
	return func(host string, port int) bool {
		if strings.HasSuffix(host, "."+provision.Namespace+".svc.cluster.local") {
			return true
		}
		address, err := netip.ParseAddr(host)
		if err != nil {
			return false
		}
		return c.Network.Pods.Contains(address) ||
			ports[port] && slices.ContainsFunc(c.Nodes, func(n inventory.Node) bool { return n.Address == address })
	}
}

// find returns the pages that a name stands for, one at least.
func (o *openCommand) find(ctx context.Context, c *inventory.Cluster, k *kube.Client, name string) ([]provision.Page, error) {
	var found []provision.Page
	for _, p := range pagesOf(c) {
		if p.Name == name {
			return []provision.Page{p}, nil
		}
		if p.Node == name {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if _, ok := c.Node(name); ok {
		return nil, &usageError{fmt.Errorf("%s has no page: it neither stores blocks nor runs Spark", name)}
	}
	if name == "history" || name == "hdfs" {
		return nil, &usageError{fmt.Errorf("%s has no HDFS, and so no page of that name: give a node an hdfs block with dirs and run nucspark up", c.File)}
	}
	running, err := spark.Applications(ctx, k)
	if err != nil {
		return nil, err
	}
	for _, r := range called(running, name) {
		found = append(found, r.Page)
	}
	if len(found) > 0 {
		return found, nil
	}
	p, err := ownPage(ctx, k, name)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return []provision.Page{*p}, nil
	}
	if c.HDFS.Enabled {
		p, ok, err := spark.Ended(ctx, k, name)
		if ok {
			return []provision.Page{p}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s is no page that there is now, and what has ended is unknown: %w", name, err)
		}
	}
	return nil, &usageError{fmt.Errorf("there is no page %q, nor a machine, application, pod or service of that name; nucspark open lists what there is", name)}
}

// called are the applications that somebody means by a name, an id, or the name
// of a driver's pod.
func called(running []spark.Running, name string) []spark.Running {
	return slices.DeleteFunc(slices.Clone(running), func(r spark.Running) bool {
		return name != r.Pod && name != r.ID && name != r.Name
	})
}

// objectName is what names of pods and services are made of (RFC 1123).
var objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// ownPage finds the page of a pod or service in the namespace, by NAME or
// NAME:PORT, nil when there is none of that name.
func ownPage(ctx context.Context, k *kube.Client, arg string) (*provision.Page, error) {
	name, given, withPort := strings.Cut(arg, ":")
	if !objectName.MatchString(name) {
		return nil, nil
	}
	port, err := strconv.Atoi(given)
	if withPort && (err != nil || port < 1 || port > 65535) {
		return nil, &usageError{fmt.Errorf("%q of %s is no port", given, arg)}
	}
	kind, host := "pod", ""
	var ports []int
	pod, err := k.Clientset().CoreV1().Pods(provision.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		if host = pod.Status.PodIP; host == "" || pod.Status.Phase != corev1.PodRunning {
			return nil, fmt.Errorf("the pod %s is %s and shows no page; nucspark open history shows applications that have ended", name, pod.Status.Phase)
		}
		for _, container := range pod.Spec.Containers {
			for _, p := range container.Ports {
				ports = append(ports, int(p.ContainerPort))
			}
		}
	case apierrors.IsNotFound(err):
		service, err := k.Clientset().CoreV1().Services(provision.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("looking for service %s: %w", name, err)
		}
		kind, host = "service", name+"."+provision.Namespace+".svc.cluster.local"
		for _, p := range service.Spec.Ports {
			ports = append(ports, int(p.Port))
		}
	default:
		return nil, fmt.Errorf("looking for pod %s: %w", name, err)
	}
	if !withPort {
		if len(ports) != 1 {
			return nil, &usageError{fmt.Errorf("the %s %s declares the ports %v; say which one as %s:PORT", kind, name, ports, name)}
		}
		port = ports[0]
	}
	return &provision.Page{Host: host, Port: port, Shows: fmt.Sprintf("port %d of the %s %s", port, kind, name)}, nil
}
