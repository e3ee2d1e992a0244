package kubeadm

import (
	"encoding/json"
	"maps"
	"regexp"

	core "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// record is what the cluster knows of itself: the values that were resolved
// once, its members, and the inventory without secrets. A member stays until
// it is taken out of the cluster, whether or not it answers and whether or not
// the inventory still names it. Where members leave, this is made when they
// have left.
func record(site *provision.Site) *core.ConfigMapApplyConfiguration {
	return core.ConfigMap(provision.Record, provision.Namespace).
		WithData(map[string]string{
			provision.RecordCluster:  indented(site.Resolved),
			provision.RecordMembers:  indented(members(site)),
			provision.RecordManifest: PublicInventory(site.Cluster),
		})
}

func members(site *provision.Site) map[string]provision.Member {
	all := maps.Clone(site.Members)
	if all == nil {
		all = map[string]provision.Member{}
	}
	for _, l := range site.Leaving {
		delete(all, l.Name)
	}
	for _, n := range site.Reachable() {
		m := provision.Member{MachineID: site.Machines[n.Name].MachineID, Address: n.Address.String(), HostKey: n.HostKey}
		if n.Port != site.Cluster.SSH.Port {
			m.Port = n.Port
		}
		all[n.Name] = m
	}
	return all
}

// PublicInventory is the inventory as JSON, without what belongs to the person
// who applied it (paths, the way in by SSH) and without secrets.
func PublicInventory(c *inventory.Cluster) string {
	public := *c
	public.File, public.SSH, public.Mirror.Keys, public.Warnings = "", inventory.SSH{}, nil, nil
	var v any
	if err := json.Unmarshal([]byte(indented(public)), &v); err != nil {
		panic(err) // it was made by the same package
	}
	return indented(redacted(v))
}

// secretName matches the names of values that are hidden. It is Spark's own
// rule (spark.redaction.regex).
var secretName = regexp.MustCompile(`(?i)secret|password|token|access[.]?key`)

// redacted hides the strings of secret names in what came out of JSON.
func redacted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			if s, ok := below.(string); ok && s != "" && secretName.MatchString(k) {
				v[k] = "(sensitive)"
				continue
			}
			v[k] = redacted(below)
		}
	case []any:
		for i := range v {
			v[i] = redacted(v[i])
		}
	}
	return v
}

// indented is the JSON form of a value that is nothing but data.
func indented(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}
