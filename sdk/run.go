package sdk

import (
	"context"
	"fmt"
	"sync"
	"time"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Grace is how long after its deadline, or after it was canceled, a run may still
// answer by itself. Hosts wait longer than that.
const Grace = 250 * time.Millisecond

// A run that waited for its place longer than this part of its timeout says
// nothing about the target when the time then runs out. Neither does one whose
// deadline was noticed by more than frozenAfter too late: the process stood still.
const (
	starvedPart = 10
	frozenAfter = 2 * Grace
)

// run is a job in hand.
type run struct {
	id       uint64
	target   Target
	in       *instance // held until the run is over
	pool     *pool
	session  *session
	received time.Time
	timeout  time.Duration
	ctx      context.Context
	cancel   context.CancelFunc
	watchdog *time.Timer

	mu       sync.Mutex // guards below
	began    time.Time
	canceled bool
	answered bool
	stuck    bool
}

// newRun: the deadline counts from the receipt of the job.
func newRun(j *pluginv1.Job, in *instance, s *session, p *pool) *run {
	r := &run{id: j.GetId(), target: targetOf(j), in: in, pool: p, session: s, received: time.Now(), timeout: in.timeout}
	if t := j.GetTimeout(); t.CheckValid() == nil && t.AsDuration() > 0 {
		r.timeout = t.AsDuration()
	}
	return r
}

// arm starts the clock of a run that the session knows.
func (r *run) arm() {
	r.ctx, r.cancel = context.WithDeadline(context.Background(), r.received.Add(r.timeout))
	r.watchdog = time.AfterFunc(r.timeout+Grace, r.overdue)
}

// do calls the probe. A panic and runtime.Goexit end in an answer too.
func (r *run) do() {
	defer r.over()
	if !r.begin() {
		return
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		err := fmt.Errorf("the probe ended its goroutine")
		if p := recover(); p != nil {
			r.in.log.Error("panic in probe", "panic", p, "stack", string(stackOf(p)))
			err = fmt.Errorf("panic: %v", p)
		}
		r.answer(r.report(Result{}, Internal(err)))
	}()
	result, err := r.in.prober.Probe(r.ctx, r.target)
	message := r.report(result, err)
	returned = true
	r.answer(message)
}

func (r *run) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.answered {
		r.began = time.Now()
	}
	return !r.answered
}

// over gives back what the run holds, however late.
func (r *run) over() {
	r.cancel()
	r.in.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stuck {
		r.pool.addStuck(-1)
	}
}

// report makes the message of an outcome.
func (r *run) report(result Result, err error) []byte {
	r.mu.Lock()
	began, canceled := r.began, r.canceled
	r.mu.Unlock()
	a := Answer{JobID: r.id, Started: began, Result: result}
	if !began.IsZero() {
		a.Took = time.Since(began)
	}
	a.Outcome, a.Reason = Judge(err)
	switch {
	case err == nil:
		return encode(&a)
	case canceled && a.Outcome == OutcomeFailure:
		a.Outcome, a.Reason = OutcomeUnsupported, ReasonCanceled
	case a.Reason == ReasonTimeout && r.starved(began):
		a.Outcome, a.Reason = OutcomePluginError, ReasonBusy
	}
	a.Message = err.Error()
	if a.Message == context.DeadlineExceeded.Error() {
		a.Message = "no answer within " + readable(r.timeout)
	}
	return encode(&a)
}

// starved tells that a run that began then had not its full time.
func (r *run) starved(began time.Time) bool {
	return began.Sub(r.received) > r.timeout/starvedPart || time.Since(r.received) > r.timeout+frozenAfter
}

// readable is d without the digits that nobody reads: the host sends what is left
// of a timeout, 9.999962s.
func readable(d time.Duration) string {
	if d > 10*time.Millisecond {
		d = d.Round(time.Millisecond)
	}
	return d.String()
}

// answer sends the first message of a run and drops the others.
func (r *run) answer(message []byte) {
	if r.claim(false) {
		r.watchdog.Stop()
		r.session.answer(r.id, message)
	}
}

// claim is true once. late tells that the run may still be under way.
func (r *run) claim(late bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return false
	}
	r.answered = true
	if late && !r.began.IsZero() {
		r.stuck = true
		r.pool.addStuck(1)
	}
	return true
}

// stop ends a run that nobody waits for. One that has not begun is answered at
// once, by the watchdog; the others have a grace.
func (r *run) stop() {
	r.mu.Lock()
	r.canceled = true
	begun := !r.began.IsZero()
	r.mu.Unlock()
	r.cancel()
	if !r.watchdog.Stop() {
		return
	}
	grace := Grace
	if !begun {
		grace = 0
	}
	r.watchdog.Reset(grace)
}

// overdue is the watchdog: it answers for a run that does not.
func (r *run) overdue() {
	r.mu.Lock()
	began, canceled := r.began, r.canceled
	r.mu.Unlock()
	var err error
	switch {
	case canceled:
		err = context.Canceled
	case began.IsZero():
		err = &failure{OutcomePluginError, ReasonBusy, fmt.Errorf("all places were taken for %s", readable(r.timeout))}
	default:
		err = Internal(fmt.Errorf("the run ignored its deadline of %s", readable(r.timeout)))
	}
	message := r.report(Result{}, err)
	if r.claim(true) {
		r.in.log.Debug("run answered for", "target", r.target.Host, "timeout", r.timeout)
		r.session.answer(r.id, message)
	}
}
