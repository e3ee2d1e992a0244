package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"nucspark.io/nucspark/provision"
)

// says expects words in what a command said, and that nothing in it moves a
// terminal's cursor.
func says(t *testing.T, out output, code int, words ...string) {
	t.Helper()
	if out.code != code {
		t.Errorf("exit code %d, want %d\n%s", out.code, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out.stderr, w) {
			t.Errorf("%q is not said:\n%s", w, out)
		}
	}
	printable(t, out.stdout+out.stderr)
}

func printable(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("what was said is no UTF-8: %.200q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
		t.Errorf("a control character was shown: %.200q", text[max(0, i-100):])
	}
}

// testFaultsBefore: several faults at once are refused before any change, all
// of them in one answer.
func (b *bench) testFaultsBefore(t *testing.T) {
	f := b.inventory()
	t.Run("ports, memory, disk, clock", func(t *testing.T) {
		listening := func(ports ...string) string {
			script := ""
			for _, p := range ports {
				script += "systemd-run -q --unit=fault-port-" + p + " systemd-socket-activate -l " + p + " true\n" +
					"for i in $(seq 300); do ss -Hltn | grep -q ':" + p + " ' && break; sleep 0.1; done\n"
			}
			return script
		}
		defer b.on(t, "nuc01", "systemctl stop fault-port-6443")
		b.on(t, "nuc01", listening("6443"))
		defer b.on(t, "nuc02", "systemctl stop fault-port-10250 fault-port-2049; umount /proc/meminfo; umount /var/lib/containerd; rmdir --ignore-fail-on-non-empty /var/lib/containerd")
		b.on(t, "nuc02", listening("10250", "2049")+`mkdir -p /var/lib/containerd && mount -t tmpfs -o size=64m none /var/lib/containerd || exit
sed 's/^MemTotal.*/MemTotal: 1000000 kB/' /proc/meminfo > /run/meminfo && mount --bind /run/meminfo /proc/meminfo`)
		defer b.on(t, "nuc03", "rm -f /etc/ld.so.preload /ahead.so")
		b.ahead(t, "nuc03")
		out := b.run(t, "up", "--yes", "-f", f)
		says(t, out, 2, "nuc01: port 6443 is needed and in use there by systemd", "nuc02: port 10250", "nuc02: port 2049", "(pid ",
			"nuc02: it has 976 MiB of memory", "nuc02: 64 MiB are free in /var/lib/containerd", "nuc03: its clock differs from this computer's by 10m", "systemd-timesyncd")
		b.diagnosed(t, f, "nuc01 ports", "nuc02 disk", "nuc02 memory", "nuc02 ports", "nuc02 ports", "nuc03 clock")
	})
	t.Run("no right to use sudo, and a system that says hostile things of itself", func(t *testing.T) {
		defer b.on(t, "nuc02", "gpasswd -a nuc sudo; mv /tmp/keep/* /etc/sudoers.d/")
		b.on(t, "nuc02", "mkdir -p /tmp/keep; mv /etc/sudoers.d/* /tmp/keep/; gpasswd -d nuc sudo; echo nuc:right | chpasswd")
		defer b.on(t, "nuc03", "rm /etc/os-release; mv /tmp/os-release /etc/os-release")
		b.on(t, "nuc03", `cp -P /etc/os-release /tmp/os-release; rm /etc/os-release; printf 'ID="fe\033[2Jdo\377ra\033]0;x\007"\nVERSION_ID=44\n' > /etc/os-release`)
		out := b.run(t, "up", "--yes", "-f", b.edited(t, "ssh {", "ssh {\n  sudo_password = \"right\"\n"))
		says(t, out, 2, "nuc02 ("+b.address(t, "nuc02")+":22): sudo: the user may not use sudo: as root on the machine: usermod -aG sudo nuc", "nuc03: ", "fedora")
	})
	t.Run("passphrase", func(t *testing.T) {
		locked := b.edited(t, b.key(t), b.lockedKey(t))
		says(t, b.run(t, "plan", "-f", locked), 2, "nuc01 ", "has a passphrase", "no terminal", "ssh-add")
		out := b.typed(t, "wrong\nwrong\nwrong\n", "plan", "-f", locked)
		says(t, out, 2, "nuc01 ", "nuc03 ", "was wrong three times", "ssh-add")
		if n := strings.Count(out.stderr, "Passphrase of"); n != 3 {
			t.Errorf("it asked %d times", n)
		}
		out = b.typed(t, "right\n", "plan", "-f", locked)
		says(t, out, 0)
		if n := strings.Count(out.stderr, "Passphrase of"); n != 1 {
			t.Errorf("it asked %d times for three machines", n)
		}
	})
	t.Run("refused port, and connections that drop", func(t *testing.T) {
		// The first and the third login on nuc02 lose their connection: one
		// while the machine is surveyed, one while the plan is made.
		defer b.on(t, "nuc02", "rm -f /tmp/logins; if [ -e /tmp/bashrc ]; then mv /tmp/bashrc ~nuc/.bashrc; else rm -f ~nuc/.bashrc; fi")
		b.on(t, "nuc02", `[ ! -e ~nuc/.bashrc ] || cp -p ~nuc/.bashrc /tmp/bashrc
printf '%s\n' 'echo >> /tmp/logins' 'case $(wc -l < /tmp/logins) in 1 | 3) kill -9 $PPID; sleep 60;; esac' > ~nuc/.bashrc
: > /tmp/logins; chmod 666 /tmp/logins`)
		address := b.address(t, "nuc03")
		out := b.run(t, "plan", "-f", b.edited(t, `"`+address+`"`, `"`+address+`"`+"\n  port = 2222"))
		says(t, out, 1, "nuc03 ("+address+":2222): dial: ", "refused", "is openssh-server installed and running, is the port right?")
		if n, err := strconv.Atoi(b.on(t, "nuc02", "wc -l < /tmp/logins")); err != nil || n < 4 {
			t.Errorf("%d logins on nuc02 (%v): its connection did not drop twice", n, err)
		}
		if strings.Contains(out.stderr, "nuc02") || !strings.Contains(out.stdout, "\nnuc02\n") {
			t.Errorf("a connection that dropped was not made again:\n%s", out)
		}
	})
}

// testFaultsDuring: faults that show only while a run works, one on each
// machine, so that one run shows that the others go on. What they leave is
// what the next run starts from.
func (b *bench) testFaultsDuring(t *testing.T) {
	t.Run("full disk, held lock, broken package that floods its output", func(t *testing.T) {
		defer b.on(t, "nuc01", "umount /var/cache/apt/archives")
		b.on(t, "nuc01", "mount -t tmpfs -o size=100k none /var/cache/apt/archives && mkdir -p /var/cache/apt/archives/partial")
		defer b.on(t, "nuc02", "systemctl stop fault-lock")
		b.on(t, "nuc02", `cat > /tmp/hold.pl <<'END'
use Fcntl;
open(F, ">>", "/var/lib/dpkg/lock-frontend") or die;
my $l = pack("s s x![q] q q i x4", F_WRLCK, 0, 0, 0, 0); # struct flock of fcntl(2)
fcntl(F, F_SETLK, $l) or die;
open(G, ">", "/run/fault-lock"); close(G);
sleep 3600;
END
systemd-run -q --unit=fault-lock perl /tmp/hold.pl
for i in $(seq 300); do [ -e /run/fault-lock ] && exit; sleep 0.1; done; exit 1`)
		// 100 MB of escapes and bytes that are no UTF-8, and then a failure.
		b.on(t, "nuc03", `mkdir -p /tmp/p/DEBIAN && cd /tmp/p
printf 'Package: fault-package\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n' > DEBIAN/control
cat > DEBIAN/postinst <<'END'
#!/bin/sh
[ ! -e /var/tmp/fault-mended ] || exit 0
yes "$(printf '\033[2J\033]0;owned\007\377\376 %900s')" | head -c 100000000
printf 'the \033[31mhook\033[0m is broken\n' >&2
exit 3
END
chmod 755 DEBIAN/postinst
dpkg-deb --build /tmp/p /tmp/p.deb >/dev/null && dpkg --unpack /tmp/p.deb >/dev/null`)
		// Who waits for the cache installs other packages first, and meets the
		// broken one there.
		f := b.edited(t, `cluster "`, "apt {\n  lock_timeout = \"5s\"\n}\n\ncluster \"", `kubernetes = "1.36"`, "kubernetes = \"1.36\"\n  cache = false")
		out, peak := b.events(t, "up", "--yes", "-f", f, "--progress=json")
		failed := failures(t, out)
		for node, words := range map[string][]string{
			"nuc01": {"the disk is full", "enough free space in /var/cache/apt/archives", "df -h /var"},
			"nuc02": {"still held by perl (pid ", "after 5s", "lock_timeout"},
			"nuc03": {"could not set up a package", "fault-package", "error exit status 3", "dpkg --configure -a"},
		} {
			f, ok := failed[node+"/packages/kubernetes"]
			if !ok {
				t.Errorf("the packages of %s did not fail; %v did", node, failed)
			}
			for _, w := range words {
				if !strings.Contains(f.Message, w) {
					t.Errorf("%s does not say %q: %+v", node, w, f)
				}
			}
			if node != "nuc02" && (f.Command == "" || len(f.Tail) == 0 || f.Code == 0) {
				t.Errorf("%s: command, code or last lines are missing: %+v", node, f)
			}
		}
		if !strings.Contains(out.stdout, "the hook is broken") {
			t.Error("the lines that follow a flood are not told")
		}
		if !strings.Contains(out.stdout, "waiting for apt: held by perl (pid ") {
			t.Error("who holds the lock is not told while it is waited for")
		}
		if peak > 150<<20 {
			t.Errorf("nucspark took %d MiB of memory over 100 MB of output", peak>>20)
		}
	})
	b.on(t, "nuc03", "touch /var/tmp/fault-mended")
	t.Run("unknown version, dropped connection", func(t *testing.T) {
		var dropped error
		drop := &trigger{text: "start    nuc03/packages/kubernetes", do: func() {
			dropped = exec.Command("docker", "exec", container("nuc03"), "pkill", "-9", "-f", "^sshd: nuc").Run()
		}}
		f := b.edited(t, `kubernetes = "1.36"`, `kubernetes = "1.36.99"`)
		out := watched(t, 20*time.Minute, nil, drop, b.binary, "up", "--yes", "-f", f, "--progress=plain")
		says(t, out, 1,
			"✗ nuc01/packages/kubernetes failed", "Version '1.36.99-*' for 'kubeadm' was not found", "of kubeadm they have 1.36.3-",
			"✗ nuc02/packages/kubernetes failed", "✗ nuc03/packages/kubernetes failed", "When the cause is gone, go on with: ")
		if dropped != nil {
			t.Errorf("the connection of nuc03 was not dropped: %v", dropped)
		}
		// Where it was dropped before anything ran it is made again, and the
		// step comes as far as that of nuc01.
		if !regexp.MustCompile(`FAILED +nuc03/packages/kubernetes: .*(connection was lost|lock on nuc03 is lost|Version '1\.36\.99)`).MatchString(out.stderr) {
			t.Errorf("nuc03 neither went on nor says that its connection was lost:\n%s", out)
		}
	})
	t.Run("a key that does not sign the mirror", func(t *testing.T) {
		out := b.run(t, "up", "--yes", "-f", b.edited(t, mirrorKey(t, b), wrongKey(t)))
		says(t, out, 1, "✗ nuc01/packages/kubernetes failed", "✗ nuc02/packages/kubernetes failed", "✗ nuc03/",
			"could not be verified", "mirror.keys names the key that signs it")
		if got := b.on(t, "nuc02", "dpkg -l kubelet 2>/dev/null | grep ^.i || true"); got != "" {
			t.Errorf("packages of a repository with an unknown key were installed: %s", got)
		}
	})
	t.Run("an expired key, on a machine that is very slow, too", func(t *testing.T) {
		slow := func(cpus string) {
			t.Helper()
			if out := execute(t, time.Minute, nil, "docker", "update", "--cpus", cpus, container("nuc03")); out.code != 0 {
				t.Fatal(out)
			}
		}
		defer slow(strconv.Itoa(runtime.NumCPU())) // 0 would leave it as it is
		slow("0.1")
		out := b.run(t, "up", "--yes", "-f", b.edited(t, mirrorKey(t, b), b.expiredKey(t)))
		says(t, out, 1, "✗ nuc01/packages/kubernetes failed", "✗ nuc02/packages/kubernetes failed", "✗ nuc03/",
			"the key that signs the repository has expired", "mirror.keys names")
		if n := strings.Count(out.stderr, "the key that signs the repository has expired"); n < 3 {
			t.Errorf("%d of 3 machines say that the key has expired:\n%s", n, out)
		}
	})
}

// mirrorKey is the path of the mirror's public key, as in the inventory.
func mirrorKey(t *testing.T, b *bench) string {
	t.Helper()
	return regexp.MustCompile(`keys\s*=\s*\["([^"]+)"\]`).FindStringSubmatch(b.text(t))[1]
}

// testFaultsMended: the run that completed finished what dpkg had left undone.
func (b *bench) testFaultsMended(t *testing.T) {
	if got := b.on(t, "nuc03", "dpkg-query -W -f '${db:Status-Status}' fault-package"); got != "installed" {
		t.Errorf("the half-configured package is %q after its cause was gone", got)
	}
}

// events runs nucspark with --progress=json and returns what it said and the
// most memory that it took, in bytes.
func (b *bench) events(t *testing.T, args ...string) (output, int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code tells
	out := output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	return out, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 // KiB: getrusage(2)
}

// failures reads the events of a run: each line is one, and no text in it
// moves a terminal's cursor.
func failures(t *testing.T, out output) map[string]provision.Failure {
	t.Helper()
	if out.code != 1 {
		t.Errorf("exit code %d, want 1\n%s", out.code, out)
	}
	failed := map[string]provision.Failure{}
	for line := range strings.Lines(out.stdout) {
		var e provision.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in event %.300q", err, line)
		}
		printable(t, line)
		printable(t, e.Line)
		if e.Kind == provision.StepFailed && e.Error != nil {
			printable(t, e.Error.Message+strings.Join(e.Error.Tail, ""))
			failed[e.Step] = *e.Error
		}
	}
	return failed
}

// trigger does something once, when a text was written to it.
type trigger struct {
	text string
	do   func()
	seen []byte
	once sync.Once
}

func (w *trigger) Write(p []byte) (int, error) {
	w.seen = append(w.seen, p...)
	if bytes.Contains(w.seen, []byte(w.text)) {
		w.once.Do(w.do)
	}
	return len(p), nil
}

// typed runs nucspark at a terminal where somebody types.
func (b *bench) typed(t *testing.T, keys string, args ...string) output {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if _, err := master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), b.binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &stdout, &stderr
	_ = cmd.Run() // the exit code tells
	return output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// text is the lab's inventory.
func (b *bench) text(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile(b.inventory())
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// key is the path of the lab's private key.
func (b *bench) key(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`private_key\s*=\s*"([^"]+)"`).FindStringSubmatch(b.text(t))[1]
}

// address is that of a machine of the lab, or one of its network that nobody
// has.
func (b *bench) address(t *testing.T, node string) string {
	t.Helper()
	m := regexp.MustCompile(`node "` + node + `" \{\s*address\s*=\s*"([^"]+)"`).FindStringSubmatch(b.text(t))
	if m == nil {
		return strings.TrimSuffix(labSubnet, "0/24") + "250"
	}
	return m[1]
}

// lockedKey is a copy of the lab's private key with the passphrase "right".
func (b *bench) lockedKey(t *testing.T) string {
	t.Helper()
	plain, err := os.ReadFile(b.key(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ssh.ParseRawPrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(raw, "lab", []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wrongKey is a file with a public key that signed nothing.
func wrongKey(t *testing.T) string {
	t.Helper()
	key, err := openpgp.NewEntity("somebody", "", "else@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return publicKey(t, key)
}

// publicKey is a file with a public key as mirror.keys names it.
func publicKey(t *testing.T, key *openpgp.Entity) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.asc")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := armor.Encode(file, openpgp.PublicKeyType, nil)
	if err == nil {
		err = key.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// expiredKey is a file with the public key that signs the lab's mirror, as it
// would be if its owner had let it be valid for the first second only. The
// private one lies in the lab's cache.
func (b *bench) expiredKey(t *testing.T) string {
	t.Helper()
	secret, err := os.Open(filepath.Join(filepath.Dir(filepath.Dir(mirrorKey(t, b))), "signing.key"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	list, err := openpgp.ReadArmoredKeyRing(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, second := list[0], uint32(1)
	for _, identity := range key.Identities {
		identity.SelfSignature.KeyLifetimeSecs = &second
		if err := identity.SelfSignature.SignUserId(identity.UserId.Id, key.PrimaryKey, key.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
	}
	return publicKey(t, key)
}

// diagnosed runs doctor: it must find just these to stop up, as "NODE CHECK".
func (b *bench) diagnosed(t *testing.T, inventory string, want ...string) {
	t.Helper()
	code := 0
	if len(want) > 0 {
		code = 1
	}
	out := b.run(t, "doctor", "--json", "-f", inventory)
	var found []struct {
		Node, Check string
		OK          bool
	}
	if err := json.Unmarshal([]byte(out.stdout), &found); err != nil || out.code != code {
		t.Fatalf("doctor: exit code %d, want %d, %v\n%s", out.code, code, err, out)
	}
	var stops []string
	for _, f := range found {
		if !f.OK {
			stops = append(stops, f.Node+" "+f.Check)
		}
	}
	slices.Sort(stops)
	if !slices.Equal(stops, want) {
		t.Errorf("doctor finds %q, want %q\n%s", stops, want, out.stdout)
	}
}

// ahead sets what programs on a machine read of the clock ahead by ten
// minutes. Containers share the kernel's clock, so a library that every
// program loads adds them; nothing of the survey is replaced. syscall(2) comes
// with the C library that each of them has loaded.
func (b *bench) ahead(t *testing.T, node string) {
	t.Helper()
	dir := t.TempDir()
	const source = `#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = syscall(SYS_clock_gettime, id, ts);
	if (r == 0 && id == CLOCK_REALTIME)
		ts->tv_sec += 600;
	return r;
}
`
	if err := os.WriteFile(filepath.Join(dir, "ahead.c"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(dir, "ahead.so")
	container := "nucspark-" + labName + "-" + node
	for _, command := range [][]string{
		{"gcc", "-O1", "-shared", "-fPIC", "-nostdlib", "-o", library, filepath.Join(dir, "ahead.c")},
		{"docker", "cp", library, container + ":/ahead.so"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	b.on(t, node, "echo /ahead.so > /etc/ld.so.preload")
}
