package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// SaveNodes stores nodes by their id.
func (s *Store) SaveNodes(ctx context.Context, nodes []core.Node) error {
	rows := make([]nodeRow, 0, len(nodes))
	at := map[core.NodeID]int{} // one statement must not meet a row twice
	for _, n := range nodes {
		if n.ID.IsZero() {
			return fmt.Errorf("save node %q: it has no id", n.Name())
		}
		if i, ok := at[n.ID]; ok {
			rows[i] = rowOfNode(n)
			continue
		}
		at[n.ID] = len(rows)
		rows = append(rows, rowOfNode(n))
	}
	if len(rows) == 0 {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		_, err := c.tx.NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE").
			Set("key_sha256 = EXCLUDED.key_sha256, proven = EXCLUDED.proven, fqdn = EXCLUDED.fqdn, ip = EXCLUDED.ip").
			Set("endpoints = EXCLUDED.endpoints, version = EXCLUDED.version, boot_id = EXCLUDED.boot_id").
			Set("discovered_by = EXCLUDED.discovered_by, seed = EXCLUDED.seed, state = EXCLUDED.state").
			Set("reason = EXCLUDED.reason, message = EXCLUDED.message, since_ms = EXCLUDED.since_ms").
			Set("first_seen_ms = EXCLUDED.first_seen_ms, last_seen_ms = EXCLUDED.last_seen_ms, failures = EXCLUDED.failures").
			Exec(ctx)
		if err != nil {
			return fmt.Errorf("save nodes: %w", err)
		}
		c.onSuccess(func() {
			for id := range at {
				c.w.admitted[id] = true
			}
		})
		return nil
	})
}

// DeleteNodes forgets nodes, what is latest about them, their documents and what they told. Their
// results stay until they are too old.
func (s *Store) DeleteNodes(ctx context.Context, ids []core.NodeID) error {
	if len(ids) == 0 {
		return nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		latest := c.tx.NewDelete().Model((*latestRow)(nil)).Where("series_id IN (?)",
			c.tx.NewSelect().Model((*seriesRow)(nil)).Column("id").Where("node IN (?)", bun.List(names)))
		views := c.tx.NewDelete().Model((*viewRow)(nil)).Where("source IN (?)", bun.List(names))
		nodes := c.tx.NewDelete().Model((*nodeRow)(nil)).Where("id IN (?)", bun.List(names))
		for _, q := range []*bun.DeleteQuery{latest, views, nodes} {
			if _, err := q.Exec(ctx); err != nil {
				return fmt.Errorf("delete nodes: %w", err)
			}
		}
		if err := c.dropDocuments(ctx, names); err != nil {
			return fmt.Errorf("delete documents: %w", err)
		}
		c.onSuccess(func() {
			for _, id := range ids {
				delete(c.w.admitted, id)
			}
		})
		return nil
	})
}

// Nodes is every node stored, by id. One that cannot be read is left out and
// logged: it will be discovered again.
func (s *Store) Nodes(ctx context.Context) ([]core.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []nodeRow
	if err := s.reader.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	nodes := make([]core.Node, 0, len(rows))
	for _, r := range rows {
		n, err := r.node()
		if err != nil {
			s.o.Log.Warn("a stored node is left out", "id", r.ID, "error", err)
			continue
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func rowOfNode(n core.Node) nodeRow {
	ends := make([]string, 0, len(n.Endpoints))
	for _, e := range n.Endpoints {
		ends = append(ends, clean(e.String(), maxMessage))
	}
	endpoints, _ := json.Marshal(ends) // cannot fail for strings
	r := nodeRow{
		ID: n.ID.String(), KeySHA256: n.Key.String(), Proven: number(n.Proven), FQDN: clean(n.FQDN, maxMessage),
		Endpoints: string(endpoints), Version: clean(n.Version, maxNameBytes), BootID: clean(n.BootID, maxNameBytes),
		DiscoveredBy: clean(n.DiscoveredBy, maxNameBytes), Seed: number(n.Seed),
		State: clean(string(n.State), maxNameBytes), Reason: clean(string(n.Reason), maxNameBytes), Message: clean(n.Message, maxMessage),
		SinceMS: millis(n.Since), FirstSeenMS: millis(n.FirstSeen), LastSeenMS: millis(n.LastSeen), Failures: n.Failures,
	}
	if ip := n.IP(); ip.IsValid() {
		r.IP = ip.String()
	}
	return r
}

func (r nodeRow) node() (core.Node, error) {
	n := core.Node{
		Proven: r.Proven != 0, FQDN: r.FQDN, Version: r.Version, BootID: r.BootID, DiscoveredBy: r.DiscoveredBy, Seed: r.Seed != 0,
		State: core.State(r.State), Reason: core.Reason(r.Reason), Message: r.Message,
		Since: timeOf(r.SinceMS), FirstSeen: timeOf(r.FirstSeenMS), LastSeen: timeOf(r.LastSeenMS), Failures: r.Failures,
	}
	var err error
	if n.ID, err = core.ParseNodeID(r.ID); err != nil {
		return n, err
	}
	if r.KeySHA256 != "" {
		if n.Key, err = core.ParseKeyHash(r.KeySHA256); err != nil {
			return n, err
		}
	}
	var ends []string
	if err := json.Unmarshal([]byte(r.Endpoints), &ends); err != nil {
		return n, fmt.Errorf("endpoints: %w", err)
	}
	for _, s := range ends {
		e, err := core.ParseEndpoint(s, core.DefaultPort)
		if err != nil {
			return n, err
		}
		n.Endpoints = append(n.Endpoints, e)
	}
	return n, nil
}

// loadAdmitted reads the ids of the nodes that are known.
func loadAdmitted(ctx context.Context, db bun.IDB) (map[core.NodeID]bool, error) {
	var ids []string
	if err := db.NewSelect().Model((*nodeRow)(nil)).Column("id").Scan(ctx, &ids); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	admitted := make(map[core.NodeID]bool, len(ids))
	for _, s := range ids {
		if id, err := core.ParseNodeID(s); err == nil {
			admitted[id] = true
		}
	}
	return admitted, nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// millis is nil for the zero time.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

func timeOf(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms)
}
