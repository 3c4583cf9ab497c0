-- Tables that only an edge has, in the program's own file, so that they commit with its rows.

-- Every changeset that is not yet safe. `version` is set when the hub acknowledges it.
CREATE TABLE IF NOT EXISTS _sync_outbox(
  seq INTEGER PRIMARY KEY,
  hash BLOB NOT NULL,
  pieces INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  cut_at INTEGER NOT NULL,
  version INTEGER
);

-- The encoded pieces of those changesets, immutable from the moment they are cut.
CREATE TABLE IF NOT EXISTS _sync_piece(
  seq INTEGER NOT NULL,
  place INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY(seq, place)
) WITHOUT ROWID;

-- Unique indexes of the hub's that the rows here do not allow yet: tried again after every feed.
CREATE TABLE IF NOT EXISTS _sync_later(
  sql TEXT PRIMARY KEY
) WITHOUT ROWID;
