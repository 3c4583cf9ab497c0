//! Copies an existing SQLite file, also while a program has it open.
//!
//! The source is opened to read only and copied through SQLite's own backup in one read, so that the
//! copy is one moment of it, log included. It is checked in the copy: a check of the source would hold up
//! the program that writes there.

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tt_migrations::progress::{Progress, Unit};

const HEADER: &[u8; 16] = b"SQLite format 3\0";
/// How long a program may hold the file for itself.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_ATTEMPTS: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// So many pages are copied between two words about it.
const PAGES_AT_A_TIME: i32 = 1_024;

/// Why a file cannot be adopted. It was not changed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum AdoptError {
    #[error("cannot adopt {0}: there is no such file; check the path given with --adopt")]
    Missing(PathBuf),
    #[error("cannot adopt {path}: {source}; check the file's owner and mode", path = .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "cannot adopt {0}: it is not a SQLite database; name the file that the program writes (a backup in .gz must be unpacked first)"
    )]
    NotADatabase(PathBuf),
    #[error("cannot adopt {path}: the database is damaged ({what}); adopt a backup of it instead", path = .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("cannot adopt {0}: a program holds it for itself; wait until that program is done, or stop it")]
    Busy(PathBuf),
    #[error("cannot adopt {path}: {source}; open it once with the program that owns it and close it again", path = .path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

/// Looks whether the file can be a database at all.
pub(super) fn look(source: &Path) -> Result<(), AdoptError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => AdoptError::Missing(source.to_owned()),
        _ => AdoptError::Unreadable { path: source.to_owned(), source: error },
    };
    let mut header = Vec::new();
    File::open(source).and_then(|file| file.take(16).read_to_end(&mut header)).map_err(unreadable)?;
    if header == HEADER { Ok(()) } else { Err(AdoptError::NotADatabase(source.to_owned())) }
}

/// Copies the file to `to`, which is empty, and checks the copy.
pub(super) fn copy(source: &Path, to: &Path, progress: &dyn Progress) -> Result<(), AdoptError> {
    let failed = |error| explain(source, error);
    let from = open(source).map_err(failed)?;
    let mut copy = Connection::open(to).map_err(failed)?;
    copy_pages(&from, &mut copy, progress).map_err(failed)??;
    progress.step("checking the copy");
    let problem: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if problem == "ok" {
        Ok(())
    } else {
        Err(AdoptError::Damaged {
            path: source.to_owned(),
            what: problem.lines().collect::<Vec<_>>().join(", "),
        })
    }
}

fn open(source: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(source, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// The inner error: a program did not let go of the file.
fn copy_pages(
    from: &Connection,
    to: &mut Connection,
    progress: &dyn Progress,
) -> rusqlite::Result<Result<(), AdoptError>> {
    // As long as this reads, all steps are of one moment, whatever a program writes meanwhile.
    let moment = from.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let number = |name| moment.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (page, mut left) = (number("page_size")?.unsigned_abs(), number("page_count")?.unsigned_abs());
    progress.phase("copying the file", Some(left * page), Unit::Bytes);
    let backup = Backup::new(&moment, to)?;
    let mut busy = 0;
    while busy < BUSY_ATTEMPTS {
        match backup.step(PAGES_AT_A_TIME)? {
            StepResult::Done => return Ok(Ok(())),
            StepResult::More => {
                let remaining = u64::try_from(backup.progress().remaining).unwrap_or(0);
                progress.advance(left.saturating_sub(remaining) * page);
                left = remaining;
            }
            _ => {
                busy += 1;
                thread::sleep(BUSY_PAUSE);
            }
        }
    }
    let path = from.path().unwrap_or_default();
    Ok(Err(AdoptError::Busy(path.into())))
}

fn explain(source: &Path, error: rusqlite::Error) -> AdoptError {
    let path = source.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => AdoptError::NotADatabase(path),
        Some(ErrorCode::DatabaseCorrupt) => AdoptError::Damaged { path, what: error.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => AdoptError::Busy(path),
        _ => AdoptError::Sqlite { path, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tt_migrations::progress::Unwatched;

    #[test]
    fn a_file_in_use_is_copied_with_its_log_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("source.db"), dir.path().join("copy.db"));
        let program = Connection::open(&source).unwrap();
        program
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2);",
            )
            .unwrap();
        let before = fs::read(&source).unwrap();
        look(&source).unwrap();
        copy(&source, &to, &Unwatched).unwrap();
        assert_eq!(fs::read(&source).unwrap(), before);
        let rows: i64 =
            Connection::open(&to).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
        program.execute("INSERT INTO t VALUES (3)", []).unwrap();
    }

    #[test]
    fn each_trouble_has_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let said = |path: &Path| {
            look(path)
                .and_then(|()| copy(path, &dir.path().join("copy.db"), &Unwatched))
                .unwrap_err()
                .to_string()
        };
        assert!(said(&path).contains("no such file"));
        fs::write(&path, "hello").unwrap();
        assert!(said(&path).contains("not a SQLite database"));
        fs::write(&path, "").unwrap();
        assert!(said(&path).contains("not a SQLite database"));
        let mut bytes = HEADER.to_vec();
        bytes.resize(4096, 0xaa);
        fs::write(&path, bytes).unwrap();
        assert!(said(&path).contains("SQLite database"), "{}", said(&path));
    }
}
