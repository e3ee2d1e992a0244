package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"nucspark.io/nucspark/inventory"
)

func TestRun(t *testing.T) {
	s := newServer(t, withPassword(password), func(s *server) {
		s.noise = "echo welcome; printf 'news: 1 2 3'; echo 'no locale' >&2; printf more >&2; "
	})
	h := dial(t, s)
	var lines []string
	r, err := h.Run(t.Context(), Command{
		Script: "set -eu\n# says hello\necho \"hello $(cat)\"; pwd; umask; echo $LC_ALL; case $PATH in */sbin:*) echo sbin;; esac\necho $# >&2\nexit 3",
		Stdin:  strings.NewReader("wörld\nx"),
		Output: func(l string) { lines = append(lines, l) },
	})
	want := Result{Stdout: "hello wörld\nx\n/\n0022\nC\nsbin\n", Stderr: "0\n", Code: 3}
	if r != want {
		t.Errorf("got %+v", r)
	}
	var ce *CommandError
	if !errors.As(err, &ce) || ce.Node != "nuc01" || ce.Code != 3 || ce.Signal != "" || ce.Err != nil || len(ce.Tail) != 7 {
		t.Fatalf("got %#v", err)
	}
	if !strings.HasPrefix(err.Error(), `nuc01: "echo \"hello`) || !strings.Contains(err.Error(), "code 3") {
		t.Errorf("text: %v", err)
	}
	if len(lines) != 7 {
		t.Errorf("lines %q", lines)
	}

	_, err = h.Run(t.Context(), Command{Script: "kill -TERM $$"})
	if !errors.As(err, &ce) || ce.Signal != "TERM" {
		t.Errorf("signal: %v", err)
	}
	_, err = h.Run(t.Context(), Command{Script: "if"})
	if !errors.As(err, &ce) || ce.Code == 0 || strings.Contains(err.Error(), "nucspark-") {
		t.Errorf("syntax error: %v", err)
	}
	if _, err = h.Run(t.Context(), Command{Script: "echo a\x00b"}); !errors.As(err, &ce) || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("NUL: %v", err)
	}
	var b strings.Builder
	r, err = h.Run(t.Context(), Command{Script: "head -c 3000000 /dev/zero", Stdout: &b})
	if err != nil || b.Len() != 3000000 || r.Stdout != "" || r.Truncated {
		t.Errorf("stream: %d, %v", b.Len(), err)
	}
	_, err = h.Run(t.Context(), Command{Script: "yes", Stdout: failing{}})
	if !errors.As(err, &ce) || !errors.Is(err, errFailing) || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("a writer that fails: %v", err)
	}
	_, err = h.Run(t.Context(), Command{Script: "cat >/dev/null; echo took it all", Stdin: io.MultiReader(strings.NewReader("half"), failing{})})
	if !errors.Is(err, errFailing) || strings.Contains(fmt.Sprint(ce.Tail), "took") {
		t.Errorf("a reader that fails: %v", err)
	}
	// A command that does not want its input is none the worse.
	if _, err = h.Run(t.Context(), Command{Script: "exec true", Stdin: io.LimitReader(zeros{}, 50<<20)}); err != nil {
		t.Errorf("unread input: %v", err)
	}
}

var errFailing = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }
func (failing) Read([]byte) (int, error)  { return 0, errFailing }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What a script holds must not stand in the arguments of any process, and what
// is secret not in what people see.
func TestSecrets(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	const secret = "hunter2hunter2"
	r, err := h.Run(t.Context(), Command{
		Script: "x=" + Quote(secret) + "\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c hunter2 || :\n",
	})
	if err != nil || strings.TrimSpace(r.Stdout) != "1" && strings.TrimSpace(r.Stdout) != "0" {
		t.Fatalf("%q, %v", r.Stdout, err)
	}
	// grep itself has the word in its arguments, and may or may not be seen;
	// the whole secret nobody has.
	r, err = h.Run(t.Context(), Command{Script: "x=" + Quote(secret) + "\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"})
	if strings.Contains(r.Stdout, secret) || !strings.Contains(r.Stdout, "umask") {
		t.Errorf("the arguments of some process show the script (%v)", err)
	}

	_, err = h.Run(t.Context(), Command{Script: "echo " + secret + "; exit 1", Secret: true, Output: func(l string) { t.Errorf("shown: %q", l) }})
	var ce *CommandError
	if !errors.As(err, &ce) || strings.Contains(fmt.Sprintf("%v %+v", err, *ce), secret) {
		t.Errorf("got %+v", err)
	}
}

func TestHostileOutput(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	r, err := h.Run(t.Context(), Command{
		Script: `printf '\033]0;evil\007\033[2J\377\376 \342\200\256abc\rdef\n'; head -c 100000000 /dev/zero | tr '\0' x; exit 9`,
		Output: func(l string) {
			n++
			if len(l) > maxLine+8 {
				t.Errorf("a line of %d bytes", len(l))
			}
			for _, c := range l {
				if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar {
					t.Errorf("%q shows %U", l, c)
				}
			}
		},
		MaxOutput: 5000,
	})
	runtime.ReadMemStats(&after)
	if len(r.Stdout) != 5000 || !r.Truncated || n != 3 || r.Code != 9 || err == nil {
		t.Errorf("%d bytes, truncated %v, %d lines, %v", len(r.Stdout), r.Truncated, n, err)
	}
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 50<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestIdle(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	var pid string
	_, err := h.Run(t.Context(), Command{
		Script: "sleep 600 & echo $!; wait",
		Output: func(l string) { pid = l },
		Idle:   300 * time.Millisecond,
	})
	var ce *CommandError
	if !errors.As(err, &ce) || !errors.Is(err, ErrIdle) || !strings.Contains(err.Error(), "stopped on the machine") {
		t.Errorf("got %v", err)
	}
	until(t, "the child ends too", func() bool { return !running(pid) })

	// Neither output nor input in small pieces is idle.
	if _, err := h.Run(t.Context(), Command{Script: "for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done", Idle: 2 * time.Second}); err != nil {
		t.Error(err)
	}
	in, out := io.Pipe()
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for range 6 {
			<-tick.C
			io.WriteString(out, "beat\n")
		}
		out.Close()
	}()
	if _, err := h.Run(t.Context(), Command{Script: "cat >/dev/null", Stdin: in, Idle: 2 * time.Second}); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	for name, c := range map[string]struct{ script, code string }{
		"ends at TERM":      {script: "echo $$; sleep 600"},
		"needs KILL":        {script: "trap '' TERM; echo $$; while :; do sleep 1; done"},
		"another program":   {script: "echo $$; exec sleep 600"},
		"without a child":   {script: "echo $$; while :; do :; done"},
		"background behind": {script: "(while :; do sleep 1; done) & echo $!; sleep 600"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the person pressed Ctrl-C")
			var pid string
			_, err := h.Run(ctx, Command{Script: c.script, Output: func(l string) { pid = l; cancel(why) }})
			var ce *CommandError
			if !errors.As(err, &ce) || !errors.Is(err, why) || !strings.Contains(err.Error(), "stopped on the machine") {
				t.Errorf("got %v", err)
			}
			until(t, "the process ends", func() bool { return !running(pid) })
		})
	}
	if s.accepted.Load() != 1 {
		t.Errorf("%d connections", s.accepted.Load())
	}
}

// A process that a script leaves behind must not hold Run.
func TestLeftBehind(t *testing.T) {
	s := newServer(t, withPassword(password))
	h := dial(t, s)
	start := time.Now()
	out := mustRun(t, h, "sleep 600 & echo $!")
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
	pid := strings.TrimSpace(out)
	if !running(pid) {
		t.Error("it was stopped")
	}
	mustRun(t, h, "kill "+Quote(pid))
}

func TestManyCommands(t *testing.T) {
	s := newServer(t, withPassword(password))
	s.sudo("password", "s3cret")
	h := dial(t, s, func(o *Options) { o.SudoPassword = inventory.NewSecret("s3cret") })
	var all sync.WaitGroup
	for i := range 40 {
		all.Add(1)
		go func() {
			defer all.Done()
			r, err := h.Run(t.Context(), Command{Script: fmt.Sprintf("sleep 0.05; echo %d", i), Root: i%2 == 0})
			if err != nil || r.Stdout != fmt.Sprintln(i) {
				t.Errorf("%d: %q, %v", i, r.Stdout, err)
			}
		}()
	}
	all.Wait()
	if n := s.most.Load(); n > maxSessions {
		t.Errorf("%d sessions at a time", n)
	}
	if s.accepted.Load() != 1 {
		t.Errorf("%d connections", s.accepted.Load())
	}

	// A session that sshd still counts is waited for.
	s.refuse.Store(5)
	mustRun(t, h, ":")

	// Eight that are cancelled at once still find sessions to be stopped by.
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan string, maxSessions)
	for range maxSessions {
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := h.Run(ctx, Command{Script: "echo $$; exec sleep 600", Root: true, Output: func(l string) { started <- l }})
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped on the machine") {
				t.Error(err)
			}
		}()
	}
	var pids []string
	for range maxSessions {
		pids = append(pids, <-started)
	}
	cancel()
	all.Wait()
	for _, p := range pids {
		until(t, "all end", func() bool { return !running(p) })
	}
}

func TestSudo(t *testing.T) {
	root := Command{Script: "echo root=$FAKE_ROOT; cat", Root: true, Stdin: strings.NewReader("")}
	secret := func(p string) func(*Options) {
		return func(o *Options) { o.SudoPassword = inventory.NewSecret(p) }
	}
	for _, mode := range []string{"free", "password", "rust"} {
		t.Run(mode, func(t *testing.T) {
			s := newServer(t, withPassword(password))
			s.sudo(mode, "s3cret $x")
			h := dial(t, s, secret("s3cret $x"))
			for range 2 {
				c := root
				c.Stdin = strings.NewReader("data")
				r, err := h.Run(t.Context(), c)
				if err != nil || r.Stdout != "root=yes\ndata" || r.Stderr != "" {
					t.Fatalf("got %+v, %v", r, err)
				}
			}
			if mode == "free" && len(s.attempts()) != 0 {
				t.Errorf("the password was sent though nobody asked: %q", s.attempts())
			}
			if r := mustRun(t, h, "echo root=$FAKE_ROOT"); r != "root=\n" {
				t.Errorf("an ordinary command ran as root: %q", r)
			}
		})
	}
	t.Run("login as root", func(t *testing.T) {
		s := newServer(t, withPassword(password))
		s.sudo("denied", "x")
		h := dial(t, s, func(o *Options) { o.User = "root" })
		if r, err := h.Run(t.Context(), root); err != nil || r.Stdout != "root=\n" {
			t.Errorf("sudo was used: %+v, %v", r, err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		s := newServer(t, withPassword(password))
		s.sudo("password", "right")
		h := dial(t, s, secret("wr0ng"))
		var all sync.WaitGroup
		for range 5 {
			all.Add(1)
			go func() {
				defer all.Done()
				_, err := h.Run(t.Context(), Command{Script: "cat", Root: true})
				if !errors.Is(err, ErrSudoPassword) || strings.Contains(err.Error(), "wr0ng") {
					t.Errorf("got %v", err)
				}
				wantConnectError(t, err, false, "nuc01", "sudo_password")
			}()
		}
		all.Wait()
		if got := s.attempts(); len(got) != 1 {
			t.Errorf("sudo saw %d attempts", len(got))
		}
	})
	for name, c := range map[string]struct {
		mode, password string
		want           error
		words          []string
	}{
		"no password set": {mode: "password", want: ErrSudoNoPassword, words: []string{"sudo_password"}},
		"no right":        {mode: "denied", password: "right", want: ErrSudoDenied, words: []string{"usermod -aG sudo ubuntu"}},
		"wants terminal":  {mode: "tty", password: "right", words: []string{"requiretty"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, withPassword(password))
			s.sudo(c.mode, "right")
			h := dial(t, s, secret(c.password))
			_, err := h.Run(t.Context(), root)
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			wantConnectError(t, err, false, append(c.words, "nuc01")...)
			if err := os.Remove(s.dir + "/mode"); err != nil {
				t.Fatal(err)
			}
			s.sudo("free", "right") // the cause is gone
			if _, err := h.Run(t.Context(), root); err != nil {
				t.Errorf("after the cause is gone: %v", err)
			}
		})
	}
	t.Run("another question", func(t *testing.T) {
		s := newServer(t, withPassword(password))
		s.sudo("code", "right")
		h := dial(t, s, secret("right"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := h.Run(ctx, root)
		wantConnectError(t, err, true, "Verification code:")
		for _, a := range s.attempts() {
			if a != "" {
				t.Errorf("the question was answered with %q", a)
			}
		}
	})
}

func TestBrief(t *testing.T) {
	for script, want := range map[string]string{
		"set -e\n# why\nexport A=1 B=2\ncode=0\napt-get install x || code=$?\n": "apt-get install x || code=$?",
		"x=$(id) && echo $x": "x=$(id) && echo $x",
		"a=1\n":              "(an empty script)",
		"\x1b[2Jls -l":       "ls -l",
	} {
		if got := (Command{Script: script}).brief(); got != want {
			t.Errorf("%q: %q, want %q", script, got, want)
		}
	}
}

// A fence runs before each root command and each file, may end it, and is in
// no error.
func TestFenced(t *testing.T) {
	h := dial(t, newServer(t, withPassword(password)))
	dir := t.TempDir()
	open := Fenced(t.Context(), "[ ! -e "+Quote(dir+"/shut")+" ] || exit 97\n")
	file := dir + "/file"
	if r, err := h.Run(open, Command{Script: "cat", Root: true, Stdin: strings.NewReader("x")}); err != nil || r.Stdout != "x" {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := os.WriteFile(dir+"/shut", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var ce *CommandError
	if _, err := h.Run(open, Command{Script: "echo x > " + Quote(file), Root: true}); !errors.As(err, &ce) || ce.Code != 97 || strings.Contains(err.Error(), "shut") {
		t.Errorf("a command behind the fence: %v", err)
	}
	me := strconv.Itoa(os.Getuid())
	if err := h.WriteFile(open, file, []byte("x"), 0o600, me, me); !errors.As(err, &ce) || ce.Code != 97 {
		t.Errorf("a file behind the fence: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was written: %v", err)
	}
	if _, err := h.Run(t.Context(), Command{Script: "exit 0", Root: true}); err != nil {
		t.Errorf("without a fence: %v", err)
	}
}
