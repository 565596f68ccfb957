package web

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// goodbyeTimeout is how long all goodbyes together may take, goodbyeAtOnce how
// many run at the same time.
const (
	goodbyeTimeout = 2 * time.Second
	goodbyeAtOnce  = 32
)

// goodbye answers POST /api/v1/goodbye: the peer whose key the connection
// proves is about to stop. The body is not read.
func (s *Server) goodbye(w http.ResponseWriter, _ *http.Request, c caller) {
	switch {
	case c.key.IsZero():
		failJSON(w, http.StatusForbidden, "a client certificate is needed")
	case !s.mesh.Goodbye(c.key):
		failJSON(w, http.StatusNotFound, "no node with this key is known")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// Goodbye tells nodes that this one is about to stop. tlsFor gives the client's
// configuration for a node's key: own certificate, that key pinned. It takes 2 s
// at most; a node that does not answer will find out by itself.
func Goodbye(ctx context.Context, tlsFor func(pin core.KeyHash) *tls.Config, nodes []core.Node) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	queue := make(chan core.Node)
	var workers sync.WaitGroup
	for range min(goodbyeAtOnce, len(nodes)) {
		workers.Go(func() {
			for n := range queue {
				sayGoodbye(ctx, tlsFor(n.Key), n.Endpoints[0])
			}
		})
	}
	for _, n := range nodes {
		if len(n.Endpoints) > 0 && n.State.Active() {
			queue <- n
		}
	}
	close(queue)
	workers.Wait()
}

func sayGoodbye(ctx context.Context, config *tls.Config, at core.Endpoint) {
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	target := url.URL{Scheme: "https", Host: at.String(), Path: "/api/v1/goodbye"}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), http.NoBody)
	if err != nil {
		return
	}
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close() // there is nothing in it
	}
}
