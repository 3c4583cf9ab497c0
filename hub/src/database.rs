//! Opens the canonical database for a command, and says what is wrong with one that cannot be used.
//!
//! A command may run beside the daemon. It never checkpoints, and it never changes the schema.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the database {path}: {what}; {next}", path = .path.display())]
pub(crate) struct DatabaseError {
    path: PathBuf,
    what: String,
    next: &'static str,
}

impl DatabaseError {
    pub(crate) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        Self { path: path.to_owned(), what: error.to_string(), next: next_step(error.sqlite_error_code()) }
    }
}

const fn next_step(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::NotADatabase) => {
            "this is no SQLite file: check the path, or bring the file back from a backup"
        }
        Some(ErrorCode::DatabaseCorrupt) => "the file is damaged: bring it back from a backup",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "check the owner and mode of the file and of its folder"
        }
        Some(ErrorCode::DiskFull) => "free some space and try again",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds it: wait for that program or stop it, then try again"
        }
        _ => "if it stays so, bring the file back from a backup",
    }
}

/// Opens the database to read and to change devices.
pub(crate) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let prepare = || {
        let conn = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        // The first read finds out whether this is a database at all.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    };
    prepare().map_err(|error| DatabaseError::new(path, &error))
}
