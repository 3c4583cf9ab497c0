//! One consistent copy of the canonical database, with what it holds taken from the very same read.
//!
//! Our own tables stay in: rows and each device's last merged seq must agree, or sending again is not exact.
//! Writers go on meanwhile; only the log cannot be emptied until the read ends.

use super::contents::{self, Contents};
use crate::database::{self, DatabaseError};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::panic;
use std::path::Path;
use std::thread;
use tt_migrations::state;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) contents: Contents,
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    pub(crate) schema: String,
    pub(crate) schema_step: u64,
}

/// Copies the database at `source` to the new file `to`, which is in rollback mode afterwards: whoever
/// unpacks it later gets one file and no log beside it.
pub(crate) fn take(source: &Path, to: &Path) -> Result<Taken, DatabaseError> {
    take_beside(source, to, || ()).map(|(taken, ())| taken)
}

/// The same, and works on the finished copy while the tables of the original are still being read.
pub(super) fn take_beside<T: Send>(
    source: &Path,
    to: &Path,
    work: impl FnOnce() -> T + Send,
) -> Result<(Taken, T), DatabaseError> {
    let conn = database::open(source)?;
    let read = || {
        // The transaction holds one moment: the pages are copied and the tables read as they were in it.
        let moment = conn.unchecked_transaction()?;
        let number = |name| Ok::<_, rusqlite::Error>(state::get(&moment, name)?.unwrap_or(0).unsigned_abs());
        let (version, epoch) = (number(state::VERSION)?, number(state::EPOCH)?);
        copy(&moment, to)?;
        let describe = || {
            Ok(Taken {
                version,
                epoch,
                schema: contents::schema_name(&moment)?,
                schema_step: number(state::STEP)?,
                contents: contents::read(&moment)?,
            })
        };
        thread::scope(|scope| {
            let worker = scope.spawn(work);
            let taken: rusqlite::Result<Taken> = describe();
            // Whoever dies on the copy dies here, too: the caller must not go on with half a backup.
            let done = worker.join().unwrap_or_else(|died| panic::resume_unwind(died));
            Ok((taken?, done))
        })
    };
    read().map_err(|error| DatabaseError::new(source, &error))
}

fn copy(source: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    // It is a scratch file: a crash means that it is made again.
    copy.pragma_update(None, "synchronous", "OFF")?;
    let step = Backup::new(source, &mut copy)?.step(-1)?;
    if step != StepResult::Done {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(code, Some("the database is busy".to_owned())));
    }
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}
