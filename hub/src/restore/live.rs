//! The one write into the live file, and the look at it afterwards.
//!
//! SQLite's backup copies all pages in one transaction of the live file: a program that has it open sees the old
//! state or the new one, and goes on writing. In WAL mode no reader is in the way; a writer is waited for.

use super::RestoreError;
use super::sound::Sound;
use crate::backup::contents::{self, Contents};
use crate::database::{self, DatabaseError};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tt_migrations::replica::Replica;
use tt_migrations::{audit, connection, policy, state};

/// Between two attempts to lock the file; SQLite itself waits as long, too. Short, because a program that writes
/// all the time leaves only short gaps.
const PAUSE: Duration = Duration::from_millis(5);

/// Notices whether anybody has written to the live file.
pub(super) struct Watch {
    conn: Connection,
    seen: i64,
}

impl Watch {
    /// From now on.
    pub(super) fn open(live: &Path) -> Result<Self, RestoreError> {
        let conn = database::open(live)?;
        let seen = data_version(&conn).map_err(|error| DatabaseError::new(live, &error))?;
        Ok(Self { conn, seen })
    }

    /// Whether somebody has.
    pub(super) fn changed(&self) -> Result<bool, RestoreError> {
        let path = self.conn.path().unwrap_or_default();
        let now = data_version(&self.conn).map_err(|error| DatabaseError::new(Path::new(path), &error))?;
        Ok(now != self.seen)
    }
}

fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// Makes the live file what `next` is. `locked` runs when nobody else can write any more and nothing is written
/// yet; when it fails, nothing will be. `next` may be changed by it, but not its page size.
pub(super) fn write(
    live: &Path,
    next: &Path,
    patience: Duration,
    locked: &mut dyn FnMut() -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let failed = |error| RestoreError::Held {
        path: live.to_owned(),
        reason: DatabaseError::new(live, &error).to_string(),
    };
    let held = |reason: &str| RestoreError::Held { path: live.to_owned(), reason: reason.to_owned() };
    let source = Connection::open(next).map_err(failed)?;
    let mut target = connection::open(live).map_err(failed)?;
    target.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    target.busy_timeout(PAUSE).map_err(failed)?;
    let mode: String = target.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(held(&format!("a program keeps it in journal mode {mode}")));
    }
    {
        let backup = Backup::new(&source, &mut target).map_err(failed)?;
        // No page is copied yet, but from here on nobody else can write.
        wait(&backup, 0, patience)
            .map_err(failed)?
            .then_some(())
            .ok_or_else(|| held(&format!("a program has been writing to it for {} s", patience.as_secs())))?;
        locked()?;
        if !wait(&backup, -1, patience).map_err(failed)? {
            return Err(held("the prepared file is in use"));
        }
    }
    // Programs' own checkpoints would come to it otherwise; a reader may hold it back.
    let _ = target.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

/// Takes one step when the locks allow it. False: they never did.
fn wait(backup: &Backup<'_, '_>, pages: i32, patience: Duration) -> rusqlite::Result<bool> {
    let attempts = patience.as_millis() / (2 * PAUSE.as_millis()) + 1;
    for _ in 0..attempts {
        match backup.step(pages)? {
            StepResult::Busy | StepResult::Locked => thread::sleep(PAUSE),
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Compares the live file with what was prepared, page by page. When a page differs, or nobody can say, SQLite's checks
/// and the tables say why: what a program has written since is no damage, and is noted. The error says what is wrong.
/// `next` is the file that was prepared, `scratch` a file for the time of it.
pub(super) fn check(
    live: &Path,
    prepared: &Sound,
    next: &Path,
    scratch: &Path,
) -> Result<Option<String>, String> {
    let conn = database::open(live).map_err(|error| error.to_string())?;
    let moment = conn.unchecked_transaction().map_err(|error| error.to_string())?;
    // A transaction begins with its first read: all below is of one moment.
    moment
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| error.to_string())?;
    // There may be no room left for a copy of the file. What follows needs none, and says whether all is well.
    if prepared.is_in(&moment, scratch).unwrap_or(false) {
        return Ok(None);
    }
    let expected = prepared.contents(next)?;
    compare(&moment, &expected).map_err(|error| error.to_string())?
}

fn compare(conn: &Connection, prepared: &Contents) -> rusqlite::Result<Result<Option<String>, String>> {
    if let Some(problem) = contents::integrity_problems(conn)?.first() {
        return Ok(Err(format!("integrity_check says: {}", problem.replace('\n', " "))));
    }
    let found = contents::read(conn)?;
    let Some(difference) = prepared.difference(&found) else { return Ok(Ok(None)) };
    let (watched, touched) = touched(conn)?;
    let differs = |name: &&String| found.tables.get(*name) != prepared.tables.get(*name);
    for name in prepared.tables.keys().filter(differs) {
        let is_ours = name.starts_with("_sync_") || name.starts_with("sqlite_");
        // Of a table that is not replicated nobody knows; its pages were found sound.
        let may = |name| touched.contains(name) || !watched.contains(name);
        let by_program = if is_ours { !touched.is_empty() } else { may(name) };
        if !by_program {
            return Ok(Err(difference));
        }
    }
    Ok(Ok(Some(format!("a program has written to the restored file already: {difference}"))))
}

/// The replicated tables, and those of them to which programs have written since the last version.
pub(super) fn touched(conn: &Connection) -> rusqlite::Result<(Vec<String>, Vec<String>)> {
    let text = state::get_text(conn, state::POLICY)?.unwrap_or_else(|| policy::SHIPPED.to_owned());
    let policy = policy::parse("policy", &text).unwrap_or_else(|_| policy::shipped());
    let replica = Replica::look(conn, &policy)?;
    let mut touched = Vec::new();
    for tracked in replica.tables.values() {
        if audit::is_touched(conn, tracked)? {
            touched.push(tracked.table.name.clone());
        }
    }
    Ok((replica.tables.values().map(|tracked| tracked.table.name.clone()).collect(), touched))
}
