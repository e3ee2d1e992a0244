package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
)

func TestMagicPacket(t *testing.T) {
	for mac, want := range map[string]string{
		"1c:69:7a:01:02:03": "ffffffffffff" + strings.Repeat("1c697a010203", 16),
		"00:00:00:00:00:02": "ffffffffffff" + strings.Repeat("000000000002", 16),
	} {
		address, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		if got := magicPacket(address); len(got) != 102 || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x", mac, got)
		}
	}
}

func TestBroadcastFor(t *testing.T) {
	networks := []ownNetwork{
		{"eth0", netip.MustParsePrefix("192.168.1.20/24")},
		{"eth1", netip.MustParsePrefix("192.168.0.1/16")},
		{"eth2", netip.MustParsePrefix("10.1.2.3/9")},
		{"tun0", netip.MustParsePrefix("172.16.0.1/32")},
		{"ppp0", netip.MustParsePrefix("172.16.0.4/31")},
	}
	for address, want := range map[string]struct{ to, on string }{
		"192.168.1.12": {"192.168.1.255", "eth0"}, // the smaller of two
		"192.168.2.12": {"192.168.255.255", "eth1"},
		"10.99.0.1":    {"10.127.255.255", "eth2"},
		"172.16.0.1":   {"255.255.255.255", ""},
		"172.16.0.5":   {"255.255.255.255", ""},
		"203.0.113.9":  {"255.255.255.255", ""},
	} {
		to, on := broadcastFor(networks, netip.MustParseAddr(address))
		if to.String() != want.to || on != want.on {
			t.Errorf("%s: %s by %q, want %s by %q", address, to, on, want.to, want.on)
		}
	}
	if to, _ := broadcastFor([]ownNetwork{{"any", netip.MustParsePrefix("10.0.0.1/0")}}, netip.MustParseAddr("192.0.2.1")); to.String() != "255.255.255.255" {
		t.Errorf("of all addresses: %s", to)
	}
}

func TestBroadcastFlag(t *testing.T) {
	for text, want := range map[string]string{
		"": "invalid AddrPort", "192.168.2.255": "192.168.2.255:9", "127.0.0.1:4000": "127.0.0.1:4000",
	} {
		if got, err := broadcastFlag(text); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"nuc02", "192.168.2.0/24", "192.168.2.255:0", "::1", "[::1]:9"} {
		if got, err := broadcastFlag(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// TestWake: the packet arrives, and the machine answers only afterwards.
func TestWake(t *testing.T) {
	listen := func() *net.UDPConn {
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { udp.Close() })
		return udp
	}
	nobody, udp := listen(), listen()
	at := func(udp *net.UDPConn) netip.AddrPort { return udp.LocalAddr().(*net.UDPAddr).AddrPort() }
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := netip.MustParseAddrPort(closed.Addr().String())
	closed.Close()
	asleep := &inventory.Node{Name: "nuc02", Address: door.Addr(), Port: int(door.Port()), MAC: "1c:69:7a:01:02:03"}

	var out, said bytes.Buffer
	w := &wakeCommand{app: &App{Out: &out, Err: &said}, wait: true, timeout: 50 * time.Millisecond, tick: time.Millisecond}
	err = w.run(t.Context(), []*inventory.Node{asleep}, at(nobody))
	if err == nil || !strings.Contains(err.Error(), "nuc02 did not answer at 127.0.0.1:"+strconv.Itoa(asleep.Port)+" within 50ms") {
		t.Errorf("a machine that sleeps on: %v", err)
	}

	// It wakes by the packet.
	woken := make(chan error, 1)
	go func() {
		packet := make([]byte, 2048)
		n, _, err := udp.ReadFrom(packet)
		mac, _ := net.ParseMAC(asleep.MAC)
		if err == nil && !bytes.Equal(packet[:n], magicPacket(mac)) {
			t.Errorf("the packet is %x", packet[:n])
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp", door.String())
		}
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		woken <- err
	}()
	out.Reset()
	w.timeout = 5 * time.Minute
	if err := w.run(t.Context(), []*inventory.Node{asleep}, at(udp)); err != nil {
		t.Error(err)
	}
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	if want := "nuc02: magic packet for 1c:69:7a:01:02:03 sent to " + at(udp).String() + "\nnuc02 answers\n"; out.String() != want || said.Len() > 0 {
		t.Errorf("%q, %q; want %q", out.String(), said.String(), want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asleep.Port = 1
	if err := w.answers(ctx, asleep, at(nobody)); err == nil {
		t.Error("after Ctrl-C it goes on")
	}
}

func TestWakeNodes(t *testing.T) {
	c := &inventory.Cluster{File: "c.hcl", Nodes: []inventory.Node{{Name: "nuc01"}, {Name: "nuc02", MAC: "1c:69:7a:01:02:03"}, {Name: "nuc03", MAC: "1c:69:7a:01:02:04"}}}
	none := &inventory.Cluster{File: "c.hcl", Nodes: c.Nodes[:1]}
	for _, test := range []struct {
		c     *inventory.Cluster
		names string
		all   bool
		want  string
		err   string
		said  string
	}{
		{c: c, names: "nuc03 nuc02", want: "nuc03 nuc02"},
		{c: c, all: true, want: "nuc02 nuc03", said: "nuc01 is left out: c.hcl has no mac of it\n"},
		{c: c, names: "nuc02 nuc01", err: `c.hcl has no mac of nuc01: write mac = "`},
		{c: c, names: "nuc4", err: `c.hcl has no node "nuc4"; it has nuc01, nuc02, nuc03`},
		{c: c, err: "or --all; c.hcl has the mac of: nuc02, nuc03"},
		{c: none, err: "or --all; c.hcl has the mac of: none"},
		{c: none, all: true, err: "c.hcl has the mac of no machine"},
		{c: c, all: true, names: "nuc02", err: "leave the names out"},
	} {
		var said bytes.Buffer
		w := &wakeCommand{app: &App{Err: &said}, all: test.all}
		nodes, err := w.nodes(test.c, strings.Fields(test.names))
		var got []string
		for _, n := range nodes {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != test.want || said.String() != test.said {
			t.Errorf("%+v: %v, said %q", test, got, said.String())
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
