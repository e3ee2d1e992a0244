package wizard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nucspark.io/nucspark/discover"
	"nucspark.io/nucspark/inventory"
)

// Page is one question, or several that belong together.
type Page int

// The pages, in their order.
const (
	Range    Page = iota // where the machines are
	Found                // who answered there, with host keys
	Login                // user, key, password of sudo
	Machines             // what each of them is
	Values               // all that goes into the file
	Review               // the file
)

// State is the wizard between two answers.
type State struct {
	Page Page
	Path string // of the file that is to be written
	// Local is what this computer says of itself.
	Local struct {
		Range     string
		Addresses []netip.Addr
	}
	// Extra are blocks that are not asked for, such as mirror; they go to the
	// end of the file as they are.
	Extra     []byte
	Supported func(os, version, arch string) error

	// SudoPassword is needed where sudo asks for one. It does not go into the
	// file.
	SudoPassword inventory.Secret
	Passphrase   inventory.Secret // of the key file

	answers  map[string]string
	scanned  string // the range whose machines are in seen; "" before the first scan
	seen     []discover.Seen
	asked    string // the login by which machines answered
	machines map[netip.Addr]discover.Machine
	failed   map[netip.Addr]error
	verdicts map[netip.Addr]discover.Verdict // of machines; nil until somebody asks
}

// Keys of answers about the whole. Those about one machine are made by [Of].
const (
	KeyRange          = "range"
	KeyMachines       = "machines" // the addresses of those to use; otherwise all that will do
	KeyUser           = "user"
	KeyPrivateKey     = "private_key"
	KeyCluster        = "cluster"
	KeyKubernetes     = "kubernetes"
	KeyReplication    = "replication"
	KeyVolume         = "volume"
	KeyVolumeNode     = "volume.node"
	KeyVolumeSize     = "volume.size"
	KeyWorkerCPU      = "worker.cpu"
	KeyWorkerMemory   = "worker.memory"
	KeyExecutorCores  = "executor.cores"
	KeyExecutorMemory = "executor.memory"
)

// Of is the key of an answer about one machine: "use", "name", "role", "hdfs"
// or "nfs".
func Of(a netip.Addr, what string) string { return a.String() + " " + what }

// Next goes to the next page, or says why it cannot be left yet.
func (s *State) Next() error {
	switch s.Page {
	case Range:
		if _, err := discover.Range(s.Text(KeyRange)); err != nil {
			return err
		}
	case Found:
		if len(s.used()) == 0 {
			return errors.New("no machine is chosen: choose those of the cluster, or go back and try another range")
		}
	case Login:
		if s.Text(KeyUser) == "" {
			return errors.New("name the user of the machines")
		}
	case Machines:
		if err := s.ready(); err != nil {
			return err
		}
	case Values:
		if _, diags := s.Check(); diags.HasErrors() {
			return errors.New(brief(diags[0]))
		}
	case Review:
		return nil
	}
	s.Page++
	return nil
}

// Back goes to the page before; it says no on the first.
func (s *State) Back() bool {
	if s.Page == Range {
		return false
	}
	s.Page--
	return true
}

// ready says why the machines that are chosen do not make a cluster yet.
func (s *State) ready() error {
	used := s.used()
	if len(used) == 0 {
		return errors.New("no machine is chosen")
	}
	verdicts := s.Verdicts()
	for _, a := range used {
		if err := s.failed[a]; err != nil {
			return fmt.Errorf("%s could not be asked: leave it out, or go back and correct the login: %w", a, err)
		}
		if _, ok := s.machines[a]; !ok {
			return fmt.Errorf("%s has not answered yet", a)
		}
		if v := verdicts[a]; len(v.Problems) > 0 {
			return fmt.Errorf("%s will not do: %s", a, v.Problems[0])
		}
	}
	return nil
}

// Set answers a question. The empty text takes an answer back. The error says
// why the text is none.
func (s *State) Set(key, text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		delete(s.answers, key)
		return nil
	}
	if err := checkText(key, text); err != nil {
		return err
	}
	if s.answers == nil {
		s.answers = map[string]string{}
	}
	s.answers[key] = text
	return nil
}

// Toggle takes a machine in or leaves it out.
func (s *State) Toggle(a netip.Addr) {
	key := Of(a, "use")
	want := "yes"
	if s.Uses(a) {
		want = "no"
	}
	delete(s.answers, key)
	if s.Uses(a) != (want == "yes") {
		_ = s.Set(key, want) // yes and no are answers
	}
}

// Uses says whether a machine is taken: as somebody said, otherwise every one
// that will do.
func (s *State) Uses(a netip.Addr) bool {
	if text, ok := s.answers[Of(a, "use")]; ok {
		return text == "yes"
	}
	if text, ok := s.answers[KeyMachines]; ok {
		return slices.Contains(fields(text), a.String())
	}
	if m, asked := s.machines[a]; asked {
		v := s.Verdicts()[m.Address]
		return len(v.Problems) == 0 && !v.Aside
	}
	for _, seen := range s.seen {
		if seen.Address == a {
			return seen.Err == nil && !seen.Own && s.failed[a] == nil
		}
	}
	return false
}

// used are the addresses of the machines that are taken, sorted.
func (s *State) used() []netip.Addr {
	var used []netip.Addr
	for _, seen := range s.Seen() {
		if s.Uses(seen.Address) {
			used = append(used, seen.Address)
		}
	}
	return used
}

// Addresses are those to be tried before the page Found can be shown: none
// when they were tried already.
func (s *State) Addresses() []netip.Addr {
	text := s.Text(KeyRange)
	if s.scanned == text {
		return nil
	}
	addresses, err := discover.Range(text)
	if err != nil {
		return nil // the page before asked for a right one
	}
	return addresses
}

// Scanning forgets what was seen, for a new scan of Addresses.
func (s *State) Scanning() {
	s.scanned, s.seen, s.asked = s.Text(KeyRange), nil, ""
	s.machines, s.failed, s.verdicts = nil, nil, nil
}

// Rescan makes Addresses tell all of them again.
func (s *State) Rescan() { s.scanned = "" }

// Saw takes up an address that answered.
func (s *State) Saw(seen discover.Seen) { s.seen = append(s.seen, seen) }

// Seen are the addresses that answered, sorted.
func (s *State) Seen() []discover.Seen {
	return slices.SortedFunc(slices.Values(s.seen), func(a, b discover.Seen) int { return a.Address.Compare(b.Address) })
}

// ToAsk are the machines to be asked before the page Machines is complete: all
// that are chosen and did not answer yet to the present login.
func (s *State) ToAsk() []discover.Seen {
	login := strings.Join([]string{s.Text(KeyUser), s.Text(KeyPrivateKey), s.SudoPassword.Reveal(), s.Passphrase.Reveal()}, "\x00")
	if login != s.asked {
		s.asked, s.machines, s.failed, s.verdicts = login, map[netip.Addr]discover.Machine{}, map[netip.Addr]error{}, nil
	}
	var ask []discover.Seen
	for _, seen := range s.Seen() {
		_, answered := s.machines[seen.Address]
		if s.Uses(seen.Address) && !answered && s.failed[seen.Address] == nil {
			ask = append(ask, seen)
		}
	}
	return ask
}

// AskAgain forgets what the machines said, so that ToAsk tells all of them.
func (s *State) AskAgain() { s.asked = "" }

// Answered takes up what a machine said, or why it did not.
func (s *State) Answered(a netip.Addr, m discover.Machine, err error) {
	if err != nil {
		s.failed[a] = err
		return
	}
	s.machines[a] = m
	s.verdicts = nil
}

// Asked are the machines that answered, by address.
func (s *State) Asked() []discover.Machine {
	var all []discover.Machine
	for _, m := range s.machines {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b discover.Machine) int { return a.Address.Compare(b.Address) })
	return all
}

// Failed says why a machine did not answer, nil if it did or was not asked.
func (s *State) Failed(a netip.Addr) error { return s.failed[a] }

// Chosen are the machines of the cluster, by address.
func (s *State) Chosen() []discover.Machine {
	return slices.DeleteFunc(s.Asked(), func(m discover.Machine) bool { return !s.Uses(m.Address) })
}

// Verdicts are what is wrong with the machines that answered.
func (s *State) Verdicts() map[netip.Addr]discover.Verdict {
	if s.verdicts == nil {
		s.verdicts = discover.Judge(s.Asked(), s.Supported)
	}
	return s.verdicts
}

// brief is a diagnostic in one line.
func brief(d inventory.Diagnostic) string {
	text := d.Summary
	if d.In != "" {
		text = d.In + ": " + text
	}
	if d.Detail != "" {
		text += "; " + d.Detail
	}
	return strings.ReplaceAll(text, "\n", " ")
}
