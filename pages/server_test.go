package pages

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// cluster is a server before two pages: the namenode's at
// namenode.example:9870 and a datanode's, which the first names by 10.0.0.2:9864.
type cluster struct {
	*Server
	down       atomic.Bool
	name, data http.HandlerFunc
	nameURL    string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{}
	nameSrv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.name(w, r) }))
	dataSrv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.data(w, r) }))
	t.Cleanup(nameSrv.Close)
	t.Cleanup(dataSrv.Close)
	to := map[string]string{"namenode.example:9870": nameSrv.Listener.Addr().String(), "10.0.0.2:9864": dataSrv.Listener.Addr().String()}
	c.Server = New(func(ctx context.Context, host string, port int) (net.Conn, error) {
		addr, ok := to[fmt.Sprintf("%s:%d", host, port)]
		if !ok || c.down.Load() {
			return nil, errors.New("nobody <there>")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}, func(host string, port int) bool { return host == "10.0.0.2" && port == 9864 })
	t.Cleanup(c.Close)
	var err error
	if c.nameURL, err = c.Open("namenode.example", 9870, 0); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a request with headers, names and values in turn, and follows
// nothing. The name "Host" sets the host.
func ask(t *testing.T, method, at string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestGuard(t *testing.T) {
	c := newCluster(t)
	asked := 0
	c.name = func(w http.ResponseWriter, r *http.Request) { asked++ }
	other, err := c.Open("10.0.0.2", 9864, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(c.nameURL)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		good    bool
		method  string
		headers []string
	}{
		{true, "GET", nil},  // a program
		{true, "POST", nil}, // a program
		{true, "GET", []string{"Host", "localhost:" + u.Port()}},
		{true, "GET", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}},
		{true, "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", c.nameURL}},
		{true, "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"}},
		{true, "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", other}},
		{true, "PUT", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", other}},
		// A name that somebody pointed at this computer.
		{false, "GET", []string{"Host", "evil.example:" + u.Port(), "Sec-Fetch-Site", "same-origin"}},
		{false, "GET", []string{"Host", "127.0.0.1"}},
		{false, "GET", []string{"Host", "127.0.0.1:1"}},
		{false, "GET", []string{"Host", "127.0.0.1.evil.example:" + u.Port()}},
		// Another web site.
		{false, "POST", []string{"Origin", "http://evil.example"}}, // an old browser
		{false, "POST", []string{"Origin", "null"}},
		{false, "POST", []string{"Origin", strings.Replace(c.nameURL, "http", "https", 1)}},
		{false, "POST", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}},
		{false, "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		{false, "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}}, // a link that ends a stage
		// Another program's page on this computer.
		{false, "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}},
		{false, "POST", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Origin", "http://127.0.0.1:1"}},
		{false, "POST", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"}},
	} {
		asked = 0
		resp, body := ask(t, test.method, c.nameURL+"/kill", test.headers...)
		if test.good && (resp.StatusCode != 200 || asked != 1) {
			t.Errorf("%s %q was refused: %s", test.method, test.headers, body)
		}
		if !test.good && (resp.StatusCode != 403 || asked != 0) {
			t.Errorf("%s %q went through with status %d", test.method, test.headers, resp.StatusCode)
		}
	}
	if resp, _ := ask(t, "GET", c.nameURL+"/.nucspark/to?url=http://10.0.0.2:9864/", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("another site opened a port: status %d", resp.StatusCode)
	}
}

func TestLoopbackOnly(t *testing.T) {
	c := newCluster(t)
	if !strings.HasPrefix(c.nameURL, "http://127.0.0.1:") {
		t.Errorf("the page is at %s", c.nameURL)
	}
	again, err := c.Open("namenode.example", 9870, 0)
	if err != nil || again != c.nameURL {
		t.Errorf("opened again at %s, %v; it was at %s", again, err, c.nameURL)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	if _, err := c.Open("10.0.0.2", 9864, taken); err == nil {
		t.Error("a port in use was taken")
	}
	if at, err := c.Open("10.0.0.2", taken, 0); err != nil || strings.HasSuffix(at, fmt.Sprint(":", taken)) {
		t.Errorf("while the page's own port is in use it is at %q, %v", at, err)
	}
}

// TestPasses: what needs no change gets none, in both directions.
func TestPasses(t *testing.T) {
	c := newCluster(t)
	u, _ := url.Parse(c.nameURL)
	c.name = func(w http.ResponseWriter, r *http.Request) {
		if r.Host != u.Host {
			t.Errorf("the page sees the host %s, the browser asked for %s", r.Host, u.Host)
		}
		w.Header().Set("Location", "/relative")
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(302)
		fmt.Fprint(w, r.RequestURI)
	}
	const odd = "/a//b/../c%2Fd?x=a;b&y=%zz"
	resp, body := ask(t, "GET", c.nameURL+"/", "X", "y")
	if body != "/" || resp.Header.Get("Location") != "/relative" || resp.Header.Get("ETag") != `"1"` {
		t.Errorf("%q, %v", body, resp.Header)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", odd, u.Host)
	raw, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(raw), odd) {
		t.Errorf("%s became %s, %v", odd, raw, err)
	}
}

func TestLinks(t *testing.T) {
	c := newCluster(t)
	const link = "http://10.0.0.2:9864/webhdfs/v1/a%20b?op=OPEN&offset=0"
	c.data = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		fmt.Fprint(w, "data of ", r.RequestURI)
	}
	c.name = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.RawQuery, "noredirect=true"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"Location":%q}`, link)
		case r.URL.Path == "/far":
			w.Header().Set("Location", "http://10.0.0.3:9864/")
			w.WriteHeader(307)
		default:
			w.Header().Set("Location", link)
			w.WriteHeader(307)
		}
	}
	resp, _ := ask(t, "GET", c.nameURL+"/")
	at := resp.Header.Get("Location")
	want, err := c.Open("10.0.0.2", 9864, 0)
	if err != nil {
		t.Fatal(err)
	}
	const rest = "/webhdfs/v1/a%20b?op=OPEN&offset=0"
	if at != want+rest {
		t.Fatalf("the redirect leads to %q, want %q", at, want+rest)
	}
	if _, body := ask(t, "GET", c.nameURL+"/x?op=OPEN&noredirect=true"); body != fmt.Sprintf(`{"Location":"%s"}`, strings.ReplaceAll(at, "&", `\u0026`)) {
		t.Errorf("the redirect in JSON is %s", body)
	}
	if resp, _ := ask(t, "GET", c.nameURL+"/.nucspark/to?url="+url.QueryEscape(link)); resp.StatusCode != 302 || resp.Header.Get("Location") != at {
		t.Errorf("the link leads to %q with status %d", resp.Header.Get("Location"), resp.StatusCode)
	}
	if resp, _ := ask(t, "GET", c.nameURL+"/far"); resp.Header.Get("Location") != "http://10.0.0.3:9864/" {
		t.Errorf("what is no page of the cluster became %q", resp.Header.Get("Location"))
	}
	for _, link := range []string{"http://10.0.0.3:9864/", "https://10.0.0.2:9864/", "file:///etc/passwd", "http://u:p@10.0.0.2:9864/", "http://10.0.0.2/", "http://10.0.0.2:x/", "", "//evil.example/"} {
		resp, body := ask(t, "GET", c.nameURL+"/.nucspark/to?url="+url.QueryEscape(link))
		if resp.StatusCode != 404 || resp.Header.Get("Location") != "" {
			t.Errorf("the link %q gave status %d: %s", link, resp.StatusCode, body)
		}
	}
	resp, body := ask(t, "GET", at, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", c.nameURL)
	if body != "data of "+rest || resp.Header.Get("Access-Control-Allow-Origin") != c.nameURL {
		t.Errorf("the other page says %q, allowed to %q", body, resp.Header.Get("Access-Control-Allow-Origin"))
	}
	if resp, _ := ask(t, "GET", at); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("every site may read the answer")
	}
}

func TestScript(t *testing.T) {
	c := newCluster(t)
	page := "<!-- " + strings.Repeat("licence ", 500) + "-->\n<HTML><Head lang='x'><title>t</title></Head><body>" + strings.Repeat("<p>text</p>", 5000)
	kind := "text/html;charset=utf-8"
	c.name = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		if r.URL.Path == "/part" {
			fmt.Fprint(w, "<tr><td>part</td></tr>")
			return
		}
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			fmt.Fprint(z, page)
			return
		}
		fmt.Fprint(w, page)
	}
	const tag = `<script src="/.nucspark/links.js"></script>`
	want := strings.Replace(page, "<Head lang='x'>", "<Head lang='x'>"+tag, 1)
	for _, encoding := range []string{"identity", "br, gzip"} {
		if _, body := ask(t, "GET", c.nameURL+"/", "Accept-Encoding", encoding); body != want {
			t.Errorf("%s: the page became %.5000q…", encoding, body)
		}
	}
	if _, body := ask(t, "GET", c.nameURL+"/part", "Accept-Encoding", "identity"); strings.Contains(body, tag) {
		t.Errorf("a part of a page became %q", body)
	}
	kind = "text/plain"
	if _, body := ask(t, "GET", c.nameURL+"/", "Accept-Encoding", "identity"); body != page {
		t.Error("what is no page was changed")
	}
	if resp, body := ask(t, "GET", c.nameURL+"/.nucspark/links.js"); resp.StatusCode != 200 || !strings.Contains(body, "/.nucspark/to?url=") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

// TestUnreachable: a page that cannot be reached is said to be so, and is there
// again when it can.
func TestUnreachable(t *testing.T) {
	c := newCluster(t)
	c.name = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") }
	c.down.Store(true)
	resp, body := ask(t, "GET", c.nameURL+"/")
	if resp.StatusCode != 502 || !strings.Contains(body, "namenode.example:9870") || !strings.Contains(body, "nobody &lt;there&gt;") || !strings.Contains(body, `http-equiv="refresh"`) {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if resp, body := ask(t, "POST", c.nameURL+"/"); resp.StatusCode != 502 || strings.Contains(body, "refresh") {
		t.Errorf("a POST gets status %d: %s", resp.StatusCode, body)
	}
	c.down.Store(false)
	if resp, body := ask(t, "GET", c.nameURL+"/"); resp.StatusCode != 200 || body != "here" {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}
