//! One consistent copy of the canonical database: compressed, put through SQLite's checks, and proven.
//!
//! * Our own tables stay in: rows and each device's last merged seq must agree, or sending again is not exact.
//! * Writers go on meanwhile; only the log cannot be emptied until the reading ends.
//! * The proof: the pages of the same moment are read a second time, and must have the SHA-256 of what was packed.
//!   That holds rows, indexes and free pages against the original, where digests of its tables would hold the rows
//!   alone. So the digests need be read but once, from the copy.

use super::BackupError;
use super::check::{self, Examined, finished};
use super::contents::{self, Contents};
use super::pack::{self, Effort, Packed};
use crate::database::{self, DatabaseError};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs;
use std::path::Path;
use std::thread;
use tt_migrations::progress::{Progress, Unit};
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

/// A snapshot, and its compressed form.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) taken: Taken,
    pub(crate) packed: Packed,
    /// SQLite finds nothing wrong with it.
    pub(crate) is_sound: bool,
}

/// Copies the database at `source` to the new file `plain`, which is in rollback mode afterwards: whoever unpacks it
/// later gets one file and no log beside it. Its compressed form is at `file`.
pub(crate) fn take(
    source: &Path,
    plain: &Path,
    file: &Path,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<Snapshot, BackupError> {
    let failed = |error: rusqlite::Error| DatabaseError::new(source, &error);
    let conn = database::open(source)?;
    // The transaction holds one moment: all that is read of the original is as it was in it.
    let moment = conn.unchecked_transaction().map_err(failed)?;
    let taken = describe(&moment).map_err(failed)?;
    progress.step("copying the database");
    copy(&moment, plain).map_err(failed)?;
    // Its bytes are read twice: to be compressed, and to be compared with the original.
    let bytes = fs::metadata(plain).map_or(0, |plain| plain.len());
    progress.phase("compressing and comparing", Some(2 * bytes), Unit::Bytes);
    let (packed, examined, again) = thread::scope(|scope| {
        let packed = scope.spawn(|| pack::pack(plain, file, effort, progress));
        let examined = scope.spawn(|| check::examine(plain));
        let again = read_again(&moment, plain, progress);
        // The log may be emptied from here on.
        drop(moment);
        let packed = finished(packed);
        progress.step("checking the copy");
        (packed, finished(examined), again)
    });
    let packed = packed.map_err(|source| BackupError::File { path: file.to_owned(), source })?;
    let Examined { problems, contents } = examined.map_err(failed)?;
    if again? != packed.database_sha256 {
        return Err(BackupError::Unlike(plain.to_owned()));
    }
    Ok(Snapshot { taken: Taken { contents, ..taken }, packed, is_sound: problems.is_empty() })
}

/// A copy of the database at `source` in the new file `plain`, put through SQLite's checks and read, but not packed.
pub(crate) fn look(source: &Path, plain: &Path) -> Result<(Taken, bool), BackupError> {
    let failed = |error: rusqlite::Error| DatabaseError::new(source, &error);
    let conn = database::open(source)?;
    let moment = conn.unchecked_transaction().map_err(failed)?;
    let taken = describe(&moment).map_err(failed)?;
    copy(&moment, plain).map_err(failed)?;
    drop(moment);
    let Examined { problems, contents } = check::examine(plain).map_err(failed)?;
    Ok((Taken { contents, ..taken }, problems.is_empty()))
}

/// All but what the tables hold.
fn describe(moment: &Connection) -> rusqlite::Result<Taken> {
    let number = |name| Ok::<_, rusqlite::Error>(state::get(moment, name)?.unwrap_or(0).unsigned_abs());
    Ok(Taken {
        contents: Contents::default(),
        version: number(state::VERSION)?,
        epoch: number(state::EPOCH)?,
        schema: contents::schema_name(moment)?,
        schema_step: number(state::STEP)?,
    })
}

/// SHA-256 of a second copy of the same moment, made in the same way and gone afterwards.
fn read_again(moment: &Connection, plain: &Path, progress: &dyn Progress) -> Result<String, BackupError> {
    let second = plain.with_extension("again");
    copy(moment, &second).map_err(|error| DatabaseError::new(&second, &error))?;
    let sha256 = pack::sha256(&second, progress).and_then(|sha256| fs::remove_file(&second).map(|()| sha256));
    sha256.map_err(|source| BackupError::File { path: second, source })
}

/// Copies all pages of one moment to a new file. Two copies of a moment have the same bytes.
pub(crate) fn copy(moment: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    // It is a scratch file: a crash means that it is made again.
    copy.pragma_update(None, "synchronous", "OFF")?;
    let step = Backup::new(moment, &mut copy)?.step(-1)?;
    if step != StepResult::Done {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(code, Some("the database is busy".to_owned())));
    }
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tt_migrations::progress::Unwatched;

    #[test]
    fn a_moment_gives_the_same_bytes_twice_whatever_is_written_and_a_flipped_bit_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (live, plain) = (dir.path().join("live.db"), dir.path().join("plain.db"));
        let writer = Connection::open(&live).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t(a PRIMARY KEY, b); CREATE TABLE gone(a);",
            )
            .unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                    INSERT INTO t SELECT hex(randomblob(9)), i FROM n";
        writer.execute_batch(fill).unwrap();
        writer.execute_batch("INSERT INTO gone SELECT a FROM t; DROP TABLE gone").unwrap();
        let reader = database::open(&live).unwrap();
        let moment = reader.unchecked_transaction().unwrap();
        moment.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        copy(&moment, &plain).unwrap();
        writer.execute_batch(fill).unwrap();
        let again = read_again(&moment, &plain, &Unwatched).unwrap();
        assert_eq!(again, pack::sha256(&plain, &Unwatched).unwrap());
        let whole = fs::read(&plain).unwrap();
        for at in (0..whole.len()).step_by(1_000) {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            fs::write(&plain, rotten).unwrap();
            assert_ne!(again, pack::sha256(&plain, &Unwatched).unwrap(), "byte {at}");
        }
        drop(moment);
        let now = reader.unchecked_transaction().unwrap();
        fs::remove_file(&plain).unwrap();
        assert_ne!(again, read_again(&now, &plain, &Unwatched).unwrap());
    }
}
