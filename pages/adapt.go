package pages

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
)

//go:embed links.js
var script []byte

func serveScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Write(script)
}

// redirectBound is the most that is read of a redirect in JSON, in bytes.
const redirectBound = 64 << 10

// headBound is how far into a page its head must begin, in bytes: a licence in
// a comment may come first.
const headBound = 8 << 10

var head = regexp.MustCompile(`(?i)<head(?:\s[^>]*)?>`)

// adapt leads what names another page to where it is on this computer.
func (s *Server) adapt(resp *http.Response) error {
	h := resp.Header
	if at, err := s.local(h.Get("Location")); err != nil {
		return err
	} else if at != "" {
		h.Set("Location", at)
	}
	// Datanodes let every origin read, for the namenode's page. Here it is that
	// page alone (see foreign).
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Del("Access-Control-Allow-Origin")
		h.Add("Vary", "Origin")
		if origin := resp.Request.Header.Get("Origin"); origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
		}
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case resp.Request.Method == http.MethodHead || resp.ContentLength == 0 || resp.StatusCode == http.StatusNotModified:
		return nil // nothing to read
	case kind == "text/html":
		return insert(resp)
	case kind == "application/json" && strings.Contains(resp.Request.URL.RawQuery, "noredirect=true"):
		return s.redirect(resp)
	}
	return nil
}

// plain undoes the compression of an answer's body.
func plain(resp *http.Response) (io.Reader, error) {
	var body io.Reader = resp.Body
	switch encoding := resp.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("the page's compression is damaged: %w", err)
		}
		body = z
	default:
		return nil, fmt.Errorf("the page came as %q, which was not asked for", encoding)
	}
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.Header.Del("ETag") // of other bytes
	resp.ContentLength = -1
	return body, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// insert puts the script at the beginning of a page's head. What has no head is
// part of a page.
func insert(resp *http.Response) error {
	body, err := plain(resp)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(body, headBound)
	begin, err := r.Peek(headBound)
	if err != nil && err != io.EOF {
		return err
	}
	var first []byte
	if at := head.FindIndex(begin); at != nil {
		first = append(bytes.Clone(begin[:at[1]]), `<script src="/.nucspark/links.js"></script>`...)
		if _, err := r.Discard(at[1]); err != nil {
			return err
		}
	}
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(first), r), resp.Body}
	return nil
}

// redirect adapts {"Location": URL}.
func (s *Server) redirect(resp *http.Response) error {
	body, err := plain(resp)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(body, redirectBound))
	if err != nil {
		return err
	}
	var v struct{ Location string }
	if json.Unmarshal(text, &v) == nil && v.Location != "" {
		at, err := s.local(v.Location)
		if err != nil {
			return err
		}
		if at != "" {
			if text, err = json.Marshal(map[string]string{"Location": at}); err != nil {
				return err
			}
		}
	}
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(text), body), resp.Body}
	return nil
}

// refuse answers a request that is not the user's own.
func refuse(w http.ResponseWriter, why string) {
	say(w, http.StatusForbidden, "nucspark refused this", why+". To see the page, type its address, http://127.0.0.1 and the port, into the browser.", false)
}

// unreachable answers for a page that cannot be shown now.
func unreachable(w http.ResponseWriter, r *http.Request, remote string, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for it any more
	}
	say(w, http.StatusBadGateway, "nucspark cannot reach "+remote, err.Error(), r.Method == http.MethodGet)
}

// again is how long a page waits before it tries to load itself again, in
// seconds.
const again = 3

// say writes a page of the server's own.
func say(w http.ResponseWriter, status int, title, text string, retry bool) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	refresh, note := "", ""
	if retry {
		refresh = fmt.Sprintf(`<meta http-equiv="refresh" content="%d">`, again)
		note = fmt.Sprintf("<p>This page tries again every %d seconds. <code>nucspark status</code> says what does not work.</p>\n", again)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">%s<title>nucspark</title>\n"+
		"<style>body { font: 16px/1.5 sans-serif; max-width: 45em; margin: 3em auto; padding: 0 1em }</style></head>\n"+
		"<body><h1>%s</h1>\n<p>%s</p>\n%s</body></html>\n", refresh, html.EscapeString(title), html.EscapeString(text), note)
}
