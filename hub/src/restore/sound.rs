//! The next database, once checked in full, is known by a seal: what was written into the live file must have it, too.
//!
//! The seal is the SHA-256 of all pages, rows and indexes alike, without the few counters of the first page that every
//! write moves. A live file with that seal needs no second look: its pages are those that passed.

use super::RestoreError;
use crate::backup::check::{finished, still};
use crate::backup::contents::{self, Contents};
use crate::backup::pack::{self, Hashing, pump};
use crate::backup::snapshot;
use crate::database::DatabaseError;
use rusqlite::Connection;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use tt_migrations::quote::ident;

/// The header of a database, as SQLite's file format has it.
const HEADER_BYTES: usize = 100;
/// Journal mode; changes; changes of the schema; who wrote last, and at which change.
const COUNTERS: [Range<usize>; 4] = [18..20, 24..28, 40..44, 92..100];

/// A database that passed every check of SQLite's.
pub(super) struct Sound {
    seal: String,
}

/// Checks the next database before anything is written. `what` is what it was made from.
pub(super) fn examine(next: &Path, what: &str) -> Result<Sound, RestoreError> {
    // The seal comes first: what rots after it differs from it.
    let seal = seal(next).map_err(|source| RestoreError::File { path: next.to_owned(), source })?;
    match problems(next).map_err(|error| DatabaseError::new(next, &error))?.first() {
        None => Ok(Sound { seal }),
        Some(problem) => Err(RestoreError::Unusable {
            what: what.to_owned(),
            reason: format!("integrity_check says: {}", problem.replace('\n', " ")),
        }),
    }
}

impl Sound {
    /// Whether the pages of a moment of another file are the same. `scratch` is a file for the time of it.
    pub(super) fn is_in(&self, moment: &Connection, scratch: &Path) -> Result<bool, String> {
        let failed = |error: io::Error| format!("{}: {error}", scratch.display());
        match fs::remove_file(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => snapshot::copy(moment, scratch).map_err(|error| error.to_string())?,
        }
        let found = seal(scratch).map_err(failed)?;
        fs::remove_file(scratch).map_err(failed)?;
        Ok(found == self.seal)
    }

    /// What the tables of the checked file hold. The error says why its bytes are not those that were checked.
    pub(super) fn contents(&self, next: &Path) -> Result<Contents, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", next.display());
        if seal(next).map_err(|error| failed(&error))? != self.seal {
            return Err(failed(&"it changed after it was checked"));
        }
        still(next).and_then(|conn| contents::read(&conn)).map_err(|error| failed(&error))
    }
}

/// What SQLite finds wrong with the file, asked on all processors: `quick_check` looks at every page and row of it, and
/// `integrity_check` of each table at what that leaves out, the entries of its indexes.
fn problems(path: &Path) -> rusqlite::Result<Vec<String>> {
    let tables = contents::tables(&still(path)?)?;
    let of_table = |name: &String| format!("PRAGMA integrity_check({})", ident(name));
    let checks = tables.iter().map(of_table).chain(["PRAGMA quick_check(10)".to_owned()]);
    let checks = Mutex::new(checks.collect::<Vec<_>>().into_iter());
    let next = || checks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let conn = still(path)?;
        let mut found = Vec::new();
        while let Some(check) = next() {
            found.extend(contents::problems(&conn, &check)?);
        }
        Ok(found)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..pack::threads()).map(|_| scope.spawn(work)).collect();
        let found: rusqlite::Result<Vec<_>> = threads.into_iter().map(finished).collect();
        Ok(found?.concat())
    })
}

/// Of a file in rollback mode that nobody writes to.
fn seal(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    for range in COUNTERS {
        header[range].fill(0);
    }
    let mut seal = Hashing::new(io::sink());
    seal.write_all(&header)?;
    pump(&mut file, |bytes| seal.write_all(bytes))?;
    Ok(seal.finish().1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use rusqlite::backup::Backup;

    #[test]
    fn a_file_that_was_written_through_sqlite_has_the_seal_until_one_byte_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let next = Connection::open(path("next.db")).unwrap();
        next.execute_batch(
            "CREATE TABLE t(a PRIMARY KEY, b);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO t SELECT 'row ' || i, i FROM n",
        )
        .unwrap();
        let sound = examine(&path("next.db"), "it").unwrap();
        let mut live = Connection::open(path("live.db")).unwrap();
        live.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE old(a); INSERT INTO old VALUES (1)")
            .unwrap();
        let is_in = |conn: &Connection| sound.is_in(conn, &path("written.db")).unwrap();
        assert!(!is_in(&live));
        Backup::new(&next, &mut live).unwrap().step(-1).unwrap();
        assert!(is_in(&live));
        live.execute_batch("UPDATE t SET b = 0 WHERE a = 'row 7'").unwrap();
        assert!(!is_in(&live));
        assert!(!path("written.db").exists());
        let whole = fs::read(path("next.db")).unwrap();
        for at in (0..whole.len()).step_by(997).chain(0..HEADER_BYTES) {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            fs::write(path("rotten.db"), rotten).unwrap();
            let counts = COUNTERS.iter().any(|range| range.contains(&at));
            assert_eq!(seal(&path("rotten.db")).unwrap() == sound.seal, counts, "byte {at}");
        }
    }

    #[test]
    fn a_next_database_with_an_index_that_lies_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("next.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1), (2);")
            .unwrap();
        conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
        conn.execute_batch(
            "PRAGMA writable_schema = ON; CREATE TABLE u(a); CREATE INDEX empty ON u(a);
             UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'empty') WHERE name = 'i';
             DELETE FROM sqlite_schema WHERE name = 'empty'; PRAGMA writable_schema = RESET;",
        )
        .unwrap();
        drop(conn);
        let error = examine(&path, "the backup").err().unwrap().to_string();
        assert!(error.contains("the backup cannot be restored: integrity_check says"), "{error}");
    }

    #[test]
    fn table_by_table_nothing_is_overlooked_that_one_check_of_all_finds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("next.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA page_size = 512;
             CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE, b CHECK (b < 9000));
             CREATE INDEX \"odd \"\" name\" ON t(b, a); CREATE INDEX part ON t(b) WHERE b % 2;
             CREATE TABLE \"123\"(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE INDEX of_v ON \"123\"(v);
             CREATE TABLE \"it's \"\" one\"(x); CREATE TABLE gone(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO t SELECT i, 'label ' || i, i * 7 % 500 FROM n;
             INSERT INTO \"123\" SELECT a, b FROM t; INSERT INTO \"it's \"\" one\" SELECT a FROM t;
             INSERT INTO gone SELECT a || a FROM t; DROP TABLE gone;",
        )
        .unwrap();
        drop(conn);
        assert_eq!(problems(&path).unwrap(), [""; 0]);
        let whole = fs::read(&path).unwrap();
        let mut damaged = 0;
        for seed in 0..600 {
            let mut dice = Dice(seed);
            let mut rotten = whole.clone();
            let at = usize::try_from(dice.roll(whole.len() as u64)).unwrap();
            rotten[at] ^= 1 << dice.roll(8);
            fs::write(&path, rotten).unwrap();
            let all_at_once = still(&path).and_then(|conn| contents::integrity_problems(&conn));
            let is_sound = |found: rusqlite::Result<Vec<String>>| found.is_ok_and(|found| found.is_empty());
            let expected = is_sound(all_at_once);
            assert_eq!(is_sound(problems(&path)), expected, "seed {seed}: a bit of byte {at}");
            damaged += u32::from(!expected);
        }
        assert!((100..500).contains(&damaged), "{damaged}");
    }
}
