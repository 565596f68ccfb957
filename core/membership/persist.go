package membership

import (
	"context"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// savePause gathers changes: a mesh that starts changes many nodes at once.
	savePause = time.Second
	// seenPause is how old LastSeen may be in the store.
	seenPause = 5 * time.Minute
	// A store that failed is tried again after a second, then twice as long.
	maxSaveRetry = 30 * time.Second
	// saveTimeout is what the last save gets at shutdown.
	saveTimeout = 5 * time.Second
)

// dirt is the ids of nodes whose record in the store is out of date.
type dirt struct {
	wake chan struct{}

	mu  sync.Mutex // guards ids
	ids map[core.NodeID]bool
}

func newDirt() *dirt {
	return &dirt{wake: make(chan struct{}, 1), ids: map[core.NodeID]bool{}}
}

func (d *dirt) add(ids ...core.NodeID) {
	d.mu.Lock()
	for _, id := range ids {
		d.ids[id] = true
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dirt) take() []core.NodeID {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := make([]core.NodeID, 0, len(d.ids))
	for id := range d.ids {
		ids = append(ids, id)
	}
	clear(d.ids)
	return ids
}

// runPersist saves what changed, at most once a second, until ctx ends, and
// then once more.
func (m *Mesh) runPersist(ctx context.Context) {
	seen := time.NewTicker(seenPause)
	defer seen.Stop()
	pause := savePause
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
			defer cancel()
			m.dirtyAll()
			if err := m.save(last); err != nil {
				m.log.Error("nodes not saved at shutdown", "error", err)
			}
			return
		case <-seen.C:
			m.dirtyAll()
			continue
		case <-m.dirt.wake:
		}
		if !sleep(ctx, pause) {
			continue
		}
		err := m.save(ctx)
		switch {
		case ctx.Err() != nil: // the last save follows
		case err == nil && pause > savePause:
			m.log.Info("nodes are being saved again")
			pause = savePause
		case err != nil && pause == savePause:
			m.log.Warn("nodes are not being saved", "error", err)
			fallthrough
		case err != nil:
			pause = min(2*pause, maxSaveRetry)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (m *Mesh) dirtyAll() {
	m.mu.Lock()
	ids := make([]core.NodeID, 0, len(m.nodes))
	for id := range m.nodes {
		ids = append(ids, id)
	}
	m.mu.Unlock()
	if len(ids) > 0 {
		m.dirt.add(ids...)
	}
}

// save writes the nodes that changed and deletes those that are gone. What
// failed stays dirty.
func (m *Mesh) save(ctx context.Context) error {
	ids := m.dirt.take()
	if m.o.Store == nil || len(ids) == 0 {
		return nil
	}
	var keep []core.Node
	var gone []core.NodeID
	for _, id := range ids {
		if n, ok := m.Node(id); ok {
			keep = append(keep, n)
		} else {
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 {
		if err := m.o.Store.DeleteNodes(ctx, gone); err != nil {
			m.dirt.add(ids...)
			return err
		}
	}
	if len(keep) > 0 {
		if err := m.o.Store.SaveNodes(ctx, keep); err != nil {
			m.dirt.add(ids...)
			return err
		}
	}
	return nil
}
