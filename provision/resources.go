package provision

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"nucspark.io/nucspark/inventory"
)

// Resources are the requests and limits of a container; what is zero is not
// set.
func Resources(r inventory.Resources) *core.ResourceRequirementsApplyConfiguration {
	list := func(a inventory.Amount) corev1.ResourceList {
		l := corev1.ResourceList{}
		if a.CPU > 0 {
			l[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(a.CPU), resource.DecimalSI)
		}
		if a.Memory > 0 {
			l[corev1.ResourceMemory] = *resource.NewQuantity(int64(a.Memory), resource.BinarySI)
		}
		return l
	}
	return core.ResourceRequirements().WithRequests(list(r.Requests)).WithLimits(list(r.Limits))
}
