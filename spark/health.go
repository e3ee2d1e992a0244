package spark

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

var (
	masterPage  = provision.PageQuery{Namespace: provision.Namespace, Pod: master + "-0", Port: masterUI, Path: "/json/"}
	historyPage = provision.PageQuery{Namespace: provision.Namespace, Pod: history + "-0", Port: historyUI, Path: "/api/v1/version"}
	workerPods  = provision.ListQuery{APIVersion: "v1", Kind: "Pod", Namespace: provision.Namespace, Selector: "app.kubernetes.io/name=" + worker}
)

// pod is the only one of a StatefulSet.
func pod(set string) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "Pod", Namespace: provision.Namespace, Name: set + "-0"}
}

// The sets whose rolling changes a run waits for.
var (
	masterSet  = provision.LiveQuery{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: provision.Namespace, Name: master}
	workerSet  = provision.LiveQuery{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: provision.Namespace, Name: worker}
	historySet = provision.LiveQuery{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: provision.Namespace, Name: history}
)

// rolling says which pods of master and workers are not those of the present
// configuration yet. Kubernetes does not end that of the workers while a
// machine is off.
func (l *layout) rolling(f provision.Facts) string {
	if why := provision.Rolling(masterSet.In(f)); why != "" || !l.site.Whole() {
		return why
	}
	return provision.RollingOut(workerSet.In(f))
}

// state is the master's page, as far as it is needed (JsonProtocol.writeMasterState
// of Spark 4.0). Memory is in MiB.
type state struct {
	Status     string        `json:"status"` // "ALIVE", "RECOVERING", "STANDBY" …
	Cores      int           `json:"cores"`
	CoresUsed  int           `json:"coresused"`
	ActiveApps []activeApp   `json:"activeapps"`
	Workers    []workerState `json:"workers"`
}

// activeApp is an application that has not ended
// (JsonProtocol.writeApplicationInfo). Memory is that of one executor.
type activeApp struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"` // "WAITING", "RUNNING" …
	Cores    int    `json:"cores"` // that it was given
	Memory   int64  `json:"memoryperexecutor"`
	Duration int64  `json:"duration"` // milliseconds since it was submitted
}

type workerState struct {
	Host       string `json:"host"`
	State      string `json:"state"` // "ALIVE", "DEAD", "DECOMMISSIONED", "UNKNOWN"
	Cores      int    `json:"cores"`
	CoresUsed  int    `json:"coresused"`
	Memory     int64  `json:"memory"`
	MemoryUsed int64  `json:"memoryused"`
}

// workerOf is the registered worker of a machine; one that is alive goes before
// what the master remembers of earlier ones.
func (s state) workerOf(n *inventory.Node) (w workerState, ok bool) {
	for _, x := range s.Workers {
		if x.Host == n.Address.String() && (!ok || x.State == "ALIVE") {
			w, ok = x, true
		}
	}
	return w, ok
}

func workerQueries() []provision.Query {
	return []provision.Query{masterPage, pod(master), workerPods}
}

// readMaster returns the master's state, or why there is none.
func readMaster(f provision.Facts) (state, string) {
	var s state
	if why := notAnswering(f, masterPage, pod(master)); why != "" {
		return s, "the master does not answer: " + why
	}
	if err := json.Unmarshal(masterPage.In(f).Body, &s); err != nil {
		return s, fmt.Sprintf("the master's page is no state of a master: %v", err)
	}
	if s.Status != "ALIVE" {
		return s, "the master is " + s.Status
	}
	return s, ""
}

// notAnswering says why a page is not there, "" when it is.
func notAnswering(f provision.Facts, page provision.PageQuery, of provision.LiveQuery) string {
	if !f.Known(page) {
		return "the Kubernetes API does not answer"
	}
	is := page.In(f)
	if is.Status == http.StatusOK {
		return ""
	}
	if why := podTrouble(of.In(f)); why != "" {
		return why
	}
	if is.Status == 0 {
		return "it is starting, or hangs"
	}
	return fmt.Sprintf("its page answers with status %d", is.Status)
}

// podTrouble says why a pod does not run, "" when it does.
func podTrouble(p provision.Object) string {
	if p == nil {
		return "its pod is not there"
	}
	status := object(p, "status")
	containers, _ := status["containerStatuses"].([]any)
	for _, c := range containers {
		c, _ := c.(map[string]any)
		state := object(c, "state")
		if waiting := object(state, "waiting"); waiting != nil {
			if last := object(c, "lastState", "terminated"); last != nil {
				return fmt.Sprintf("its container is waiting (%v) after it ended with code %v", waiting["reason"], last["exitCode"])
			}
			return strings.TrimSpace(fmt.Sprintf("its container is waiting (%v) %s", waiting["reason"], text(waiting["message"])))
		}
		if ended := object(state, "terminated"); ended != nil {
			return fmt.Sprintf("its container ended with code %v", ended["exitCode"])
		}
	}
	if status["phase"] == "Running" {
		return ""
	}
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c["type"] == "PodScheduled" && c["status"] == "False" {
			return "its pod finds no place: " + text(c["message"])
		}
	}
	return fmt.Sprintf("its pod is %v", status["phase"])
}

func object(o map[string]any, path ...string) map[string]any {
	for _, key := range path {
		o, _ = o[key].(map[string]any)
	}
	return o
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// workerMissing says why the worker of a node is of no use, "" when it is.
func workerMissing(s state, f provision.Facts, n *inventory.Node) string {
	w, ok := s.workerOf(n)
	if ok && w.State == "ALIVE" {
		return ""
	}
	for _, p := range workerPods.In(f) {
		if object(p, "spec")["nodeName"] != n.Name {
			continue
		}
		if why := podTrouble(p); why != "" {
			return why
		}
		if ok {
			return "it is " + w.State
		}
		return "it has not registered with the master yet"
	}
	return "there is no pod for it; is the node ready and labelled " + workerLabel + "=true?"
}

// missing says what the wait for master and workers still lacks.
func (l *layout) missing(f provision.Facts, nodes []*inventory.Node) string {
	s, why := readMaster(f)
	if why != "" {
		return why
	}
	var list []string
	for _, n := range nodes {
		if why := workerMissing(s, f, n); why != "" {
			list = append(list, n.Name+": "+why)
		}
	}
	return strings.Join(list, "; ")
}

func historyMissing(f provision.Facts) string { return notAnswering(f, historyPage, pod(history)) }

// Queries are what Health needs to know.
func Queries(site *provision.Site) []provision.Query {
	l := newLayout(site)
	q := workerQueries()
	if l.hdfs {
		q = append(q, historyPage, pod(history))
	}
	return q
}

// Health says whether master, workers and history server do their work.
func Health(site *provision.Site, f provision.Facts) []provision.Health {
	l := newLayout(site)
	s, why := readMaster(f)
	all := []provision.Health{{Component: "spark", Name: "master", Node: l.control.Name, OK: why == "", Reason: why}}
	if why == "" {
		all[0].Info = map[string]string{
			"applications": fmt.Sprint(len(s.ActiveApps)),
			"cores":        fmt.Sprintf("%d of %d in use", s.CoresUsed, s.Cores),
		}
	}
	for _, n := range l.workers {
		h := provision.Health{Component: "spark", Name: "worker " + n.Name, Node: n.Name}
		if why == "" {
			h.Reason = workerMissing(s, f, n)
		} else {
			h.Reason = "unknown while the master does not answer"
		}
		if h.OK = h.Reason == ""; h.OK {
			w, _ := s.workerOf(n)
			h.Info = map[string]string{
				"cores":  fmt.Sprintf("%d of %d in use", w.CoresUsed, w.Cores),
				"memory": fmt.Sprintf("%s of %s in use", inventory.Size(w.MemoryUsed)*inventory.MiB, inventory.Size(w.Memory)*inventory.MiB),
			}
		}
		all = append(all, h)
	}
	if l.hdfs {
		why := historyMissing(f)
		all = append(all, provision.Health{Component: "spark", Name: "history server", Node: l.control.Name, OK: why == "", Reason: why})
	}
	return all
}
