package kube

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	k8sjson "k8s.io/apimachinery/pkg/util/json"
)

// resource is where the API serves a kind.
type resource struct {
	plural     string
	namespaced bool
}

// resources is the table of the kinds that nucspark uses, by apiVersion and
// kind.
var resources = map[string]map[string]resource{
	"v1": {
		"ConfigMap":             {"configmaps", true},
		"Event":                 {"events", true},
		"Namespace":             {"namespaces", false},
		"Node":                  {"nodes", false},
		"PersistentVolume":      {"persistentvolumes", false},
		"PersistentVolumeClaim": {"persistentvolumeclaims", true},
		"Pod":                   {"pods", true},
		"Secret":                {"secrets", true},
		"Service":               {"services", true},
		"ServiceAccount":        {"serviceaccounts", true},
	},
	"apps/v1": {
		"ControllerRevision": {"controllerrevisions", true},
		"DaemonSet":          {"daemonsets", true},
		"Deployment":         {"deployments", true},
		"ReplicaSet":         {"replicasets", true},
		"StatefulSet":        {"statefulsets", true},
	},
	"batch/v1": {
		"CronJob": {"cronjobs", true},
		"Job":     {"jobs", true},
	},
	"discovery.k8s.io/v1": {
		"EndpointSlice": {"endpointslices", true},
	},
	"networking.k8s.io/v1": {
		"NetworkPolicy": {"networkpolicies", true},
	},
	"policy/v1": {
		"PodDisruptionBudget": {"poddisruptionbudgets", true},
	},
	"rbac.authorization.k8s.io/v1": {
		"ClusterRole":        {"clusterroles", false},
		"ClusterRoleBinding": {"clusterrolebindings", false},
		"Role":               {"roles", true},
		"RoleBinding":        {"rolebindings", true},
	},
	"scheduling.k8s.io/v1": {
		"PriorityClass": {"priorityclasses", false},
	},
	"storage.k8s.io/v1": {
		"StorageClass": {"storageclasses", false},
	},
}

// lookup finds a kind in the table.
func lookup(apiVersion, kind string) (schema.GroupVersionResource, bool, error) {
	r, ok := resources[apiVersion][kind]
	if !ok {
		return schema.GroupVersionResource{}, false, fmt.Errorf("kind %s of %s is not in the table of known kinds", kind, apiVersion)
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	return gv.WithResource(r.plural), r.namespaced, err
}

// ManagedBy is the label that everything made by nucspark carries.
const ManagedBy = "app.kubernetes.io/managed-by"

// Object is the JSON form of an apply configuration of client-go, or of any
// other value that marshals into a JSON object, with the label [ManagedBy].
// Whole numbers become int64. It panics on what is no object: a mistake in the
// program, not in its input.
func Object(config any) map[string]any {
	b, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	var o map[string]any
	if err := k8sjson.Unmarshal(b, &o); err != nil {
		panic(err)
	}
	meta, ok := o["metadata"].(map[string]any)
	if !ok {
		panic(fmt.Sprintf("%T has no metadata", config))
	}
	labels, _ := meta["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		meta["labels"] = labels
	}
	labels[ManagedBy] = Manager
	return o
}
