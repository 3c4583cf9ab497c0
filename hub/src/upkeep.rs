//! Keeps the database quick and no larger than it must be: statistics for SQLite's planner, and free pages given back.
//!
//! * Both work in short write transactions beside merges and programs: a table is analysed by samples, and free pages
//!   go a few at a time (`auto_vacuum = INCREMENTAL`, which `init` sets). Nobody who has the file open notices.
//! * A file that was made otherwise must be written anew as a whole once. That holds the file for seconds, so only
//!   `tt-hub maintain` does it, and only while no daemon runs.
//! * What is due is decided by [`Look::due`], a pure function; the time is an argument.

use crate::space::{Space, readable};
use rusqlite::{Connection, Result};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::Path;
use tt_migrations::state;
use tt_protocol::number::Millis;
use tt_protocol::span::span;

/// Pages that one step gives back: a commit of 1 MB at most, with the usual pages of 4 KiB.
const STEP_PAGES: u32 = 256;
/// Left on the disk whatever is done.
const RESERVE_BYTES: u64 = 64 << 20;
const DAY_MS: i64 = 86_400_000;
/// When statistics were last made, in milliseconds since 1970.
const ANALYSED_AT: &str = "analysed_at";
/// When free pages were last given back to the end.
const VACUUMED_AT: &str = "vacuumed_at";

/// The `[maintenance]` part of `hub.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    analyse_days: u32,
    vacuum_days: u32,
    vacuum_above_mb: u64,
    vacuum_free_percent: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { analyse_days: 1, vacuum_days: 30, vacuum_above_mb: 10, vacuum_free_percent: 10 }
    }
}

/// How the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) bytes: u64,
    pub(crate) free_bytes: u64,
    /// Free pages can be given back a few at a time.
    pub(crate) in_steps: bool,
    analysed_at: Option<i64>,
    vacuumed_at: Option<i64>,
}

/// What should be done, each with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) analyse: Option<String>,
    pub(crate) vacuum: Option<String>,
}

impl Look {
    /// Reads only.
    pub(crate) fn at(conn: &Connection) -> Result<Self> {
        let number = |name| Ok::<_, rusqlite::Error>(pragma(conn, name)?.unsigned_abs());
        let page = number("page_size")?;
        Ok(Self {
            bytes: number("page_count")? * page,
            free_bytes: number("freelist_count")? * page,
            in_steps: number("auto_vacuum")? == 2,
            analysed_at: state::get(conn, ANALYSED_AT)?,
            vacuumed_at: state::get(conn, VACUUMED_AT)?,
        })
    }

    /// What is due at a moment.
    pub(crate) fn due(&self, settings: &Settings, now: Millis) -> Due {
        let Settings { analyse_days, vacuum_days, vacuum_above_mb, vacuum_free_percent } = *settings;
        let analyse = passed(self.analysed_at, analyse_days, now).map(|age| format!("statistics: {age}"));
        let gains = self.bytes > vacuum_above_mb << 20
            && self.free_bytes.saturating_mul(100) >= self.bytes.saturating_mul(vacuum_free_percent)
            && self.free_bytes > 0;
        let vacuum = passed(self.vacuumed_at, vacuum_days, now).filter(|_| gains).map(|age| {
            format!("free pages: {} of {}, {age}", readable(self.free_bytes), readable(self.bytes))
        });
        Due { analyse, vacuum }
    }

    /// As `status --json` has it.
    pub(crate) fn json(&self, settings: &Settings, now: Millis) -> Json {
        let due = self.due(settings, now);
        let due: Vec<String> = [due.analyse, due.vacuum].into_iter().flatten().collect();
        json!({
            "bytes": self.bytes,
            "free_bytes": self.free_bytes,
            "in_steps": self.in_steps,
            "analysed_at": self.analysed_at,
            "vacuumed_at": self.vacuumed_at,
            "due": due,
        })
    }
}

/// How long ago it was done, when that is long enough. A time in the future comes from a clock that was wrong.
fn passed(at: Option<i64>, days: u32, now: Millis) -> Option<String> {
    let Some(at) = at else { return Some("never done".to_owned()) };
    let age = now.0 - at;
    let young = (0..i64::from(days) * DAY_MS).contains(&age);
    (!young).then(|| format!("last done {} ago", span(age / 1_000)))
}

fn pragma(conn: &Connection, name: &str) -> Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

/// Makes statistics of tables that have none or have grown much, by samples: milliseconds, however large they are.
pub(crate) fn analyse(conn: &Connection, now: Millis) -> Result<()> {
    conn.query_row("PRAGMA analysis_limit = 400", [], |_| Ok(()))?;
    // All tables, also those that this connection did not query (0x10000), and do it (0x2).
    conn.execute_batch("PRAGMA optimize = 0x10002")?;
    state::set(conn, ANALYSED_AT, now.0)
}

/// Gives a few free pages back, in one commit. False when there is nothing more to give.
pub(crate) fn give_back(conn: &Connection, now: Millis) -> Result<bool> {
    let before = pragma(conn, "freelist_count")?;
    conn.execute_batch(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let left = pragma(conn, "freelist_count")?;
    let more = left > 0 && left < before;
    if !more {
        state::set(conn, VACUUMED_AT, now.0)?;
    }
    Ok(more)
}

/// Writes the whole file anew, so that free pages can be given back in steps from then on. Holds the file while it
/// lasts: nobody may be served.
pub(crate) fn vacuum_whole(conn: &Connection, now: Millis) -> Result<()> {
    conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")?;
    state::set(conn, VACUUMED_AT, now.0)
}

/// Why there is no room for giving pages back, if so: what is rewritten is in the log first.
pub(crate) fn no_room(folder: &Path, look: &Look) -> Option<String> {
    // Where nobody can say, the attempt will.
    let free = Space::of(folder).ok()?.free;
    let rewritten = if look.in_steps { 0 } else { (look.bytes - look.free_bytes).saturating_mul(2) };
    let needed = rewritten.saturating_add(RESERVE_BYTES);
    (free < needed).then(|| {
        let (needed, free) = (readable(needed), readable(free));
        format!("it needs {needed} in {} and {free} are free; make room on that disk", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "INSERT INTO t(b) SELECT hex(zeroblob(2000)) FROM generate";

    fn file(auto_vacuum: &str) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(dir.path().join("a.db")).unwrap();
        conn.execute_batch(&format!(
            "PRAGMA auto_vacuum = {auto_vacuum}; PRAGMA journal_mode = WAL;
             CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX tb ON t(substr(b, 1, 4), a);
             CREATE TEMP VIEW generate AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
               SELECT i FROM n;"
        ))
        .unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        conn.execute(ROW, []).unwrap();
        (dir, conn)
    }

    #[test]
    fn free_pages_go_in_small_steps_while_a_program_reads_and_writes() {
        let (dir, conn) = file("INCREMENTAL");
        let program = Connection::open(dir.path().join("a.db")).unwrap();
        let kept = "SELECT count(*), sum(a) FROM t";
        conn.execute("DELETE FROM t WHERE a % 4 > 0", []).unwrap();
        let look = Look::at(&conn).unwrap();
        assert!(look.in_steps && look.free_bytes > look.bytes / 2, "{look:?}");
        assert!(look.due(&Settings::default(), Millis(DAY_MS)).vacuum.unwrap().contains("never done"));
        let mut steps = 0;
        let mut free = look.free_bytes;
        while give_back(&conn, Millis(DAY_MS)).unwrap() {
            steps += 1;
            let now = Look::at(&conn).unwrap().free_bytes;
            assert!(free - now <= 4_096 * u64::from(STEP_PAGES), "one step gave {} bytes back", free - now);
            free = now;
            program.execute("UPDATE t SET b = b || 'x' WHERE a = 4", []).unwrap();
        }
        assert!(steps >= 10, "{steps} steps");
        let found: (i64, i64) = program.query_row(kept, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(found, (1_000, 4 * 1_000 * 1_001 / 2));
        let done = Look::at(&conn).unwrap();
        assert_eq!((done.free_bytes, done.vacuumed_at), (0, Some(DAY_MS)));
        assert_eq!(done.due(&Settings::default(), Millis(40 * DAY_MS)).vacuum, None, "it would gain nothing");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("a.db")).unwrap().len(), done.bytes);
    }

    #[test]
    fn a_file_that_was_made_otherwise_is_written_anew_once() {
        let (_dir, conn) = file("NONE");
        conn.execute("DELETE FROM t WHERE a % 4 > 0", []).unwrap();
        let before = Look::at(&conn).unwrap();
        assert!(!before.in_steps);
        vacuum_whole(&conn, Millis(5)).unwrap();
        let after = Look::at(&conn).unwrap();
        assert!(after.in_steps && after.free_bytes == 0 && after.bytes < before.bytes / 2, "{after:?}");
        let rows: i64 = conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1_000);
    }

    #[test]
    fn statistics_are_made_and_become_due_again() {
        let (_dir, conn) = file("INCREMENTAL");
        let due = |now| Look::at(&conn).unwrap().due(&Settings::default(), Millis(now)).analyse;
        assert!(due(0).is_some());
        analyse(&conn, Millis(0)).unwrap();
        let found: i64 = conn
            .query_row("SELECT count(*) FROM sqlite_stat1 WHERE idx = 'tb'", [], |row| row.get(0))
            .unwrap();
        assert_eq!((found, due(DAY_MS - 1)), (1, None));
        assert!(due(DAY_MS).unwrap().contains("24 h"));
        assert!(due(-1).is_some(), "a clock that was put back does not put it off for ever");
    }
}
