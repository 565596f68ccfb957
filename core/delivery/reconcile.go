package delivery

import (
	"context"
	"maps"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// reconcile ends the workers of reporters that are gone or changed, and starts
// those that are missing. soft ends when no new work is to be begun, hard when
// the work in hand is to be dropped.
func (d *Delivery) reconcile(soft, hard context.Context) {
	d.mu.Lock()
	wanted := make(map[string]core.ReporterInfo, len(d.wanted))
	for _, info := range d.wanted {
		wanted[info.Name] = info
	}
	d.mu.Unlock()

	d.end(d.running(func(w *worker) bool {
		info, ok := wanted[w.info.Name]
		return !ok || !same(info, w.info)
	}))
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, info := range wanted {
		if d.workers[name] == nil {
			d.workers[name] = startWorker(d, info, soft, hard)
		}
	}
}

// running returns the workers that match; nil matches all.
func (d *Delivery) running(match func(*worker) bool) []*worker {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Collect(maps.Values(d.workers))
	if match == nil {
		return all
	}
	return slices.DeleteFunc(all, func(w *worker) bool { return !match(w) })
}

// end drops what the workers have in hand and forgets them.
func (d *Delivery) end(workers []*worker) {
	for _, w := range workers {
		w.cancel()
	}
	d.stop(workers)
}

// stop waits for workers that are ending and forgets them.
func (d *Delivery) stop(workers []*worker) {
	for _, w := range workers {
		<-w.done
		d.mu.Lock()
		delete(d.workers, w.info.Name)
		d.mu.Unlock()
	}
}

func same(a, b core.ReporterInfo) bool {
	return a.Plugin == b.Plugin && a.Kind == b.Kind && slices.Equal(a.Wants, b.Wants)
}
