package spark

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	neturl "net/url"
	"sync"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// historyHost is the name of the history server in the pod network.
const historyHost = history + "-0." + history + "." + provision.Namespace + ".svc.cluster.local"

// DriverUI is the port of a running application's page.
const DriverUI = 4040

// Pages are the web pages of Spark, but for those of applications.
func Pages(c *inventory.Cluster) []provision.Page {
	l := newLayout(&provision.Site{Cluster: c})
	pages := []provision.Page{{
		Name: "spark", Node: l.control.Name, Host: MasterHost, Port: masterUI,
		Shows: "Spark: workers, and applications that run or ran of late",
	}}
	if l.hdfs {
		pages = append(pages, provision.Page{
			Name: "history", Node: l.control.Name, Host: historyHost, Port: historyUI,
			Shows: "Spark: applications that have ended, with their jobs, stages and tasks",
		})
	}
	for _, n := range l.workers {
		pages = append(pages, provision.Page{
			Node: n.Name, Host: n.Address.String(), Port: workerUI,
			Shows: "Spark on " + n.Name + ": its executors and their logs",
		})
	}
	return pages
}

// Parts are what prints logs, but for applications.
func Parts(c *inventory.Cluster) []provision.Part {
	l := newLayout(&provision.Site{Cluster: c})
	parts := []provision.Part{{Name: "spark", App: master, Shows: "the master of Spark"}}
	if l.hdfs {
		parts = append(parts, provision.Part{Name: "history", App: history, Shows: "the history server of Spark"})
	}
	for _, n := range l.workers {
		parts = append(parts, provision.Part{Name: n.Name + "/worker", Node: n.Name, App: worker, Shows: "the Spark worker of " + n.Name})
	}
	return parts
}

// Pager is what is asked for the pages of applications. [kube.Client] is the
// real one.
type Pager interface {
	List(ctx context.Context, apiVersion, kind, ns, selector string) ([]map[string]any, error)
	Page(ctx context.Context, ns, pod string, port int, path string) (status int, body []byte, err error)
}

// Running is an application that runs.
type Running struct {
	ID, Name string // "" while its driver starts
	Pod      string // of the driver
	Page     provision.Page
}

// application is one entry of the list that drivers and the history server give
// (ApplicationInfo of Spark's REST API).
type application struct{ ID, Name string }

func applications(ctx context.Context, k Pager, pod string, port int, path string) ([]application, error) {
	status, body, err := k.Page(ctx, provision.Namespace, pod, port, path)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("page %s of %s answers with status %d", path, pod, status)
	}
	var list []application
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("page %s of %s cannot be read: %w", path, pod, err)
	}
	return list, nil
}

// driverBound is how long a driver may take to say what it runs.
const driverBound = 10 * time.Second

// Applications lists what runs, in the order of the drivers' names.
func Applications(ctx context.Context, k Pager) ([]Running, error) {
	pods, err := k.List(ctx, "v1", "Pod", provision.Namespace, "app.kubernetes.io/name="+driver)
	if err != nil {
		return nil, err
	}
	var all []Running
	for _, p := range pods {
		address := text(object(p, "status")["podIP"])
		if endOf(p) != nil || address == "" {
			continue
		}
		all = append(all, Running{
			Pod:  text(object(p, "metadata")["name"]),
			Page: provision.Page{Node: text(object(p, "spec")["nodeName"]), Host: address, Port: DriverUI},
		})
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, driverBound)
			defer cancel()
			r := &all[i]
			// A driver that does not answer is starting, or about to end.
			if list, err := applications(ctx, k, r.Pod, DriverUI, "/api/v1/applications"); err == nil && len(list) > 0 {
				r.ID, r.Name = list[0].ID, list[0].Name
			}
			r.Page.Shows = "the running application " + r.Pod
			if r.Name != "" {
				r.Page.Shows = fmt.Sprintf("the running application %s, %s", r.Name, r.ID)
			}
		})
	}
	wg.Wait()
	return all, nil
}

// Ended finds the page of an application that has ended, by its id, or the last
// one of that name. ok is false when the history server shows none.
func Ended(ctx context.Context, k Pager, name string) (page provision.Page, ok bool, err error) {
	// Most recent first.
	list, err := applications(ctx, k, history+"-0", historyUI, "/api/v1/applications")
	if err != nil {
		return page, false, err
	}
	for _, a := range list {
		if a.ID == name || a.Name == name {
			return provision.Page{
				Host: historyHost, Port: historyUI, Path: "/history/" + neturl.PathEscape(a.ID) + "/jobs/",
				Shows: fmt.Sprintf("the application %s, %s, as it ended", a.Name, a.ID),
			}, true, nil
		}
	}
	return page, false, nil
}
