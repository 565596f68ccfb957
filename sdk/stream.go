package sdk

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

type runStream = grpc.BidiStreamingServer[pluginv1.JobBatch, pluginv1.ResultBatch]

// Run implements the service. When the host closes its side, what is in hand is
// still answered; when it is gone, or the plugin ends, the rest is canceled.
func (s *Server) Run(stream runStream) error {
	ses := newSession()
	sent, received := make(chan error, 1), make(chan error, 1)
	go func() { sent <- s.send(stream, ses) }()
	go func() { received <- s.receive(stream, ses) }()
	var err error
	select {
	case err = <-received:
	case <-s.stopping:
	}
	if err == nil {
		ses.drain(stream.Context())
	}
	close(ses.done)
	ses.cancelAll()
	return errors.Join(err, <-sent)
}

// send also tells with every heartbeat what services run: that heals by itself
// whatever was told in another order.
func (s *Server) send(stream runStream, ses *session) error {
	for {
		batch := ses.next()
		if batch == nil {
			return nil
		}
		if batch.other.Heartbeat != 0 {
			batch.other.Services = s.instances.services()
		}
		if err := stream.SendMsg(batch); err != nil {
			return err
		}
	}
}

func (s *Server) receive(stream runStream, ses *session) error {
	for {
		batch, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		// Heartbeats first: an echo tells that messages are read, whatever the runs do.
		if n := batch.GetHeartbeat(); n != 0 {
			ses.beat(n)
		}
		for _, j := range batch.GetJobs() {
			if err := s.accept(j, ses); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
		}
		ses.cancel(batch.GetCancel())
	}
}

// accept starts a job or answers it at once. The error tells of a host that does
// not keep to the contract.
func (s *Server) accept(j *pluginv1.Job, ses *session) error {
	in := s.instances.acquire(j.GetInstance())
	if in == nil {
		ses.reply(refusal(j, ReasonUnknown, fmt.Sprintf("probe %q is not configured", j.GetInstance())))
		return nil
	}
	if in.prober == nil {
		in.release()
		ses.reply(refusal(j, ReasonUnknown, fmt.Sprintf("%q is a reporter", j.GetInstance())))
		return nil
	}
	r := newRun(j, in, ses, s.pool)
	if err := ses.add(r); err != nil {
		in.release()
		return err
	}
	if s.ending.Load() || !s.pool.submit(r) {
		r.answer(refusal(j, ReasonBusy, "the plugin takes no more jobs"))
		r.over()
	}
	return nil
}

// refusal is the answer to a job that does not become a run.
func refusal(j *pluginv1.Job, r Reason, message string) []byte {
	return encode(&Answer{JobID: j.GetId(), Outcome: OutcomePluginError, Reason: r, Message: message})
}
