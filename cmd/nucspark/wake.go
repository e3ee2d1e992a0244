package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/inventory"
)

// wakePort is where magic packets go: the service discard, at which nobody
// listens. A network card looks at the bytes only.
const wakePort = 9

func newWakeCommand(app *App) *cobra.Command {
	w := &wakeCommand{app: app, tick: 2 * time.Second}
	cmd := &cobra.Command{
		Use:   "wake NODE...",
		Short: "Switch machines on by Wake-on-LAN",
		Long: `Sends a magic packet for each machine to the network that it is in, as a
broadcast from this computer. The inventory must have the machine's mac; nucspark
init and node add write it.

In the BIOS of the machine "Wake on LAN" must be on and deep sleep (ErP, "Deep
S5") off, it must be plugged into the network by cable, and on its system
"ethtool INTERFACE" must show "Wake-on: g".

Nobody answers such a packet: --wait says when SSH answers. A broadcast reaches
the networks that this computer is in, and no further; for another one,
--broadcast names its broadcast address, if a router lets that through.`,
		Example: `  nucspark wake nuc02 nuc03
  nucspark wake --all --wait
  nucspark wake nuc02 --broadcast 192.168.2.255`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: app.complete(0, wakeable),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.timeout <= 0 {
				return &usageError{fmt.Errorf("--timeout %s leaves no time to wait", w.timeout)}
			}
			to, err := broadcastFlag(w.broadcast)
			if err != nil {
				return &usageError{err}
			}
			c, err := app.Load()
			if err != nil {
				return err
			}
			nodes, err := w.nodes(c, args)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err = w.run(ctx, nodes, to)
			if ctx.Err() != nil {
				return &ExitError{Code: exitInterrupted}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&w.all, "all", false, "wake every machine whose mac the inventory has")
	f.StringVar(&w.broadcast, "broadcast", "", "send to this `ADDRESS` (or ADDRESS:PORT) instead of the broadcast address of the machine's network")
	f.BoolVar(&w.wait, "wait", false, "wait until SSH answers on the machines")
	f.DurationVar(&w.timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

type wakeCommand struct {
	app       *App
	all       bool
	broadcast string
	wait      bool
	timeout   time.Duration
	tick      time.Duration // between two attempts to reach a machine
}

// broadcastFlag reads the address that somebody gave; the zero value is none.
func broadcastFlag(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return netip.AddrPortFrom(a, wakePort), nil
	}
	to, err := netip.ParseAddrPort(text)
	if err != nil || !to.Addr().Is4() || to.Port() == 0 {
		return to, fmt.Errorf("--broadcast %q is no IPv4 address, nor one with a port", text)
	}
	return to, nil
}

// nodes are those that are to be woken. All of them have a MAC.
func (w *wakeCommand) nodes(c *inventory.Cluster, names []string) ([]*inventory.Node, error) {
	can := strings.Join(wakeable(c), ", ")
	const remedy = `write mac = "1c:69:7a:01:02:03" into its node block; on the machine, "ip link" shows the address of its network card`
	switch {
	case w.all && len(names) > 0:
		return nil, &usageError{errors.New("--all wakes every machine; leave the names out")}
	case w.all && can == "":
		return nil, &ExitError{Code: exitBad, Err: fmt.Errorf("%s has the mac of no machine: for each, %s", c.File, remedy)}
	case !w.all && len(names) == 0:
		return nil, &usageError{fmt.Errorf("wake needs the names of machines, or --all; %s has the mac of: %s", c.File, orNone(can))}
	case w.all:
		names = nodeNames(c)
	}
	var nodes []*inventory.Node
	for _, name := range names {
		n, err := nodeOf(c, name)
		switch {
		case err != nil:
			return nil, err
		case n.MAC != "":
			nodes = append(nodes, n)
		case w.all:
			fmt.Fprintf(w.app.Err, "%s is left out: %s has no mac of it\n", name, c.File)
		default:
			return nil, &ExitError{Code: exitBad, Err: fmt.Errorf("%s has no mac of %s: %s", c.File, name, remedy)}
		}
	}
	return nodes, nil
}

func orNone(list string) string {
	if list == "" {
		return "none"
	}
	return list
}

// run sends the packets, to where it is said or to the machines' own networks,
// and waits where that was asked for.
func (w *wakeCommand) run(ctx context.Context, nodes []*inventory.Node, to netip.AddrPort) error {
	networks, err := ownNetworks()
	if err != nil && !to.IsValid() {
		return fmt.Errorf("the networks of this computer: %w", err)
	}
	targets := make([]netip.AddrPort, len(nodes))
	for i, n := range nodes {
		target, by := to, ""
		if !to.IsValid() {
			a, on := broadcastFor(networks, n.Address)
			if by = " by " + on; on == "" {
				by = ""
				fmt.Fprintf(w.app.Err, "%s: this computer is not in the network of %s, and the packet will hardly reach it: run it in that network, or name its broadcast address with --broadcast\n", n.Name, n.Address)
			}
			target = netip.AddrPortFrom(a, wakePort)
		}
		if err := sendWake(n, target); err != nil {
			return err
		}
		targets[i] = target
		fmt.Fprintf(w.app.Out, "%s: magic packet for %s sent to %s%s\n", n.Name, n.MAC, target, by)
	}
	if !w.wait {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	errs := make([]error, len(nodes))
	var said sync.Mutex
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			if errs[i] = w.answers(ctx, n, targets[i]); errs[i] == nil {
				said.Lock()
				defer said.Unlock()
				fmt.Fprintf(w.app.Out, "%s answers\n", n.Name)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// answers waits until a machine takes connections at its port of SSH. A packet
// may get lost, so others follow.
func (w *wakeCommand) answers(ctx context.Context, n *inventory.Node, to netip.AddrPort) error {
	address := net.JoinHostPort(n.Address.String(), strconv.Itoa(n.Port))
	d := net.Dialer{Timeout: max(w.tick, time.Second)}
	tick := time.NewTicker(w.tick)
	defer tick.Stop()
	last := errors.New("no answer")
	for {
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer at %s within %s (%w): it may need longer, or Wake on LAN is off in its BIOS or on its network card; see nucspark wake --help", n.Name, address, w.timeout, last)
		case <-tick.C:
		}
		if err := sendWake(n, to); err != nil {
			return err
		}
	}
}

func sendWake(n *inventory.Node, to netip.AddrPort) error {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	conn, err := net.Dial("udp4", to.String()) // Go allows broadcasts on every socket of UDP
	if err == nil {
		defer conn.Close()
		_, err = conn.Write(magicPacket(mac))
	}
	if err != nil {
		return fmt.Errorf("%s: the magic packet could not be sent: %w", n.Name, err)
	}
	return nil
}

// magicPacket is what a network card waits for while its machine sleeps: six
// bytes 0xff, then its address sixteen times (AMD, Magic Packet Technology,
// publication 20213).
func magicPacket(mac net.HardwareAddr) []byte {
	return append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat(mac, 16)...)
}

// ownNetwork is one that an interface of this computer is in.
type ownNetwork struct {
	on     string // name of the interface
	prefix netip.Prefix
}

// ownNetworks are those in which broadcasts are possible.
func ownNetworks() ([]ownNetwork, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []ownNetwork
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagBroadcast == 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				all = append(all, ownNetwork{i.Name, p})
			}
		}
	}
	return all, nil
}

// broadcastFor is the broadcast address of the smallest network that an address
// is in, and by which interface that is. It is 255.255.255.255, and the name is
// "", where none has the address.
func broadcastFor(networks []ownNetwork, address netip.Addr) (to netip.Addr, on string) {
	to, best := netip.AddrFrom4([4]byte{255, 255, 255, 255}), -1
	for _, n := range networks {
		// Networks of one or two addresses have no broadcast (RFC 3021).
		if n.prefix.Bits() > 30 || n.prefix.Bits() <= best || !n.prefix.Contains(address) {
			continue
		}
		b := n.prefix.Addr().As4()
		hosts := uint32(1)<<(32-n.prefix.Bits()) - 1
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|hosts)
		to, on, best = netip.AddrFrom4(b), n.on, n.prefix.Bits()
	}
	return to, on
}
