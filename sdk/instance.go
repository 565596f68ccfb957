package sdk

import (
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// instance is one configured probe or reporter. It lives as long as somebody
// holds it: the table of instances, and each of its runs.
type instance struct {
	name     string
	impl     any
	prober   Prober   // nil for a reporter
	reporter Reporter // nil for a probe
	grants   Grants
	// delivering has one place: a host that gave up a batch may send it again
	// while the reporter goes on with it.
	delivering chan struct{}
	timeout    time.Duration
	log        hclog.Logger
	holders    atomic.Int64
	closed     func()
}

// release gives the instance back; the last holder closes it.
func (i *instance) release() {
	if i.holders.Add(-1) == 0 {
		go i.close()
	}
}

func (i *instance) close() {
	defer i.closed()
	closeQuietly(i.impl, i.log)
}

// closeQuietly closes impl if it can be; a panic is logged like an error.
func closeQuietly(impl any, log hclog.Logger) {
	c, ok := impl.(io.Closer)
	if !ok {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in Close", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if err := c.Close(); err != nil {
		log.Warn("close instance", "error", err)
	}
}

// instances is the table of what is configured.
type instances struct {
	log  hclog.Logger
	open sync.WaitGroup // instances that are not closed yet

	mu     sync.RWMutex // guards below
	byName map[string]*instance
	ended  bool
}

func newInstances(log hclog.Logger) *instances {
	return &instances{log: log, byName: map[string]*instance{}}
}

// acquire holds the instance of that name; nil when there is none.
func (t *instances) acquire(name string) *instance {
	t.mu.RLock()
	defer t.mu.RUnlock()
	in := t.byName[name]
	if in != nil {
		in.holders.Add(1)
	}
	return in
}

// replace puts in, or nothing when it is nil, in the place of the instance of that
// name. It is false when the table has ended.
func (t *instances) replace(name string, in *instance) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	old := t.byName[name]
	if in == nil {
		delete(t.byName, name)
	} else {
		t.open.Add(1)
		in.closed = t.open.Done
		in.holders.Store(1)
		t.byName[name] = in
	}
	if old != nil {
		old.release()
	}
	return true
}

// services are those of each instance that may have some, now. One that breaks
// when it is asked has none.
func (t *instances) services() (out []*pluginv1.InstanceServices) {
	t.mu.RLock()
	var serving []*instance
	for _, in := range t.byName {
		if _, ok := in.impl.(Serving); ok {
			in.holders.Add(1)
			serving = append(serving, in)
		}
	}
	t.mu.RUnlock()
	for _, in := range serving {
		list, err := in.services()
		if err != nil {
			list = nil
		}
		out = append(out, &pluginv1.InstanceServices{Instance: in.name, Services: servicesToProto(list)})
		in.release()
	}
	return out
}

// end removes all instances and waits until they are closed, at most limit.
func (t *instances) end(limit time.Duration) {
	t.mu.Lock()
	t.ended = true
	for name, in := range t.byName {
		delete(t.byName, name)
		in.release()
	}
	t.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		t.open.Wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		t.log.Warn("instances still in use are not closed")
	}
}
