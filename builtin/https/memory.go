package https

import (
	"container/list"
	"sync"
	"time"
)

// Limits of what is remembered of peers' answers.
const (
	// maxRemembered is over the largest mesh; an entry takes some 400 bytes.
	maxRemembered = 4096
	// refreshAfter bounds how long "not modified" is believed.
	refreshAfter = 10 * time.Minute
)

// remembered is what a peer said of itself together with the tag of that answer.
type remembered struct {
	addr    string
	key     keyHash
	etag    string
	fetched time.Time
	info    nodeInfo // without peers and view
}

// memory keeps the latest tagged answers by address; the one unused for longest
// makes room.
type memory struct {
	max int

	mu     sync.Mutex // guards order and byAddr
	order  *list.List // of remembered, last used first
	byAddr map[string]*list.Element
}

func newMemory(max int) *memory {
	return &memory{max: max, order: list.New(), byAddr: make(map[string]*list.Element)}
}

// get is what the holder of key said at addr, if that is still to be believed.
func (m *memory) get(addr string, key keyHash, now time.Time) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byAddr[addr]
	if e == nil {
		return remembered{}, false
	}
	r := e.Value.(remembered)
	if r.key != key || now.Sub(r.fetched) >= refreshAfter {
		return remembered{}, false
	}
	m.order.MoveToFront(e)
	return r, true
}

func (m *memory) set(r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byAddr[r.addr]; e != nil {
		e.Value = r
		m.order.MoveToFront(e)
		return
	}
	m.byAddr[r.addr] = m.order.PushFront(r)
	if m.order.Len() > m.max {
		oldest := m.order.Back()
		m.order.Remove(oldest)
		delete(m.byAddr, oldest.Value.(remembered).addr)
	}
}

// drop forgets addr: its answers have no tag.
func (m *memory) drop(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byAddr[addr]; e != nil {
		m.order.Remove(e)
		delete(m.byAddr, addr)
	}
}
