//! Small facts that must commit with the rows: device number, cursor, last seq, versions.
//!
//! One table of names and integers, because every fact here is one number.

use rusqlite::{Connection, OptionalExtension as _, Result};
use tt_protocol::former::Former;
use tt_protocol::frame::{from_bytes, to_bytes};

/// The tables that every node has. None of ours declares a foreign key to a program's table.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS _sync_state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_text(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_table(
  tid INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  block_first INTEGER NOT NULL DEFAULT 0,
  lo INTEGER NOT NULL DEFAULT 1,
  hi INTEGER NOT NULL DEFAULT 0,
  audit INTEGER NOT NULL DEFAULT 0,
  declared TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS _sync_upgraded(name TEXT PRIMARY KEY) WITHOUT ROWID;";

/// Device number of this node.
pub const DEVICE: &str = "device";
/// The hub's incarnation that this node belongs to.
pub const EPOCH: &str = "epoch";
/// Edge: version applied. Hub: version merged.
pub const VERSION: &str = "version";
/// Edge: last changeset cut.
pub const SEQ: &str = "seq";
/// The device's clock minus the hub's, in milliseconds, as last measured.
pub const CLOCK_OFFSET_MS: &str = "clock_offset_ms";
/// The last step of the hub's schema that this node has made.
pub const STEP: &str = "schema_step";
/// Edge: the last step that the hub was told of.
pub const STEP_TOLD: &str = "schema_step_told";

/// Edge: 1 when a person wants the file made anew from the hub's rows.
pub const SEED_WANTED: &str = "seed_wanted";
/// Edge: the operator's last order to do so that was carried out.
pub const ORDER_DONE: &str = "order_done";
/// Edge: epoch of the snapshot that is being fetched.
pub const FETCH_EPOCH: &str = "fetch_epoch";
/// Edge: the least version of that snapshot.
pub const FETCH_AT_LEAST: &str = "fetch_at_least";
/// Edge: when its fetching began, by the device's clock; 0 when none is fetched.
pub const FETCH_SINCE: &str = "fetch_since";
/// Hub: versions up to this one are not in the history any more.
pub const FORGOTTEN: &str = "forgotten";

/// What a snapshot says besides its rows: the last changeset of each edge that they hold, and the steps of
/// the schema. They are in no other file.
pub const SNAPSHOT_TABLES: &str = "
CREATE TABLE IF NOT EXISTS _sync_seed_merged(edge INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _sync_seed_step(step INTEGER PRIMARY KEY, piece BLOB NOT NULL);";
/// What the head of a snapshot says besides: how many rows the tables have, of which it holds none.
pub const HEAD_TABLES: &str = "
CREATE TABLE IF NOT EXISTS _sync_seed_rows(name TEXT PRIMARY KEY, rows INTEGER NOT NULL);";
/// Removes them.
pub const NO_SNAPSHOT_TABLES: &str =
    "DROP TABLE IF EXISTS _sync_seed_merged; DROP TABLE IF EXISTS _sync_seed_step;";

/// Edge: the hub that this file belongs to, as the SHA-256 of its authority's certificate. Files of older devices do
/// not say it.
pub const HUB: &str = "hub";
/// In the head of a snapshot: by which name the hub knows it.
pub const IDENTITY: &str = "identity";
/// The merge policy as TOML, as the hub has it.
pub const POLICY: &str = "policy";
/// Names that are gone, as this node's steps told them: the policy is written by the names of before.
pub const FORMERS: &str = "former_names";
/// Why this node cannot go on, in a sentence; empty when it can.
pub const BLOCKED: &str = "blocked";
/// Edge: why the hub's rows do not go into this file, in a sentence; empty when they do.
pub const FEED_REFUSED: &str = "feed_refused";

/// Reads a text; None when it was never set.
///
/// # Errors
/// When SQLite fails.
pub fn get_text(conn: &Connection, name: &str) -> Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM _sync_text WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Writes a text.
///
/// # Errors
/// When SQLite fails.
pub fn set_text(conn: &Connection, name: &str, value: &str) -> Result<()> {
    let sql = "INSERT INTO _sync_text(name, value) VALUES (?1, ?2)
               ON CONFLICT(name) DO UPDATE SET value = excluded.value";
    conn.prepare_cached(sql)?.execute((name, value))?;
    Ok(())
}

/// Names that are gone, oldest first.
///
/// # Errors
/// When SQLite fails, or what was kept cannot be read.
pub fn formers(conn: &Connection) -> Result<Vec<Former>> {
    let Some(text) = get_text(conn, FORMERS)? else { return Ok(Vec::new()) };
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(damaged)?;
    from_bytes(&bytes).map_err(damaged)
}

/// Keeps names that have gone now.
///
/// # Errors
/// When SQLite fails.
pub fn add_formers(conn: &Connection, more: &[Former]) -> Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let mut all = formers(conn)?;
    all.extend_from_slice(more);
    set_formers(conn, &all)
}

/// Keeps these names that are gone, and no others.
///
/// # Errors
/// When SQLite fails.
pub fn set_formers(conn: &Connection, all: &[Former]) -> Result<()> {
    set_text(conn, FORMERS, &data_encoding::HEXLOWER.encode(&to_bytes(&all)))
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// Reads a fact; None when it was never set.
///
/// # Errors
/// When SQLite fails.
pub fn get(conn: &Connection, name: &str) -> Result<Option<i64>> {
    conn.prepare_cached("SELECT value FROM _sync_state WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Writes a fact.
///
/// # Errors
/// When SQLite fails.
pub fn set(conn: &Connection, name: &str, value: i64) -> Result<()> {
    let sql = "INSERT INTO _sync_state(name, value) VALUES (?1, ?2)
               ON CONFLICT(name) DO UPDATE SET value = excluded.value";
    conn.prepare_cached(sql)?.execute((name, value))?;
    Ok(())
}
