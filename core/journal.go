package core

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxUnsavedEvents wait while the store does not take them: hours of a flapping mesh.
const maxUnsavedEvents = 4096

type eventKey struct {
	kind    EventKind
	subject string
}

// Journal keeps the events: at most one is open per kind and subject. All
// methods may be called concurrently and none waits for the store.
type Journal struct {
	// OnChange is told of every event that begins, changes or ends. Set it
	// before the first use; it must not block nor call the journal.
	OnChange func(Event)

	save func(context.Context, []Event) error
	log  hclog.Logger
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	open    map[eventKey]Event
	pending []Event
	saving  []Event // in the hands of the store
	last    time.Time
}

// NewJournal continues with the events that were open when the process ended.
// save is called from Run; it may give IDs to the events in the slice.
func NewJournal(open []Event, save func(context.Context, []Event) error, log hclog.Logger) *Journal {
	j := &Journal{save: save, log: log, wake: make(chan struct{}, 1), open: map[eventKey]Event{}}
	for _, e := range open {
		j.open[eventKey{e.Kind, e.Subject}] = e
	}
	return j
}

// Begin opens an event, or gives the open one a new message.
func (j *Journal) Begin(kind EventKind, subject, message string) {
	j.Found("", kind, subject, message)
}

// Found is Begin for what a probe found.
func (j *Journal) Found(probe string, kind EventKind, subject, message string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := eventKey{kind, subject}
	e, ok := j.open[key]
	if ok && e.Message == message && e.Source == probe {
		return
	}
	if !ok {
		e = Event{Kind: kind, Subject: subject, Began: j.nowLocked()}
	}
	e.Message, e.Source = message, probe
	j.open[key] = e
	j.recordLocked(e)
}

// End closes the open event, if there is one.
func (j *Journal) End(kind EventKind, subject string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := eventKey{kind, subject}
	e, ok := j.open[key]
	if !ok {
		return
	}
	delete(j.open, key)
	e.Ended = j.nowLocked()
	if e.Ended.Before(e.Began) { // the clock was set back
		e.Ended = e.Began
	}
	j.recordLocked(e)
}

// Note records an event without duration.
func (j *Journal) Note(kind EventKind, subject, message string) {
	j.Happened("", kind, subject, message)
}

// Happened is Note for what a probe found.
func (j *Journal) Happened(probe string, kind EventKind, subject, message string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.nowLocked()
	j.recordLocked(Event{Kind: kind, Subject: subject, Source: probe, Message: message, Began: at, Ended: at})
}

// Unsaved is the events that the store has not taken, as they are now.
func (j *Journal) Unsaved() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append(slices.Clone(j.saving), j.pending...)
}

// Open is the events that last, oldest first.
func (j *Journal) Open() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	open := make([]Event, 0, len(j.open))
	for _, e := range j.open {
		open = append(open, e)
	}
	slices.SortFunc(open, func(a, b Event) int {
		if c := a.Began.Compare(b.Began); c != 0 {
			return c
		}
		return strings.Compare(string(a.Kind)+a.Subject, string(b.Kind)+b.Subject)
	})
	return open
}

// nowLocked gives each event a microsecond of its own: kind, subject and begin
// name an event in the store.
func (j *Journal) nowLocked() time.Time {
	now := time.Now().Truncate(time.Microsecond)
	if ahead := j.last.Sub(now); ahead >= 0 && ahead < time.Second {
		now = j.last.Add(time.Microsecond)
	}
	j.last = now
	return now
}

func (j *Journal) recordLocked(e Event) {
	if j.OnChange != nil {
		j.OnChange(e)
	}
	j.pendLocked(e)
	if over := len(j.pending) - maxUnsavedEvents; over > 0 {
		j.pending = slices.Delete(j.pending, 0, over)
		j.log.Error("events dropped: the store does not take them", "events", over)
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// pendLocked makes e wait for the store, in place of its own earlier form.
func (j *Journal) pendLocked(e Event) {
	same := func(p Event) bool {
		return p.Kind == e.Kind && p.Subject == e.Subject && p.Began.Equal(e.Began)
	}
	if i := slices.IndexFunc(j.pending, same); i >= 0 {
		j.pending[i] = e
	} else {
		j.pending = append(j.pending, e)
	}
}

// Run saves events as they come and returns nil after ctx ended and what was
// left is saved, or an error telling how many were not.
func (j *Journal) Run(ctx context.Context) error {
	retry := minRetry
	for {
		select {
		case <-ctx.Done():
			return j.flush(ctx)
		case <-j.wake:
		}
		for first := true; j.saveAll(ctx, first) != nil; first = false {
			select {
			case <-ctx.Done():
				return j.flush(ctx)
			case <-time.After(retry):
				retry = min(2*retry, maxRetry)
			}
		}
		retry = minRetry
	}
}

func (j *Journal) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := j.saveAll(ctx, false); err != nil {
		return fmt.Errorf("save the last events: %w", err)
	}
	return nil
}

// saveAll saves what waits. On an error it waits on; tell logs the error.
func (j *Journal) saveAll(ctx context.Context, tell bool) error {
	j.mu.Lock()
	batch := j.pending
	j.pending, j.saving = nil, slices.Clone(batch) // the store writes IDs into batch
	j.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := j.save(ctx, batch)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.saving = nil
	if err == nil {
		j.adoptIDsLocked(batch)
		return nil
	}
	newer := j.pending
	j.pending = batch
	for _, e := range newer { // what changed meanwhile replaces what failed
		j.pendLocked(e)
	}
	if tell && ctx.Err() == nil { // or the last save follows
		j.log.Warn("events are not being saved", "events", len(j.pending), "error", err)
	}
	return err
}

// adoptIDsLocked takes over the IDs that the store has given.
func (j *Journal) adoptIDsLocked(saved []Event) {
	for _, s := range saved {
		key := eventKey{s.Kind, s.Subject}
		if e, ok := j.open[key]; ok && e.Began.Equal(s.Began) {
			e.ID = s.ID
			j.open[key] = e
		}
	}
}
