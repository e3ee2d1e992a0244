package pages

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// names are those of this computer that a browser may ask for.
var names = []string{"127.0.0.1", "localhost"}

// foreign says why a request is not the user's own, "" when it is. Browsers say
// in Sec-Fetch-Site where a request comes from (W3C, Fetch Metadata Request
// Headers), and in Origin where what a script asks for, or sends, comes from;
// ports of one name are one site to them. Programs that are no browser send
// neither.
func (s *Server) foreign(r *http.Request, port int) string {
	good := func(name string) bool { return r.Host == net.JoinHostPort(name, strconv.Itoa(port)) }
	if !slices.ContainsFunc(names, good) {
		return "this address is for 127.0.0.1 only, and the request was for " + strconv.Quote(r.Host)
	}
	origin := r.Header.Get("Origin")
	if origin != "" && !s.isOwn(origin) {
		return "the request came from " + strconv.Quote(origin)
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "none", "same-origin": // "none": typed, or from a bookmark
		return ""
	case "same-site":
		// Another port. It is one of ours, or a link that somebody followed.
		if origin != "" || r.Header.Get("Sec-Fetch-Mode") == "navigate" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			return ""
		}
		return "the request came from another program of this computer"
	}
	return "the request came from another web site"
}

// isOwn says whether an origin is one of this server's pages.
func (s *Server) isOwn(origin string) bool {
	at, ok := strings.CutPrefix(origin, "http://")
	s.mu.Lock()
	defer s.mu.Unlock()
	return ok && s.own[at]
}
