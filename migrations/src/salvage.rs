//! A damaged file of a device, read as far as SQLite can still read it: what comes of it is a new, sound file.
//!
//! * What cannot be read is counted and named. A change whose row cannot be read is left out, so that no row
//!   that is only illegible is ever taken for a deleted one.
//! * The damaged file should be a copy: SQLite may apply its log to it.
//!
//! * `reading`: the rows of one table, around pages that cannot be read
//! * `building`: the new file

mod building;
mod reading;

pub use building::build;

use core::time::Duration;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A program's long transaction may hold the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A database and its companions, by what their names end with: all that a copy needs.
pub const ENDINGS: [&str; 3] = ["", "-wal", "-journal"];

/// The path of a database with an ending, such as that of a companion.
#[must_use]
pub fn beside(db: &Path, ending: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Illegible {
    /// The table, or another thing in the file.
    pub table: String,
    /// How many rows; None when nobody can count them.
    pub rows: Option<u64>,
    /// What that means, in a sentence.
    pub found: String,
}

/// What is wrong with a file's pages; None when they are sound. Values that break a rule of their table are not
/// damage.
///
/// # Errors
/// When SQLite fails for another reason.
pub fn damage(db: &Path) -> Result<Option<String>> {
    let look = || -> Result<Option<String>> {
        let conn = open(db)?;
        let mut statement = conn.prepare("PRAGMA integrity_check(1000)")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut lines = lines.filter(|line| line.as_ref().map_or(true, |line| is_of_pages(line)));
        lines.next().transpose()
    };
    match look() {
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        // An index that needs a function of the program's says nothing about the pages.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(None),
        outcome => outcome,
    }
}

fn is_of_pages(line: &str) -> bool {
    let of_values = [
        "ok",
        "CHECK constraint failed in ",
        "NULL value in ",
        "non-",
        "NUMERIC value in ",
        "TEXT value in ",
    ];
    !of_values.iter().any(|start| line.starts_with(start)) || line.starts_with("non-unique entry in index ")
}

/// True when SQLite says that the file, or the disk under it, cannot be read as it should.
#[must_use]
pub fn is_damage(error: &Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, OutOfMemory, SystemIoFailure, TooBig};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| {
        matches!(code, DatabaseCorrupt | NotADatabase | SystemIoFailure | TooBig | OutOfMemory)
    })
}

fn open(db: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}
