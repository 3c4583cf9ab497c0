-- Tables that only the hub has, in the canonical file itself, so that rows and bookkeeping commit together.

-- Every merged changeset: the proof that one is merged exactly once, and who sent what.
CREATE TABLE IF NOT EXISTS _sync_merged(
  edge INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY(edge, seq)
) WITHOUT ROWID;

-- Keys that a version touched. `origin` is the edge that already has the row as it is here; -1: nobody has.
CREATE TABLE IF NOT EXISTS _sync_log(
  version INTEGER NOT NULL,
  part INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  keys BLOB NOT NULL,
  PRIMARY KEY(version, part)
) WITHOUT ROWID;

-- The last image of a deleted row, so that a change or a new child can bring it back.
CREATE TABLE IF NOT EXISTS _sync_trash(
  tab TEXT NOT NULL,
  key BLOB NOT NULL,
  row BLOB NOT NULL,
  version INTEGER NOT NULL,
  edge INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY(tab, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _sync_trash_version ON _sync_trash(version);

-- Who changed a row last (counters apart): what a tie is decided by.
CREATE TABLE IF NOT EXISTS _sync_stamp(
  tab TEXT NOT NULL,
  key BLOB NOT NULL,
  edge INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY(tab, key)
) WITHOUT ROWID;

-- What could not be merged, or was overruled: whole, until a person closes it, and then as history.
-- `row`: the losing row. `work`: pieces of a changeset that, merged as `lost_from`, release the entry.
-- `rows`: how many rows it stands for.
CREATE TABLE IF NOT EXISTS _sync_conflict(
  id INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  kind TEXT NOT NULL,
  tab TEXT NOT NULL,
  key BLOB NOT NULL,
  named_key BLOB NOT NULL,
  clashes BLOB NOT NULL,
  row BLOB,
  work BLOB,
  rows INTEGER NOT NULL DEFAULT 1,
  kept_from INTEGER,
  kept_at INTEGER,
  lost_from INTEGER NOT NULL,
  lost_at INTEGER NOT NULL,
  action TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'open',
  decision TEXT,
  decided_at INTEGER
);
CREATE INDEX IF NOT EXISTS _sync_conflict_row ON _sync_conflict(tab, key);
-- Finds the open ones without reading what the others hold.
CREATE INDEX IF NOT EXISTS _sync_conflict_open ON _sync_conflict(id) WHERE state = 'open';

-- Finds what came before its own row, in a hub that was put back.
CREATE INDEX IF NOT EXISTS _sync_conflict_late ON _sync_conflict(id) WHERE state = 'open' AND row IS NOT NULL
  AND (kind = 'missing' AND work IS NOT NULL OR kind = 'parent' AND work IS NULL);
-- Deletes whose row a hub that was put back does not have yet.
CREATE INDEX IF NOT EXISTS _sync_conflict_deletes ON _sync_conflict(id) WHERE decision = 'waits for its row';

-- Rows that wait for the schema, by the edge that sent them.
CREATE INDEX IF NOT EXISTS _sync_conflict_waiting ON _sync_conflict(lost_from)
  WHERE kind = 'schema' AND state = 'open' AND work IS NOT NULL;

-- The newest definition of each table that changed since the hub began, under the version that brought it.
CREATE TABLE IF NOT EXISTS _sync_schema(
  tab TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  definition BLOB NOT NULL
) WITHOUT ROWID;

-- A row that turned out to be another one: who still names it means the survivor.
-- `row`: the vanished row as its device has it. `brought`: the counts that it added to the survivor.
-- `via`: the parent's alias, where the row vanished because it followed its parent.
-- `key` is NULL when the alias has ended: another row has the key, or the row is its own again.
CREATE TABLE IF NOT EXISTS _sync_alias(
  id INTEGER PRIMARY KEY,
  tab TEXT NOT NULL,
  key BLOB,
  row BLOB NOT NULL,
  survivor BLOB NOT NULL,
  brought BLOB NOT NULL,
  via INTEGER,
  conflict INTEGER,
  moved INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL,
  UNIQUE(tab, key)
);
CREATE INDEX IF NOT EXISTS _sync_alias_via ON _sync_alias(via);
CREATE INDEX IF NOT EXISTS _sync_alias_conflict ON _sync_alias(conflict);

-- Children that were made under a vanished row, by the place of the foreign key in their table.
CREATE TABLE IF NOT EXISTS _sync_follower(
  alias INTEGER NOT NULL,
  tab TEXT NOT NULL,
  place INTEGER NOT NULL,
  key BLOB NOT NULL,
  named_key BLOB NOT NULL,
  PRIMARY KEY(alias, tab, place, key)
) WITHOUT ROWID;

-- What happened to the tables that no definition tells: migrations, and what programs at the hub dropped.
-- `piece` is the step as it travels.
CREATE TABLE IF NOT EXISTS _sync_step(
  step INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  piece BLOB NOT NULL
);

-- Names that went with a step: of a table, or of its column `col`; `becomes` is NULL when it was dropped.
-- `entry` is the one conflict entry that counts what edges still send for it.
CREATE TABLE IF NOT EXISTS _sync_former(
  step INTEGER NOT NULL,
  place INTEGER NOT NULL,
  version INTEGER NOT NULL,
  tab TEXT NOT NULL,
  col TEXT,
  becomes TEXT,
  why TEXT NOT NULL,
  entry INTEGER,
  PRIMARY KEY(step, place)
) WITHOUT ROWID;

-- The step by whose names each edge's changesets are written.
CREATE TABLE IF NOT EXISTS _sync_made(
  edge INTEGER PRIMARY KEY,
  step INTEGER NOT NULL
);

-- Changesets that came in a rescue, under the names by which their file had cut them.
CREATE TABLE IF NOT EXISTS _sync_rescued(
  edge INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY(edge, seq, hash)
) WITHOUT ROWID;

-- Ids that rescued rows were given, by the device that handed them in, because theirs meant something else.
CREATE TABLE IF NOT EXISTS _sync_rescued_id(
  edge INTEGER NOT NULL,
  tab TEXT NOT NULL,
  former INTEGER NOT NULL,
  given INTEGER NOT NULL,
  PRIMARY KEY(edge, tab, former)
) WITHOUT ROWID;

-- What was cut in copies of a device's file, under the number that the device's own next changeset has: what that
-- one has in common with it, should it come after all, is in already. `seen` is the last time that the copy knew.
CREATE TABLE IF NOT EXISTS _sync_uncut(
  edge INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  seen INTEGER NOT NULL,
  pieces BLOB NOT NULL,
  PRIMARY KEY(edge, seq, hash)
) WITHOUT ROWID;
