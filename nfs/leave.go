package nfs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nucspark.io/nucspark/provision"
)

// Leave looks after the volumes of nodes that leave. A volume keeps its node
// from leaving, unless somebody said by name that it may go. Then the cluster
// forgets it when the node is drained; what is in it stays on the machine.
func Leave(site *provision.Site) []provision.Step {
	var steps []provision.Step
	for i, l := range site.Leaving {
		s := volumesLeave{Base: provision.Base{Name: l.Name + "/nfs/volumes", After: []string{provision.NodeDrained(l.Name)}}, site: site, leaving: l, first: i == 0}
		steps = append(steps, s, provision.Milestone{Name: provision.NodeUnused(l.Name), After: []string{s.Name}})
	}
	return steps
}

// volumesLeave is a step: no volume of the cluster is on the node.
type volumesLeave struct {
	provision.Base
	site    *provision.Site
	leaving provision.Leaving
	first   bool // of those that leave; it answers for the names that somebody gave
	gone    bool // with the disk of a machine that was replaced
}

// words say why a volume keeps its node; they take node, volume and path.
func (s volumesLeave) words() string {
	if s.gone {
		return "%s: the NFS volume %s was on the old machine (%s): its files are gone with its disk; --lose-volume %[2]s lets it begin empty"
	}
	return "%s: the NFS volume %s is on it (%s); bring it to another node with nucspark volume move, or say --lose-volume %[2]s (the cluster forgets it then; the files stay on the machine)"
}

func (s volumesLeave) fate() string {
	if s.gone {
		return "forgotten; the next nucspark up makes it anew, and empty"
	}
	return "forgotten; its files stay on the machine"
}

var (
	allVolumes = provision.ListQuery{APIVersion: "v1", Kind: "PersistentVolume"}
	allPods    = provision.ListQuery{APIVersion: "v1", Kind: "Pod"}
)

func (volumesLeave) Reads() []provision.Query { return []provision.Query{allVolumes, allPods} }

// placed is a PersistentVolume that an NFS server of ours serves.
type placed struct {
	object    string // its name
	name      string // in the inventory
	path      string // on the machine
	namespace string // of its claim
	claim     string
}

// volumesAt are the volumes that the machine of an address serves.
func volumesAt(address string, volumes []provision.Object) []placed {
	var found []placed
	for _, o := range volumes {
		meta, _ := o["metadata"].(map[string]any)
		spec, _ := o["spec"].(map[string]any)
		source, _ := spec["nfs"].(map[string]any)
		if source["server"] != address {
			continue
		}
		var v placed
		v.object, _ = meta["name"].(string)
		v.name = strings.TrimPrefix(v.object, volumePrefix)
		v.path, _ = source["path"].(string)
		ref, _ := spec["claimRef"].(map[string]any)
		v.namespace, _ = ref["namespace"].(string)
		v.claim, _ = ref["name"].(string)
		found = append(found, v)
	}
	return found
}

// users are the pods that have not ended and mount the volume's claim.
func (v placed) users(pods []provision.Object) []string {
	var names []string
	for _, o := range pods {
		meta, _ := o["metadata"].(map[string]any)
		spec, _ := o["spec"].(map[string]any)
		status, _ := o["status"].(map[string]any)
		if meta["namespace"] != v.namespace || v.claim == "" || status["phase"] == "Succeeded" || status["phase"] == "Failed" {
			continue
		}
		volumes, _ := spec["volumes"].([]any)
		if slices.ContainsFunc(volumes, func(x any) bool {
			m, _ := x.(map[string]any)
			claim, _ := m["persistentVolumeClaim"].(map[string]any)
			return claim["claimName"] == v.claim
		}) {
			names = append(names, fmt.Sprintf("%s/%s", v.namespace, meta["name"]))
		}
	}
	return names
}

func (s volumesLeave) Diff(f provision.Facts) ([]provision.Change, error) {
	var changes []provision.Change
	var reasons []string
	for _, v := range volumesAt(s.leaving.Member.Address, allVolumes.In(f)) {
		if !slices.Contains(s.site.LoseVolumes, v.name) {
			reasons = append(reasons, fmt.Sprintf(s.words(), s.leaving.Name, v.name, v.path))
			continue
		}
		if users := v.users(allPods.In(f)); len(users) > 0 {
			reasons = append(reasons, fmt.Sprintf("%s: pods use its NFS volume %s: %s; end them first", s.leaving.Name, v.name, strings.Join(users[:min(len(users), 5)], ", ")))
			continue
		}
		changes = append(changes, provision.Change{Kind: "volume", Key: v.name, Action: provision.Delete, Old: v.path, New: s.fate()})
	}
	if s.first {
		reasons = append(reasons, s.unknown(f)...)
	}
	if len(reasons) > 0 {
		return nil, &provision.RefusedError{Reasons: reasons}
	}
	return changes, nil
}

// unknown refuses names of volumes that are on another node that stays: they
// were meant for something else. One that is nowhere was forgotten already.
func (s volumesLeave) unknown(f provision.Facts) []string {
	var reasons []string
	for _, o := range allVolumes.In(f) {
		meta, _ := o["metadata"].(map[string]any)
		object, _ := meta["name"].(string)
		name := strings.TrimPrefix(object, volumePrefix)
		here := slices.ContainsFunc(s.site.Leaving, func(l provision.Leaving) bool {
			return len(volumesAt(l.Member.Address, []provision.Object{o})) > 0
		})
		if slices.Contains(s.site.LoseVolumes, name) && !here {
			reasons = append(reasons, fmt.Sprintf("--lose-volume %s: that volume is on no node that leaves", name))
		}
	}
	return reasons
}

func (s volumesLeave) Apply(ctx context.Context, env *provision.Env, _ []provision.Change) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k, err := env.Kube(ctx)
	if err != nil {
		return err
	}
	for _, v := range volumesAt(s.leaving.Member.Address, allVolumes.In(env.Facts())) {
		if v.claim != "" {
			if err := k.Delete(ctx, "v1", "PersistentVolumeClaim", v.namespace, v.claim); err != nil {
				return err
			}
		}
		if err := k.Delete(ctx, "v1", "PersistentVolume", "", v.object); err != nil {
			return err
		}
	}
	return nil
}
