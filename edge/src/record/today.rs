//! Today's entries of this station, and where each of them is.
//!
//! An entry remembers the last changeset that was cut when it was written. The next one has it: a cut takes
//! everything. So it is at the hub when that changeset is acknowledged, and only then; a hub that was
//! restored and lacks it again makes it wait again.

use super::RecordError;
use rusqlite::{Connection, OptionalExtension as _, Result};
use serde::Serialize;
use serde_json::Value;

/// More than anybody counts in a day at one station.
const LISTED_MAX: usize = 500;

/// True for an entry that the hub does not have yet, or not as it is now.
const WAITS: &str = "(after_seq >= COALESCE((SELECT value FROM _sync_state WHERE name = 'seq'), 0)
    OR EXISTS (SELECT 1 FROM _sync_outbox WHERE seq = after_seq + 1 AND version IS NULL))";

/// An entry of today.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Listed {
    /// The page's key of it.
    pub(crate) key: String,
    /// When it was saved, milliseconds since 1970.
    pub(crate) at: i64,
    /// Id of its submission, or of its first row.
    pub(crate) id: Option<i64>,
    /// It was taken back.
    pub(crate) void: bool,
    /// The hub has it as it is now.
    pub(crate) at_hub: bool,
    /// What was entered.
    pub(crate) entry: Value,
}

/// Today's entries, the newest first.
///
/// # Errors
/// When SQLite fails, or what is kept cannot be read.
pub(crate) fn today(conn: &Connection) -> Result<Vec<Listed>, RecordError> {
    if !is_there(conn)? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT key, at, void, NOT {WAITS}, body, plan FROM _sync_station_entry
         WHERE day = date('now', 'localtime') ORDER BY at DESC, key LIMIT {LISTED_MAX}"
    );
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        let damaged = |error| RecordError::Damaged(key.clone(), error);
        let entry = serde_json::from_str(&row.get::<_, String>(4)?).map_err(damaged)?;
        let plan: super::Plan = serde_json::from_str(&row.get::<_, String>(5)?).map_err(damaged)?;
        let (at, void, at_hub) = (row.get(1)?, row.get(2)?, row.get(3)?);
        listed.push(Listed { key, at, id: plan.submission(), void, at_hub, entry });
    }
    Ok(listed)
}

/// How many entries of any day wait for the hub.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn waiting(conn: &Connection) -> Result<u64> {
    if !is_there(conn)? {
        return Ok(0);
    }
    let sql = format!("SELECT COUNT(*) FROM _sync_station_entry WHERE {WAITS}");
    conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

fn is_there(conn: &Connection) -> Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_sync_station_entry'";
    Ok(conn.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}
