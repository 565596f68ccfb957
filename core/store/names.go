package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// nameCache numbers nodes and probes, for frames and views.
type nameCache struct {
	ids  map[string]int64
	used map[string]int64 // hour, as stored
	last int64
	// nodes are those that were asked for as such.
	nodes map[core.NodeID]nodeName
}

type nodeName struct {
	name   string
	number int64
}

// naming is the use of numbers in a transaction, in an hour.
type naming struct {
	c    *commit
	hour int64
	rows map[string]nameRow // to be stored
}

func (c *commit) names(hour int64) naming { return naming{c, hour, map[string]nameRow{}} }

func (p *naming) save(ctx context.Context) error {
	if len(p.rows) == 0 {
		return nil
	}
	rows := slices.SortedFunc(maps.Values(p.rows), func(a, b nameRow) int { return cmp.Compare(a.ID, b.ID) })
	for part := range slices.Chunk(rows, insertRows) {
		_, err := p.c.tx.NewInsert().Model(&part).On("CONFLICT (id) DO UPDATE").Set("used_hour = EXCLUDED.used_hour").Returning("").Exec(ctx)
		if err != nil {
			return fmt.Errorf("insert names: %w", err)
		}
	}
	return nil
}

// node is the number of a node, which is not forgotten in this hour.
func (p *naming) node(id core.NodeID) int64 {
	cache := &p.c.w.slots.names
	n, ok := cache.nodes[id]
	if !ok {
		n.name = id.String()
		n.number = p.name(n.name)
		cache.nodes[id] = n
		p.c.onFailure(func() { delete(cache.nodes, id) })
	}
	p.use(n.name, n.number)
	return n.number
}

// name is the number of a node or probe.
func (p *naming) name(name string) int64 {
	cache := &p.c.w.slots.names
	id, ok := cache.ids[name]
	if !ok {
		cache.last++
		id = cache.last
		cache.ids[name] = id
		p.c.onFailure(func() { delete(cache.ids, name) })
		p.use(name, id)
	}
	return id
}

func (p *naming) use(name string, id int64) {
	cache, hour := &p.c.w.slots.names, p.hour
	was, known := cache.used[name]
	if known && was >= hour {
		return
	}
	cache.used[name] = hour
	p.c.onFailure(func() { cache.used[name] = was })
	p.rows[name] = nameRow{ID: id, Name: name, UsedHour: hour}
}

// tidyNames forgets the names that no frame and no view has any more.
func (w *writer) tidyNames(ctx context.Context) error {
	var slot, view int64
	err := w.db.NewSelect().Model((*frameRow)(nil)).ColumnExpr("COALESCE(MIN(id), 0) >> ?", seriesBits).Scan(ctx, &slot)
	if err == nil {
		err = w.db.NewSelect().Model((*viewRow)(nil)).ColumnExpr("COALESCE(MIN(at_ms), 0)").Scan(ctx, &view)
	}
	if err != nil || slot == 0 {
		return err
	}
	hour := earlier(slot*slotMS, view) / hourMS
	if _, err := w.db.NewDelete().Model((*nameRow)(nil)).Where("used_hour < ?", hour).Exec(ctx); err != nil {
		return err
	}
	cache := &w.slots.names
	maps.DeleteFunc(cache.nodes, func(_ core.NodeID, n nodeName) bool { return cache.used[n.name] < hour })
	maps.DeleteFunc(cache.ids, func(name string, _ int64) bool { return cache.used[name] < hour })
	maps.DeleteFunc(cache.used, func(_ string, used int64) bool { return used < hour })
	return nil
}

// numberedNode is a node that has a number.
type numberedNode struct {
	number int64
	id     core.NodeID
}

// nodesByNumber is the nodes among the names, rising.
func nodesByNumber(ctx context.Context, db bun.IDB) ([]numberedNode, error) {
	var names []nameRow
	if err := db.NewSelect().Model(&names).Column("id", "name").Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	nodes := make([]numberedNode, 0, len(names))
	for _, n := range names {
		if id, err := core.ParseNodeID(n.Name); err == nil {
			nodes = append(nodes, numberedNode{n.ID, id})
		}
	}
	return nodes, nil
}
