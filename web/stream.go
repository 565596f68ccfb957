package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// The live stream. A browser that takes nothing for writeGrace is cut off and
// comes back by itself; until then it can fall streamBuffer changes behind.
const (
	heartbeat    = 15 * time.Second
	writeGrace   = 10 * time.Second
	streamBuffer = 256
	streamBatch  = 64
)

// stream answers GET /api/v1/stream with server-sent events (WHATWG HTML,
// section 9.2).
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c caller) {
	if query(r).refused(w) {
		return
	}
	each := s.limits.StreamsPerIP
	if c.ip.IsLoopback() || !c.ip.IsValid() {
		each = s.limits.Streams
	}
	leave, ok := s.streams.enter(network(c.ip), each)
	if !ok {
		retryLater(w, http.StatusServiceUnavailable, 5*time.Second, "there is no room for another stream at the moment")
		return
	}
	defer leave()
	changes, cancel := s.hub.Subscribe(streamBuffer)
	defer cancel()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &eventWriter{w: w, rc: http.NewResponseController(w), self: s.self}
	s.follow(r, out, changes)
}

// follow sends changes until the caller, the server or the hub ends it.
func (s *Server) follow(r *http.Request, out *eventWriter, changes <-chan core.Change) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	out.event("hello", map[string]any{"at": time.Now().UTC(), "id": s.self.ID, "boot_id": s.self.BootID})
	for out.flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-s.stopping:
			return
		case <-tick.C:
			out.comment("heartbeat")
		case c, open := <-changes:
			if !open {
				return
			}
			out.change(c)
			out.drain(changes)
		}
	}
}

// eventWriter writes server-sent events and remembers the first error.
type eventWriter struct {
	w    io.Writer
	rc   *http.ResponseController
	self core.Self
	err  error
}

// drain adds what is there already, so that a burst costs one flush.
func (e *eventWriter) drain(changes <-chan core.Change) {
	for range streamBatch {
		select {
		case c, open := <-changes:
			if !open {
				return
			}
			e.change(c)
		default:
			return
		}
	}
}

// change writes c in the shape that its payload has. What has none is only
// named: whoever cares reads it again.
func (e *eventWriter) change(c core.Change) {
	switch p := c.Payload.(type) {
	case core.Node:
		e.event("node", newNodeJSON(p))
	case core.Event:
		e.event("event", wire.NewEvent(p))
	case []core.Result:
		e.paths(p)
	case core.PluginStatus:
		e.event("plugin", newPluginJSON(p))
	case int:
		e.event(c.Kind, map[string]int{"count": p})
	default:
		e.event(c.Kind, struct{}{})
	}
}

// pathsJSON are cells of self's row.
type pathsJSON struct {
	Source core.NodeID `json:"source"`
	Paths  []wire.Path `json:"paths"`
}

// changedJSON is a document that is not as it was: it is to be read again.
type changedJSON struct {
	Node  core.NodeID `json:"node"`
	Probe string      `json:"probe"`
	At    time.Time   `json:"at"`
	Name  string      `json:"name"`
	ID    string      `json:"id"`
}

func (e *eventWriter) paths(results []core.Result) {
	out := pathsJSON{Source: e.self.ID}
	for _, r := range results {
		if r.Job.Target.Node.IsZero() {
			continue
		}
		out.Paths = append(out.Paths, wire.NewPath(core.PathStatus{
			Destination: r.Job.Target.Node, Probe: r.Job.Probe, Outcome: r.Outcome, Reason: r.Reason,
			Message: r.Message, RTT: r.RTT, Metrics: r.Metrics, At: r.At(),
		}))
	}
	if len(out.Paths) > 0 {
		e.event("paths", out)
	}
	for _, r := range results {
		e.documents(r)
	}
}

// documents names those that came with r and differ from the ones before.
func (e *eventWriter) documents(r core.Result) {
	if r.Job.Target.Node.IsZero() {
		return
	}
	for _, d := range r.Documents {
		if d.Changed {
			e.event("document", changedJSON{r.Job.Target.Node, r.Job.Probe, r.At().UTC(), d.Name, d.ID})
		}
	}
}

func (e *eventWriter) event(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte("{}")
	}
	e.write("event: %s\ndata: %s\n\n", core.CleanText(name, 64), data)
}

func (e *eventWriter) comment(text string) { e.write(": %s\n\n", text) }

func (e *eventWriter) write(format string, args ...any) {
	if e.err != nil {
		return
	}
	// Each write has its own time: the server's write timeout is for answers
	// that end. It must outlast the pause until the next heartbeat.
	_ = e.rc.SetWriteDeadline(time.Now().Add(heartbeat + writeGrace))
	_, e.err = fmt.Fprintf(e.w, format, args...)
}

func (e *eventWriter) flush() error {
	if e.err == nil {
		e.err = e.rc.Flush()
	}
	return e.err
}
