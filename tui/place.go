package tui

import (
	"fmt"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// place is a node, or the cluster, with the steps that belong to it.
type place struct {
	node    string // "" for the cluster
	name    string
	steps   int // that work is or was to be done for
	done    int // of those
	running int

	changed, held, failed, left int // every step, for the summary

	next         *provision.StepState // the first that waits
	waiting      int
	blocked      *provision.StepState // the first that a failure keeps from running
	blockedSteps int
}

// places counts the steps of a run by place, in the order of State.Nodes.
func places(s *provision.State) []*place {
	var all []*place
	byNode := map[string]*place{}
	for _, n := range s.Nodes() {
		p := &place{node: n, name: placeName(n)}
		byNode[n] = p
		all = append(all, p)
	}
	for _, st := range s.Steps {
		p := byNode[st.Node]
		switch {
		case st.Status == provision.StatusFailed:
			p.failed++
		case st.Status == provision.StatusDone && len(st.Changes) > 0:
			p.changed++
		case st.Status == provision.StatusDone:
			p.held++
		default:
			p.left++
		}
		if !st.Work() {
			continue
		}
		p.steps++
		switch st.Status {
		case provision.StatusDone:
			p.done++
		case provision.StatusRunning:
			p.running++
		case provision.StatusWaiting:
			if p.waiting++; p.next == nil {
				p.next = st
			}
		case provision.StatusBlocked:
			if p.blockedSteps++; p.blocked == nil {
				p.blocked = st
			}
		}
	}
	return all
}

func placeName(node string) string {
	if node == "" {
		return "cluster"
	}
	return node
}

// stepName is the step without the place it belongs to.
func stepName(st *provision.StepState) string {
	return strings.TrimPrefix(st.ID, placeName(st.Node)+"/")
}

// reason is why a step failed, without the name of the step.
func reason(st *provision.StepState) string {
	return strings.TrimPrefix(st.Error.Message, st.ID+": ")
}

// withoutHint is the reason without what to do, which is shown after it.
func withoutHint(st *provision.StepState) string {
	return strings.TrimSuffix(reason(st), "; "+st.Error.Hint)
}

// clock is how long something runs already, in a fixed width up to an hour:
// "00:07", "12:34", "1:02:03".
func clock(d time.Duration) string {
	s := max(0, int(d.Seconds()))
	if s < 3600 {
		return fmt.Sprintf("%02d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// took is how long something took, in words: "7.3 s", "12 min 34 s", "1 h 2 min".
func took(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%.1f s", max(0, d.Seconds()))
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
}

// progress is how far a step is, and its latest line.
func progress(st *provision.StepState) string {
	if st.Total <= 0 {
		return strings.TrimSpace(st.Line)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %%  %s  %s", percent(st.Done, st.Total), amount(st), st.Line))
}

// amount is "7 of 15 blocks", "150.0 MiB of 300.0 MiB".
func amount(st *provision.StepState) string {
	if st.Unit == "bytes" {
		return size(st.Done) + " of " + size(st.Total)
	}
	return fmt.Sprintf("%d of %d %s", st.Done, st.Total, st.Unit)
}

func percent(done, total int64) int64 {
	return int64(float64(min(max(done, 0), total)) / float64(total) * 100)
}

// size is a number of bytes in three digits or so: "812 B", "1.5 KiB", "266.0 MiB".
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1024, "KMGTPE"
	for f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}

// counted is "1 step", "2 steps".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
