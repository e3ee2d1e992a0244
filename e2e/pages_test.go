package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// letGo is the file in HDFS that ends the application of hold.py.
const letGo = "/e2e-go"

// hold starts an application that shows its pages until it is let go, and
// returns the name of its pod. One executor is enough for it, so that another
// application runs beside it.
func (b *bench) hold(t *testing.T) string {
	t.Helper()
	out := b.ok(t, "submit", "-f", b.inventory(), "--detach", "--conf", "spark.cores.max=2",
		"--conf", "spark.executor.extraJavaOptions=-XX:+PrintCommandLineFlags", // something on standard output
		"testdata/hold.py", "hdfs://"+letGo)
	pod := regexp.MustCompile(`app-[a-z0-9-]+`).FindString(out.stdout)
	if pod == "" {
		t.Fatalf("--detach does not name the driver:\n%s", out)
	}
	return pod
}

// testPages clicks through the pages of Spark and HDFS in a browser, as they
// come through nucspark open.
func (b *bench) testPages(t *testing.T) {
	br := newBrowser(t)
	b.sparkPages(t, br)
	b.hdfsPages(t, br)
	b.historyPages(t, br)
	br.clean()
}

// sparkPages goes from the master to a worker and back, then to a running
// application, its executors, and what one of them wrote.
func (b *bench) sparkPages(t *testing.T, br *browser) {
	eventually(t, 5*time.Minute, "the application shows its page", func() bool {
		return strings.Contains(b.ok(t, "open", "-f", b.inventory()).stdout, "e2e hold")
	})
	spark := b.opened(t, "spark")
	br.open(spark, "Spark Master")
	br.see(`document.querySelector("#running-app-table, .aggregated-activeApps").innerText.includes("e2e hold")`)
	br.picture("spark")
	br.follow(`a[href*=":8081"]`, "Spark Worker")
	br.see(`location.port !== ` + fmt.Sprintf("%q", portOf(spark)))
	br.follow(`a[href*="spark-master"]`, "Spark Master")
	br.see(`location.href.startsWith(` + fmt.Sprintf("%q", spark) + `)`)
	br.follow(`a[href*=":4040"]`, "e2e hold - Spark Jobs")
	br.follow(`a[href*="/executors/"]`, "e2e hold - Executors")
	br.follow(`#active-executors-table a[href*="stdout"]`, "stdout log page for app-")
	br.see(`document.querySelector(".log-content").innerText.includes("-XX:")`)
}

// hdfsPages goes from the namenode to a datanode, and to a file.
func (b *bench) hdfsPages(t *testing.T, br *browser) {
	f := b.inventory()
	text := strings.Repeat("A line of the file that the browser shows.\n", 1000)
	if out := execute(t, 10*time.Minute, []byte(text), b.binary, "hdfs", "put", "-f", f, "--force", "-", "/e2e-pages/file.txt"); out.code != 0 {
		t.Fatalf("put: %s", out)
	}
	hdfs := b.opened(t, "hdfs")
	br.open(hdfs, "Namenode information")
	br.see(`document.querySelector("#tab-overview").innerText.includes("Summary")`) // it comes late, and to the front
	br.until(`a[href="#tab-datanode"]`, `document.querySelectorAll('#table-datanodes a[href*=":9864"]').length === 2`)
	br.picture("hdfs")
	br.follow(`#table-datanodes a[href*=":9864"]`, "DataNode Information")
	br.see(`document.body.innerText.includes("namenode-0.namenode")`)
	br.open(hdfs+"explorer.html#/e2e-pages", "Browsing HDFS")
	br.until(`tr[inode-path="file.txt"] a.explorer-browse-links`, `document.querySelector("#file-info").classList.contains("in")`)
	br.until(`#file-info-preview-head`, `document.querySelector("#file-info-preview-body").value.startsWith("A line of the file that the browser shows.")`)
	br.picture("file")
	br.see(`document.querySelector("#file-info-download").href.includes("op=OPEN")`)
	if got := fetch(t, hdfs+"webhdfs/v1/e2e-pages/file.txt?op=OPEN"); got != text {
		t.Errorf("the download has %d other bytes than the file of %d", len(got), len(text))
	}

	b.ok(t, "hdfs", "rm", "-f", f, "-r", "/e2e-pages")
}

// historyPages goes to an application that has ended, and to one of its stages.
func (b *bench) historyPages(t *testing.T, br *browser) {
	history := b.opened(t, "history")
	br.open(history, "History Server")
	br.follow(`a[href*="/history/`+b.application(t, "wordcount")+`/"]`, "wordcount - Spark Jobs")
	br.follow(`a[href*="/stages/"]`, "wordcount - Stages")
	br.follow(`a.name-link[href*="/stage/"]`, "wordcount - Details for Stage")
	br.see(`document.querySelectorAll("#active-tasks-table tbody tr").length >= 1 && !document.querySelector(".blockUI")`) // which says that it loads
	br.picture("history")
}

func portOf(url string) string { return strings.Trim(url[strings.LastIndex(url, ":"):], ":/") }

// testDetached: an application that nobody followed ends well, once it is let go.
func (b *bench) testDetached(t *testing.T) {
	if b.held == "" {
		t.Fatal("no application was started")
	}
	f := b.inventory()
	if out := execute(t, 10*time.Minute, []byte("go\n"), b.binary, "hdfs", "put", "-f", f, "--force", "-", letGo); out.code != 0 {
		t.Fatalf("put: %s", out)
	}
	b.ok(t, "kubectl", "-f", f, "--", "-n", "nucspark", "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s", "pod/"+b.held)
	b.ok(t, "hdfs", "rm", "-f", f, letGo)
}

// history asks the history server's REST API.
func (b *bench) history(t *testing.T, path string, v any) {
	t.Helper()
	out := b.ok(t, "kubectl", "-f", b.inventory(), "--", "get", "--raw",
		"/api/v1/namespaces/nucspark/pods/spark-history-0:18080/proxy/api/v1/applications"+path)
	if err := json.Unmarshal([]byte(out.stdout), v); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// application is the id of the last application of that name that has ended, ""
// when the history server shows none.
func (b *bench) application(t *testing.T, name string) string {
	t.Helper()
	var list []struct{ ID, Name string }
	b.history(t, "?status=completed", &list)
	for _, a := range list { // most recent first
		if a.Name == name {
			return a.ID
		}
	}
	return ""
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", url, resp.StatusCode, err)
	}
	return string(body)
}
