//! A new count, once: the page's key of it is kept beside its rows and commits with them, so that a second
//! tap, a retry after an answer that was lost, or another tab with the same entry finds it there.

use super::plan::{Plan, plan};
use super::{Entry, RecordError, begin, write};
use crate::clock;
use rusqlite::{Connection, OptionalExtension as _};

/// Longer than any page keeps an entry that it has not been able to hand in.
const KEPT_MS: i64 = 60 * 24 * 3_600_000;
/// A key is made by the page from time and chance; this is more than it needs.
const KEY_CHARS_MAX: usize = 64;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// It was here already, and nothing was written.
    pub(crate) again: bool,
    /// Id of its submission, or of its first row.
    pub(crate) id: Option<i64>,
}

/// An entry as it is kept.
pub(super) struct Kept {
    pub(super) plan: Plan,
    pub(super) is_today: bool,
    pub(super) is_void: bool,
}

/// Records an entry under its key, or finds that it was recorded.
///
/// # Errors
/// When the entry cannot be, somebody must be asked, or SQLite fails. Nothing was written then.
pub(crate) fn enter(conn: &mut Connection, key: &str, entry: &Entry) -> Result<Saved, RecordError> {
    check_key(key)?;
    let tx = begin(conn)?;
    ensure_table(&tx)?;
    if let Some(kept) = find(&tx, key)? {
        return Ok(Saved { again: true, id: kept.plan.submission() });
    }
    let written = write_new(&tx, key, entry)?;
    let now = clock::now().0;
    tx.execute(
        "INSERT INTO _sync_station_entry(key, at, day, made_seq, after_seq, body, plan)
         SELECT ?1, ?2, date('now', 'localtime'), seq, seq, ?3, ?4
         FROM (SELECT COALESCE((SELECT value FROM _sync_state WHERE name = 'seq'), 0) AS seq)",
        (key, now, text(entry), text(&written)),
    )?;
    tx.execute("DELETE FROM _sync_station_entry WHERE at < ?1", [now - KEPT_MS])?;
    tx.commit()?;
    Ok(Saved { again: false, id: written.submission() })
}

/// Records an entry in the caller's transaction; that it counts once is the caller's affair.
///
/// # Errors
/// When the entry cannot be, somebody must be asked, or SQLite fails.
pub(crate) fn count(conn: &Connection, entry: &Entry) -> Result<(), RecordError> {
    write_new(conn, "new", entry).map(drop)
}

fn write_new(conn: &Connection, key: &str, entry: &Entry) -> Result<Plan, RecordError> {
    entry.check()?;
    let nothing = Plan::default();
    write::settle(conn, key, &nothing, plan(conn, entry, &nothing)?)
}

/// A file in which a daemon of an earlier version ran last does not have it.
pub(super) fn ensure_table(conn: &Connection) -> Result<(), RecordError> {
    Ok(conn.execute_batch(crate::store::STATION_TABLE)?)
}

/// What is kept under a key.
pub(super) fn find(conn: &Connection, key: &str) -> Result<Option<Kept>, RecordError> {
    let sql = "SELECT plan, day = date('now', 'localtime'), void FROM _sync_station_entry WHERE key = ?1";
    let found: Option<(String, bool, bool)> =
        conn.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((plan, is_today, is_void)) = found else { return Ok(None) };
    let plan = serde_json::from_str(&plan).map_err(|error| RecordError::Damaged(key.to_owned(), error))?;
    Ok(Some(Kept { plan, is_today, is_void }))
}

pub(super) fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data")
}

fn check_key(key: &str) -> Result<(), RecordError> {
    let fits = (8..=KEY_CHARS_MAX).contains(&key.len());
    if fits && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(RecordError::Invalid { field: "key", why: "an entry's key is 8 to 64 letters, digits and -" })
}

impl Plan {
    /// Id of its submission, or of its first row.
    pub(super) fn submission(&self) -> Option<i64> {
        let submission = self.rows.iter().find(|row| row.table == super::plan::SUBMISSIONS);
        submission.or_else(|| self.rows.first()).and_then(|row| row.id)
    }
}
