package support

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Nodes are the nodes of a cluster as text: version, and the conditions that
// are not as they should be.
func Nodes(list []corev1.Node) []byte {
	return table(func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "NODE\tREADY\tKUBELET\tRUNTIME\tKERNEL\tCONDITIONS")
		for _, n := range list {
			ready, other := corev1.ConditionUnknown, []string{}
			for _, c := range n.Status.Conditions {
				switch {
				case c.Type == corev1.NodeReady:
					ready = c.Status
					if ready != corev1.ConditionTrue {
						other = append(other, fmt.Sprintf("%s: %s", c.Reason, c.Message))
					}
				case c.Status != corev1.ConditionFalse:
					other = append(other, fmt.Sprintf("%s %s: %s", c.Type, c.Status, c.Message))
				}
			}
			if n.Spec.Unschedulable {
				other = append(other, "cordoned")
			}
			info := n.Status.NodeInfo
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, ready, info.KubeletVersion, info.ContainerRuntimeVersion, info.KernelVersion, oneLine(strings.Join(other, "; ")))
		}
	})
}

// Pods are pods as text: where they run, and why one does not.
func Pods(list []corev1.Pod, now time.Time) []byte {
	return table(func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "NAMESPACE\tPOD\tNODE\tPHASE\tAGE\tCONTAINER\tREADY\tRESTARTS\tIMAGE\tSTATE")
		for _, p := range list {
			head := fmt.Sprintf("%s\t%s\t%s\t%s\t%s", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase, now.Sub(p.CreationTimestamp.Time).Round(time.Second))
			containers := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
			if len(containers) == 0 {
				why := p.Status.Reason + " " + p.Status.Message
				for _, c := range p.Status.Conditions {
					if c.Status == corev1.ConditionFalse {
						why += " " + c.Message
					}
				}
				fmt.Fprintf(w, "%s\t\t\t\t\t%s\n", head, oneLine(why))
			}
			for _, c := range containers {
				fmt.Fprintf(w, "%s\t%s\t%t\t%d\t%s\t%s\n", head, c.Name, c.Ready, c.RestartCount, c.Image, oneLine(state(c)))
			}
		}
	})
}

func state(c corev1.ContainerStatus) string {
	ended := func(t *corev1.ContainerStateTerminated) string {
		return fmt.Sprintf("ended with %d at %s (%s) %s", t.ExitCode, t.FinishedAt.UTC().Format(time.RFC3339), t.Reason, t.Message)
	}
	var words []string
	switch s := c.State; {
	case s.Waiting != nil:
		words = append(words, "waits: "+s.Waiting.Reason+" "+s.Waiting.Message)
	case s.Terminated != nil:
		words = append(words, ended(s.Terminated))
	case s.Running != nil:
		words = append(words, "runs since "+s.Running.StartedAt.UTC().Format(time.RFC3339))
	}
	if t := c.LastTerminationState.Terminated; t != nil {
		words = append(words, "before that it "+ended(t))
	}
	return strings.Join(words, "; ")
}

// Events are events as text, the latest last.
func Events(list []corev1.Event) []byte {
	at := func(e corev1.Event) time.Time {
		for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time} {
			if !t.IsZero() {
				return t
			}
		}
		return e.CreationTimestamp.Time
	}
	list = slices.SortedStableFunc(slices.Values(list), func(a, b corev1.Event) int { return at(a).Compare(at(b)) })
	return table(func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "TIME\tTYPE\tREASON\tOBJECT\tCOUNT\tMESSAGE")
		for _, e := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s %s/%s\t%d\t%s\n", at(e).UTC().Format(time.RFC3339), e.Type, e.Reason,
				e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name, cmp.Or(e.Count, 1), oneLine(e.Message))
		}
	})
}

func table(write func(w *tabwriter.Writer)) []byte {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	write(w)
	_ = w.Flush() // a strings.Builder takes everything
	return []byte(b.String())
}

// oneLine keeps the columns of a table apart.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
