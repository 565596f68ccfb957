package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/seahow-uk/nodeprobe/core"
)

// SavePlugin stores what is to be remembered of a plugin, by its name.
func (s *Store) SavePlugin(ctx context.Context, p core.PluginRecord) error {
	if p.Name == "" {
		return errors.New("save plugin: it has no name")
	}
	row := pluginRow{
		Name: clean(p.Name, maxNameBytes), Disabled: number(p.Disabled), Problem: clean(p.Problem, 4*maxMessage),
		Restarts: p.Restarts, ChangedMS: millis(p.Changed),
	}
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		_, err := c.tx.NewInsert().Model(&row).On("CONFLICT (name) DO UPDATE").
			Set("disabled = EXCLUDED.disabled, problem = EXCLUDED.problem").
			Set("restarts = EXCLUDED.restarts, changed_ms = EXCLUDED.changed_ms").Exec(ctx)
		if err != nil {
			return fmt.Errorf("save plugin %s: %w", row.Name, err)
		}
		return nil
	})
}

// Plugins is what is remembered, by name.
func (s *Store) Plugins(ctx context.Context) ([]core.PluginRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []pluginRow
	if err := s.reader.NewSelect().Model(&rows).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read plugins: %w", err)
	}
	records := make([]core.PluginRecord, len(rows))
	for i, r := range rows {
		records[i] = core.PluginRecord{
			Name: r.Name, Disabled: r.Disabled != 0, Problem: r.Problem, Restarts: r.Restarts, Changed: timeOf(r.ChangedMS),
		}
	}
	return records, nil
}
