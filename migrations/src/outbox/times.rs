//! What time a note can have at a cut, and what is remembered of the device's own clock.

use crate::quote::ident;
use crate::state;
use rusqlite::{Connection, OptionalExtension as _, Result, Row};
use tt_protocol::clock::{CLOCK_TOLERANCE_MS, Measured, Record};

/// What time a note can have at a cut.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    cut_ms: i64,
    now: i64,
    latest: i64,
}

/// The last cut emptied the base tables, so no note is older; and none is from the future.
///
/// # Errors
/// When SQLite fails.
pub fn bounds(conn: &Connection, now: i64) -> Result<Bounds> {
    let cut_ms = load(conn)?.map_or(i64::MIN, |record| record.cut_ms).min(now);
    Ok(Bounds { cut_ms, now, latest: now.saturating_add(CLOCK_TOLERANCE_MS) })
}

impl Bounds {
    /// When the cut is made.
    #[must_use]
    pub const fn now(self) -> i64 {
        self.now
    }

    /// Nothing happened after `now`: what is noted later was noted by whoever looks at the file.
    #[must_use]
    pub const fn until_now(self) -> Self {
        Self { latest: self.now, ..self }
    }

    /// A time that a clock showed which was set there and back unseen becomes one that is possible. Notes
    /// made while the cut waited for its lock are a little later than `now`.
    #[must_use]
    pub fn possible(self, time: i64) -> i64 {
        if time > self.latest { self.now } else { time.max(self.cut_ms) }
    }
}

/// The last time that the file itself knows of, by its device's clock.
///
/// # Errors
/// When SQLite fails.
pub fn last_seen(conn: &Connection) -> Result<i64> {
    let cut_at: Option<i64> = conn.query_row("SELECT MAX(cut_at) FROM _sync_outbox", [], |row| row.get(0))?;
    let record = load(conn)?.map(|record| record.seen_ms.max(record.cut_ms));
    let mut seen = cut_at.max(record).unwrap_or(0);
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_sync\\_base\\_%' ESCAPE '\\'";
    let tables: Vec<String> = conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    for table in tables {
        let sql = format!("SELECT MAX(_at) FROM {}", ident(&table));
        let noted: Option<i64> = conn.query_row(&sql, [], |row| row.get(0))?;
        seen = seen.max(noted.unwrap_or(0));
    }
    Ok(seen)
}

/// A cut was made, in the same transaction.
///
/// # Errors
/// When SQLite fails.
pub fn was_cut(conn: &Connection, now: i64) -> Result<()> {
    conn.prepare_cached("UPDATE _sync_clock SET cut_ms = ?1, seen_ms = ?1")?.execute([now])?;
    Ok(())
}

/// What is remembered of the clock; None when no daemon has run yet.
///
/// # Errors
/// When SQLite fails.
pub fn load(conn: &Connection) -> Result<Option<Record>> {
    let offset_ms = state::get(conn, state::CLOCK_OFFSET_MS)?.unwrap_or(0);
    let sql = "SELECT measured, boot_id, started_ms, seen_ms, cut_ms FROM _sync_clock";
    let read = |row: &Row<'_>| {
        let measured = match row.get(0)? {
            2 => Measured::SinceStart,
            1 => Measured::BeforeStart,
            _ => Measured::Never,
        };
        let (boot_id, started_ms, seen_ms, cut_ms) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Record { offset_ms, measured, boot_id, started_ms, seen_ms, cut_ms })
    };
    conn.prepare_cached(sql)?.query_row([], read).optional()
}
