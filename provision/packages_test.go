package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision/host"
)

func TestPackagesDiff(t *testing.T) {
	for _, c := range []struct {
		name string
		want Package
		is   PackageFact
		diff string // action, old, new; "" for no change
	}{
		{"absent", Package{Name: "socat"}, PackageFact{}, "install  any version"},
		{"there", Package{Name: "socat"}, PackageFact{Version: "1.8", Status: "ii"}, ""},
		{"removed, its configuration left", Package{Name: "socat"}, PackageFact{Status: "rc"}, "install  any version"},
		{"purged but still held", Package{Name: "socat"}, PackageFact{Status: "hn"}, "install  any version"},
		{"the version", Package{"kubeadm", "1.36.3-*", true}, PackageFact{Version: "1.36.3-1.1", Status: "hi", Held: true}, ""},
		{"not held", Package{"kubeadm", "1.36.3-*", true}, PackageFact{Version: "1.36.3-1.1", Status: "ii"}, "update 1.36.3-1.1 1.36.3-1.1, held"},
		{"held for the user", Package{Name: "socat"}, PackageFact{Version: "1.8", Status: "hi", Held: true}, ""},
		{"older", Package{"kubeadm", "1.36.3-*", true}, PackageFact{Version: "1.36.2-1.1", Status: "hi", Held: true}, "update 1.36.2-1.1 1.36.3-*"},
		{"a version that only begins alike", Package{"kubeadm", "1.36.3-*", true}, PackageFact{Version: "1.36.30-1.1", Status: "hi", Held: true}, "update 1.36.30-1.1 1.36.3-*"},
		{"another distribution's version", Package{"containerd.io", "2.*", true}, PackageFact{Version: "2.2.1-1~ubuntu.24.04~noble", Status: "hi", Held: true}, ""},
		{"half configured", Package{"kubeadm", "1.36.3-*", true}, PackageFact{Status: "iF"}, "run half configured 1.36.3-*, after dpkg --configure"},
		{"unpacked", Package{Name: "socat"}, PackageFact{Status: "iU"}, "run unpacked any version, after dpkg --configure"},
		{"broken off while unpacking", Package{Name: "socat"}, PackageFact{Status: "iHR"}, "run half installed any version, after dpkg --configure"},
	} {
		s := Packages{Base{Name: "n/packages", Node: "n"}, []Package{c.want}}
		changes, err := s.Diff(NewFacts(map[Query]any{s.query(c.want): c.is}))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, ch := range changes {
			got += fmt.Sprintf("%s %s %s", ch.Action, ch.Old, ch.New)
		}
		if got != c.diff {
			t.Errorf("%s: %q, want %q", c.name, got, c.diff)
		}
	}
}

func TestInstallScript(t *testing.T) {
	got := installScript([]string{"kubeadm=1.36.3-*", "socat"}, []string{"kubeadm"}, []string{"kubeadm"}, false, 600)
	const want = `export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none LC_ALL=C
code=0
apt-mark -q unhold -- 'kubeadm' >/dev/null
apt-get -y -q -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 -o APT::Install-Recommends=false -o Acquire::Retries=3 --no-remove install -- 'kubeadm=1.36.3-*' 'socat' || code=$?
set --
for p in 'kubeadm'; do
	case $(dpkg-query -W -f '${db:Status-Status}' -- "$p" 2>/dev/null) in
	installed) set -- "$@" "$p";;
	esac
done
[ $# -eq 0 ] || apt-mark -q hold -- "$@" >/dev/null || code=$?
exit $code
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	if got := installScript([]string{"kubeadm=1.36.3-*"}, nil, nil, true, 600); !strings.Contains(got, " --allow-downgrades --no-remove install ") {
		t.Errorf("a version that somebody upgraded cannot be put back:\n%s", got)
	}
	if got := installScript(nil, []string{"kubelet"}, nil, false, 1); strings.Contains(got, "apt-get") || !strings.Contains(got, "hold -- \"$@\"") {
		t.Errorf("only a hold is missing:\n%s", got)
	}
}

func TestParseSimulation(t *testing.T) {
	got := parseSimulation(`NOTE: This is only a simulation!
Reading package lists...
The following NEW packages will be installed:
  cri-tools kubernetes-cni
Inst cri-tools (1.36.0-1.1 kubernetes:stable [amd64])
Inst kubeadm [1.36.2-1.1] (1.36.3-1.1 kubernetes:stable [amd64])
Inst libc6 [2.39-0] (2.39-1 Ubuntu:24.04/noble [amd64]) []
Conf cri-tools (1.36.0-1.1 kubernetes:stable [amd64])
`)
	want := []Entry{
		{Kind: "package", Key: "cri-tools", After: "1.36.0-1.1"},
		{Kind: "package", Key: "kubeadm", Before: "1.36.2-1.1", After: "1.36.3-1.1"},
		{Kind: "package", Key: "libc6", Before: "2.39-0", After: "2.39-1"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestExplainApt(t *testing.T) {
	for _, c := range []struct {
		out, means string
		transient  bool
	}{
		{"E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (unattended-upgr)", "held by another process", true},
		{"E: Could not get lock /var/lib/dpkg/lock-frontend - open (11: Resource temporarily unavailable)", "held by another process", true},
		{"W: GPG error: https://x InRelease: The following signatures were invalid: EXPKEYSIG 234654DA9A296436 isv:kubernetes OBS Project", "has expired", false},
		{"W: GPG error: https://x InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 234654DA9A296436\nE: The repository 'https://x InRelease' is not signed.", "could not be verified", false},
		{"W: OpenPGP signature verification failed: http://m ./ InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 0BAD", "could not be verified", false},
		{"E: Failed to fetch http://m/./Packages  Temporary failure resolving 'm'", "did not answer", true},
		{"E: Failed to fetch http://m/./InRelease  Could not connect to m:80 (192.168.1.2). - connect (111: Connection refused)", "did not answer", true},
		{"E: Failed to fetch http://m/kubelet.deb  503  Service Unavailable [IP: 192.168.1.2 80]", "did not answer", true},
		{"E: The repository 'https://download.docker.com/linux/ubuntu noble Release' does not have a Release file.", "not where it should be", false},
		{"E: Version '1.36.9-*' for 'kubeadm' was not found", "no package repository of the node has it", false},
		{"E: Unable to locate package kubeadm", "no package repository of the node has it", false},
		{"E: Packages need to be removed but remove is disabled.", "remove other packages", false},
		{"E: Held packages were changed and -y was used without --allow-change-held-packages.", "package that is held", false},
		{"E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full", false},
		{"E: Conflicting values set for option Signed-By regarding source https://download.docker.com/linux/ubuntu/ noble: /a != /b", "with another key", false},
		{"E: Release file for http://m/./InRelease is not valid yet (invalid for another 5h 2min 3s).", "clock", false},
		{"E: Sub-process /usr/bin/dpkg returned an error code (1)", "dpkg could not set up", false},
		{"Setting up nothing in particular", "", false},
	} {
		means, hint, transient := explainApt(c.out)
		if !strings.Contains(means, c.means) || (c.means == "") != (means == "") || transient != c.transient {
			t.Errorf("%s:\n  %q, transient %t", c.out, means, transient)
		}
		if (means == "") != (hint == "") {
			t.Errorf("%s: the hint is %q", c.out, hint)
		}
	}
}

// TestLockHolders takes a lock as apt does and asks the script who holds it.
func TestLockHolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	script := strings.ReplaceAll(lockHolders, "/var/lib/dpkg/lock-frontend", file)
	ask := func() string {
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		if err != nil {
			t.Fatal(err)
		}
		var mine []string
		for _, l := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(l, fmt.Sprintf("%d ", os.Getpid())) {
				mine = append(mine, l)
			}
		}
		return describeHolders(strings.Join(mine, "\n"))
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if who := ask(); who != "" {
		t.Errorf("a file that is open but not locked: %s", who)
	}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if who := ask(); !strings.HasSuffix(who, fmt.Sprintf(" (pid %d)", os.Getpid())) {
		t.Errorf("a lock that this test holds: %q", who)
	}
}

// TestStaleScript runs the script in a directory of its own.
func TestStaleScript(t *testing.T) {
	root := t.TempDir()
	script := staleScript
	for _, p := range []string{stampOwn, stampAll} { // the longer name first
		script = strings.ReplaceAll(script, p, filepath.Join(root, filepath.Base(p)))
	}
	script = strings.ReplaceAll(script, "/etc/apt", root)
	age := func(name string, d time.Duration) {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-d)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() string {
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	check := func(when, want string) {
		t.Helper()
		if got := ask(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	age("sources.list", 48*time.Hour)
	age("keyrings/other.gpg", 0)
	check("never updated, no list of its own", "all")
	age("apt-updated", time.Hour)
	check("updated an hour ago", "")
	age("sources.list.d/nucspark.list", 10*time.Minute)
	check("its own list was added", "own")
	age("apt-updated-own", 5*time.Minute)
	check("and read", "")
	age("keyrings/nucspark-docker.asc", time.Minute)
	check("a key was replaced", "own")
	age("keyrings/nucspark-docker.asc", time.Hour)
	age("sources.list.d/theirs.sources", time.Minute)
	check("the user added a list", "all")
	age("sources.list.d/theirs.sources", 48*time.Hour)
	age("apt-updated", 25*time.Hour)
	age("apt-updated-own", 25*time.Hour)
	check("a day ago", "own all")
}

// aptRemote is a node whose apt answers as the test says.
type aptRemote struct {
	t       *testing.T
	scripts []string
	answer  func(script string) (host.Result, error)
}

func (r *aptRemote) Run(_ context.Context, c host.Command) (host.Result, error) {
	r.scripts = append(r.scripts, c.Script)
	res, err := r.answer(c.Script)
	if err != nil {
		err = &host.CommandError{Node: "n", Command: "sh", Code: 100, Tail: strings.Split(res.Stderr, "\n")}
	}
	return res, err
}

func (r *aptRemote) WriteFile(context.Context, string, []byte, fs.FileMode, string, string) error {
	return errors.New("no file is written here")
}
func (r *aptRemote) ReadFile(context.Context, string) ([]byte, error) {
	return nil, errors.New("no file is read here")
}
func (r *aptRemote) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nothing is dialled here")
}
func (r *aptRemote) Close() error { return nil }

func (r *aptRemote) count(part string) int {
	n := 0
	for _, s := range r.scripts {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

var errAnswer = errors.New("exit 100")

// applyPackages applies the step to a node on which kubeadm is absent.
func applyPackages(t *testing.T, lockTimeout time.Duration, answer func(script string) (host.Result, error)) (*aptRemote, []string, error) {
	t.Helper()
	cluster := &inventory.Cluster{Nodes: []inventory.Node{{Name: "n"}}, Apt: inventory.Apt{LockTimeout: lockTimeout}}
	remote := &aptRemote{t: t}
	remote.answer = func(script string) (host.Result, error) {
		if strings.Contains(script, "dpkg-query -W -f '${Package}") { // the engine's own questions
			mark := strings.Fields(script[strings.Index(script, "nucspark-"):])[0]
			return host.Result{Stdout: "\n" + mark + " packages\n\n" + mark + " end\n"}, nil
		}
		return answer(script)
	}
	fleet := NewFleet(cluster, func(context.Context, *inventory.Node) (Remote, error) { return remote, nil })
	if failed := fleet.Connect(context.Background(), &cluster.Nodes[0]); len(failed) > 0 {
		t.Fatal(failed)
	}
	var log []string
	step := Packages{Base{Name: "n/packages", Node: "n"}, []Package{{"kubeadm", "1.36.3-*", true}}}
	r := &runner{id: "run", fleet: fleet, site: &Site{Cluster: cluster}, apt: map[string]chan struct{}{"n": make(chan struct{}, 1)},
		options: Options{Events: func(e Event) { log = append(log, e.Line) }}}
	err := step.Apply(context.Background(), &Env{run: r, step: step}, nil)
	return remote, log, err
}

const inst = "Inst kubeadm (1.36.3-1.1 kubernetes [amd64])\nInst cri-tools (1.36.0-1.1 kubernetes [amd64])\n"

func TestPackagesApply(t *testing.T) {
	r, _, err := applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case strings.Contains(script, "fresh()"):
			return host.Result{Stdout: "own\nall\n"}, nil
		case strings.Contains(script, "apt-get -s"):
			return host.Result{Stdout: inst}, nil
		}
		return host.Result{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range r.scripts {
		for part, word := range map[string]string{" update && touch " + stampAll + " " + stampOwn: "update", aptOwn: "update own", "apt-get -s": "simulate",
			`"phase":"intent"`: "intent", `"phase":"done"`: "done", "--no-remove install -- 'kubeadm": "install"} {
			if strings.Contains(s, part) {
				order = append(order, word)
			}
		}
	}
	if want := []string{"update", "simulate", "intent", "install", "done"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
	if r.count(`"key":"cri-tools"`) != 2 || r.count(`"kind":"hold"`) != 2 {
		t.Error("the ledger does not name the dependency and the hold, before and after")
	}
}

func TestPackagesWaitForTheLock(t *testing.T) {
	looks := 0
	_, log, err := applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case script == lockHolders:
			if looks++; looks <= 2 {
				return host.Result{Stdout: "812 unattended-upgr\n"}, nil
			}
		case strings.Contains(script, "apt-get -s"):
			return host.Result{Stdout: inst}, nil
		}
		return host.Result{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "waiting for apt: held by unattended-upgr (pid 812)"; len(log) != 1 || log[0] != want {
		t.Errorf("got %q, want %q once", log, want)
	}
	_, _, err = applyPackages(t, 0, func(script string) (host.Result, error) {
		if script == lockHolders {
			return host.Result{Stdout: "812 unattended-upgr\n"}, nil
		}
		return host.Result{Stdout: inst}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "still held by unattended-upgr (pid 812)") || IsTransient(err) {
		t.Errorf("a lock that is never released: %v", err)
	}
}

func TestPackagesFailures(t *testing.T) {
	// A version that the lists do not know: they are read again once.
	r, _, err := applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		if strings.Contains(script, "apt-get -s") {
			return host.Result{Stderr: "E: Version '1.36.3-*' for 'kubeadm' was not found\n"}, errAnswer
		}
		if strings.Contains(script, "apt-cache madison -- 'kubeadm'") {
			return host.Result{Stdout: "1.36.2-1.1\n1.36.1-1.1\n"}, nil
		}
		return host.Result{}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "no package repository of the node has it") || r.count(" update && touch ") != 1 {
		t.Errorf("%d updates, %v", r.count(" update && touch "), err)
	}
	if err == nil || !strings.Contains(err.Error(), "of kubeadm they have 1.36.2-1.1, 1.36.1-1.1") {
		t.Errorf("what there is instead is not told: %v", err)
	}
	if r.count(`"phase":"intent"`) != 0 {
		t.Error("an install that cannot be is in the ledger")
	}
	// dpkg was killed earlier: it is told to finish, then the install goes on.
	interrupted := true
	r, _, err = applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case strings.Contains(script, "apt-get -s"):
			return host.Result{Stdout: inst}, nil
		case script == aptConfigure:
			interrupted = false
		case strings.Contains(script, "--no-remove install -- 'kubeadm") && interrupted:
			return host.Result{Stderr: "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.\n"}, errAnswer
		}
		return host.Result{}, nil
	})
	if err != nil || r.count("--no-remove install -- 'kubeadm") != 2 {
		t.Errorf("%d calls, %v", r.count("--no-remove install -- 'kubeadm"), err)
	}
	// Another package cannot be set up: which, and why, is in the message.
	_, _, err = applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case strings.Contains(script, "apt-get -s"):
			return host.Result{Stdout: inst}, nil
		case strings.Contains(script, "--no-remove install -- 'kubeadm"):
			return host.Result{Stderr: "Setting up brokenpkg (1) ...\ndpkg: error processing package brokenpkg (--configure):\n" +
				" installed brokenpkg package post-installation script subprocess returned error exit status 3\nErrors were encountered while processing:\n" +
				" brokenpkg\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n"}, errAnswer
		}
		return host.Result{}, nil
	})
	const half = "could not set up a package: error processing package brokenpkg (--configure): installed brokenpkg package post-installation script subprocess returned error exit status 3; the lines above"
	if err == nil || !strings.Contains(err.Error(), half) || IsTransient(err) {
		t.Errorf("a half-configured package:\n%v", err)
	}
	// The user's own list is broken: reported, and no reason to stop.
	_, log, err := applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case strings.Contains(script, "fresh()"):
			return host.Result{Stdout: "all\n"}, nil
		case strings.Contains(script, "apt-get -s"):
			return host.Result{Stdout: inst}, nil
		case strings.Contains(script, " update "):
			return host.Result{Stderr: "E: The repository 'http://ppa.example' does not have a Release file.\n"}, errAnswer
		}
		return host.Result{}, nil
	})
	if err != nil || len(log) != 1 || !strings.HasPrefix(log[0], "going on with the package lists") {
		t.Errorf("%q, %v", log, err)
	}
	// Its own is down: another try may help.
	_, _, err = applyPackages(t, time.Minute, func(script string) (host.Result, error) {
		switch {
		case strings.Contains(script, "fresh()"):
			return host.Result{Stdout: "own\n"}, nil
		case strings.Contains(script, aptOwn):
			return host.Result{Stderr: "E: Failed to fetch http://m/./InRelease  Could not connect to m:80 (192.168.1.2). - connect (111: Connection refused)\n"}, errAnswer
		}
		return host.Result{}, nil
	})
	const down = "n/packages: updating the lists of /etc/apt/sources.list.d/nucspark.list: a package repository did not answer: " +
		"Failed to fetch http://m/./InRelease  Could not connect to m:80 (192.168.1.2). - connect (111: Connection refused); " +
		"see that the node reaches it (name resolution, proxy, mirror) and run again"
	var cmd *host.CommandError
	if err == nil || !IsTransient(err) || err.Error() != down || !errors.As(err, &cmd) {
		t.Errorf("a mirror that is down:\n%v, want\n%s", err, down)
	}
}

// A name server that does not answer is found before apt waits for it, and
// only where a package must come from such a host.
func TestPackagesNames(t *testing.T) {
	answer := func(from string) func(string) (host.Result, error) {
		return func(script string) (host.Result, error) {
			switch {
			case strings.Contains(script, "fresh()"):
				return host.Result{Stdout: "all\ndeaf deb.debian.org\nserver 192.168.1.1\n"}, nil
			case strings.Contains(script, "apt-get -s"):
				return host.Result{Stdout: inst}, nil
			case strings.Contains(script, "--print-uris"):
				return host.Result{Stdout: from}, nil
			}
			return host.Result{}, nil
		}
	}
	r, _, err := applyPackages(t, time.Minute, answer("deb.debian.org\nmirror.lan\n"))
	if err == nil || !IsTransient(err) || r.count("--no-remove install -- 'kubeadm") != 0 || r.count(" update ") != 0 {
		t.Fatalf("apt was called, or %v", err)
	}
	for _, w := range []string{"n/packages", "cannot resolve the name deb.debian.org", "192.168.1.1", "resolvectl"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v does not say %q", err, w)
		}
	}
	if _, _, err := applyPackages(t, time.Minute, answer("mirror.lan\n")); err != nil {
		t.Errorf("a host that is not needed: %v", err)
	}
}

// TestNamesScript runs the script on lists of its own. Names below invalid.
// never have an address (RFC 6761).
func TestNamesScript(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sources.list", "# deb http://comment.invalid/ x y\ndeb [arch=amd64] http://user:pass@one.invalid:8080/debian stable main\ndeb http://127.0.0.1:3142/x ./\n")
	write("sources.list.d/a.sources", "Types: deb\nURIs: https://two.invalid/debian http://[::1]:80/x\n")
	write("sources.list.d/a.list.save", "deb http://three.invalid/ x y\n")
	write("bin/apt-config", "#!/bin/sh\ncat "+root+"/proxy 2>/dev/null\n")
	if err := os.Chmod(filepath.Join(root, "bin/apt-config"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	script := strings.ReplaceAll(namesScript, "/etc/apt", root)
	script = strings.ReplaceAll(script, "/etc/resolv.conf", filepath.Join(root, "resolv.conf"))
	write("resolv.conf", "search lan\nnameserver 192.168.1.1\n")
	ask := func() names {
		t.Helper()
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		if err != nil {
			t.Fatal(err)
		}
		var n names
		for _, l := range strings.Split(string(out), "\n") {
			n.add(l)
		}
		slices.Sort(n.deaf)
		return n
	}
	if n := ask(); !slices.Equal(n.deaf, []string{"one.invalid", "two.invalid"}) || n.heard || !slices.Equal(n.servers, []string{"192.168.1.1"}) {
		t.Errorf("%+v", n)
	}
	write("sources.list.d/b.list", "deb http://localhost/x ./\n")
	if n := ask(); len(n.deaf) != 2 || !n.heard {
		t.Errorf("one of three answers: %+v", n)
	}
	write("proxy", "Acquire::http::Proxy \"http://proxy.lan:3128\";\n")
	if n := ask(); len(n.deaf) != 0 {
		t.Errorf("behind a proxy: %+v", n)
	}
}
