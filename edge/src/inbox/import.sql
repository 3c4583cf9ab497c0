-- Which files have gone in: a note commits with the rows of its file. `settled` is 0 until the file lies in `done/`
-- and its rejected lines in `rejected/`, under the name `kept`. `header` is where its first line ends.
CREATE TABLE IF NOT EXISTS _sync_import(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  hash BLOB NOT NULL,
  bytes INTEGER NOT NULL,
  at INTEGER NOT NULL,
  lines INTEGER NOT NULL DEFAULT 0,
  header INTEGER NOT NULL DEFAULT 0,
  by_hand INTEGER NOT NULL DEFAULT 0,
  kept TEXT,
  settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS _sync_import_hash ON _sync_import(hash);
CREATE INDEX IF NOT EXISTS _sync_import_name ON _sync_import(name);

-- Lines that did not go in, as places in the file, until they lie in `rejected/`.
CREATE TABLE IF NOT EXISTS _sync_import_rejected(
  import INTEGER NOT NULL,
  line INTEGER NOT NULL,
  first INTEGER NOT NULL,
  past INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY(import, line)
) WITHOUT ROWID;
