package delivery

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// statusTimeout bounds the one query behind Status: it is for people who look
// at a page, and the numbers of a busy store can be missing there.
const statusTimeout = time.Second

// Status tells how delivery to each configured reporter stands, by name.
func (d *Delivery) Status() []core.ReporterStatus {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	backlog, err := d.o.Outbox.Backlog(ctx)
	if err != nil {
		d.o.Log.Debug("outbox not counted", "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]core.ReporterStatus, 0, len(d.wanted))
	for _, info := range d.wanted {
		s := core.ReporterStatus{Name: info.Name, Plugin: info.Plugin, Kind: info.Kind}
		if w := d.workers[info.Name]; w != nil {
			s = w.now()
		}
		s.Backlog = backlog[info.Name]
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b core.ReporterStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (w *worker) now() core.ReporterStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}
