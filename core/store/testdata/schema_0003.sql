-- What schema 0003 adds, on top of schema_0002.sql.
INSERT INTO event (kind, subject, source, message, began_us, ended_us)
  VALUES ('path', '0a0a0a0a-0000-8000-8000-000000000001', 'pmtu', 'black hole', 1795521000000000, 1795521300000000);
INSERT INTO document (node, probe, name, id, at_ms, body)
  VALUES ('0a0a0a0a-0000-8000-8000-000000000001', 'trace', 'hops', 'x', 1795521000000, x'ab56cac82f2856b28a36d4318aad0500');
