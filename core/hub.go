package core

import "sync"

// ChangeDropped is the kind of the change that a slow subscriber gets instead
// of those it lost; the payload is their number, an int.
const ChangeDropped = "dropped"

// Change is something that happened, for whoever shows it live.
type Change struct {
	Kind    string
	Payload any
}

// Hub passes changes to subscribers without ever waiting for one. The zero
// value is ready; all methods may be called concurrently.
type Hub struct {
	mu   sync.Mutex // guards subs and what is sent to them
	subs map[chan Change]struct{}
}

// Subscribe gives the changes from now on. The channel holds buffer of them, at
// least 2; a subscriber that is slower loses the oldest and is told how many.
// Cancel ends it and closes the channel; it may be called twice.
func (h *Hub) Subscribe(buffer int) (changes <-chan Change, cancel func()) {
	ch := make(chan Change, max(buffer, 2))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[chan Change]struct{}{}
	}
	h.subs[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[ch]; ok {
			delete(h.subs, ch)
			close(ch)
		}
	}
}

// Publish gives c to every subscriber.
func (h *Hub) Publish(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.subs {
		send(ch, c)
	}
}

// send makes room by taking back the oldest. Only the publisher sends, so what
// it finds room for cannot block.
func send(ch chan Change, c Change) {
	lost := 0
	for len(ch) == cap(ch) || lost > 0 && len(ch) > cap(ch)-2 {
		select {
		case old := <-ch:
			if old.Kind == ChangeDropped {
				n, _ := old.Payload.(int)
				lost += n
			} else {
				lost++
			}
		default:
		}
	}
	if lost > 0 {
		ch <- Change{Kind: ChangeDropped, Payload: lost}
	}
	ch <- c
}
