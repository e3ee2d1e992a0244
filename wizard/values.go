package wizard

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
)

// Source says where a value comes from.
type Source string

// The sources.
const (
	FromMachine Source = "found"    // a machine, or this computer, says so
	Proposed    Source = "proposed" // follows from what was found, or is usual
	Yours       Source = "yours"    // a person said so
)

// Value is one thing that goes into the file, or is needed for it.
type Value struct {
	Key, Label string
	Section    string // what it belongs to: "cluster", the name of a machine …
	Text       string
	Source     Source
}

// none is the text for what there shall not be.
const none = "none"

// defaultUser is the first user that Ubuntu's installer proposes in its
// examples, and that of its cloud images.
const defaultUser = "ubuntu"

// value is what somebody said, else what is proposed.
func (s *State) value(key, proposed string, source Source) (string, Source) {
	if text, ok := s.answers[key]; ok {
		return text, Yours
	}
	return proposed, source
}

// Text is the value with this key, "" where there is none.
func (s *State) Text(key string) string {
	switch key {
	case KeyRange:
		text, _ := s.value(key, s.Local.Range, FromMachine)
		return text
	case KeyUser:
		text, _ := s.value(key, defaultUser, Proposed)
		return text
	case KeyPrivateKey:
		return s.answers[key]
	}
	for _, v := range s.Values() {
		if v.Key == key {
			return v.Text
		}
	}
	return ""
}

// From is the source of a value that Text gives.
func (s *State) From(key string) Source {
	if _, ok := s.answers[key]; ok {
		return Yours
	}
	if key == KeyRange {
		return FromMachine
	}
	return Proposed
}

// Values are all values of the file, in the order of the page.
func (s *State) Values() []Value {
	var all []Value
	add := func(section, key, label, proposed string, source Source) string {
		text, from := s.value(key, proposed, source)
		all = append(all, Value{Key: key, Label: label, Section: section, Text: text, Source: from})
		return text
	}
	machines := s.Chosen()
	cluster, from := "nucs", Proposed
	for _, m := range machines {
		if m.Identity != nil {
			cluster, from = m.Identity.Cluster, FromMachine
			break
		}
	}
	add("cluster", KeyCluster, "name", cluster, from)
	add("cluster", KeyKubernetes, "kubernetes", inventory.KubernetesMinors[len(inventory.KubernetesMinors)-1], Proposed)

	control := s.control(machines)
	names := s.names(machines)
	var stores, exports []string // names
	workers := map[netip.Addr]bool{}
	disks := map[string]int64{} // the largest of each machine, by its name
	exporter := largest(storing(machines, control))
	for _, m := range machines {
		section := m.Address.String()
		name := add(section, Of(m.Address, "name"), "name", names[m.Address].text, names[m.Address].source)
		role := inventory.Worker
		from := Proposed
		if m.Address == control {
			role = inventory.ControlPlane
		}
		if m.Made {
			from = FromMachine
		}
		text := add(section, Of(m.Address, "role"), "role", string(role), from)
		place, ok := largestPlace(m)
		disks[name] = place.Size
		dirs, export := none, none
		if ok && storesBy(len(machines), m.Address == control) {
			dirs = strings.Join(HDFSDirs(m), ", ")
			if m.Address == exporter {
				export = place.Export
			}
		}
		dirs = add(section, Of(m.Address, "hdfs"), "hdfs", dirs, Proposed)
		export = add(section, Of(m.Address, "nfs"), "nfs", export, Proposed)
		if dirs != none {
			stores = append(stores, name)
		}
		if export != none {
			exports = append(exports, name)
		}
		workers[m.Address] = text == string(inventory.Worker) || len(machines) == 1 || dirs != none || export != none
	}

	if len(stores) > 0 {
		c := inventory.Cluster{}
		for range stores {
			c.Nodes = append(c.Nodes, inventory.Node{HDFS: &inventory.NodeHDFS{}})
		}
		add("hdfs", KeyReplication, "copies", strconv.Itoa(c.DefaultReplication()), Proposed)
	}
	if len(exports) > 0 {
		volume := add("volume", KeyVolume, "name", "shared", Proposed)
		if volume != none {
			node := add("volume", KeyVolumeNode, "node", exports[0], Proposed)
			add("volume", KeyVolumeSize, "size", volumeSize(disks[node]).String(), Proposed)
		}
	}
	if len(machines) > 0 {
		limit := workerLimits(machines, workers, control)
		limit.CPU = parsed(add("spark", KeyWorkerCPU, "worker cpu", limit.CPU.String(), Proposed), inventory.ParseCPU)
		limit.Memory = parsed(add("spark", KeyWorkerMemory, "worker memory", limit.Memory.String(), Proposed), inventory.ParseSize)
		e := inventory.DefaultExecutor(limit)
		add("spark", KeyExecutorCores, "executor cores", strconv.Itoa(e.Cores), Proposed)
		add("spark", KeyExecutorMemory, "executor memory", e.Memory.Spark(), Proposed)
	}
	return all
}

// parsed reads a text that Set or a proposal made.
func parsed[T any](text string, parse func(string) (T, error)) T {
	v, err := parse(text)
	if err != nil {
		panic(err) // Set lets nothing else in
	}
	return v
}

type named struct {
	text   string
	source Source
}

// names are the names of machines: the one it has in its cluster, its own, the
// one that the name service knows, else nucNN. None is given twice.
func (s *State) names(machines []discover.Machine) map[netip.Addr]named {
	names := map[netip.Addr]named{}
	taken := map[string]bool{}
	for _, m := range machines {
		if text, ok := s.answers[Of(m.Address, "name")]; ok {
			taken[text] = true
		}
	}
	for _, m := range machines {
		if _, ok := s.answers[Of(m.Address, "name")]; ok {
			continue
		}
		own, _, _ := strings.Cut(strings.ToLower(m.Hostname), ".")
		candidates := []string{own, m.Name}
		if m.Identity != nil {
			candidates = append([]string{m.Identity.Node}, candidates...)
		}
		for _, c := range candidates {
			if inventory.CheckName(c) == nil && c != "localhost" && !taken[c] {
				names[m.Address] = named{c, FromMachine}
				break
			}
		}
		if _, ok := names[m.Address]; !ok {
			for i := 1; ; i++ {
				if c := fmt.Sprintf("nuc%02d", i); !taken[c] {
					names[m.Address] = named{c, Proposed}
					break
				}
			}
		}
		taken[names[m.Address].text] = true
	}
	return names
}

// control is the machine for the control plane.
func (s *State) control(machines []discover.Machine) netip.Addr {
	for _, m := range machines {
		if s.answers[Of(m.Address, "role")] == string(inventory.ControlPlane) {
			return m.Address
		}
	}
	// One that somebody made a worker is not proposed.
	candidates := slices.DeleteFunc(slices.Clone(machines), func(m discover.Machine) bool {
		return s.answers[Of(m.Address, "role")] != ""
	})
	if len(candidates) == 0 {
		return netip.Addr{}
	}
	// It is where it is.
	for _, m := range candidates {
		if m.Made {
			return m.Address
		}
	}
	unfit := func(m discover.Machine) int {
		switch {
		case m.CPUs < 2:
			return 3
		case m.Link() != nil && m.Link().Wireless:
			return 2
		case m.Memory < 4<<30*7/8: // what a machine with 4 GB tells is less than that
			return 1
		}
		return 0
	}
	return slices.MinFunc(candidates, func(a, b discover.Machine) int {
		return cmp.Or(cmp.Compare(unfit(a), unfit(b)), cmp.Compare(room(a), room(b)), cmp.Compare(gigabytes(a.Memory), gigabytes(b.Memory)), a.Address.Compare(b.Address))
	}).Address
}

// gigabytes are whole ones: two machines of one kind differ by some pages.
func gigabytes(bytes int64) int64 { return (bytes + 1<<29) >> 30 }

// room is what a machine has for data besides the system's own disk, in whole
// GB.
func room(m discover.Machine) int64 {
	var sum int64
	for _, p := range m.Places() {
		if p.Mount != "/" && p.Why == "" {
			sum += p.Size
		}
	}
	return gigabytes(sum)
}

// storesBy says whether a machine is proposed to store data: every worker, and
// the control plane of a small cluster too.
func storesBy(machines int, control bool) bool { return !control || machines <= 2 }

// storing are the machines that are proposed to store data.
func storing(machines []discover.Machine, control netip.Addr) []discover.Machine {
	return slices.DeleteFunc(slices.Clone(machines), func(m discover.Machine) bool {
		return !storesBy(len(machines), m.Address == control)
	})
}

// HDFSDirs are the directories that are proposed: one on each disk for data,
// else one on the system's own.
func HDFSDirs(m discover.Machine) []string {
	var dirs []string
	for _, p := range m.Places() {
		if p.Why == "" && (p.Mount != "/" || len(dirs) == 0) {
			dirs = append(dirs, p.HDFS)
		}
	}
	return dirs
}

// largestPlace is where a volume is proposed.
func largestPlace(m discover.Machine) (discover.Place, bool) {
	for _, p := range m.Places() {
		if p.Why == "" {
			return p, true
		}
	}
	return discover.Place{}, false
}

// largest is the machine with the largest place for data, the first of equals.
func largest(machines []discover.Machine) netip.Addr {
	var best netip.Addr
	most := int64(-1)
	for _, m := range machines {
		if p, ok := largestPlace(m); ok && gigabytes(p.Size) > most {
			best, most = m.Address, gigabytes(p.Size)
		}
	}
	return best
}

// volumeSize is a tenth of the disk, in whole GiB, 50 GiB at most.
func volumeSize(disk int64) inventory.Size {
	return min(50*inventory.GiB, max(1, inventory.Size(disk/10)/inventory.GiB)*inventory.GiB)
}

// workerLimits is what Spark gets of the smallest machine that runs workloads:
// all CPUs but one, and of the memory what is left by an eighth for the kernel
// and its caches, 3 GiB for system, kubelet and datanode, and 3 GiB more where
// the control plane and the namenode run too. That is 3 CPUs and 10 GiB for
// four cores and 16 GB, as inventory has it by default.
func workerLimits(machines []discover.Machine, workers map[netip.Addr]bool, control netip.Addr) inventory.Amount {
	least := inventory.Amount{CPU: 1 << 40, Memory: 1 << 60}
	for _, m := range machines {
		if !workers[m.Address] {
			continue
		}
		least.CPU = min(least.CPU, inventory.MilliCPU(max(1, m.CPUs-1))*1000)
		left := inventory.Size(m.Memory)/8*7 - 3*inventory.GiB
		if m.Address == control {
			left -= 3 * inventory.GiB
		}
		least.Memory = min(least.Memory, left)
	}
	step := 512 * inventory.MiB
	if least.Memory >= 8*inventory.GiB {
		step = inventory.GiB
	}
	least.Memory = max(least.Memory/step*step, inventory.LeastWorker)
	if least.CPU == 1<<40 { // no machine runs workloads; the file will not do, and says so
		return inventory.Amount{CPU: 1000, Memory: inventory.LeastWorker}
	}
	return least
}

// checkText says why a text is no answer. Names, directories and what only the
// whole file shows are judged by inventory.
func checkText(key, text string) error {
	number := func() error {
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			return fmt.Errorf("%q is not a whole number from 1", text)
		}
		return nil
	}
	_, what, _ := strings.Cut(key, " ")
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("control characters cannot be part of it")
	case key == KeyRange:
		_, err := discover.Range(text)
		return err
	case key == KeyReplication, key == KeyExecutorCores:
		return number()
	case key == KeyWorkerCPU:
		_, err := inventory.ParseCPU(text)
		return err
	case key == KeyWorkerMemory, key == KeyExecutorMemory, key == KeyVolumeSize:
		_, err := inventory.ParseSize(text)
		return err
	case what == "use" && text != "yes" && text != "no":
		return errors.New("is yes or no")
	case what == "role" && text != string(inventory.ControlPlane) && text != string(inventory.Worker):
		return fmt.Errorf("the role is %s or %s", inventory.ControlPlane, inventory.Worker)
	}
	return nil
}

// fields are the parts of a list.
func fields(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
