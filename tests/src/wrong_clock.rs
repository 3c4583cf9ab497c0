//! The clock of a device was set while no daemon ran. Processes read the machine's real clocks, so the file is made
//! what a device leaves behind whose clock was off until a moment ago.

use crate::writer;
use std::path::Path;
use tt_migrations::quote::ident;

/// Everything in the file was written by a clock that was off by so much, and its daemon knew it.
///
/// # Errors
/// When SQLite refuses.
pub fn was_off_by(db: &Path, off_ms: i64) -> rusqlite::Result<()> {
    let mut conn = writer::open(db)?;
    let tx = conn.transaction()?;
    tx.execute(
        "UPDATE _sync_clock SET started_ms = started_ms + ?1, seen_ms = seen_ms + ?1, cut_ms = cut_ms + ?1",
        [off_ms],
    )?;
    tx.execute("UPDATE _sync_state SET value = value + ?1 WHERE name = 'clock_offset_ms'", [off_ms])?;
    let bases: Vec<String> = tx
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_sync\\_base\\_%' ESCAPE '\\'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for base in bases {
        tx.execute(&format!("UPDATE {} SET _at = _at + ?1", ident(&base)), [off_ms])?;
    }
    tx.commit()
}
