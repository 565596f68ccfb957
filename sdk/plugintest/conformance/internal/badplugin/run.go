package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// session is one stream.
type session struct {
	plugin *plugin
	stream pluginv1.Prober_RunServer
	ctx    context.Context
	runs   sync.WaitGroup

	sending sync.Mutex

	mu      sync.Mutex // guards below
	cancels map[uint64]context.CancelFunc
}

func (p *plugin) Run(stream pluginv1.Prober_RunServer) error {
	s := &session{plugin: p, stream: stream, ctx: stream.Context(), cancels: map[uint64]context.CancelFunc{}}
	for {
		batch, err := stream.Recv()
		if err != nil {
			break
		}
		s.take(batch)
	}
	if !is("drops what it has when the host hangs up") {
		s.runs.Wait()
	}
	return nil
}

func (s *session) take(batch *pluginv1.JobBatch) {
	if n := batch.GetHeartbeat(); n != 0 {
		s.beat(n)
	}
	for _, j := range batch.GetJobs() {
		s.plugin.mu.Lock()
		known := s.plugin.instances[j.GetInstance()]
		s.plugin.mu.Unlock()
		if !known {
			if is("dies of an unknown instance") {
				os.Exit(2)
			}
			s.answer(&pluginv1.Result{JobId: j.GetId(), Outcome: pluginv1.Outcome_OUTCOME_PLUGIN_ERROR, Reason: "not_configured", Message: "no such instance"})
			continue
		}
		s.start(j)
	}
	for _, id := range batch.GetCancel() {
		s.mu.Lock()
		cancel := s.cancels[id]
		s.mu.Unlock()
		if cancel != nil && !is("ignores cancels") {
			cancel()
		}
	}
}

func (s *session) beat(n uint64) {
	s.mu.Lock()
	busy := len(s.cancels) > 0
	s.mu.Unlock()
	switch {
	case is("has no pulse while it is busy") && busy:
	case is("echoes another number"):
		s.send(&pluginv1.ResultBatch{Heartbeat: n + 1})
	default:
		s.send(&pluginv1.ResultBatch{Heartbeat: n})
	}
}

func (s *session) start(j *pluginv1.Job) {
	timeout := j.GetTimeout().AsDuration()
	if is("ignores deadlines") {
		timeout = time.Hour
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	s.mu.Lock()
	s.cancels[j.GetId()] = cancel
	s.mu.Unlock()
	before := s.plugin.configured.Load()
	s.runs.Go(func() {
		s.plugin.places <- struct{}{}
		r := measure(ctx, j)
		if s.ctx.Err() != nil && is("keeps the places of a broken stream") {
			return
		}
		<-s.plugin.places
		cancel()
		s.mu.Lock()
		delete(s.cancels, j.GetId())
		s.mu.Unlock()
		if is("loses jobs in a reload") && s.plugin.configured.Load() != before {
			return
		}
		s.finish(j.GetId(), r)
	})
}

// measure connects and waits for the target to speak or to close.
func measure(ctx context.Context, j *pluginv1.Job) *pluginv1.Result {
	began := time.Now()
	if is("loses jobs in a reload") {
		time.Sleep(20 * time.Millisecond) // it shall meet one
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(j.GetTarget().GetHost(), strconv.Itoa(int(j.GetTarget().GetPort()))))
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, _ = conn.Read(make([]byte, 1))
		stop()
		_ = conn.Close()
		err = ctx.Err()
	}
	r := &pluginv1.Result{JobId: j.GetId(), Outcome: pluginv1.Outcome_OUTCOME_SUCCESS, Took: durationpb.New(time.Since(began))}
	if err != nil {
		r.Outcome, r.Reason, r.Message = pluginv1.Outcome_OUTCOME_FAILURE, "other", "it does not answer"
	}
	return r
}

// finish answers a job, well or badly.
func (s *session) finish(id uint64, r *pluginv1.Result) {
	odd := id%7 == 0
	switch {
	case is("loses a result") && odd:
		return
	case is("answers twice") && odd:
		s.answer(r)
	case is("answers for others"):
		r.JobId += 100_000
	case is("gives no outcome"):
		r.Outcome = 0
	case is("invents reasons"):
		r.Outcome, r.Reason = pluginv1.Outcome_OUTCOME_FAILURE, "bad_luck"
	case is("chatters"):
		r.Message = string(make([]byte, 1000))
	case is("gives a success a reason"):
		r.Outcome, r.Reason = pluginv1.Outcome_OUTCOME_SUCCESS, "other"
	case is("breaks in every run"), is("is late and says so") && r.GetReason() != "":
		r.Outcome, r.Reason = pluginv1.Outcome_OUTCOME_PLUGIN_ERROR, "internal"
	case is("names metrics badly"):
		r.Metrics = []*pluginv1.Metric{{Name: "Loss Ratio", Value: 1}}
	case is("finds without a word"):
		r.Findings = []*pluginv1.Finding{{Kind: "Black Hole"}}
	case is("finds too much"):
		r.Findings = make([]*pluginv1.Finding, 9)
		for i := range r.Findings {
			r.Findings[i] = &pluginv1.Finding{Kind: "mtu_black_hole"}
		}
	case is("has a list for a document"):
		r.Documents = []*pluginv1.Document{{Name: "hops", Json: []byte("[]")}}
	case is("takes negative time"):
		r.Took = durationpb.New(-time.Second)
	}
	s.answer(r)
}

func (s *session) answer(r *pluginv1.Result) {
	s.send(&pluginv1.ResultBatch{Results: []*pluginv1.Result{r}})
}

func (s *session) send(b *pluginv1.ResultBatch) {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.stream.Send(b)
}
