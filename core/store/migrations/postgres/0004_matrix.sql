CREATE TABLE matrix_frame (
  id   BIGINT NOT NULL PRIMARY KEY, -- 10 minutes since 1970 << 20 | number in them
  data BYTEA  NOT NULL
);
ALTER TABLE matrix_frame ALTER data SET STORAGE EXTERNAL;

CREATE TABLE matrix_name (
  id        BIGINT NOT NULL PRIMARY KEY,
  name      TEXT COLLATE "C" NOT NULL UNIQUE,
  used_hour BIGINT NOT NULL -- the newest that has it in a key frame
);
