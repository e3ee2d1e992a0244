package provision

import "fmt"

// Rolling says what is left to be done until every pod of a DaemonSet or a
// StatefulSet was made from its present template, "" when all were. They may
// not be ready yet. Kubernetes replaces them one by one, and tells so in the
// status (k8s.io/api/apps/v1, DaemonSetStatus and StatefulSetStatus).
func Rolling(set Object) string {
	if set == nil {
		return "its DaemonSet or StatefulSet is not there"
	}
	if has, is := number(set, "status", "observedGeneration"), number(set, "metadata", "generation"); has < is {
		return ObjectName(set) + ": Kubernetes has not looked at its configuration yet"
	}
	if has, want := number(set, "status", "updatedNumberScheduled")+number(set, "status", "updatedReplicas"), wanted(set); has < want {
		return fmt.Sprintf("%s: %d of %d pods have its configuration", ObjectName(set), has, want)
	}
	return ""
}

// RollingOut is Rolling, and that every pod is ready.
func RollingOut(set Object) string {
	if why := Rolling(set); why != "" {
		return why
	}
	if has, want := number(set, "status", "numberAvailable")+number(set, "status", "readyReplicas"), wanted(set); has < want {
		return fmt.Sprintf("%s: %d of %d pods are ready", ObjectName(set), has, want)
	}
	return ""
}

// wanted is the number of pods: a StatefulSet's is written, a DaemonSet's
// follows from the nodes.
func wanted(set Object) int64 {
	if set["kind"] == "DaemonSet" {
		return number(set, "status", "desiredNumberScheduled")
	}
	return number(set, "spec", "replicas")
}

// number returns the number at a path of maps, 0 when there is none.
func number(o map[string]any, path ...string) int64 {
	for _, k := range path[:len(path)-1] {
		o, _ = o[k].(map[string]any)
	}
	n, _ := o[path[len(path)-1]].(int64)
	return n
}
