-- Results that are no longer new are packed: an hour of a series becomes one row
-- of chunk, a day of hours one row of rollup. chunk.go and rollup.go say how.

CREATE TABLE chunk (
  id   INTEGER NOT NULL PRIMARY KEY, -- hours since 1970 << 20 | series.id
  n    INTEGER NOT NULL,             -- runs, or values of a metric
  data BLOB    NOT NULL
) STRICT;

CREATE TABLE rollup (
  id   INTEGER NOT NULL PRIMARY KEY, -- days since 1970 << 20 | series.id
  data BLOB    NOT NULL
) STRICT;

-- How far packing has come, in hours since 1970: everything before rolled_hour
-- is in rollup; before raw_hour it is only there.
CREATE TABLE progress (
  name TEXT    NOT NULL PRIMARY KEY,
  hour INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO progress (name, hour) VALUES ('rolled_hour', 0), ('raw_hour', 0);

-- The newest hour that has results with this code: it can go when they are gone.
ALTER TABLE code ADD COLUMN used_hour INTEGER NOT NULL DEFAULT 0;
UPDATE code SET used_hour = (SELECT COALESCE(MAX(ts_ms), 0) / 3600000 FROM tail);

-- A value out of range is not stored any more.
DELETE FROM tail WHERE scaled_value IS NULL AND series_id IN (SELECT id FROM series WHERE metric <> '');

-- With a rowid, what is longer than a row of an index may be needs one overflow
-- page less: 340 KB in a mesh of 100.
CREATE TABLE pair_rowid (
  source TEXT    NOT NULL PRIMARY KEY,
  at_ms  INTEGER NOT NULL,
  pairs  INTEGER NOT NULL,
  packed BLOB    NOT NULL
) STRICT;
INSERT INTO pair_rowid SELECT source, at_ms, pairs, packed FROM pair_latest;
DROP TABLE pair_latest;
ALTER TABLE pair_rowid RENAME TO pair_latest;

-- For the views: SQL cannot read a byte of a BLOB as a number.
CREATE TABLE byteval (
  byte  BLOB    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO byteval (byte, value)
WITH RECURSIVE b(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM b WHERE value < 255)
SELECT unhex(printf('%02x', value)), value FROM b;

-- The runs in chunks, i counted from 0. Each step reads a byte and does what the
-- number that ended before it says (v, when done); field is what that number is:
-- -1 none, 0 begin, 1 mean distance, 2 distance, 3 value, 4 status, 5 its value.
CREATE VIEW packed_run AS
WITH RECURSIVE t(chunk, pos, field, v, shift, done, ts_ms, step, last, other, status, scaled_value, i, out) AS (
  SELECT c.id, 1, -1, 0, 0, 1, (c.id >> 20) * 3600000, 0, 0, 0, NULL, NULL, 0, 0
  FROM chunk c JOIN series s ON s.id = c.id & 1048575 AND s.metric = ''
  UNION ALL
  SELECT chunk, pos + 1,
    CASE WHEN NOT done THEN field
      WHEN field = -1 THEN 0
      WHEN field = 0 THEN 1
      WHEN field IN (1, 2) THEN 3
      WHEN field = 3 AND v = 0 THEN 4
      WHEN field = 4 THEN 5
      ELSE 2 END,
    CASE WHEN done THEN b.value & 127 ELSE v | ((b.value & 127) << shift) END,
    CASE WHEN done THEN 7 ELSE shift + 7 END,
    b.value < 128,
    CASE WHEN NOT done THEN ts_ms
      WHEN field = 0 THEN ts_ms + v
      WHEN field = 2 THEN ts_ms + step + CASE WHEN v & 1 THEN -1 - (v >> 1) ELSE v >> 1 END
      ELSE ts_ms END,
    CASE WHEN done AND field = 1 THEN v ELSE step END,
    CASE WHEN NOT done THEN last
      WHEN field = 3 AND v > 2 THEN last + CASE WHEN v & 1 THEN (v - 3) >> 1 ELSE -1 - ((v - 3) >> 1) END
      WHEN field = 5 AND v > 0 THEN last + CASE WHEN v & 1 THEN (v - 1) >> 1 ELSE -1 - ((v - 1) >> 1) END
      ELSE last END,
    CASE WHEN done AND field = 4 THEN v ELSE other END,
    CASE WHEN field = 5 OR v = 2 THEN other ELSE 1 END,
    CASE WHEN field = 3 AND v > 2 THEN last + CASE WHEN v & 1 THEN (v - 3) >> 1 ELSE -1 - ((v - 3) >> 1) END
      WHEN field = 5 AND v > 0 THEN last + CASE WHEN v & 1 THEN (v - 1) >> 1 ELSE -1 - ((v - 1) >> 1) END END,
    i + out,
    done AND (field = 5 OR field = 3 AND v > 0)
  FROM t JOIN chunk c ON c.id = t.chunk LEFT JOIN byteval b ON b.byte = substr(c.data, pos, 1)
  WHERE pos <= length(c.data) + 1
)
SELECT chunk, chunk & 1048575 AS series_id, i, ts_ms, status, scaled_value FROM t WHERE out;

-- The values of metrics in chunks: value i belongs to run i of the same path and
-- hour. field: -1 none, 0 value, 1 how often; again counts what is left of that.
CREATE VIEW packed_value AS
WITH RECURSIVE t(chunk, pos, field, v, shift, done, last, scaled_value, i, out, again) AS (
  SELECT c.id, 1, -1, 0, 0, 1, 0, NULL, 0, 0, 0
  FROM chunk c JOIN series s ON s.id = c.id & 1048575 AND s.metric <> ''
  UNION ALL
  SELECT chunk, pos + (again = 0),
    CASE WHEN again OR NOT done THEN field WHEN field = 0 AND v = 0 THEN 1 ELSE 0 END,
    CASE WHEN again THEN v WHEN done THEN b.value & 127 ELSE v | ((b.value & 127) << shift) END,
    CASE WHEN again THEN shift WHEN done THEN 7 ELSE shift + 7 END,
    CASE WHEN again THEN done ELSE b.value < 128 END,
    CASE WHEN done AND field = 0 AND v > 1 AND NOT again THEN last + CASE WHEN v & 1 THEN -1 - ((v - 2) >> 1) ELSE (v - 2) >> 1 END
      ELSE last END,
    CASE WHEN again OR NOT done OR field <> 0 OR v = 0 THEN scaled_value
      WHEN v > 1 THEN last + CASE WHEN v & 1 THEN -1 - ((v - 2) >> 1) ELSE (v - 2) >> 1 END END,
    i + out,
    again OR done AND (field = 0 AND v > 0 OR field = 1),
    CASE WHEN again THEN again - 1 WHEN done AND field = 1 THEN min(v, 3600000) - 1 ELSE 0 END
  FROM t JOIN chunk c ON c.id = t.chunk LEFT JOIN byteval b ON b.byte = substr(c.data, pos, 1)
  WHERE again OR pos <= length(c.data) + 1
)
SELECT chunk, chunk & 1048575 AS series_id, i, scaled_value FROM t WHERE out AND scaled_value IS NOT NULL;

DROP VIEW poll_results;
CREATE VIEW poll_results AS
SELECT s.node AS node_id, n.fqdn, s.probe,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  c.outcome, c.reason, c.message, t.scaled_value AS rtt_us, t.ts_ms
FROM (
  SELECT series_id, ts_ms, status, scaled_value FROM tail
  UNION ALL
  SELECT series_id, ts_ms, status, scaled_value FROM packed_run
) t
JOIN series s ON s.id = t.series_id AND s.metric = ''
LEFT JOIN code c ON c.id = t.status
LEFT JOIN node n ON n.id = s.node;

DROP VIEW metric_results;
CREATE VIEW metric_results AS
SELECT s.node AS node_id, n.fqdn, s.probe, s.metric,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  t.scaled_value * 1.0 / s.scale AS value, t.ts_ms
FROM (
  SELECT series_id, ts_ms, scaled_value FROM tail
  UNION ALL
  SELECT v.series_id, r.ts_ms, v.scaled_value
  FROM packed_value v
  JOIN series m ON m.id = v.series_id
  JOIN series p ON p.node = m.node AND p.probe = m.probe AND p.metric = ''
  JOIN packed_run r ON r.chunk = v.chunk - m.id + p.id AND r.i = v.i
) t
JOIN series s ON s.id = t.series_id AND s.metric <> ''
LEFT JOIN node n ON n.id = s.node;
