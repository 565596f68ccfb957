package store

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// maxUnverified reports are kept: anybody may send them.
	maxUnverified = 100
	// maxVerified is above any mesh; a key costs nothing, though.
	maxVerified = 2000
	// reportShare of MaxBytes is what reports may take, half of it one alone.
	reportShare = 4
	// maxReportJSON bounds what one report may inflate to, maxReportsJSON all of
	// them.
	maxReportJSON  = 8 << 20
	maxReportsJSON = 32 << 20
)

var errBadReport = errors.New("stored report is damaged")

// SaveReport stores r in place of the one before of the same sender, unless that
// was received later. The oldest go when there are too many: unverified ones
// first, and one of those is refused when it would cost one that is verified. What
// a known node proves to have measured also fills the matrix.
func (s *Store) SaveReport(ctx context.Context, r core.Report) error {
	body, size, err := packReport(r)
	if err != nil {
		return fmt.Errorf("save report of %s: %w", r.Node, err)
	}
	if most := s.o.MaxBytes / reportShare / 2; int64(len(body)) > most {
		return fmt.Errorf("save report of %s: packed it has %d bytes, at most %d are kept", r.Node, len(body), most)
	}
	row := reportRow{
		Node: r.Node.String(), Verified: number(r.Verified), ReceivedMS: r.Received.UnixMilli(), SentMS: r.Sent.UnixMilli(),
		Sender: clean(r.From, maxNameBytes), NodeCount: len(r.Nodes), PathCount: len(r.Paths), JSONBytes: size, Body: body,
	}
	var refused bool
	err = s.write(ctx, func(ctx context.Context, c *commit) error {
		_, err := c.tx.NewInsert().Model(&row).On("CONFLICT (node, verified) DO UPDATE").
			Set("received_ms = EXCLUDED.received_ms, sent_ms = EXCLUDED.sent_ms, sender = EXCLUDED.sender").
			Set("node_count = EXCLUDED.node_count, path_count = EXCLUDED.path_count").
			Set("json_bytes = EXCLUDED.json_bytes, body = EXCLUDED.body").
			Where("EXCLUDED.received_ms >= r.received_ms OR r.received_ms > ?", c.tooLate()).Exec(ctx)
		if err != nil {
			return fmt.Errorf("save report of %s: %w", row.Node, err)
		}
		if refused, err = c.boundReports(ctx, row); err != nil {
			return fmt.Errorf("bound reports: %w", err)
		}
		if !r.Verified || !c.w.admitted[r.Node] || len(r.Paths) == 0 {
			return nil
		}
		views := map[core.NodeID]view{}
		c.keepView(views, r.Node, ownPaths(r), r.Received)
		return c.saveViews(ctx, views)
	})
	if err == nil && refused {
		err = fmt.Errorf("save report of %s: %w", r.Node, errNoReportRoom)
	}
	return err
}

// ownPaths leaves out what the sender passes on of others.
func ownPaths(r core.Report) []core.PathStatus {
	return slices.DeleteFunc(slices.Clone(r.Paths), func(p core.PathStatus) bool { return !p.Source.IsZero() && p.Source != r.Node })
}

var errNoReportRoom = errors.New("reports of proven senders take all the room")

// boundReports drops the oldest reports but the one just saved, or that one: a
// stranger's must not cost one that is verified.
func (c *commit) boundReports(ctx context.Context, saved reportRow) (refused bool, err error) {
	var rows []struct {
		Node            string
		Verified        int
		Size, JSONBytes int64
	}
	err = c.tx.NewSelect().Model((*reportRow)(nil)).ColumnExpr("node, verified, json_bytes, LENGTH(body) AS size").
		OrderExpr("verified DESC, received_ms DESC").Scan(ctx, &rows)
	if err != nil {
		return false, err
	}
	size, inflated := int64(len(saved.Body)), saved.JSONBytes
	kept := map[int]int{saved.Verified: 1}
	most := map[int]int{0: maxUnverified, 1: maxVerified}
	for _, r := range rows {
		if r.Node == saved.Node && r.Verified == saved.Verified {
			continue
		}
		size, inflated = size+r.Size, inflated+r.JSONBytes
		kept[r.Verified]++
		if kept[r.Verified] <= most[r.Verified] && size <= c.w.s.o.MaxBytes/reportShare && inflated <= maxReportsJSON {
			continue
		}
		if r.Verified > saved.Verified {
			_, err := c.tx.NewDelete().Model((*reportRow)(nil)).Where("node = ? AND verified = ?", saved.Node, saved.Verified).Exec(ctx)
			return true, err
		}
		if _, err := c.tx.NewDelete().Model((*reportRow)(nil)).Where("node = ? AND verified = ?", r.Node, r.Verified).Exec(ctx); err != nil {
			return false, err
		}
		if r.Verified != 0 { // strangers cannot have it told
			c.onSuccess(func() { c.w.noteDropped(Drop{Kind: core.DropReports, Rows: 1}) })
		}
	}
	return false, nil
}

// Reports lists the newest report of each sender, newest first, and reads none
// of them: all together are too much to have in memory for a list.
func (s *Store) Reports(ctx context.Context) ([]core.ReportInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []reportRow
	if err := s.reader.NewSelect().Model(&rows).ExcludeColumn("json_bytes", "body").OrderExpr("received_ms DESC, node").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	infos := make([]core.ReportInfo, 0, len(rows))
	for _, r := range rows {
		id, err := core.ParseNodeID(r.Node)
		if err != nil {
			s.o.Log.Warn("a stored report is left out", "node", r.Node, "error", err)
			continue
		}
		infos = append(infos, core.ReportInfo{
			Node: id, Verified: r.Verified != 0, From: r.Sender, Sent: time.UnixMilli(r.SentMS), Received: time.UnixMilli(r.ReceivedMS),
			NodeCount: r.NodeCount, PathCount: r.PathCount,
		})
	}
	return infos, nil
}

// ReportsOf is what was sent under the id: at most one report that a key proves,
// and one that does not. One that is damaged is left out and logged.
func (s *Store) ReportsOf(ctx context.Context, id core.NodeID) ([]core.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []reportRow
	if err := s.reader.NewSelect().Model(&rows).Where("node = ?", id.String()).OrderExpr("received_ms DESC").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read reports of %s: %w", id, err)
	}
	reports := make([]core.Report, 0, len(rows))
	for _, row := range rows {
		r, err := unpackReport(row.Body)
		if err != nil {
			s.o.Log.Warn("a stored report is left out", "node", row.Node, "error", err)
			continue
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// packReport is r as deflated JSON, and the size of the JSON.
func packReport(r core.Report) (body []byte, size int64, err error) {
	r.Paths = slices.Clone(r.Paths)
	for i, p := range r.Paths { // JSON knows finite numbers only
		r.Paths[i].Metrics = slices.DeleteFunc(slices.Clone(p.Metrics), func(m core.Metric) bool {
			return math.IsNaN(m.Value) || math.IsInf(m.Value, 0)
		})
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, 0, err
	}
	if len(text) > maxReportJSON {
		return nil, 0, fmt.Errorf("it has %d bytes, at most %d are kept", len(text), maxReportJSON)
	}
	packed, err := pack(text)
	return packed, int64(len(text)), err
}

// unpackReport does not trust body: the file may be damaged.
func unpackReport(body []byte) (core.Report, error) {
	var r core.Report
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), maxReportJSON))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return core.Report{}, fmt.Errorf("%w: %w", errBadReport, err)
	}
	return r, nil
}
