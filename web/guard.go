package web

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// handler answers a request of c.
type handler func(w http.ResponseWriter, r *http.Request, c caller)

// guard lets a request through to the route's handler when its host and rate
// allow it.
func (s *Server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rt.browser && !s.hostAllowed(r.Host) {
			failJSON(w, http.StatusMisdirectedRequest,
				"this node does not go by that name; use an address, or add the name to its allowed hosts")
			return
		}
		if r.ProtoMajor == 1 && r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			// Otherwise net/http waits for the body, which nobody reads, before it
			// sends the answer, and the answer's memory with it.
			w.Header().Set("Connection", "close")
		}
		c := s.caller(r)
		if wait := s.throttle.wait(rt.class, r.Method, c); wait > 0 {
			retryLater(w, http.StatusTooManyRequests, wait, "too many requests")
			return
		}
		rt.handler(w, r, c)
	})
}

// hostAllowed tells that a browser may use host. Names that are not ours are
// refused because of DNS rebinding: a page of a foreign name whose address
// becomes ours could read everything. That cannot be done with an address, and
// a published port may be reached by addresses that this host does not know.
func (s *Server) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if host == "localhost" || host == strings.ToLower(s.self.FQDN) || host == s.self.Advertise.Host {
		return host != ""
	}
	return s.allowedHosts != nil && slices.ContainsFunc(s.allowedHosts(), func(name string) bool {
		return strings.EqualFold(name, host)
	})
}

// secure sets the headers that hold for every answer and keeps a panic from
// being anything but one failed request.
func (s *Server) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyData)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		defer s.caught(w, r)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) caught(w http.ResponseWriter, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.log.Error("handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
		failJSON(w, http.StatusInternalServerError, "this request met a fault in the node; its log tells more")
	}
}

// retryLater answers that the caller must wait, and why.
func retryLater(w http.ResponseWriter, status int, wait time.Duration, why string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	failJSON(w, status, why+"; try again later")
}
