package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

func TestPathMTU(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Listener = newLimitListener(s.Listener, 10, 10)
	TellPathMTU(s.Config)
	s.StartTLS()
	defer s.Close()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	for ask, want := range map[string]string{"": "", "?": strconv.Itoa(min(lo.MTU, 65535))} {
		r, err := http.NewRequest(http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ask != "" {
			r.Header.Set(headerPathMTU, ask)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get(headerPathMTU); got != want {
			t.Errorf("asked with %q: got a path MTU of %q, want %q", ask, got, want)
		}
	}
}
