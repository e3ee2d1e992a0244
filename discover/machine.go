package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
)

// Machine is what one machine is.
type Machine struct {
	Seen
	provision.Machine
	Model        string // of the maker: "Intel NUC11PAHi5"
	Processor    string
	Disks        []Disk
	Filesystems  []Filesystem
	Directories  map[string]Directory // those that data might go into, by path
	Links        []Link
	SudoPassword bool // sudo asked for one
}

// Disk is one drive.
type Disk struct {
	Name    string // "nvme0n1"
	Model   string
	Kind    string // "NVMe", "SSD", "HDD", "USB", "eMMC"
	Size    int64  // bytes
	Content string // "system", "empty", "mounted at /data", "holds ntfs, not mounted"
}

// Filesystem is one that is mounted from a disk.
type Filesystem struct {
	Mount  string
	Source string // the device, without the part of it that is mounted
	Part   bool   // only a part of the file system: a bind mount, or a subvolume
	Type   string
	Size   int64 // bytes
}

// Directory is what lies in a directory: nothing where it does not exist.
type Directory struct {
	Entries []string // 20 at most
	Ours    bool     // nucspark's sentinel is in it
}

// Link is one network interface of hardware, or one with an address.
type Link struct {
	Name      string
	MAC       string
	Speed     int // Mbit/s; 0 where it tells none
	Wireless  bool
	Up        bool
	Addresses []netip.Addr
}

// Login says how machines are entered.
type Login struct {
	User         string
	Port         int    // 0 for 22
	KeyFile      string // "" for the usual ones
	Keys         *host.Keys
	Password     inventory.Secret // tried last
	SudoPassword inventory.Secret
	Passphrase   func(ctx context.Context, keyFile string) ([]byte, error)
	Dial         func(context.Context, host.Options) (provision.Remote, error)
}

// Ask logs in to a machine and asks what it is. A host key other than the one
// that was shown is an error.
func Ask(ctx context.Context, s Seen, l Login) (Machine, error) {
	m := Machine{Seen: s}
	o := host.Options{
		Name: s.Address.String(), Address: net.JoinHostPort(s.Address.String(), strconv.Itoa(cmp.Or(l.Port, 22))), User: l.User, KeyFile: l.KeyFile, Keys: l.Keys, Password: l.Password,
		HostKey: s.Key.Authorized, Passphrase: l.Passphrase, IdleTimeout: time.Minute,
	}
	err := m.ask(ctx, o, l)
	if errors.Is(err, host.ErrSudoNoPassword) && !l.SudoPassword.IsZero() {
		m.SudoPassword = true
		o.SudoPassword = l.SudoPassword
		err = m.ask(ctx, o, l)
	}
	return m, err
}

func (m *Machine) ask(ctx context.Context, o host.Options, l Login) error {
	r, err := l.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close()
	if m.Machine, err = provision.SurveyOne(ctx, o.Name, r); err != nil {
		return err
	}
	mark := newMark()
	res, err := r.Run(ctx, host.Command{Script: hardwareScript(mark), Root: true})
	if err != nil {
		return err
	}
	if err := m.parseHardware(res.Stdout, mark); err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	return nil
}

// Describe is the machine in one line: model, processor, cores, memory, system.
func (m *Machine) Describe() string {
	var parts []string
	cores := "1 core"
	if m.CPUs != 1 {
		cores = fmt.Sprintf("%d cores", m.CPUs)
	}
	for _, s := range []string{m.Model, m.Processor, cores, inventory.Size(m.Memory).Human(), m.System()} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// System is "Ubuntu 24.04".
func (m *Machine) System() string {
	name := m.OS
	if name != "" {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	return strings.TrimSpace(name + " " + m.Version)
}

// Describe is the disk in a few words.
func (d Disk) Describe() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", d.Name, inventory.Size(d.Size).Human(), d.Kind, d.Content)), " ")
}

// Link is the interface that the machine was reached by, nil where none has
// that address.
func (m *Machine) Link() *Link {
	for i, l := range m.Links {
		for _, a := range l.Addresses {
			if a == m.Address {
				return &m.Links[i]
			}
		}
	}
	return nil
}

// Describe is the interface in a few words.
func (l *Link) Describe() string {
	switch {
	case l == nil:
		return ""
	case l.Wireless:
		return "Wi-Fi"
	case l.Speed >= 1000:
		return fmt.Sprintf("%g Gbit/s", float64(l.Speed)/1000)
	case l.Speed > 0:
		return fmt.Sprintf("%d Mbit/s", l.Speed)
	}
	return l.Name
}
