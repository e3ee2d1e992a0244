package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a headless Chromium.
type browser struct {
	t        *testing.T
	tab      context.Context
	pictures string // directory for pictures, "" for none

	mu       sync.Mutex
	troubles []string // what the pages' scripts complained about
}

// stepBound is how long one step in the browser may take. Machines that run
// tests beside a cluster are slow.
const stepBound = 2 * time.Minute

// chromium finds the browser. With consent it is installed where it is missing.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if !consent() {
		t.Skip("SKIPPED: the pages were not looked at in a browser. Install one, as with apt-get install chromium, or run with YES=1 to have it installed")
	}
	began := time.Now()
	install := "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 chromium"
	if out := execute(t, 20*time.Minute, nil, "sh", "-c", install); out.code != 0 {
		t.Fatalf("chromium could not be installed; install it with apt-get install chromium\n%s", out)
	}
	t.Logf("chromium was installed in %.0f s", time.Since(began).Seconds())
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newBrowser starts a browser that knows nothing and asks nobody.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1200, 720),
		chromedp.WSURLReadTimeout(stepBound),
		chromedp.NoSandbox, // root has none; the pages are ours
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	tab, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(cancelTab)
	br := &browser{t: t, tab: tab, pictures: os.Getenv("NUCSPARK_PICTURES")}
	// The first call starts the browser, which lives as long as its context.
	if err := chromedp.Listen(tab, br.listen); err != nil {
		t.Fatal(err)
	}
	return br
}

// listen collects what goes wrong in the pages.
func (br *browser) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text, _ := json.Marshal(e.ExceptionDetails)
		br.trouble("a script failed: " + string(text))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" {
			text, _ := json.Marshal(e.Args)
			br.trouble("a script complains: " + string(text))
		}
	case *cdplog.EventEntryAdded: // what could not be loaded is here, too
		if e.Entry.Level == "error" && !strings.HasSuffix(e.Entry.URL, "/favicon.ico") {
			br.trouble(e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func (br *browser) trouble(text string) {
	br.mu.Lock()
	defer br.mu.Unlock()
	br.troubles = append(br.troubles, text)
}

// do carries out steps, bounded, and fails the test with what the page shows.
func (br *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	br.t.Helper()
	ctx, cancel := context.WithTimeout(br.tab, stepBound)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		br.fail(err)
	}
}

func (br *browser) fail(err error) {
	br.t.Helper()
	ctx, cancel := context.WithTimeout(br.tab, 20*time.Second)
	defer cancel()
	shows, look := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + ' ' + document.title + '\\n' + document.body.innerText"))
	br.t.Fatalf("%v; the browser shows %s (%v)\n%s", err, tail(shows), look, strings.Join(br.troubles, "\n"))
}

// sees says whether a script's value is true within a bound. While a page goes
// and another comes, there is nothing to ask.
func (br *browser) sees(script string, bound time.Duration) bool {
	ctx, cancel := context.WithTimeout(br.tab, bound)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+script+")")); err == nil && yes {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// see waits until a script's value is true.
func (br *browser) see(script string) {
	br.t.Helper()
	if !br.sees(script, stepBound) {
		br.fail(fmt.Errorf("within %s it was never true that %s", stepBound, script))
	}
}

// shown is true when a page of this computer is complete whose title begins so.
func shown(title string) string {
	return fmt.Sprintf(`location.hostname === "127.0.0.1" && document.readyState === "complete" && document.title.startsWith(%q)`, title)
}

// open goes to an address and waits for the page.
func (br *browser) open(url, title string) {
	br.t.Helper()
	br.do(chromedp.Navigate(url))
	br.see(shown(title))
}

// follow clicks a link, by the mouse, until the page of that title is there: a
// page that is still putting itself together moves its links away.
func (br *browser) follow(selector, title string) {
	br.t.Helper()
	br.until(selector, shown(title))
}

// until clicks what a CSS selector finds first until a script's value is true.
func (br *browser) until(selector, script string) {
	br.t.Helper()
	bound := time.Now().Add(stepBound)
	var err error
	for time.Now().Before(bound) {
		ctx, cancel := context.WithTimeout(br.tab, stepBound/4)
		err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		cancel()
		if br.sees(script, 10*time.Second) {
			return
		}
	}
	br.fail(fmt.Errorf("clicking %s (%v) never made it true that %s", selector, err, script))
}

// picture writes what the browser shows, where pictures are asked for.
func (br *browser) picture(name string) {
	br.t.Helper()
	if br.pictures == "" {
		return
	}
	png, err := chromedp.Run(br.tab, chromedp.CaptureScreenshot())
	if err != nil {
		br.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(br.pictures, name+".png"), png, 0o644); err != nil {
		br.t.Fatal(err)
	}
}

// clean fails the test if a script or a request on any page went wrong.
func (br *browser) clean() {
	br.t.Helper()
	br.mu.Lock()
	defer br.mu.Unlock()
	for _, text := range br.troubles {
		br.t.Errorf("in the browser: %s", text)
	}
}

// opened runs nucspark open until the test ends, when Ctrl-C must end it with 0,
// and returns the address that it prints first.
func (b *bench) opened(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command(b.binary, "open", "-f", b.inventory(), "--json", name)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil || !timer.Stop() {
			t.Errorf("nucspark open %s: %v\n%s", name, err, stderr.String())
		}
	})
	var line struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&line); err != nil {
		t.Fatalf("nucspark open %s: %v", name, err)
	}
	return line.URL
}
