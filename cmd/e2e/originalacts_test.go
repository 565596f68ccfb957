package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// listenPrivileged listens on port 443 of an address of the loopback network
// that nobody else uses. It skips where that is not allowed.
func listenPrivileged(t *testing.T) net.Listener {
	t.Helper()
	at := net.JoinHostPort(loopback(), strconv.Itoa(originalPort))
	l, err := net.Listen("tcp", at)
	if err == nil {
		return l
	}
	require.Missing(t, "root", "the original is always on port %d: listen on %s: %v", originalPort, at, err)
	return nil
}

// loopback is an address of the loopback network, by chance: packages are
// tested side by side.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(256), 1+rand.IntN(250))
}

// poll asks one peer for its list and believes it, as the original does. It
// dials the name, and the address only when there is no name.
func (o *original) poll(e originalEntry) error {
	host := e.FQDN
	if host == "" || host == "unknown" {
		host = e.IP
	}
	var info originalInfo
	status, body, err := o.request(http.MethodGet, fmt.Sprintf("https://%s:%d/nodeinfo", host, originalPort), nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: status %d", host, status)
	}
	if err == nil {
		err = json.Unmarshal(body, &info)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		e.IsActive = false
		o.nodes[e.ID] = e
		return err
	}
	now := time.Now()
	o.nodes[info.ID] = originalEntry{info.ID, info.FQDN, info.IP, e.DiscoveredBy, now, now, true}
	e.LastSeen, e.IsActive = now, true
	o.nodes[e.ID] = e // its twin, when it was a seed's placeholder
	o.believeLocked(info.Nodes, info.ID)
	return nil
}

// request is one of its own requests.
func (o *original) request(method, url string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(string(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "NodeProbe/1.0")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// run polls its peers until the test ends. The true one takes one by chance
// every 30 s.
func (o *original) run() {
	ctx, cancel := context.WithCancel(o.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, e := range o.list() {
				if e.IsActive && e.ID != o.id {
					_ = o.poll(e) // what it knows afterwards tells
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	o.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// knows tells that it holds the nodes under their true ids, active.
func (o *original) knows(ids ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if e, ok := o.nodes[id]; !ok || !e.IsActive {
			return fmt.Errorf("original %s does not know %s: %+v", o.fqdn, id, o.nodes)
		}
	}
	return nil
}

// wait counts a request and keeps it while the gate is closed.
func (o *original) wait(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if o.gate == nil {
		return
	}
	gate := o.gate
	o.waiting++
	o.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
	}
	o.mu.Lock()
	o.waiting--
}

// hold lets answers wait until release.
func (o *original) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gate = make(chan struct{})
}

func (o *original) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gate != nil {
		close(o.gate)
		o.gate = nil
	}
}

// polled is how often its list was asked for, and how many of those wait.
func (o *original) polled() (asked, waiting int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, o.waiting
}

// list is in random order, as the order of a map is, and never null.
func (o *original) list() []originalEntry {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := []originalEntry{}
	for _, e := range o.nodes {
		list = append(list, e)
	}
	return list
}

// add puts an entry into its list, as a seed under the name it makes up for it.
func (o *original) add(e originalEntry) {
	if e.DiscoveredBy == "seed" {
		e.ID = fmt.Sprintf("seed-%s-%s", e.FQDN, e.IP)
	}
	if e.FirstSeen.IsZero() {
		e.FirstSeen = time.Now()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes[e.ID] = e
}

func (o *original) believeLocked(list []originalEntry, from string) {
	for _, e := range list {
		if e.ID == o.id || strings.HasPrefix(e.ID, "seed-") && e.FQDN == "" {
			continue
		}
		if have, ok := o.nodes[e.ID]; ok && have.FQDN != "" {
			have.LastSeen, have.IsActive = e.LastSeen, e.IsActive
			e = have
		} else {
			e.DiscoveredBy = from
		}
		o.nodes[e.ID] = e
	}
}
