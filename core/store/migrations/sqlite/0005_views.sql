-- The views unpack chunk by chunk now, so that a filter on node, probe, metric or
-- hour spares what it does not ask for: a node of 100 in a hundredth of the time.

DROP VIEW metric_results;
DROP VIEW poll_results;
DROP VIEW packed_value;
DROP VIEW packed_run;

-- The runs of each chunk: a JSON array of texts that have ts_ms in 13 characters,
-- status in 6, scaled_value in 20 or blank, so that run i can be found. A step reads a byte and does what the number that ended before it says (v, when done);
-- field is what that number is: -1 none, 0 begin, 1 mean distance, 2 distance,
-- 3 value, 4 status, 5 its value.
CREATE VIEW packed_run AS
SELECT c.id AS chunk, s.id AS series_id, s.node, s.probe, s.metric, s.scale, (
  WITH RECURSIVE t(pos, field, v, shift, done, ts_ms, step, last, other, status, scaled_value, out) AS (
    SELECT 1, -1, 0, 0, 1, (c.id >> 20) * 3600000, 0, 0, 0, NULL, NULL, 0
    UNION ALL
    SELECT pos + 1,
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
      done AND (field = 5 OR field = 3 AND v > 0)
    FROM t LEFT JOIN byteval b ON b.byte = substr(c.data, pos, 1)
    WHERE pos <= length(c.data) + 1
  )
  SELECT json_group_array(printf('%013d%06d%20s', ts_ms, min(status, 999999), scaled_value)) FROM t WHERE out
) AS runs
FROM chunk c JOIN series s ON s.id = c.id & 1048575 AND s.metric = '';

-- The values of each chunk of a metric, a JSON array: value i belongs to run i of
-- the same path and hour. field: -1 none, 0 value, 1 how often; again counts what
-- is left of that. No more runs than milliseconds can begin in an hour.
CREATE VIEW packed_value AS
SELECT c.id AS chunk, s.id AS series_id, s.node, s.probe, s.metric, s.scale, (
  WITH RECURSIVE t(pos, field, v, shift, done, last, scaled_value, i, out, again) AS (
    SELECT 1, -1, 0, 0, 1, 0, NULL, 0, 0, 0
    UNION ALL
    SELECT pos + (again = 0),
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
    FROM t LEFT JOIN byteval b ON b.byte = substr(c.data, pos, 1)
    WHERE (again OR pos <= length(c.data) + 1) AND i < 3600000
  )
  SELECT json_group_array(scaled_value) FROM t WHERE out
) AS scaled_values
FROM chunk c JOIN series s ON s.id = c.id & 1048575 AND s.metric <> '';

CREATE VIEW poll_results AS
SELECT t.node AS node_id, n.fqdn, t.probe,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  c.outcome, c.reason, c.message, t.scaled_value AS rtt_us, t.ts_ms, t.hour
FROM (
  SELECT node, probe, strftime('%Y-%m-%dT%H', ts_ms / 1000, 'unixepoch') AS hour, ts_ms, status, scaled_value
  FROM tail JOIN series s ON s.id = series_id AND s.metric = ''
  UNION ALL
  SELECT node, probe, strftime('%Y-%m-%dT%H', (chunk >> 20) * 3600, 'unixepoch'),
    CAST(substr(r.value, 1, 13) AS INTEGER), CAST(substr(r.value, 14, 6) AS INTEGER), CAST(NULLIF(trim(substr(r.value, 20)), '') AS INTEGER)
  FROM packed_run, json_each(runs) r
) t
LEFT JOIN code c ON c.id = t.status
LEFT JOIN node n ON n.id = t.node;

-- json_array has the runs unpacked once for all their values; 42 is what a run
-- takes with its quotes and comma.
CREATE VIEW metric_results AS
SELECT t.node AS node_id, n.fqdn, t.probe, t.metric,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ts_ms / 1000.0, 'unixepoch') AS at,
  t.scaled_value * 1.0 / t.scale AS value, t.ts_ms, t.hour
FROM (
  SELECT node, probe, metric, scale, strftime('%Y-%m-%dT%H', ts_ms / 1000, 'unixepoch') AS hour, ts_ms, scaled_value
  FROM tail JOIN series s ON s.id = series_id AND s.metric <> ''
  UNION ALL
  SELECT v.node, v.probe, v.metric, v.scale, strftime('%Y-%m-%dT%H', (v.chunk >> 20) * 3600, 'unixepoch'),
    CAST(substr(CAST(r.value AS BLOB), 3 + 42 * x.key, 13) AS INTEGER), x.value
  FROM packed_value v
  JOIN series p ON p.node = v.node AND p.probe = v.probe AND p.metric = ''
  JOIN packed_run q ON q.chunk = v.chunk - v.series_id + p.id
  JOIN json_each(json_array(q.runs)) r
  JOIN json_each(v.scaled_values) x ON x.value IS NOT NULL
) t
LEFT JOIN node n ON n.id = t.node
WHERE t.ts_ms > 0; -- a value without a run is of a damaged chunk
