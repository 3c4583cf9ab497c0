-- Tables that only an edge has, in the program's own file, so that they commit with its rows.

-- Every changeset that is not yet safe. `cursor` is the hub's version that it builds on; `version` is set when
-- the hub acknowledges it.
CREATE TABLE IF NOT EXISTS _sync_outbox(
  seq INTEGER PRIMARY KEY,
  hash BLOB NOT NULL,
  pieces INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  cut_at INTEGER NOT NULL,
  cursor INTEGER NOT NULL,
  version INTEGER
);

-- The encoded pieces of those changesets, immutable from the moment they are cut.
CREATE TABLE IF NOT EXISTS _sync_piece(
  seq INTEGER NOT NULL,
  place INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY(seq, place)
) WITHOUT ROWID;

-- What is remembered of this device's own clock, in one row. `measured` is 0 when its offset to the hub never
-- was, 1 when that was before the device was started last, 2 since then. The offset is in `_sync_state`.
CREATE TABLE IF NOT EXISTS _sync_clock(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  measured INTEGER NOT NULL,
  boot_id INTEGER NOT NULL,
  started_ms INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL,
  cut_ms INTEGER NOT NULL
);

-- Unique indexes of the hub's that the rows here do not allow yet: tried again after every feed.
CREATE TABLE IF NOT EXISTS _sync_later(
  sql TEXT PRIMARY KEY
) WITHOUT ROWID;

-- The last compare of each table with the hub's, and the table's shape then: another one must be compared
-- again. `_sync_table.audit` says whether a compare is due, and why.
CREATE TABLE IF NOT EXISTS _sync_audit(
  tid INTEGER PRIMARY KEY,
  shape TEXT NOT NULL,
  at INTEGER,
  version INTEGER,
  outcome TEXT,
  rows INTEGER NOT NULL DEFAULT 0
);

-- Differences that were put right once. One that is found again stays, and is shown instead.
CREATE TABLE IF NOT EXISTS _sync_audit_tried(
  tid INTEGER NOT NULL,
  difference BLOB NOT NULL,
  PRIMARY KEY(tid, difference)
) WITHOUT ROWID;
