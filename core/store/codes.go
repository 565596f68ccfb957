package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// codeCache numbers what the status of a result stands for: an outcome with its
// reason and message.
type codeCache struct {
	ids  map[codeKey]int64
	used map[int64]int64 // by id the newest hour with results that have it
	free []int64         // numbers to give, the next one last
}

type codeKey struct {
	outcome         core.Outcome
	reason, message string
}

const (
	// codes is how many there may be. Their ids are number<<3 | outcome and fit
	// two bytes, the outcome can be read without the table.
	codes = 4000
	// fewCodes left is when those that no result uses any more are dropped.
	fewCodes = codes / 4
)

func loadCodes(ctx context.Context, db bun.IDB) (codeCache, error) {
	cache := codeCache{ids: map[codeKey]int64{}, used: map[int64]int64{}}
	var rows []codeRow
	if err := db.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return cache, fmt.Errorf("read codes: %w", err)
	}
	used := make([]bool, codes)
	for _, r := range rows {
		cache.used[r.ID] = r.UsedHour
		cache.ids[codeKey{core.Outcome(r.ID & 7), r.Reason, r.Message}] = r.ID
		if n := r.ID >> 3; n >= 0 && n < codes {
			used[n] = true
		}
	}
	for n := int64(codes - 1); n > 0; n-- {
		if !used[n] {
			cache.free = append(cache.free, n)
		}
	}
	return cache, nil
}

// code is the id for k in results of an hour. When the numbers run out, the
// message is left out, then the reason: the outcome always has one.
func (c *commit) code(k codeKey, hour int64, rows *resultRows) int64 {
	cache := &c.w.codes
	for _, k := range []codeKey{k, {k.outcome, k.reason, ""}, {k.outcome, "", ""}} {
		id, ok := cache.ids[k]
		n := len(cache.free)
		switch {
		case ok && (id < 8 || cache.used[id] >= hour):
			return id
		case ok:
		case n > 0:
			id = cache.free[n-1]<<3 | int64(k.outcome)
			cache.free = cache.free[:n-1]
			cache.ids[k] = id
			c.onFailure(func() {
				delete(cache.ids, k)
				cache.free = append(cache.free, id>>3)
			})
		default:
			continue
		}
		was := cache.used[id]
		cache.used[id] = hour
		c.onFailure(func() { cache.used[id] = was })
		rows.codes[id] = codeRow{ID: id, Outcome: k.outcome.String(), Reason: k.reason, Message: k.message, UsedHour: hour}
		return id
	}
	return int64(k.outcome)
}

func (c *commit) saveCodes(ctx context.Context, codes map[int64]codeRow) error {
	if len(codes) == 0 {
		return nil
	}
	rows := slices.Collect(maps.Values(codes))
	_, err := c.tx.NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE").Set("used_hour = EXCLUDED.used_hour").Returning("").Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert codes: %w", err)
	}
	return nil
}
