-- Times are integers since 1970 UTC, units are in the names, NULL is "not
-- measured". Tables that grow are clustered by time, so that trimming frees
-- whole pages.

CREATE TABLE node (
  id            TEXT    NOT NULL PRIMARY KEY,
  key_sha256    TEXT    NOT NULL,
  proven        INTEGER NOT NULL,
  fqdn          TEXT    NOT NULL,
  ip            TEXT    NOT NULL,
  endpoints     TEXT    NOT NULL, -- JSON array of "host:port"
  version       TEXT    NOT NULL,
  boot_id       TEXT    NOT NULL,
  discovered_by TEXT    NOT NULL,
  seed          INTEGER NOT NULL,
  state         TEXT    NOT NULL,
  reason        TEXT    NOT NULL,
  message       TEXT    NOT NULL,
  since_ms      INTEGER,
  first_seen_ms INTEGER,
  last_seen_ms  INTEGER,
  failures      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A series is what one probe measures at one node. metric '' is the run itself:
-- its RTT, in seconds. A value is tail.scaled_value / scale, in the unit that
-- ends the metric's name.
CREATE TABLE series (
  id     INTEGER NOT NULL PRIMARY KEY,
  node   TEXT    NOT NULL,
  probe  TEXT    NOT NULL,
  metric TEXT    NOT NULL,
  scale  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX series_of ON series (node, probe, metric);

-- status % 8 is the outcome: 1 success, 2 failure, 3 unsupported, 4 plugin_error.
CREATE TABLE code (
  id      INTEGER NOT NULL PRIMARY KEY,
  outcome TEXT    NOT NULL,
  reason  TEXT    NOT NULL,
  message TEXT    NOT NULL
) STRICT;
INSERT INTO code (id, outcome, reason, message) VALUES
  (1, 'success', '', ''), (2, 'failure', '', ''), (3, 'unsupported', '', ''), (4, 'plugin_error', '', '');

CREATE TABLE tail (
  ts_ms        INTEGER NOT NULL,
  series_id    INTEGER NOT NULL,
  scaled_value INTEGER,
  status       INTEGER NOT NULL, -- code.id
  PRIMARY KEY (ts_ms, series_id)
) STRICT, WITHOUT ROWID;

-- The newest run of each series with metric ''.
CREATE TABLE latest (
  series_id INTEGER NOT NULL PRIMARY KEY,
  ts_ms     INTEGER NOT NULL,
  rtt_us    INTEGER,
  outcome   INTEGER NOT NULL,
  reason    TEXT    NOT NULL,
  message   TEXT    NOT NULL,
  metrics   TEXT    NOT NULL -- JSON object, '' when there are none
) STRICT;

-- The newest row of the matrix of each peer, as it told it: the latest result of
-- every pair whose source is that peer, packed (view.go).
CREATE TABLE pair_latest (
  source TEXT    NOT NULL PRIMARY KEY,
  at_ms  INTEGER NOT NULL,
  pairs  INTEGER NOT NULL,
  packed BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  kind     TEXT    NOT NULL,
  subject  TEXT    NOT NULL,
  message  TEXT    NOT NULL,
  began_us INTEGER NOT NULL,
  ended_us INTEGER
) STRICT;
CREATE UNIQUE INDEX event_of ON event (kind, subject, began_us);
CREATE UNIQUE INDEX event_open ON event (kind, subject) WHERE ended_us IS NULL;
CREATE INDEX event_began ON event (began_us);

CREATE TABLE plugin (
  name       TEXT    NOT NULL PRIMARY KEY,
  disabled   INTEGER NOT NULL,
  problem    TEXT    NOT NULL,
  restarts   INTEGER NOT NULL,
  changed_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The newest report of each sender.
CREATE TABLE report (
  node        TEXT    NOT NULL,
  verified    INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  sent_ms     INTEGER NOT NULL,
  sender      TEXT    NOT NULL, -- address
  node_count  INTEGER NOT NULL,
  path_count  INTEGER NOT NULL,
  json_bytes  INTEGER NOT NULL, -- of body, inflated
  body        BLOB    NOT NULL, -- JSON, deflated
  PRIMARY KEY (node, verified)
) STRICT;

-- AUTOINCREMENT: a sequence number is never given twice, even when the outbox
-- was empty in between.
CREATE TABLE outbox (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT    NOT NULL,
  at_ms   INTEGER NOT NULL,
  payload BLOB    NOT NULL
) STRICT;

CREATE TABLE cursors (
  reporter  TEXT    NOT NULL PRIMARY KEY,
  acked_seq INTEGER NOT NULL,
  wants     TEXT    NOT NULL -- kinds of records, separated by spaces
) STRICT, WITHOUT ROWID;

-- For people with the sqlite3 shell.
CREATE VIEW nodes AS
SELECT id, fqdn, ip, discovered_by,
  strftime('%Y-%m-%dT%H:%M:%fZ', first_seen_ms / 1000.0, 'unixepoch') AS first_seen,
  strftime('%Y-%m-%dT%H:%M:%fZ', last_seen_ms / 1000.0, 'unixepoch') AS last_seen,
  state IN ('alive', 'suspect') AS is_active,
  state, reason, message, version, endpoints
FROM node;

CREATE VIEW poll_results AS
SELECT s.node AS node_id, n.fqdn, s.probe,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  c.outcome, c.reason, c.message, t.scaled_value AS rtt_us, t.ts_ms
FROM tail t
JOIN series s ON s.id = t.series_id AND s.metric = ''
LEFT JOIN code c ON c.id = t.status
LEFT JOIN node n ON n.id = s.node;

CREATE VIEW metric_results AS
SELECT s.node AS node_id, n.fqdn, s.probe, s.metric,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  t.scaled_value * 1.0 / s.scale AS value, t.ts_ms
FROM tail t
JOIN series s ON s.id = t.series_id AND s.metric <> ''
LEFT JOIN node n ON n.id = s.node;
