package store

import (
	"context"

	"github.com/uptrace/bun"
)

// lostNumbers are as many codes as fit a few pages.
const lostNumbers = 500

// keepCodes keeps the numbers of codes that may be lost from being given to
// others: there may be results that have them.
func keepCodes(ctx context.Context, tx bun.Tx, gap *span) error {
	if gap == nil {
		return nil
	}
	first := max(gap.low>>3, 1)
	for n := first; n < min(gap.high>>3+1, first+lostNumbers, codes); n++ {
		_, err := tx.ExecContext(ctx, "INSERT INTO code (id, outcome, reason, message, used_hour) SELECT ?, '', '', 'lost', 0"+
			" WHERE NOT EXISTS (SELECT 1 FROM code WHERE id >> 3 = ?)", n<<3, n)
		if err != nil {
			return err
		}
	}
	return nil
}

// keepFrames lets the history of the matrix begin anew behind what may be lost:
// changes on top of a frame that is not there would be of another one. And it keeps
// the numbers of names that may be lost from being given to others.
func keepFrames(ctx context.Context, tx bun.Tx, gap *span) error {
	var rows []frameRow
	if err := tx.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil || len(rows) == 0 {
		return err
	}
	highest, silence := int64(0), []byte(nil)
	sources := map[int64]bool{}
	for _, r := range rows {
		_ = frames(r.Data, func(source int64, kind uint64, body []byte) {
			highest = max(highest, source)
			if !sources[source] {
				sources[source] = true
				silence = appendFrame(silence, source, frameSilent, nil)
			}
			if kind != frameKey {
				return
			}
			key, err := readKey(body)
			if err != nil {
				return
			}
			for _, l := range key.lists {
				highest = max(highest, l.probe, l.dests[len(l.dests)-1])
			}
		}) // what is not sound has no number that is asked for
	}
	if gap != nil && gap.low > rows[0].ID {
		if _, err := tx.NewInsert().Model(&frameRow{ID: gap.low, Data: silence}).Exec(ctx); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO matrix_name (id, name, used_hour) SELECT ?, '', ?"+
		" WHERE (SELECT COALESCE(MAX(id), 0) FROM matrix_name) < ?", highest, rows[len(rows)-1].ID>>seriesBits*slotMS/hourMS, highest)
	return err
}
