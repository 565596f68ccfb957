-- What peers told of their rows of the matrix, every ten minutes: a group of
-- rows each, as far as they changed. frame.go says how.
CREATE TABLE matrix_frame (
  id   INTEGER NOT NULL PRIMARY KEY, -- 10 minutes since 1970 << 20 | number in them
  data BLOB    NOT NULL
) STRICT;

-- The numbers in frames: ids of nodes, and names of probes.
CREATE TABLE matrix_name (
  id        INTEGER NOT NULL PRIMARY KEY,
  name      TEXT    NOT NULL UNIQUE,
  used_hour INTEGER NOT NULL -- the newest that has it in a key frame
) STRICT;
