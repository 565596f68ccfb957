package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// commit is one transaction under way. What it means for the writer's memory
// is done when it is durable, or undone when it failed.
type commit struct {
	w    *writer
	tx   bun.Tx
	now  time.Time
	then []func() // on success
	// adds: nothing but the tail has changed, and only grown.
	adds bool
	undo []func() // on failure, last one first
}

// maxAhead is how far ahead a time in the database may be. What is further was
// written before the clock was set back, and would be the newest for as long.
const maxAhead = time.Minute

// busyPatience with another program that writes to the database, in steps.
const (
	busyPatience = 5 * time.Second
	busyStep     = 200 * time.Millisecond
)

// tooLate is the first time that makes way for an earlier one, ms.
func (c *commit) tooLate() int64 { return c.now.Add(maxAhead).UnixMilli() }

func (c *commit) onSuccess(f func()) { c.then = append(c.then, f) }
func (c *commit) onFailure(f func()) { c.undo = append(c.undo, f) }

// commit writes the group in one transaction.
func (w *writer) commit(ctx context.Context, group []*request) error {
	do := func(ctx context.Context, c *commit) error { return c.write(ctx, group) }
	err := w.inTx(ctx, do)
	if errors.Is(err, errRenewed) {
		if err = w.reload(ctx); err == nil {
			err = w.inTx(ctx, do)
		}
	}
	return err
}

// bounded is ctx for as long as the database may take.
func (w *writer) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, w.patience)
}

// errRenewed: the connection is another one than that which the writer knows all
// from. It has to read that again.
var errRenewed = errors.New("the connection to the database is a new one")

// inTx has do write in a transaction: all of it or nothing. Errors: errRenewed,
// ErrPinned.
func (w *writer) inTx(ctx context.Context, do func(context.Context, *commit) error) (err error) {
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	if err := w.s.db.room(ctx); err != nil {
		return err
	}
	tx, err := w.beginTx(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if w.session != w.s.db.session() {
		return errors.Join(errRenewed, tx.Rollback())
	}
	c := &commit{w: w, tx: tx, now: w.s.o.Now()}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // of a transaction that has ended anyway
			for _, f := range slices.Backward(c.undo) {
				f()
			}
		}
	}()
	if err = do(ctx, c); err != nil {
		return err
	}
	if err = tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if !c.adds {
		clear(w.edges)
	}
	for _, f := range c.then {
		f()
	}
	return nil
}

// beginTx waits for another program that writes, some seconds, and not while the
// store is being closed.
func (w *writer) beginTx(ctx context.Context) (bun.Tx, error) {
	for end := time.Now().Add(busyPatience); ; {
		tx, err := w.db.BeginTx(ctx, nil)
		if err == nil || !busy(err) || time.Now().After(end) || w.s.ending() {
			return tx, err
		}
	}
}

func (c *commit) write(ctx context.Context, group []*request) error {
	var results []core.Result
	var events []core.Event
	c.adds = true
	for _, r := range group {
		if r.do != nil {
			c.adds = false
			if err := r.do(ctx, c); err != nil {
				return err
			}
		}
		if err := c.saveEvents(ctx, r.events); err != nil {
			return err
		}
		results, events = join(results, r.results), join(events, r.events)
	}
	if err := c.saveResults(ctx, results); err != nil {
		return err
	}
	if err := c.saveDocuments(ctx, results); err != nil {
		return err
	}
	if c.w.s.o.Records == nil || len(results)+len(events) == 0 {
		return nil
	}
	return c.saveRecords(ctx, c.w.s.o.Records(results, events))
}

// join appends without a copy when there is only one part.
func join[T any](all, part []T) []T {
	if len(all) == 0 {
		return part[:len(part):len(part)]
	}
	return append(all, part...)
}
