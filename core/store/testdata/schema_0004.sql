-- What schema 0004 adds, on top of schema_0003.sql: an hour before the end, the
-- one node told that it reaches another in 1 ms; and nothing new ten minutes later.
INSERT INTO matrix_name VALUES (1, '0a0a0a0a-0000-8000-8000-000000000001', 498755), (2, 'https', 498755),
  (3, '0a0a0a0a-0000-8000-8000-000000000002', 498755);
INSERT INTO matrix_frame VALUES (2992530 << 20, x'0119010201030021'), (2992531 << 20, x'');
