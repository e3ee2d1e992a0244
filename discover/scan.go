package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nucspark.io/nucspark/provision/host"
)

// maxRange is how many addresses are tried at most: more than a home or an
// office has, and few enough to be done in some ten seconds.
const maxRange = 4096

// Range reads addresses to try: networks ("192.168.1.0/24"), spans
// ("192.168.1.10-20", "192.168.1.10-192.168.2.9") and single ones, with commas
// or spaces between them. The answer is sorted and names each address once.
// The first and the last address of a network, which no machine has, are left
// out.
func Range(text string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		first, last, err := span(part)
		if err != nil {
			return nil, err
		}
		for a := first; ; a = a.Next() {
			if all = append(all, a); len(all) > maxRange {
				return nil, fmt.Errorf("%q has more than %d addresses: name the part of the network that the machines are in", text, maxRange)
			}
			if a == last {
				break
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New(`name the addresses of the machines, for example "192.168.1.0/24" or "192.168.1.11-13"`)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

func span(part string) (first, last netip.Addr, err error) {
	bad := fmt.Errorf(`%q is no range of IPv4 addresses; write "192.168.1.0/24", "192.168.1.11-13" or "192.168.1.11"`, part)
	if p, err := netip.ParsePrefix(part); err == nil {
		if !p.Addr().Is4() {
			return first, last, bad
		}
		if p = p.Masked(); p.Bits() < 32-12 { // 2^12 is maxRange
			return first, last, fmt.Errorf("%q has more than %d addresses: name the part of the network that the machines are in", part, maxRange)
		}
		b := p.Addr().As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		end := n | (1<<(32-p.Bits()) - 1)
		if p.Bits() < 31 { // RFC 3021: a /31 has neither network nor broadcast address
			n, end = n+1, end-1
		}
		return address4(n), address4(end), nil
	}
	from, to, isSpan := strings.Cut(part, "-")
	if first, err = netip.ParseAddr(from); err != nil || !first.Is4() {
		return first, last, bad
	}
	if !isSpan {
		return first, first, nil
	}
	if n, err := strconv.ParseUint(to, 10, 8); err == nil {
		b := first.As4()
		b[3] = byte(n)
		last = netip.AddrFrom4(b)
	} else if last, err = netip.ParseAddr(to); err != nil || !last.Is4() {
		return first, last, bad
	}
	if last.Less(first) {
		return first, last, fmt.Errorf("%q ends before it begins", part)
	}
	return first, last, nil
}

func address4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// LocalRange is the network of this computer where the machines probably are:
// the private one by which it reaches others, else the first of an interface
// that is up, "" where there is none. The addresses are those of this computer.
func LocalRange() (string, []netip.Addr) {
	found := ""
	route := routed()
	var own []netip.Addr
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", nil
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().Is4() {
				continue
			}
			own = append(own, p.Addr())
			if (found == "" || p.Addr() == route) && i.Flags&net.FlagUp != 0 && p.Addr().IsPrivate() && p.Bits() < 31 {
				// Of a large network the part that this computer is in.
				found = netip.PrefixFrom(p.Addr(), max(p.Bits(), 24)).Masked().String()
			}
		}
	}
	return found, own
}

// routed is the address of this computer towards the world. Nothing is sent: a
// UDP socket only asks the kernel for the way. 192.0.2.1 is nobody (RFC 5737).
func routed() netip.Addr {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
}

// Seen is one address where an SSH server answered.
type Seen struct {
	Address netip.Addr
	Name    string // by the computer's own name service: DNS, mDNS, /etc/hosts; "" if it knows none
	Own     bool   // it is this computer
	Key     host.ShownKey
	Err     error // why it is of no use: its key has changed, or it speaks something else
}

// Scan tries port 22 of every address, at most 128 at a time. seen is called for
// each that answers, one call at a time. The error is that of the context.
func Scan(ctx context.Context, addresses, own []netip.Addr, knownHosts string, seen func(Seen)) error {
	const atOnce = 128
	slots := make(chan struct{}, atOnce)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range addresses {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return ctx.Err()
		}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			s := See(ctx, a, 22, knownHosts)
			if nobody(s.Err) || ctx.Err() != nil {
				return
			}
			s.Own = slices.Contains(own, a)
			s.Name = nameOf(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			seen(s)
		}()
	}
	wg.Wait()
	return ctx.Err()
}

// patience is how long one address is waited for; a machine on the local network
// answers within milliseconds. Its sshd gets longer ([host.AskKey]).
const patience = 3 * time.Second

// See takes the host key of one machine. Its name is not looked up.
func See(ctx context.Context, a netip.Addr, port int, knownHosts string) Seen {
	s := Seen{Address: a}
	s.Key, s.Err = host.AskKey(ctx, net.JoinHostPort(a.String(), strconv.Itoa(port)), knownHosts, patience)
	return s
}

// nobody says that no TCP connection came about. What does answer there and
// is silent then looks the same, and is no machine with sshd either.
func nobody(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, context.DeadlineExceeded)
}

// Lookup is the IPv4 address of a name, by what the computer is set up to ask.
func Lookup(ctx context.Context, name string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "ahostsv4", name).Output()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("getent ahostsv4 %s: %w", name, err)
	}
	first, _, _ := strings.Cut(string(out), " ")
	return netip.ParseAddr(first)
}

// nameOf is the first label of the name that belongs to an address. getent asks
// what the computer is set up to ask, mDNS too where it is; Go's own resolver
// knows DNS only.
func nameOf(ctx context.Context, a netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "hosts", a.String()).Output()
	if err != nil {
		return ""
	}
	fields := strings.Fields(host.Clean(string(out)))
	if len(fields) < 2 {
		return ""
	}
	name, _, _ := strings.Cut(fields[1], ".")
	return strings.ToLower(name)
}
