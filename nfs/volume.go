package nfs

import (
	"io/fs"
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/kube"
)

// volumeName is that of the PersistentVolume, which belongs to the whole
// cluster and so carries a prefix.
func volumeName(v inventory.Volume) string { return volumePrefix + v.Name }

const volumePrefix = "nucspark-"

// modeOf is the mode of a volume's directory. The inventory lets no setuid bit
// through.
func modeOf(v inventory.Volume) fs.FileMode {
	mode := fs.FileMode(v.Mode & 0o777)
	if v.Mode&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if v.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// persistentVolume is retained when its claim goes: data is never deleted by
// deleting an object.
func persistentVolume(c *inventory.Cluster, n *inventory.Node, v inventory.Volume) provision.Object {
	return kube.Object(corev1ac.PersistentVolume(volumeName(v)).
		WithSpec(corev1ac.PersistentVolumeSpec().
			WithCapacity(corev1.ResourceList{corev1.ResourceStorage: quantity(v.Size)}).
			WithAccessModes(corev1.ReadWriteMany).
			WithPersistentVolumeReclaimPolicy(corev1.PersistentVolumeReclaimRetain).
			WithStorageClassName("").
			WithMountOptions("vers="+c.NFS.Version, "hard").
			WithClaimRef(corev1ac.ObjectReference().WithAPIVersion("v1").WithKind("PersistentVolumeClaim").
				WithNamespace(provision.Namespace).WithName(v.Name)).
			WithNFS(corev1ac.NFSVolumeSource().WithServer(n.Address.String()).WithPath(path.Join(n.NFS.Export, v.Name)).WithReadOnly(false))))
}

func claimOf(v inventory.Volume) provision.Object {
	return kube.Object(corev1ac.PersistentVolumeClaim(v.Name, provision.Namespace).
		WithSpec(corev1ac.PersistentVolumeClaimSpec().
			WithAccessModes(corev1.ReadWriteMany).
			WithStorageClassName("").
			WithVolumeName(volumeName(v)).
			WithResources(corev1ac.VolumeResourceRequirements().
				WithRequests(corev1.ResourceList{corev1.ResourceStorage: quantity(v.Size)}))))
}

func quantity(s inventory.Size) resource.Quantity {
	return *resource.NewQuantity(int64(s), resource.BinarySI)
}

func claimQuery(v inventory.Volume) provision.LiveQuery {
	return provision.LiveQuery{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: provision.Namespace, Name: v.Name}
}

// phaseOf is "Bound", "Pending", "Lost", or "absent".
func phaseOf(claim provision.Object) string {
	status, _ := claim["status"].(map[string]any)
	if phase, _ := status["phase"].(string); phase != "" {
		return phase
	}
	return "absent"
}
