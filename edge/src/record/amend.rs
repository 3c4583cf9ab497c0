//! Corrects and voids today's entries of this station: the same rows are changed to what the corrected
//! count comes to, and purchase order lines by the difference. To do it twice changes nothing the second time.

use super::once::{Kept, ensure_table, find, text};
use super::plan::{Plan, plan};
use super::{Entry, RecordError, begin, write};
use rusqlite::{Connection, Transaction};

/// Makes an entry of today another one.
///
/// # Errors
/// When it is not of today or was voided, the entry cannot be, or SQLite fails. Nothing was written then.
pub(crate) fn amend(conn: &mut Connection, key: &str, entry: &Entry) -> Result<(), RecordError> {
    entry.check()?;
    let tx = begin(conn)?;
    let kept = todays(&tx, key)?;
    if kept.is_void {
        return Err(RecordError::NotToday(key.to_owned()));
    }
    let next = plan(&tx, entry, &kept.plan)?;
    let written = write::settle(&tx, key, &kept.plan, next)?;
    keep(&tx, key, "body = ?2, plan = ?3", [text(entry), text(&written)])?;
    Ok(tx.commit()?)
}

/// Takes an entry of today back: its rows go, and what it added is taken away.
///
/// # Errors
/// When it is not of today, or SQLite fails. Nothing was written then.
pub(crate) fn void(conn: &mut Connection, key: &str) -> Result<(), RecordError> {
    let tx = begin(conn)?;
    let kept = todays(&tx, key)?;
    if kept.is_void {
        return Ok(());
    }
    let nothing = write::settle(&tx, key, &kept.plan, Plan::default())?;
    // The entry stays, so that a late retry of it does not count again.
    keep(&tx, key, "void = 1, plan = ?2", [text(&nothing)])?;
    // What was never cut is nothing that the hub waits for.
    let uncut = "UPDATE _sync_station_entry SET after_seq = -1 WHERE key = ?1 AND made_seq = after_seq";
    tx.execute(uncut, [key])?;
    Ok(tx.commit()?)
}

fn todays(tx: &Transaction<'_>, key: &str) -> Result<Kept, RecordError> {
    ensure_table(tx)?;
    let kept = find(tx, key)?.filter(|kept| kept.is_today);
    kept.ok_or_else(|| RecordError::NotToday(key.to_owned()))
}

fn keep<const N: usize>(
    tx: &Transaction<'_>,
    key: &str,
    sets: &str,
    values: [String; N],
) -> Result<(), RecordError> {
    let sql = format!(
        "UPDATE _sync_station_entry SET {sets},
         after_seq = COALESCE((SELECT value FROM _sync_state WHERE name = 'seq'), 0) WHERE key = ?1"
    );
    let all = std::iter::once(key).chain(values.iter().map(String::as_str));
    tx.execute(&sql, rusqlite::params_from_iter(all))?;
    Ok(())
}
