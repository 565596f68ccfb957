// Package driver is the host's end of a plugin's stream, as small as tests and
// the conformance suite need it: no credit, no deadlines, no supervision.
package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// ErrLost tells that the stream ended without an answer to the job.
var ErrLost = errors.New("the stream ended without an answer")

// Job is one run to ask for.
type Job struct {
	Instance string
	Target   sdk.Target
	// Timeout of 0 is the probe's default.
	Timeout time.Duration
}

// Stream carries jobs and answers. It is for concurrent use.
type Stream struct {
	out    chan *pluginv1.JobBatch // each with one thing in it
	stop   context.CancelFunc
	broken chan struct{} // nothing more comes
	ended  chan struct{} // both goroutines are gone
	hangup sync.Once

	mu      sync.Mutex // guards below
	last    uint64
	flights map[uint64]*Flight
	beats   map[uint64]chan struct{}
	faults  []error
	running map[string][]sdk.Service // by instance, as of the last echo
	over    bool
}

// Flight is a job that was sent.
type Flight struct {
	ID     uint64
	answer chan sdk.Answer
}

// Open starts the stream. It lives until Close, Abort or the end of ctx.
func Open(ctx context.Context, c *sdk.Client) (*Stream, error) {
	ctx, stop := context.WithCancel(ctx)
	rpc, err := c.Run(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	s := &Stream{
		out: make(chan *pluginv1.JobBatch, sdk.MaxBatch), stop: stop,
		broken: make(chan struct{}), ended: make(chan struct{}),
		flights: map[uint64]*Flight{}, beats: map[uint64]chan struct{}{},
	}
	var both sync.WaitGroup
	both.Go(func() { s.send(rpc) })
	both.Go(func() { s.receive(rpc) })
	go func() {
		defer close(s.ended)
		both.Wait()
	}()
	return s, nil
}

// Go sends a job.
func (s *Stream) Go(j Job) *Flight {
	s.mu.Lock()
	s.last++
	f := &Flight{ID: s.last, answer: make(chan sdk.Answer, 1)}
	s.flights[f.ID] = f
	if s.over {
		close(f.answer)
		delete(s.flights, f.ID)
	}
	s.mu.Unlock()
	job := &pluginv1.Job{Id: f.ID, Instance: j.Instance, Target: sdk.TargetToProto(j.Target), Fresh: j.Target.Fresh, Occasion: string(j.Target.Occasion)}
	if j.Timeout > 0 {
		job.Timeout = durationpb.New(j.Timeout)
	}
	s.put(&pluginv1.JobBatch{Jobs: []*pluginv1.Job{job}})
	return f
}

// Wait returns the answer; the error is [ErrLost] or that of ctx.
func (f *Flight) Wait(ctx context.Context) (sdk.Answer, error) {
	select {
	case a, ok := <-f.answer:
		if !ok {
			return sdk.Answer{}, fmt.Errorf("job %d: %w", f.ID, ErrLost)
		}
		return a, nil
	case <-ctx.Done():
		return sdk.Answer{}, fmt.Errorf("job %d: %w", f.ID, ctx.Err())
	}
}

// Cancel says that nobody waits for the jobs any more.
func (s *Stream) Cancel(flights ...*Flight) {
	var ids []uint64
	for _, f := range flights {
		ids = append(ids, f.ID)
	}
	s.put(&pluginv1.JobBatch{Cancel: ids})
}

// Beat sends a heartbeat and waits for its echo.
func (s *Stream) Beat(ctx context.Context) error {
	echo := make(chan struct{})
	s.mu.Lock()
	s.last++
	n := s.last
	s.beats[n] = echo
	s.mu.Unlock()
	s.put(&pluginv1.JobBatch{Heartbeat: n})
	select {
	case <-echo:
		return nil
	case <-s.broken:
		return fmt.Errorf("heartbeat: %w", ErrLost)
	case <-ctx.Done():
		return fmt.Errorf("heartbeat: %w", ctx.Err())
	}
}

// Running are the services of an instance as of the last heartbeat.
func (s *Stream) Running(instance string) []sdk.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[instance]
}

// HangUp closes the host's side: the plugin is to answer what it has in hand.
func (s *Stream) HangUp() { s.hangup.Do(func() { close(s.out) }) }

// Close hangs up and waits for the end of the stream. The error lists the jobs
// that have no answer, and every answer that nobody asked for.
func (s *Stream) Close(ctx context.Context) error {
	s.HangUp()
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.Abort()
		return fmt.Errorf("the stream goes on after the host has closed its side: %w", ctx.Err())
	}
	s.stop()
	return s.Faults()
}

// Faults are the answers so far that nobody asked for; nil when there is none.
func (s *Stream) Faults() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.faults...)
}

// Abort breaks the stream off, as a host does that is gone.
func (s *Stream) Abort() {
	s.stop()
	s.HangUp()
	<-s.ended
}

func (s *Stream) put(b *pluginv1.JobBatch) {
	select {
	case s.out <- b:
	case <-s.broken:
	}
}

type runClient = grpc.BidiStreamingClient[pluginv1.JobBatch, pluginv1.ResultBatch]

// send puts what waits into one message, as hosts do.
func (s *Stream) send(rpc runClient) {
	for {
		select {
		case first, ok := <-s.out:
			if !ok {
				_ = rpc.CloseSend()
				return
			}
			if rpc.Send(s.gather(first)) != nil {
				return // receive knows why
			}
		case <-s.broken:
			return
		}
	}
}

func (s *Stream) gather(batch *pluginv1.JobBatch) *pluginv1.JobBatch {
	for len(batch.Jobs) < sdk.MaxBatch && batch.Heartbeat == 0 && len(batch.Cancel) == 0 {
		select {
		case next, ok := <-s.out:
			if !ok {
				return batch
			}
			batch.Jobs = append(batch.Jobs, next.Jobs...)
			batch.Cancel, batch.Heartbeat = next.Cancel, next.Heartbeat
		default:
			return batch
		}
	}
	return batch
}

func (s *Stream) receive(rpc runClient) {
	defer close(s.broken)
	for {
		batch, err := rpc.Recv()
		if err != nil {
			s.end(err)
			return
		}
		s.mu.Lock()
		if n := batch.GetHeartbeat(); n != 0 {
			s.echoLocked(n)
			s.running = sdk.InstanceServicesFromProto(batch)
		}
		for _, r := range batch.GetResults() {
			s.answerLocked(r)
		}
		s.mu.Unlock()
	}
}

func (s *Stream) echoLocked(n uint64) {
	if echo, ok := s.beats[n]; ok {
		close(echo)
		delete(s.beats, n)
		return
	}
	s.faults = append(s.faults, fmt.Errorf("echo of heartbeat %d, which was not sent or has its echo", n))
}

func (s *Stream) answerLocked(r *pluginv1.Result) {
	f, ok := s.flights[r.GetJobId()]
	if !ok {
		s.faults = append(s.faults, fmt.Errorf("answer to job %d, which was not sent or has its answer", r.GetJobId()))
		return
	}
	delete(s.flights, f.ID)
	f.answer <- sdk.AnswerFromProto(r)
}

func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if !errors.Is(err, io.EOF) {
		s.faults = append(s.faults, fmt.Errorf("the stream broke: %w", err))
	}
	for id, f := range s.flights {
		s.faults = append(s.faults, fmt.Errorf("job %d: %w", id, ErrLost))
		close(f.answer)
	}
	clear(s.flights)
}
