package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLongInit goes from bare machines to a running cluster with nothing typed
// but answers, in tmux. Its parts build on each other.
func TestLongInit(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is not installed; the wizard is driven in it: apt-get install tmux")
	}
	b := longLab(t, "2")
	i := &initTest{bench: b, file: filepath.Join(b.dir, "cluster.hcl"), extra: filepath.Join(b.dir, "extra.hcl"), answers: filepath.Join(b.dir, "answers.hcl")}
	i.terminal = &terminal{socket: "nucspark-" + labName, name: "init"}
	part(t, "answers in a file", i.testPreseed)
	part(t, "refused before anything is written", i.testRefused)
	part(t, "answers on the screens, and up", i.testScreens)
	part(t, "no change afterwards", i.testNoChange)
	part(t, "node remove and add", i.testNode)
	part(t, "a word count", i.testWordCount)
}

type initTest struct {
	*bench
	*terminal
	file, extra, answers string
	preseeded            []byte // what init made of the answers in the file
}

// testPreseed makes the file from answers. The lab's mirror and what containers
// need are no questions of the wizard: they are given by --extra.
func (i *initTest) testPreseed(t *testing.T) {
	lab := i.text(t)
	at := strings.Index(lab, "\nmirror {")
	if at < 0 {
		t.Fatalf("lab.hcl has no mirror:\n%s", lab)
	}
	answers := fmt.Sprintf(`range       = %q
user        = "nuc"
private_key = %q
cluster     = "fromwizard"
worker {
  memory = "3Gi"
}
`, labSubnet, i.key(t))
	for path, text := range map[string]string{i.extra: lab[at+1:], i.answers: answers} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := filepath.Join(i.dir, "preseeded.hcl")
	out := i.ok(t, "init", "--from", i.answers, "--extra", i.extra, "--accept-new-host-keys", "-f", made)
	if strings.TrimSpace(out.stdout) != made || strings.Count(out.stderr, "accepted") != 2 {
		t.Errorf("init --from says:\n%s", out)
	}
	src, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	i.preseeded = src
	for _, line := range strings.Split(lab, "\n") {
		if strings.Contains(line, "host_key") && !strings.Contains(string(src), strings.TrimSpace(line)) {
			t.Errorf("the file does not pin %s:\n%s", strings.TrimSpace(line), src)
		}
	}
	i.ok(t, "validate", "-f", made)
}

func (i *initTest) testRefused(t *testing.T) {
	made := filepath.Join(i.dir, "preseeded.hcl")
	i.refused(t, 2, []string{"is there already", "--overwrite"}, "init", "--from", i.answers, "-f", made)
	other := filepath.Join(i.dir, "other.hcl")
	i.refused(t, 2, []string{"nobody has accepted", "host_key"}, "init", "--from", i.answers, "-f", other)
	i.refused(t, 2, []string{"no terminal", "--from"}, "init", "-f", other)
	nobody := filepath.Join(i.dir, "nobody.hcl")
	if err := os.WriteFile(nobody, []byte("range = \""+i.address(t, "nobody")+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i.refused(t, 2, []string{"no machine is chosen"}, "init", "--from", nobody, "-f", other)
	wrong := filepath.Join(i.dir, "wrong.hcl")
	text := strings.Replace(i.answer(t), `"nuc"`, `"nobody"`, 1)
	if err := os.WriteFile(wrong, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	i.refused(t, 2, []string{"accepted no key", "ssh-copy-id", "no machine is chosen"}, "init", "--from", wrong, "--accept-new-host-keys", "-f", other)
	if _, err := os.Stat(other); err == nil {
		t.Error("a refused init wrote a file")
	}
}

func (i *initTest) answer(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(i.answers)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testScreens gives the same answers to the screens, and goes on with up.
func (i *initTest) testScreens(t *testing.T) {
	i.open(t, 100, 40, i.binary, "init", "-f", i.file, "--extra", i.extra)
	i.see(t, time.Minute, "init 1/6")
	i.keys(t, "Up", "Enter", "C-u")
	i.write(t, labSubnet)
	i.keys(t, "Enter", "Enter")
	i.see(t, 2*time.Minute, "init 2/6", "Choose those of the cluster", "Go on with 2 machines", "SHA256:")
	i.keys(t, "Enter")
	i.see(t, time.Minute, "init 3/6")
	i.keys(t, "Home", "Enter", "C-u")
	i.write(t, "nuc")
	i.keys(t, "Enter", "Enter")
	i.write(t, i.key(t))
	i.keys(t, "Enter")
	i.see(t, time.Minute, "yours") // an escape is read by itself then
	i.keys(t, "Escape")            // back, where nothing is forgotten, and forth
	i.see(t, time.Minute, "init 2/6", "Go on with 2 machines")
	i.keys(t, "Enter")
	i.see(t, time.Minute, "init 3/6", "yours")
	i.keys(t, "End", "Enter")
	i.see(t, 2*time.Minute, "init 4/6", "Go on with 2 machines", "nuc01", "nuc02", "Debian 12")
	i.keys(t, "Enter")
	i.see(t, time.Minute, "init 5/6")
	i.keys(t, "Home", "Enter", "C-u")
	i.write(t, "fromwizard")
	i.keys(t, "Enter", "End", "Up", "Up", "Up", "Enter", "C-u")
	i.write(t, "3Gi")
	i.keys(t, "Enter", "End", "Enter")
	i.see(t, time.Minute, "init 6/6", `cluster "fromwizard"`)
	if _, err := os.Stat(i.file); err == nil {
		t.Fatal("the file is there before anybody agreed to it")
	}
	i.keys(t, "Enter")
	i.see(t, time.Minute, "is written", "nucspark up?")
	written, err := os.ReadFile(i.file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, i.preseeded) {
		t.Errorf("the screens wrote\n%s\nand the answers in a file gave\n%s", written, i.preseeded)
	}
	i.ok(t, "validate", "-f", i.file)
	i.keys(t, "y")
	i.see(t, 2*time.Minute, "Make these changes?")
	i.keys(t, "y", "Enter")
	i.see(t, 20*time.Minute, "fromwizard is up after", "exit code 0")
}

// testNoChange: the cluster agrees with the file, and init, run again, gives
// the same file.
func (i *initTest) testNoChange(t *testing.T) {
	if out := i.ok(t, "plan", "--exit-code", "-f", i.file); !strings.Contains(out.stdout, "Nothing to change") {
		t.Errorf("plan afterwards:\n%s", out)
	}
	again := filepath.Join(i.dir, "again.hcl")
	i.ok(t, "init", "--from", i.answers, "--extra", i.extra, "--accept-new-host-keys", "-f", again)
	src, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(src, i.preseeded) {
		t.Errorf("init of the running cluster gives\n%s\nand gave\n%s", src, i.preseeded)
	}
}

// testNode takes the second machine out of a file and puts it back.
func (i *initTest) testNode(t *testing.T) {
	file := filepath.Join(i.dir, "edited.hcl")
	src := bytes.Replace(i.preseeded, []byte("\nhdfs {\n  replication = 2\n}\n"), []byte("\n# two of each\nhdfs {\n  replication = 1\n}\n"), 1)
	if bytes.Equal(src, i.preseeded) {
		t.Fatalf("the file has no replication of 2:\n%s", src)
	}
	if err := os.WriteFile(file, src, 0o600); err != nil {
		t.Fatal(err)
	}
	i.refused(t, 2, []string{"no node is the control plane"}, "node", "remove", "nuc01", "--yes", "-f", file)
	i.refused(t, 2, []string{"there is no terminal"}, "node", "remove", "nuc02", "-f", file)
	i.ok(t, "node", "remove", "nuc02", "--yes", "-f", file)
	removed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(removed), "nuc02") || !strings.Contains(string(removed), "# two of each") {
		t.Errorf("without nuc02:\n%s", removed)
	}
	i.ok(t, "validate", "-f", file)
	i.ok(t, "node", "add", "nuc02", "--address", i.address(t, "nuc02"), "--yes", "--accept-new-host-keys", "-f", file)
	added, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(added, src) {
		t.Errorf("out and in again the file is\n%s\nand was\n%s", added, src)
	}
	i.refused(t, 2, []string{`has a node "nuc02" already`}, "node", "add", "nuc02", "--yes", "-f", file)
}

func (i *initTest) testWordCount(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("one two two\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	i.ok(t, "hdfs", "put", "-f", i.file, text, "/text")
	out := i.ok(t, "submit", "-f", i.file, "../examples/wordcount.py", "hdfs:///text")
	if !strings.Contains(out.stdout, "3000") {
		t.Errorf("the word count says:\n%s", out)
	}
}

// terminal is a program in tmux.
type terminal struct{ socket, name string }

func (s *terminal) tmux(t *testing.T, args ...string) string {
	t.Helper()
	out := execute(t, time.Minute, nil, "tmux", append([]string{"-L", s.socket, "-f", "/dev/null"}, args...)...)
	if out.code != 0 {
		t.Fatalf("tmux %s: exit code %d\n%s", strings.Join(args, " "), out.code, out)
	}
	return out.stdout
}

// open runs a command; its exit code stands on the screen at the end.
func (s *terminal) open(t *testing.T, width, height int, command ...string) {
	t.Helper()
	var quoted []string
	for _, word := range command {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	s.tmux(t, "new-session", "-d", "-s", s.name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		"env LC_ALL=C.UTF-8 "+strings.Join(quoted, " ")+"; echo exit code $?; exec sleep 3600")
	t.Cleanup(func() { s.tmux(t, "kill-server") })
}

// keys presses keys by their names in tmux.
func (s *terminal) keys(t *testing.T, keys ...string) {
	t.Helper()
	s.tmux(t, append([]string{"send-keys", "-t", s.name}, keys...)...)
}

// write types a text as it is.
func (s *terminal) write(t *testing.T, text string) {
	t.Helper()
	s.tmux(t, "send-keys", "-t", s.name, "-l", text)
}

// see waits until the screen shows all of these.
func (s *terminal) see(t *testing.T, bound time.Duration, words ...string) {
	t.Helper()
	deadline := time.Now().Add(bound)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		screen := s.tmux(t, "capture-pane", "-p", "-t", s.name)
		missing := ""
		for _, w := range words {
			if !strings.Contains(screen, w) {
				missing = w
				break
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) || strings.Contains(screen, "exit code") {
			t.Fatalf("the screen does not show %q:\n%s", missing, screen)
		}
		<-tick.C
	}
}
