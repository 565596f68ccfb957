-- Schema 0005 has other views. On top of schema_0004.sql: now it takes longer.
INSERT INTO matrix_frame VALUES (2992532 << 20, x'01080029');
