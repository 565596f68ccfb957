package delivery

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outbox is the store's outbox, in memory.
type outbox struct {
	mu      sync.Mutex
	recs    []core.Record
	seq     uint64
	cursors map[string]uint64
	wants   map[string][]core.RecordKind
	broken  error
}

func newOutbox() *outbox {
	return &outbox{cursors: map[string]uint64{}, wants: map[string][]core.RecordKind{}}
}

// add appends n records of 100 bytes.
func (o *outbox) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range n {
		o.seq += 2 // sequence numbers have gaps
		payload := binary.BigEndian.AppendUint64(make([]byte, 0, 100), o.seq)
		o.recs = append(o.recs, core.Record{Seq: o.seq, Kind: core.RecordResult, At: time.Now(), Payload: payload[:100]})
	}
}

func (o *outbox) AddReporter(_ context.Context, name string, wants []core.RecordKind) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.cursors[name]; !ok {
		o.cursors[name] = o.seq
	}
	o.wants[name] = wants
	return o.broken
}

func (o *outbox) RemoveReporter(_ context.Context, name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.cursors, name)
	return nil
}

func (o *outbox) Pending(_ context.Context, name string, maxRecords, maxBytes int) ([]core.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return nil, o.broken
	}
	var out []core.Record
	for _, r := range o.afterLocked(o.cursors[name]) {
		maxBytes -= len(r.Payload)
		if len(out) == maxRecords || len(out) > 0 && maxBytes < 0 {
			break
		}
		out = append(out, r)
	}
	return out, nil
}

// afterLocked is the records after a sequence number.
func (o *outbox) afterLocked(seq uint64) []core.Record {
	from, _ := slices.BinarySearchFunc(o.recs, seq+1, func(r core.Record, seq uint64) int {
		return int(int64(r.Seq) - int64(seq))
	})
	return o.recs[from:]
}

func (o *outbox) Acknowledge(_ context.Context, name string, through uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cursors[name] = max(o.cursors[name], through)
	return nil
}

func (o *outbox) TrimOutbox(_ context.Context, maxBytes int64, maxAge time.Duration) ([]core.Gap, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	drop := 0
	for drop < len(o.recs) && (int64(100*(len(o.recs)-drop)) > maxBytes || time.Since(o.recs[drop].At) > maxAge) {
		drop++
	}
	if drop == 0 {
		return nil, nil
	}
	var gaps []core.Gap
	for name, cursor := range o.cursors {
		g := core.Gap{Reporter: name}
		for _, r := range o.recs[:drop] {
			if r.Seq > cursor {
				if g.Count++; g.Count == 1 {
					g.From = r.Seq
				}
				g.To = r.Seq
			}
		}
		if g.Count > 0 {
			gaps = append(gaps, g)
			o.cursors[name] = g.To
		}
	}
	o.recs = slices.Clone(o.recs[drop:])
	return gaps, nil
}

func (o *outbox) Backlog(context.Context) (map[string]int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := map[string]int{}
	for name, cursor := range o.cursors {
		n[name] = len(o.afterLocked(cursor))
	}
	return n, nil
}

// sink is a receiver: deliver may be replaced while it runs.
type sink struct {
	mu       sync.Mutex
	deliver  func(ctx context.Context, recs []core.Record) (core.Receipt, error)
	attempts int
	got      []uint64 // sequence numbers, as they came
	at       []time.Time
	payloads []string
}

func (s *sink) Deliver(ctx context.Context, _ string, recs []core.Record) (core.Receipt, error) {
	s.mu.Lock()
	s.attempts++
	s.at = append(s.at, time.Now())
	deliver := s.deliver
	s.mu.Unlock()
	if deliver == nil {
		return s.take(recs), nil
	}
	return deliver(ctx, recs)
}

func (s *sink) set(f func(ctx context.Context, recs []core.Record) (core.Receipt, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver = f
}

// take keeps recs and acknowledges them.
func (s *sink) take(recs []core.Record) core.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		s.got = append(s.got, r.Seq)
		s.payloads = append(s.payloads, string(r.Payload))
	}
	if len(recs) == 0 {
		return core.Receipt{}
	}
	return core.Receipt{Through: recs[len(recs)-1].Seq}
}

func (s *sink) seen() (got []uint64, attempts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got), s.attempts
}

// times is when there were attempts.
func (s *sink) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at)
}

// distinct is got without what came again; it fails when something came for the
// first time after its successor.
func (s *sink) distinct(t *testing.T) []uint64 {
	t.Helper()
	got, _ := s.seen()
	var out []uint64
	for _, seq := range got {
		switch {
		case len(out) == 0 || seq > out[len(out)-1]:
			out = append(out, seq)
		case !slices.Contains(out[max(0, len(out)-maxRecords):], seq):
			t.Fatalf("record %d came for the first time after %d", seq, out[len(out)-1])
		}
	}
	return out
}

// notes collects what the journal is told.
type notes struct {
	mu  sync.Mutex
	all []core.Event
}

func (n *notes) Note(kind core.EventKind, subject, message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, core.Event{Kind: kind, Subject: subject, Message: message})
}

func (n *notes) list() []core.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

// bench is a Delivery under test; change what it needs before start.
type bench struct {
	*Delivery
	o      Options
	outbox *outbox
	sink   *sink
	notes  *notes
	stop   context.CancelFunc
	ended  chan struct{}
}

func newBench() *bench {
	b := &bench{outbox: newOutbox(), sink: &sink{}, notes: &notes{}, ended: make(chan struct{})}
	b.o = Options{
		Deliver: b.sink.Deliver, Outbox: b.outbox, Journal: b.notes, Log: hclog.NewNullLogger(),
		Snapshot: func(context.Context) (core.Record, error) {
			return core.Record{Kind: core.RecordSnapshot, At: time.Now(), Payload: []byte(time.Now().Format(time.RFC3339))}, nil
		},
	}
	return b
}

// start runs it with one reporter, which has its cursor when start returns.
func (b *bench) start(t *testing.T, wants ...core.RecordKind) {
	b.Delivery = New(b.o)
	ctx, cancel := context.WithCancel(t.Context())
	b.stop = cancel
	go func() {
		defer close(b.ended)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	b.SetReporters([]core.ReporterInfo{{Name: "sink", Plugin: "p", Kind: "k", Wants: wants}})
	synctest.Wait()
}

// finish ends it and returns how long that took.
func (b *bench) finish() time.Duration {
	began := time.Now()
	b.stop()
	<-b.ended
	return time.Since(began)
}

func (b *bench) status(t *testing.T) core.ReporterStatus {
	t.Helper()
	all := b.Status()
	if len(all) != 1 {
		t.Fatalf("got %d reporters, want 1", len(all))
	}
	return all[0]
}

var errDown = errors.New("connection refused")

func down(context.Context, []core.Record) (core.Receipt, error) { return core.Receipt{}, errDown }
