package watch

import (
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// State is what is known of a cluster at one moment. Its strings are as the
// machines sent them. Nobody changes one that was handed out.
type State struct {
	Time     time.Time          `json:"time"`
	Cluster  string             `json:"cluster"`
	Interval time.Duration      `json:"-"` // between two looks
	Paused   bool               `json:"-"`
	Control  string             `json:"control"`  // the machine through which the API is asked
	Machines []Machine          `json:"machines"` // in the order of the inventory
	API      Source             `json:"api"`
	Health   []provision.Health `json:"health"`         // as status lists it; of the components while the API answers
	HDFS     *provision.Storage `json:"hdfs,omitempty"` // nil while it does not answer, and where there is none
	Spark    *provision.Compute `json:"spark,omitempty"`
	Volumes  []Volume           `json:"volumes,omitempty"`
}

// Machine is one of them.
type Machine struct {
	Name string `json:"name"`
	Source
	Vitals *provision.Vitals `json:"vitals,omitempty"` // nil while it does not answer
}

// Volume is one NFS volume, as the inventory has it. How full it is by itself
// is not known: that would be to read through all its directories.
type Volume struct {
	Name   string `json:"name"`
	Node   string `json:"node"`
	Export string `json:"export"` // the directory of the node that it lies in
	Size   int64  `json:"size"`   // bytes, not enforced
}

// Source is somebody who is asked again and again.
type Source struct {
	Asked time.Time `json:"-"`               // when the question was sent that has no answer yet; zero: there is none
	Seen  time.Time `json:"seen,omitzero"`   // when the last answer came
	Err   string    `json:"error,omitempty"` // why there was none the last time
}

// silentAfter is how long an answer may take before somebody who answered
// before is called silent. It is less than a look may take, so that a machine
// that hangs is told of early.
const silentAfter = 5 * time.Second

// Trouble says why nothing is heard, "" when that is not so.
func (s Source) Trouble(now time.Time) string {
	switch {
	case s.Err != "":
		return s.Err
	case !s.Asked.IsZero() && !s.Seen.IsZero() && now.Sub(s.Asked) > silentAfter:
		return "no answer"
	}
	return ""
}

// Level is how bad something is.
type Level string

// The levels, the worst first.
const (
	Silent  Level = "silent" // it does not answer
	Failed  Level = "failed"
	Warning Level = "warning"
)

// Problem is one thing that is not as it should be.
type Problem struct {
	Level     Level     `json:"level"`
	Component string    `json:"component"` // as in [provision.Health]; "machine", "cluster" for the API
	Name      string    `json:"name"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since,omitzero"` // when it was last heard, of what is silent
	With      []string  `json:"with,omitempty"` // what cannot be well for the same cause
}

// Problems are what is not as it should be, the worst first. What hangs on a
// machine that is silent is told with it.
func (s *State) Problems(now time.Time) []Problem {
	var all []Problem
	at := map[string]int{}
	for _, m := range s.Machines {
		if why := m.Trouble(now); why != "" {
			at[m.Name] = len(all)
			all = append(all, Problem{Level: Silent, Component: "machine", Name: m.Name, Reason: withoutName(why, m.Name), Since: m.Seen})
		}
	}
	if why := s.API.Trouble(now); why != "" {
		if i, ok := at[s.Control]; ok {
			all[i].With = append(all[i].With, "the cluster's API")
		} else {
			all = append(all, Problem{Level: Silent, Component: "cluster", Name: "API", Reason: why, Since: s.API.Seen})
		}
	}
	for _, h := range s.Health {
		i, silent := at[h.Node]
		switch {
		case h.OK || silent && h.Component == "machine":
		case h.Component == "kubernetes" && h.Name == "api" && s.API.Err != "": // said above
		case silent:
			all[i].With = append(all[i].With, h.Name)
		case h.Component == "machine" && s.asking(h.Name):
		default:
			all = append(all, Problem{Level: Failed, Component: h.Component, Name: h.Name, Reason: h.Reason})
		}
	}
	for _, m := range s.Machines {
		if _, silent := at[m.Name]; silent || m.Vitals == nil {
			continue
		}
		for _, w := range m.Vitals.Warnings() {
			all = append(all, Problem{Level: Warning, Component: "machine", Name: m.Name, Reason: w})
		}
	}
	if s.HDFS != nil {
		for _, bad := range []struct {
			n    int64
			what string
		}{{s.HDFS.UnderReplicated, "too few copies; HDFS makes more while there is room"}, {s.HDFS.Corrupt, "a damaged copy; HDFS replaces it from a good one"}} {
			if bad.n > 0 {
				all = append(all, Problem{Level: Warning, Component: "hdfs", Name: "blocks", Reason: fmt.Sprintf("%d with %s", bad.n, bad.what)})
			}
		}
	}
	return all
}

// withoutName is a reason that does not begin with the name it stands beside:
// errors of a machine do, as "nuc02: …" or "nuc02 (ADDRESS): …".
func withoutName(reason, name string) string {
	if rest, ok := strings.CutPrefix(reason, name+": "); ok {
		return rest
	}
	return strings.TrimPrefix(reason, name+" ")
}

// asking says that a machine has never answered, and not failed to yet.
func (s *State) asking(name string) bool {
	for _, m := range s.Machines {
		if m.Name == name {
			return m.Seen.IsZero() && m.Err == ""
		}
	}
	return false
}

// Shown is when the oldest of the answers came that are shown, those of the
// silent apart; zero while there is none.
func (s *State) Shown(now time.Time) time.Time {
	var oldest time.Time
	sources := []Source{s.API}
	for _, m := range s.Machines {
		sources = append(sources, m.Source)
	}
	for _, source := range sources {
		if source.Trouble(now) == "" && !source.Seen.IsZero() && (oldest.IsZero() || source.Seen.Before(oldest)) {
			oldest = source.Seen
		}
	}
	return oldest
}

// Disk is how full the file system of a volume is; ok is false while nobody
// knows.
func (s *State) Disk(v Volume) (d provision.DiskUse, ok bool) {
	for _, m := range s.Machines {
		if m.Name != v.Node || m.Vitals == nil {
			continue
		}
		for _, d := range m.Vitals.Disks {
			if d.Path == v.Export {
				return d, true
			}
		}
	}
	return d, false
}

// Check is how much of a component is well.
type Check struct {
	Component string
	Well, All int
}

// Checks are those of each component, in the order of the health list.
func (s *State) Checks() []Check {
	var all []Check
	for _, h := range s.Health {
		if len(all) == 0 || all[len(all)-1].Component != h.Component {
			all = append(all, Check{Component: h.Component})
		}
		c := &all[len(all)-1]
		if c.All++; h.OK {
			c.Well++
		}
	}
	return all
}
