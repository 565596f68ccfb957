-- What a node with one peer may have written before migration 0002: TestUpgrade
-- runs it on a database of that schema. It ends at 2026-11-24T12:00Z.
INSERT INTO node VALUES ('0a0a0a0a-0000-8000-8000-000000000001', '', 0, 'a.example', '10.0.0.1',
  '["a.example:443","10.0.0.1:443"]', '1.0.0', 'boot', 'seed', 1, 'alive', '', '', 1795435200000, 1795435200000, 1795521600000, 0);
INSERT INTO series VALUES
  (1, '0a0a0a0a-0000-8000-8000-000000000001', 'https', '', 1000000),
  (2, '0a0a0a0a-0000-8000-8000-000000000001', 'https', 'loss_ratio', 1000000),
  (3, '0a0a0a0a-0000-8000-8000-000000000001', 'https', 'pmtu_bytes', 1),
  (4, '0a0a0a0a-0000-8000-8000-000000000001', 'pmtu', '', 1000000);
INSERT INTO code VALUES (10, 'failure', 'timeout', 'no answer within 5 s'), (18, 'failure', 'refused', 'of nothing that is left');

-- A run every 30 s for 26 hours; every hundredth one failed.
WITH RECURSIVE run(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM run WHERE i < 26 * 120 - 1)
INSERT INTO tail SELECT 1795521600000 - (26 * 120 - i) * 30000, 1, CASE WHEN i % 100 = 7 THEN NULL ELSE 10000 + i % 50 END,
  CASE WHEN i % 100 = 7 THEN 10 ELSE 1 END FROM run;
INSERT INTO tail SELECT ts_ms, 2, scaled_value * 10, 1 FROM tail WHERE series_id = 1 AND scaled_value IS NOT NULL;
INSERT INTO tail SELECT ts_ms, 3, NULL, 1 FROM tail WHERE series_id = 1 AND scaled_value IS NOT NULL; -- out of range
INSERT INTO tail VALUES (1795521570000, 4, NULL, 3);

INSERT INTO latest VALUES
  (1, 1795521570000, 10019, 1, '', '', '{"loss_ratio":0.10019}'), (4, 1795521570000, NULL, 3, '', '', '');
INSERT INTO event (kind, subject, message, began_us, ended_us) VALUES ('node_state', 'a', 'down', 1795521600000000, NULL);
INSERT INTO plugin VALUES ('https', 0, '', 3, 1795521600000);
INSERT INTO outbox (kind, at_ms, payload) VALUES ('results', 1795521600000, x'7b7d');
INSERT INTO cursors VALUES ('webhook', 0, 'results');
INSERT INTO pair_latest VALUES ('0a0a0a0a-0000-8000-8000-000000000001', 1795521600000, 0, x'0180b0ea9da0340000');
