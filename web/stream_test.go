package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// recorder is a response that can be read while it is written, and made to
// stand still like a browser that takes nothing.
type recorder struct {
	header http.Header
	status int
	still  chan struct{} // nil: never stands still; else writes after the first wait for it

	mu   sync.Mutex // guards body
	body bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header              { return r.header }
func (r *recorder) WriteHeader(status int)           { r.status = status }
func (r *recorder) Flush()                           {}
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func (r *recorder) Write(b []byte) (int, error) {
	if r.still != nil && r.text() != "" {
		<-r.still
	}
	if r.status == 0 {
		r.status = http.StatusOK // as net/http does
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(b)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.String()
}

// open follows the stream until the returned func is called.
func open(s *Server, rec *recorder) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://localhost/api/v1/stream", nil)
	req.RemoteAddr = "192.0.2.1:1000"
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Handler().ServeHTTP(rec, req)
	}()
	return func() { cancel(); <-ended }
}

func TestStreamShapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := &core.Hub{}
		f := twoNodes(testSelf.ID)
		rec := newRecorder()
		end := open(newServer(f, hub), rec)
		synctest.Wait()
		result := core.Result{Job: core.Job{Probe: "https", Target: core.Target{Node: nodeID(1)}}, Outcome: core.OutcomeSuccess, RTT: time.Millisecond}
		result.Documents = []core.Document{{Name: "hops", ID: "v2", JSON: []byte(`{}`), Changed: true}, {Name: "same", ID: "v1", JSON: []byte(`{}`)}}
		for _, payload := range []any{f.nodes[0], f.events[0], []core.Result{result, {}}, []core.Result{{}}, f.plugins[0], nil} {
			hub.Publish(core.Change{Kind: "other", Payload: payload})
		}
		synctest.Wait()
		end()
		var names []string
		for line := range strings.Lines(rec.text()) {
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				names = append(names, strings.TrimSpace(name))
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok && !json.Valid([]byte(data)) {
				t.Errorf("not JSON: %s", data)
			}
		}
		if got := strings.Join(names, " "); got != "hello node event paths document plugin other" {
			t.Errorf("got %s", got)
		}
		if !strings.Contains(rec.text(), `"source":"`+testSelf.ID.String()+`"`) || !strings.Contains(rec.text(), `"rtt_us":1000`) {
			t.Errorf("paths: got %s", rec.text())
		}
		if rec.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("got %v", rec.header)
		}
	})
}

// TestSlowBrowserLosesTheOldest: it is told how many, sees the newest, and
// holds up nobody.
func TestSlowBrowserLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := &core.Hub{}
		s := newServer(twoNodes(testSelf.ID), hub)
		slow, quick := newRecorder(), newRecorder()
		slow.still = make(chan struct{})
		endSlow, endQuick := open(s, slow), open(s, quick)
		synctest.Wait()
		const changes = 10 * streamBuffer
		for i := range changes {
			hub.Publish(core.Change{Kind: ChangeEvent, Payload: core.Event{ID: uint64(i + 1)}})
			synctest.Wait()
		}
		if n := strings.Count(quick.text(), "event: event\n"); n != changes {
			t.Errorf("quick browser: got %d, want all %d", n, changes)
		}
		close(slow.still)
		synctest.Wait()
		got, lost := strings.Count(slow.text(), "event: event\n"), 0
		for line := range strings.Lines(slow.text()) {
			var dropped struct{ Count int }
			if data, ok := strings.CutPrefix(line, "data: "); ok && strings.Contains(data, "count") {
				if err := json.Unmarshal([]byte(data), &dropped); err != nil {
					t.Fatal(err)
				}
				lost += dropped.Count
			}
		}
		if lost == 0 || got+lost != changes {
			t.Errorf("slow browser: got %d, told of %d lost, want %d in all", got, lost, changes)
		}
		if !strings.Contains(slow.text(), `"id":2560,`) {
			t.Error("slow browser: the newest is missing")
		}
		endSlow()
		endQuick()
	})
}

func TestStreamsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(twoNodes(testSelf.ID), &core.Hub{})
		var ends []func()
		for range s.limits.StreamsPerIP {
			ends = append(ends, open(s, newRecorder()))
		}
		synctest.Wait()
		over := newRecorder()
		open(s, over)()
		if over.status != http.StatusServiceUnavailable || over.header.Get("Retry-After") == "" || !strings.Contains(over.text(), "no room for another stream") {
			t.Errorf("one too many: got %d %s", over.status, over.text())
		}
		for _, end := range ends {
			end()
		}
		again := newRecorder()
		end := open(s, again)
		synctest.Wait()
		end()
		if again.status != http.StatusOK {
			t.Errorf("after the others ended: got %d", again.status)
		}
	})
}

// TestStreamOverTLS: a real connection; it ends with the server.
func TestStreamOverTLS(t *testing.T) {
	h := start(t, twoNodes(testSelf.ID))
	res, err := client(t).Get("https://" + h.addr + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") { // hello
	}
	h.hub.Publish(core.Change{Kind: ChangeNode, Payload: h.nodes[0]})
	for lines.Scan() && lines.Text() != "event: node" {
	}
	if lines.Text() != "event: node" {
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	if err := h.stop(); err != nil {
		t.Errorf("stop with a stream open: %v", err)
	}
}
