package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

//go:embed migrations/*/*.sql
var migrationFiles embed.FS

const migrationTable = "schema_migrations"

// errNewerSchema: going on could destroy what a later version wrote.
var errNewerSchema = errors.New("the database was written by a newer version of nodeprobe")

// migrateUp brings the schema up to date. The caller holds the lock of the file:
// bun's own lock is a row, which would survive a crash.
func migrateUp(ctx context.Context, db *bun.DB, files fs.FS, dir string) error {
	migrations, known, err := loadMigrations(files, dir)
	if err != nil {
		return err
	}
	// The upsert makes it harmless that bun marks what the transaction of the
	// migration has marked already.
	m := migrate.NewMigrator(db, migrations, migrate.WithMarkAppliedOnSuccess(true), migrate.WithUpsert(true),
		migrate.WithTableName(migrationTable), migrate.WithLocksTableName("schema_locks"))
	if err := m.Init(ctx); err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	applied, err := m.AppliedMigrations(ctx)
	if err != nil {
		return fmt.Errorf("read applied migrations: %w", err)
	}
	for _, a := range applied {
		if !known[a.Name] {
			return fmt.Errorf("%w (migration %s is not known here)", errNewerSchema, a.Name)
		}
	}
	if _, err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// loadMigrations reads files named NUMBER_COMMENT.sql.
func loadMigrations(files fs.FS, dir string) (*migrate.Migrations, map[string]bool, error) {
	names, err := fs.Glob(files, dir+"/*.sql")
	if err != nil {
		return nil, nil, err
	}
	all, known := migrate.NewMigrations(), map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, nil, err
		}
		number, comment, _ := strings.Cut(strings.TrimSuffix(name[len(dir)+1:], ".sql"), "_")
		all.Add(migrate.Migration{Name: number, Comment: comment, Up: applySQL(string(text))})
		known[number] = true
	}
	return all, known, nil
}

// applySQL runs a migration and marks it as applied in one transaction: killed
// at any moment, it has happened or it has not.
func applySQL(text string) func(context.Context, *migrate.Migrator, *migrate.Migration) error {
	return func(ctx context.Context, m *migrate.Migrator, mig *migrate.Migration) error {
		return m.DB().RunInTx(ctx, &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
			_, err := tx.NewRaw("INSERT INTO ? (name, group_id, migrated_at) VALUES (?, ?, ?)",
				bun.Ident(migrationTable), mig.Name, mig.GroupID, time.Now().UTC()).Exec(ctx)
			return err
		})
	}
}
