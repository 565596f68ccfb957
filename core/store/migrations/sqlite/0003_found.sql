-- source is the probe that found it; empty for what core itself tells of.
ALTER TABLE event ADD COLUMN source TEXT NOT NULL DEFAULT '';

-- Facts with a structure, each version once. id says what counts as another
-- version; body is JSON, deflated. The newest one of a path and name holds now.
CREATE TABLE document (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    node  TEXT    NOT NULL,
    probe TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    id    TEXT    NOT NULL,
    at_ms INTEGER NOT NULL,
    body  BLOB    NOT NULL
) STRICT;

CREATE INDEX document_path ON document (node, probe, name, seq);
