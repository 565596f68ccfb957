package plugins

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// launch is what a process needs to start.
type launch struct {
	spec     *Spec
	spawner  *spawner
	runDir   string
	log      hclog.Logger
	dropped  *atomic.Uint64
	tunables *Tunables
	answer   func([]core.Result)
	ailing   func(p *process, problem string) // empty: it is well again
}

type jobStream = grpc.BidiStreamingClient[pluginv1.JobBatch, pluginv1.ResultBatch]

// process is one running plugin process that has told what it offers. A
// goplugin.Client is single-use, and so is a process.
type process struct {
	launch
	child   *child
	client  *goplugin.Client
	addr    net.Addr
	rpc     *sdk.Client
	about   Description
	stream  *stream
	logs    *logSink
	stdio   *logSink
	started time.Time
	heard   atomic.Int64 // messages received on the stream

	pumps  sync.WaitGroup
	cancel context.CancelFunc // ends the pumps

	running services // what its instances run for other nodes

	counters atomic.Pointer[map[string]uint64] // as it told last; nil before

	once  sync.Once
	done  chan struct{} // closed when it serves no more
	cause string        // why; written before done is closed
}

// fail ends the service of the process: all jobs that it has are answered. It
// does not end the process itself. Only the first call counts.
func (p *process) fail(cause string) { p.leave(cause, core.ReasonPluginCrashed, "ended") }

// leave ends the service; runs in hand have that reason.
func (p *process) leave(cause string, reason core.Reason, how string) {
	p.once.Do(func() {
		p.cause = cause
		sent, queued := p.stream.close()
		p.giveUp(sent, reason, "plugin "+p.spec.Name+" "+how+" with the run in hand")
		p.giveUp(queued, core.ReasonPluginUnavailable, "plugin "+p.spec.Name+" "+how+" before the run began")
		close(p.done)
	})
}

func (p *process) giveUp(fs []flight, reason core.Reason, message string) {
	if len(fs) == 0 {
		return
	}
	out := make([]core.Result, len(fs))
	for i := range fs {
		out[i] = core.Result{Job: fs[i].job, Outcome: core.OutcomePluginError, Reason: reason, Message: core.CleanText(message, maxMessageText)}
		if sent := fs[i].sent; !sent.IsZero() {
			out[i].Started, out[i].QueueDelay = sent, queueDelay(fs[i].job.Due, sent)
			out[i].Took = time.Since(sent)
		}
	}
	p.answer(out)
}

// stop asks the process to end and makes sure that it does. It returns within
// the stop grace plus about three seconds, even if the process cannot be killed.
func (p *process) stop() {
	p.leave("stopped by the host", core.ReasonPluginUnavailable, "was stopped")
	p.end(p.tunables.StopGrace)
}

// lastMoment is how long a failed process may take to end by itself: a connection
// is closed before the process is known to be gone, on a busy machine long before.
const lastMoment = time.Second

// bury waits a moment for the end of a failed process, forces it, and says why
// it ended, in words that follow the plugin's name.
func (p *process) bury() string {
	waitFor(p.child.done, lastMoment)
	p.child.kill()
	p.end(0)
	fate, killed := p.child.fate()
	if killed {
		return core.CleanText(p.cause, maxMessageText)
	}
	return withLastWords("ended with "+fate, p.logs, p.stdio)
}

// end is stop for a process that is not asked: Kill runs beside, because it
// waits without a limit for a frozen plugin, until the group is killed.
func (p *process) end(grace time.Duration) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.client.Kill()
	}()
	waitFor(p.child.done, grace)
	p.child.kill()
	if !waitFor(p.child.done, 2*time.Second) || !waitFor(gone, time.Second) {
		p.log.Error("plugin process cannot be ended", "pid", p.child.PID())
	}
	if p.cancel != nil {
		p.cancel()
	}
	p.pumps.Wait()
}

// waitFor tells whether c closed within limit.
func waitFor(c <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
	}
	select { // both may have been ready
	case <-c:
		return true
	default:
		return false
	}
}

// withLastWords appends what the process said last, as one sentence.
func withLastWords(sentence string, sinks ...*logSink) string {
	for _, s := range sinks {
		if words := s.lastWords(); words != "" {
			return core.CleanText(fmt.Sprintf("%s: %s", sentence, words), maxMessageText)
		}
	}
	return core.CleanText(sentence, maxMessageText)
}

// configure makes or replaces an instance; of grants, which the settings allow,
// it passes what the kind asks for. refused are the plugin's objections;
// an error means that the process did not answer.
func (p *process) configure(ctx context.Context, in instance, grants map[string][]byte, node NodeInfo) (refused ConfigErrors, err error) {
	offer, ok := p.about.offer(in)
	if !ok {
		refused.add(in.section+"."+in.name+".kind", "%q is not offered by plugin %q; %s", in.kind, p.spec.Name, p.valid(in.section))
		return refused, nil
	}
	req := &pluginv1.ConfigureRequest{
		Instance: in.name, Kind: in.kind, Config: []byte(in.config), Node: nodeOf(node),
		Grants: pick(offer.Needs, grants),
	}
	ctx, cancel := context.WithTimeout(ctx, p.tunables.CallTimeout)
	defer cancel()
	resp, err := p.rpc.Configure(ctx, req)
	if status.Code(err) == codes.InvalidArgument {
		refused.add(in.section+"."+in.name, "%s", core.CleanText(status.Convert(err).Message(), maxMessageText))
		return refused, nil
	}
	switch {
	case err == nil:
		if refused = refusals(in, resp.GetErrors()); len(refused) == 0 {
			p.configured(in, req.GetGrants(), resp.GetServices())
		}
		return refused, nil
	case status.Code(err) == codes.DeadlineExceeded:
		return nil, fmt.Errorf("configure %s: no answer within %v", in.name, p.tunables.CallTimeout)
	default:
		return nil, fmt.Errorf("configure %s: %w", in.name, err)
	}
}

// remove drops an instance; one that is not there is no error.
func (p *process) remove(ctx context.Context, in instance) error {
	ctx, cancel := context.WithTimeout(ctx, p.tunables.CallTimeout)
	defer cancel()
	_, err := p.rpc.Configure(ctx, &pluginv1.ConfigureRequest{Instance: in.name, Kind: in.kind, Remove: true})
	if err == nil {
		p.configured(in, nil, nil)
	}
	return err
}

func (p *process) valid(section string) string {
	kinds := p.about.kinds(section)
	if len(kinds) == 0 {
		return "it offers no " + section
	}
	return fmt.Sprintf("valid: %q", kinds)
}

func refusals(in instance, errs []*pluginv1.ConfigError) (out ConfigErrors) {
	const most = 64
	for _, e := range errs[:min(len(errs), most)] {
		path := in.section + "." + in.name + ".config"
		if field := core.CleanText(e.GetField(), maxMessageText); field != "" {
			if field[0] != '[' {
				path += "."
			}
			path += field
		}
		out = append(out, ConfigError{path, core.CleanText(e.GetMessage(), maxMessageText)})
	}
	return out
}
