-- The hour of a result as text, for filters, as in SQLite.

CREATE OR REPLACE VIEW poll_results AS
SELECT s.node AS node_id, n.fqdn, s.probe, to_timestamp(t.ts_ms / 1000.0) AS at,
  c.outcome, c.reason, c.message, t.scaled_value AS rtt_us, t.ts_ms,
  to_char(to_timestamp(t.hour * 3600) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24') AS hour
FROM (
  SELECT series_id, ts_ms / 3600000 AS hour, ts_ms, status, scaled_value FROM tail
  UNION ALL
  SELECT h.id & 1048575, h.id >> 20, r.ts_ms, r.status, r.scaled_value
  FROM chunk h
  JOIN series m ON m.id = h.id & 1048575 AND m.metric = ''
  CROSS JOIN LATERAL packed_runs(h.id >> 20, h.data) r
) t
JOIN series s ON s.id = t.series_id AND s.metric = ''
LEFT JOIN code c ON c.id = t.status
LEFT JOIN node n ON n.id = s.node;

CREATE OR REPLACE VIEW metric_results AS
SELECT s.node AS node_id, n.fqdn, s.probe, s.metric, to_timestamp(t.ts_ms / 1000.0) AS at,
  t.scaled_value::DOUBLE PRECISION / s.scale AS value, t.ts_ms,
  to_char(to_timestamp(t.hour * 3600) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24') AS hour
FROM (
  SELECT series_id, ts_ms / 3600000 AS hour, ts_ms, scaled_value FROM tail
  UNION ALL
  SELECT m.id, h.id >> 20, r.ts_ms, v.scaled_value
  FROM chunk h
  JOIN series m ON m.id = h.id & 1048575 AND m.metric <> ''
  JOIN series p ON p.node = m.node AND p.probe = m.probe AND p.metric = ''
  JOIN chunk k ON k.id = h.id - m.id + p.id
  CROSS JOIN LATERAL packed_values(h.data) v
  JOIN LATERAL packed_runs(k.id >> 20, k.data) r ON r.i = v.i
) t
JOIN series s ON s.id = t.series_id AND s.metric <> ''
LEFT JOIN node n ON n.id = s.node;
