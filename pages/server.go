package pages

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Dialer connects to a page of the cluster, by the host and port that the links
// of other pages name.
type Dialer func(ctx context.Context, host string, port int) (net.Conn, error)

// Server shows pages. It is safe for concurrent use.
type Server struct {
	linked    func(host string, port int) bool
	transport *http.Transport

	mu     sync.Mutex
	fronts map[string]*front // by the page's host:port
	own    map[string]bool   // host:port of every front, by each name that is good
	closed bool
}

// front is one page on this computer.
type front struct {
	remote string // host:port
	port   int
	server *http.Server
}

func (f *front) base() string { return "http://127.0.0.1:" + strconv.Itoa(f.port) }

// New returns a server without any page. linked says which addresses a link may
// open; dial reaches them.
func New(dial Dialer, linked func(host string, port int) bool) *Server {
	return &Server{
		linked: linked,
		fronts: map[string]*front{},
		own:    map[string]bool{},
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, port, err := split(addr)
				if err != nil {
					return nil, err
				}
				return dial(ctx, host, port)
			},
			DisableCompression: true, // what the browser accepts is passed on
			// Each connection is a channel of one SSH connection. Jetty ends
			// idle ones after 30 s.
			MaxConnsPerHost: 8,
			IdleConnTimeout: 20 * time.Second,
		},
	}
}

func split(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, port, nil
}

// Open makes the page at a host and port of the cluster reachable and returns
// its URL on this computer, without a path. A page that is open already keeps
// its URL. local is the port to listen on; 0 takes the page's own, or any other
// when that is in use.
func (s *Server) Open(host string, port, local int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	remote := net.JoinHostPort(host, strconv.Itoa(port))
	if f := s.fronts[remote]; f != nil {
		return f.base(), nil
	}
	if s.closed {
		return "", http.ErrServerClosed
	}
	listen := func(port int) (net.Listener, error) {
		return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	var l net.Listener
	var err error
	if local > 0 {
		l, err = listen(local)
	} else {
		if port >= 1024 {
			l, err = listen(port)
		}
		if l == nil {
			l, err = listen(0)
		}
	}
	if err != nil {
		return "", err
	}
	f := &front{remote: remote, port: l.Addr().(*net.TCPAddr).Port}
	quiet := log.New(io.Discard, "", 0) // the browser is told
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", remote
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			if strings.Contains(r.In.Header.Get("Accept-Encoding"), "gzip") {
				r.Out.Header.Set("Accept-Encoding", "gzip") // which adapt can undo
			} else {
				r.Out.Header.Del("Accept-Encoding")
			}
		},
		Transport:      s.transport,
		FlushInterval:  -1,
		ErrorLog:       quiet,
		ModifyResponse: s.adapt,
		ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { unreachable(w, r, remote, err) },
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.nucspark/links.js", serveScript)
	mux.HandleFunc("GET /.nucspark/to", s.to)
	f.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if why := s.foreign(r, f.port); why != "" {
				refuse(w, why)
				return
			}
			if strings.HasPrefix(r.URL.Path, "/.nucspark/") {
				mux.ServeHTTP(w, r) // which would clean other paths
				return
			}
			proxy.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          quiet,
	}
	s.fronts[remote] = f
	for _, name := range names {
		s.own[net.JoinHostPort(name, strconv.Itoa(f.port))] = true
	}
	go f.server.Serve(l)
	return f.base(), nil
}

// Close ends all that the server does.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, f := range s.fronts {
		f.server.Close()
	}
	s.transport.CloseIdleConnections()
}

// local turns a URL that names a page of the cluster into one of this computer,
// "" when it names none. The page's port is opened if need be.
func (s *Server) local(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil {
		return "", nil
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "80")
	}
	host, port, err := split(addr)
	if err != nil || !s.linked(host, port) {
		return "", nil
	}
	base, err := s.Open(host, port, 0)
	if err != nil {
		return "", err
	}
	u.Scheme, u.Host = "", ""
	return base + u.String(), nil
}

// to redirects to the page that a link names.
func (s *Server) to(w http.ResponseWriter, r *http.Request) {
	link := r.URL.Query().Get("url")
	at, err := s.local(link)
	switch {
	case err != nil:
		say(w, http.StatusInternalServerError, "No port could be opened for this page", err.Error(), false)
	case at == "":
		say(w, http.StatusNotFound, "This link leads to no page of the cluster", link, false)
	default:
		w.Header().Set("Cache-Control", "no-store") // the port is that of this run
		http.Redirect(w, r, at, http.StatusFound)
	}
}
