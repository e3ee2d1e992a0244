package wizard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
)

// preseed is the file of answers. All of it may be left out.
type preseed struct {
	Range       *string    `hcl:"range"`
	Machines    *[]string  `hcl:"machines"`
	User        *string    `hcl:"user"`
	PrivateKey  *string    `hcl:"private_key"`
	Cluster     *string    `hcl:"cluster"`
	Kubernetes  *string    `hcl:"kubernetes"`
	Replication *int       `hcl:"replication"`
	Machine     []oneOf    `hcl:"machine,block"`
	Volume      *volumeOf  `hcl:"volume,block"`
	Worker      *workerOf  `hcl:"worker,block"`
	Executor    *executeOf `hcl:"executor,block"`
}

type oneOf struct {
	Address string    `hcl:"address,label"`
	Use     *bool     `hcl:"use"`
	Name    *string   `hcl:"name"`
	Role    *string   `hcl:"role"`
	HostKey *string   `hcl:"host_key"`
	HDFS    *[]string `hcl:"hdfs"`
	NFS     *string   `hcl:"nfs"`
}

type volumeOf struct {
	Name *string `hcl:"name"`
	Node *string `hcl:"node"`
	Size *string `hcl:"size"`
}

type workerOf struct {
	CPU    *string `hcl:"cpu"`
	Memory *string `hcl:"memory"`
}

type executeOf struct {
	Cores  *int    `hcl:"cores"`
	Memory *string `hcl:"memory"`
}

// Preseed takes the answers of a file, HCL or, by its name, JSON. The host keys
// that it names, by address, are returned.
func (s *State) Preseed(path string, src []byte) (keys map[netip.Addr]string, err error) {
	parse := hclparse.NewParser().ParseHCL
	if strings.HasSuffix(path, ".json") {
		parse = hclparse.NewParser().ParseJSON
	}
	file, diags := parse(src, path)
	if diags.HasErrors() {
		return nil, diags
	}
	var p preseed
	if diags := gohcl.DecodeBody(file.Body, nil, &p); diags.HasErrors() {
		return nil, diags
	}
	var errs []error
	set := func(key string, text *string) {
		if text == nil {
			return
		}
		if *text == "" {
			errs = append(errs, fmt.Errorf("%s: %s is empty; leave it out for what is proposed", path, key))
		} else if err := s.Set(key, *text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", path, key, err))
		}
	}
	number := func(key string, n *int) {
		if n != nil {
			text := fmt.Sprint(*n)
			set(key, &text)
		}
	}
	// An empty list is what there shall not be.
	list := func(key string, texts *[]string) {
		if texts != nil {
			text := strings.Join(*texts, ", ")
			if text == "" {
				text = none
			}
			set(key, &text)
		}
	}
	set(KeyRange, p.Range)
	list(KeyMachines, p.Machines)
	set(KeyUser, p.User)
	set(KeyPrivateKey, p.PrivateKey)
	set(KeyCluster, p.Cluster)
	set(KeyKubernetes, p.Kubernetes)
	number(KeyReplication, p.Replication)
	keys = map[netip.Addr]string{}
	seen := map[netip.Addr]bool{}
	for _, m := range p.Machine {
		a, err := netip.ParseAddr(m.Address)
		if err != nil || !a.Is4() {
			errs = append(errs, fmt.Errorf("%s: machine %q: the label is its IPv4 address", path, m.Address))
			continue
		}
		if seen[a] {
			errs = append(errs, fmt.Errorf("%s: machine %q is there twice", path, m.Address))
		}
		seen[a] = true
		if m.Use != nil {
			text := map[bool]string{true: "yes", false: "no"}[*m.Use]
			set(Of(a, "use"), &text)
		}
		set(Of(a, "name"), m.Name)
		set(Of(a, "role"), m.Role)
		list(Of(a, "hdfs"), m.HDFS)
		set(Of(a, "nfs"), m.NFS)
		if m.HostKey != nil {
			keys[a] = strings.TrimSpace(*m.HostKey)
		}
	}
	if v := p.Volume; v != nil {
		set(KeyVolume, v.Name)
		set(KeyVolumeNode, v.Node)
		set(KeyVolumeSize, v.Size)
	}
	if w := p.Worker; w != nil {
		set(KeyWorkerCPU, w.CPU)
		set(KeyWorkerMemory, w.Memory)
	}
	if e := p.Executor; e != nil {
		number(KeyExecutorCores, e.Cores)
		set(KeyExecutorMemory, e.Memory)
	}
	return keys, errors.Join(errs...)
}

// Finder is what the wizard needs of the network. Its methods may be called
// side by side.
type Finder interface {
	// Scan calls seen for each address that answers, one call at a time.
	Scan(ctx context.Context, addresses []netip.Addr, seen func(discover.Seen)) error
	Ask(ctx context.Context, s discover.Seen, as As) (discover.Machine, error)
}

// As says who asks.
type As struct {
	User, PrivateKey         string // the key file as it stands in the inventory, "" for the usual ones
	SudoPassword, Passphrase inventory.Secret
}

// As is who asks the machines.
func (s *State) As() As {
	return As{User: s.Text(KeyUser), PrivateKey: s.Text(KeyPrivateKey), SudoPassword: s.SudoPassword, Passphrase: s.Passphrase}
}

// askedAtOnce is how many machines are asked side by side.
const askedAtOnce = 16

// AskAll asks machines, some at a time. answered is called for each, one call
// at a time.
func AskAll(ctx context.Context, f Finder, list []discover.Seen, as As, answered func(netip.Addr, discover.Machine, error)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, seen := range list {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			m, err := f.Ask(ctx, seen, as)
			mu.Lock()
			defer mu.Unlock()
			answered(seen.Address, m, err)
		}()
	}
	wg.Wait()
}

// Fill goes from the first page to the last with the answers that there are. A
// host key must be the one in keys, be known, or be accepted. say is called
// with what a person should know.
func (s *State) Fill(ctx context.Context, f Finder, keys map[netip.Addr]string, accept func(discover.Seen) bool, say func(string)) error {
	for s.Page != Review {
		switch s.Page {
		case Found:
			addresses := s.Addresses()
			s.Scanning()
			if err := f.Scan(ctx, addresses, s.Saw); err != nil {
				return err
			}
			if err := s.trusted(keys, accept, say); err != nil {
				return err
			}
		case Machines:
			AskAll(ctx, f, s.ToAsk(), s.As(), func(a netip.Addr, m discover.Machine, err error) {
				if s.Answered(a, m, err); err != nil {
					say(fmt.Sprintf("%s does not let itself be asked: %v", a, err))
				}
			})
			if err := ctx.Err(); err != nil {
				return err
			}
			verdicts := s.Verdicts()
			for _, m := range s.Asked() {
				for _, text := range append(verdicts[m.Address].Problems, verdicts[m.Address].Warnings...) {
					say(fmt.Sprintf("%s: %s", m.Address, text))
				}
			}
		}
		if err := s.Next(); err != nil {
			return err
		}
	}
	return nil
}

// trusted says which of the machines that are to be used cannot be.
func (s *State) trusted(keys map[netip.Addr]string, accept func(discover.Seen) bool, say func(string)) error {
	var errs []error
	there := map[netip.Addr]bool{}
	for _, seen := range s.Seen() {
		there[seen.Address] = true
		if !s.Uses(seen.Address) {
			if seen.Err != nil {
				say(fmt.Sprintf("%s is left out: %v", seen.Address, seen.Err))
			}
			continue
		}
		want, pinned := keys[seen.Address]
		switch {
		case seen.Err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", seen.Address, seen.Err))
		case pinned && want != seen.Key.Authorized:
			errs = append(errs, fmt.Errorf("%s shows the host key %s, and the preseed has another one: find out why before you go on", seen.Address, seen.Key.Fingerprint))
		case !pinned && !seen.Key.Known && !accept(seen):
			errs = append(errs, fmt.Errorf("%s shows the host key %s, which nobody has accepted: compare it with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there, and write it into the preseed (machine %q { host_key = %q }), or add --accept-new-host-keys",
				seen.Address, seen.Key.Fingerprint, seen.Address, seen.Key.Authorized))
		}
	}
	for _, text := range fields(s.answers[KeyMachines]) {
		if a, err := netip.ParseAddr(text); err != nil || !there[a] {
			errs = append(errs, fmt.Errorf("%s is one of the machines, but no SSH server answers there", text))
		}
	}
	return errors.Join(errs...)
}

// Refused are the reasons for which nucspark up would refuse the cluster as it
// stands in the file.
func (s *State) Refused() []string {
	c, _ := s.Check()
	if c == nil {
		return nil
	}
	machines := map[string]provision.Machine{}
	for _, n := range c.Nodes {
		if m, ok := s.machines[n.Address]; ok {
			machines[n.Name] = m.Machine
		}
	}
	var reasons []string
	for _, p := range provision.Check(c, machines, s.Supported) {
		reasons = append(reasons, p.String())
	}
	return reasons
}
