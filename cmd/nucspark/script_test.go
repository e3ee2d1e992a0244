package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nucspark": main})
}

// TestScripts runs testdata/script/*.txt, each as a person types it. The home
// directory is the script's own and no machine but this one is contacted.
func TestScripts(t *testing.T) {
	own := ownAddress(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			nucspark, err := exec.LookPath("nucspark") // where testscript put it
			if err != nil {
				return err
			}
			env.Setenv("NUCSPARK", nucspark)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("LC_ALL", "C.UTF-8")
			env.Setenv("OWN_ADDRESS", own.Addr().String())
			env.Setenv("CLOSED_PORT", strconv.Itoa(int(own.Port())))
			return os.MkdirAll(env.WorkDir+"/empty", 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code},
	})
}

// code runs a command that must end with an exit code: "code 2 nucspark plan".
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARGUMENT...]")
	}
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("%s ended with code %d, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// ownAddress is an address of this machine where nothing listens: the kernel
// refuses the connection itself, and nothing goes out. It is not 127.0.0.1,
// which no inventory may name.
func ownAddress(t *testing.T) netip.AddrPort {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().Is4() || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		l, err := net.Listen("tcp", netip.AddrPortFrom(prefix.Addr(), 0).String())
		if err != nil {
			continue
		}
		defer l.Close()
		return netip.MustParseAddrPort(l.Addr().String())
	}
	t.Fatal("this machine has no IPv4 address but the loopback's: the scripts need one, of any interface (ip link add x type dummy)")
	panic("unreachable")
}

// TestHelp holds what every command must say of itself.
func TestHelp(t *testing.T) {
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			return // the latter two are cobra's own
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short help is %q", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself: %q", cmd.CommandPath(), cmd.Example)
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: the line %q of the example is not indented", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRoot(&App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
