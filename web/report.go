package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// Memory for reports: bodies that are being read, at most maxBodies of
// anonymous callers and as many of peers, of wire.MaxBody each; and bodies that
// are inflated, decoded and stored, maxDecoders at once: a report takes many
// times what its body does.
const (
	maxBodies      = 8
	maxBodiesPerIP = 2
	maxDecoders    = 2
)

// maxRatio is how far a body may inflate once it is larger than freeInflated: a
// report of 2,000 nodes shrinks to about a tenth.
const (
	maxRatio     = 50
	freeInflated = 64 << 10
)

var (
	errTooLarge = errors.New("too large")
	errEncoding = errors.New("content encoding: want gzip or none")
)

// intake is the room for reports that are on their way in.
type intake struct {
	anonymous, peers *gate
	decoders         chan struct{}
}

func newIntake() *intake {
	return &intake{newGate(maxBodies), newGate(maxBodies), make(chan struct{}, maxDecoders)}
}

func (i *intake) enter(c caller) (leave func(), ok bool) {
	switch {
	case c.verified:
		return i.peers.enter(c.key, 1)
	case c.ip.IsLoopback():
		return i.anonymous.enter(c.ip, maxBodies)
	default:
		return i.anonymous.enter(network(c.ip), maxBodiesPerIP)
	}
}

// report answers POST /report: the sender's view is stored, as verified only
// when its key proved who it is.
func (s *Server) report(w http.ResponseWriter, r *http.Request, c caller) {
	if r.ContentLength > wire.MaxBody {
		refuseReport(w, errTooLarge)
		return
	}
	leave, ok := s.intake.enter(c)
	if !ok {
		retryLater(w, http.StatusServiceUnavailable, time.Second, "there is no room for another report at the moment")
		return
	}
	defer leave()
	body, err := readBody(w, r, wire.MaxBody, s.limits.BodyTimeout)
	if err != nil {
		refuseReport(w, err)
		return
	}
	if err := acquire(r.Context(), s.intake.decoders); err != nil {
		return // the caller has gone
	}
	defer func() { <-s.intake.decoders }()
	rep, err := decodeReport(body, r.Header.Get("Content-Encoding"))
	if err != nil {
		refuseReport(w, err)
		return
	}
	view := rep.Core(c.from(), c.verified, time.Now())
	if c.verified && view.Node != c.peer.ID {
		http.Error(w, "Forbidden\nnode_id: a peer reports only for itself", http.StatusForbidden)
		return
	}
	s.keepReport(w, r, view)
}

func (s *Server) keepReport(w http.ResponseWriter, r *http.Request, rep core.Report) {
	if err := s.store.SaveReport(r.Context(), rep); err != nil {
		s.log.Warn("report not stored", "node", rep.Node, "error", err)
		http.Error(w, "Service Unavailable\nthe report could not be stored", http.StatusServiceUnavailable)
		return
	}
	writeBody(w, http.StatusOK, "application/json",
		[]byte(`{"message":"Network snapshot received","status":"success"}`))
}

// refuseReport begins with the words of the original and then says why.
func refuseReport(w http.ResponseWriter, err error) {
	status, words := http.StatusBadRequest, "Bad request"
	switch {
	case errors.Is(err, errTooLarge):
		status, words = http.StatusRequestEntityTooLarge, "Request body too large"
		w.Header().Set("Connection", "close")
	case errors.Is(err, errEncoding):
		status, words = http.StatusUnsupportedMediaType, "Unsupported media type"
	}
	http.Error(w, words+"\n"+core.CleanText(err.Error(), 256), status)
}

func decodeReport(body []byte, encoding string) (wire.Report, error) {
	plain, err := inflate(body, encoding)
	if err != nil {
		return wire.Report{}, err
	}
	return wire.DecodeReport(plain)
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readBody reads at most limit bytes within timeout; errTooLarge when there
// are more.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration) ([]byte, error) {
	// An error means a connection without deadlines, as in a test's recorder.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, nil
}

// inflate undoes the content encoding within wire.MaxInflated and maxRatio.
func inflate(body []byte, encoding string) ([]byte, error) {
	switch encoding {
	case "", "identity":
		return body, nil
	case "gzip":
	default:
		return nil, errEncoding
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("inflate body: %w", err)
	}
	limit := min(wire.MaxInflated, max(freeInflated, maxRatio*len(body)))
	plain, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("inflate body: %w", err)
	}
	if len(plain) > limit {
		return nil, errTooLarge
	}
	return plain, nil
}
